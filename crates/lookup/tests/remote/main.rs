//! Sources over connections, against real servers and an HTTP stub that behaves as badly as it is told.
#![allow(clippy::disallowed_methods)] // servers of the tests' own

mod http;
mod redis;
mod servers;
mod stub;
mod tls;
