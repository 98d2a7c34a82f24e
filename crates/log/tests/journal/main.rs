//! The journal: against a naive model, and the ways a disk, a crash or an operator can hurt it.

mod damage;
mod directory;
mod disk;
mod model;
mod retention;
mod support;
