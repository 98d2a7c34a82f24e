//! The HTTP front line.
