//! A source behind its service: what whoever asks lives through. With a real Redis where processes share one.
#![allow(clippy::disallowed_methods)] // looks at real files and times, and starts processes

mod alone;
mod asking;
mod processes;
#[path = "../remote/servers.rs"]
mod servers;
mod shared;
#[path = "../remote/stub.rs"]
#[allow(dead_code)] // the clients' tests need more of it
mod stub;
