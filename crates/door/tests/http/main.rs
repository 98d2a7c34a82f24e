//! The front line over real sockets on loopback, before a log in memory whose outcomes the tests decide.

mod client;
mod fake;
mod ingest;
mod life;
mod limits;
mod lookup;
mod read;
