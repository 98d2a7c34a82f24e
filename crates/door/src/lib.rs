//! Where events come in: bytes from the network, files and stdin become one commit of accepted events to `raw` and
//! refused ones to `dlq`, and the sender hears of it only when that commit is durable.
//!
//! * [`http`]: the accept loop with its limits, the routes, the status page
//! * [`collect`]: events in, blocks of one commit out
//! * [`inflate`]: gzip and zstd, capped while they stream
//! * [`input`]: files and stdin, with positions that survive a restart
//!
//! It does not judge duplicates, enrich, or know what runs behind the log.

pub mod collect;
pub mod http;
pub mod inflate;
pub mod input;
