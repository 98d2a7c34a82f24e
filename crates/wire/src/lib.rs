//! Decoders: bytes in, events out.

pub mod json;
