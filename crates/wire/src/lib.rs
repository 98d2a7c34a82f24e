//! Decoders: bytes in, events out.

pub mod json;
pub mod map;
pub mod time;
