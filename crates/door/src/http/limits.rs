//! What a client may take from us, each a named constant with the reason for its number.

use std::time::Duration;

/// The limits of the front line. [`Limits::default`] is what every `*_DEFAULT` here says.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections in all.
    pub connections: usize,
    /// Open connections of one address (of one /64, for IPv6).
    pub connections_per_address: usize,
    /// From the first byte of a request's head to its last.
    pub header_time: Duration,
    /// Without a request, on an open connection.
    pub idle_time: Duration,
    /// A client that takes no byte of its answer for this long is gone.
    pub write_stall: Duration,
    /// What a body may take before its rate counts.
    pub body_grace: Duration,
    /// Bytes a second a body must come in with, on average, once `body_grace` is over.
    pub body_rate_min: u32,
    /// Bytes of a request's line and headers; more, or over 100 headers (hyper's own limit), is a 431.
    pub header_bytes: usize,
    /// Bytes of a batch: as sent, and again decompressed.
    pub batch_bytes: usize,
    /// Decompressed bytes per compressed byte.
    pub ratio_max: u32,
    /// Events in one batch.
    pub batch_events: u64,
    /// Bytes of batches that were handed to the log and are not answered yet.
    pub in_flight_bytes: usize,
    /// Bytes of bodies that are being received.
    pub reading_bytes: usize,
    /// Keys of lookups that are being asked for.
    pub lookup_keys: usize,
    /// Which `Host` headers are served.
    pub hosts: Hosts,
}

/// Which `Host` headers are served.
///
/// A page on the web may have its own name point to 127.0.0.1, and would then read our topics as its own origin (DNS
/// rebinding). Its requests still carry that name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hosts {
    /// On loopback only an address or `localhost`; elsewhere any.
    AsListener,
    /// For a listener on loopback behind a proxy that passes names on.
    Any,
}

/// Said to a request for another host.
pub const HOST_REASON: &str = "this listener is for this machine only; ask for it by address or as localhost";

/// Half of the 1,024 descriptors a process usually may have; the other half is for the log.
pub const CONNECTIONS_DEFAULT: usize = 512;
/// Half of all: one address cannot take every place, and a load generator on this machine has enough.
pub const CONNECTIONS_PER_ADDRESS_DEFAULT: usize = 256;
/// A head is one packet or two; ten seconds are several retransmissions of one.
pub const HEADER_TIME_DEFAULT: Duration = Duration::from_secs(10);
/// What the pools of common HTTP clients keep a connection for, and then some.
pub const IDLE_TIME_DEFAULT: Duration = Duration::from_secs(60);
/// Retransmissions of a healthy connection are over long before.
pub const WRITE_STALL_DEFAULT: Duration = Duration::from_secs(30);
/// A few round trips and a slow start.
pub const BODY_GRACE_DEFAULT: Duration = Duration::from_secs(5);
/// 128 kbit/s, less than the slowest mobile uplink in use; a full batch at that rate takes 69 seconds in all.
pub const BODY_RATE_MIN_DEFAULT: u32 = 16 * 1024;
/// Cookies of a browser are 4 to 8 KiB; nobody sends 32 KiB by intent.
pub const HEADER_BYTES_DEFAULT: usize = 32 * 1024;
/// As in the specification of events; at 1.2 KB that is 870 events.
pub const BATCH_BYTES_DEFAULT: usize = 1024 * 1024;
/// Deflate cannot do better than 1,032 to 1. More, beyond what [`crate::inflate::RATIO_FREE`] lets pass, is a bomb.
pub const RATIO_MAX_DEFAULT: u32 = 1_000;
/// 105 bytes an event in a full batch. Smaller ones are not events, and each refused one costs a dead letter of some
/// 300 bytes, so this also bounds what one request can have us write.
pub const BATCH_EVENTS_DEFAULT: u64 = 10_000;
/// A sixth of a second at 100 MB/s: what was accepted keeps its latency, whatever is asked of us.
pub const IN_FLIGHT_BYTES_DEFAULT: usize = 16 * 1024 * 1024;
/// 64 full batches on their way in; beyond, new ones are shed.
pub const READING_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// Twice what the desk of one lookup lets wait: several lookups may be asked at once, and an answer of 1 KB for each is 20 MB.
pub const LOOKUP_KEYS_DEFAULT: usize = 20_000;

/// hyper's buffer of a connection: a body arrives in pieces of up to this size.
pub const CONNECTION_BUFFER: usize = 64 * 1024;
/// What is read and thrown away of a body that was refused. A client that is still writing does not read its answer,
/// and closing on it would reset the connection and take the answer along.
pub const DRAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// And for how long.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Refusals listed in one answer; more are counted. A thousand show what is wrong, and keep the answer below 200 KB.
pub const RESULTS_MAX: u64 = 1_000;
/// A UUID is 36; nothing sensible is longer than this. The key becomes part of every id it derives.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;
/// A user agent longer than this is cut: the tables that read them know none of half that length.
pub const USER_AGENT_MAX: usize = 1024;
/// Buffers kept for the next batches. As many batches are rarely being received at one moment.
pub const BUFFERS_KEPT: usize = 32;

/// `limit` of a read when none is given, and at most.
pub const RECORDS_DEFAULT: u64 = 1_000;
pub const RECORDS_MAX: u64 = 10_000;
/// Bytes of records in one answer: 3,400 of 1.2 KB. The log hands out references, so a reader costs little memory.
pub const RECORDS_BYTES: usize = 4 * 1024 * 1024;
/// The longest a read waits for records to come: below the 60 seconds after which proxies give up.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// A rendered piece of a stream of records.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Seconds a client is asked to wait when we are full, or a commit did not happen: the queue above is gone by then.
pub const RETRY_SOON_SECS: u32 = 1;
/// Seconds a client is asked to wait when the disk is full: retention or somebody has to make room first.
pub const RETRY_DISK_SECS: u32 = 10;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: CONNECTIONS_DEFAULT,
            connections_per_address: CONNECTIONS_PER_ADDRESS_DEFAULT,
            header_time: HEADER_TIME_DEFAULT,
            idle_time: IDLE_TIME_DEFAULT,
            write_stall: WRITE_STALL_DEFAULT,
            body_grace: BODY_GRACE_DEFAULT,
            body_rate_min: BODY_RATE_MIN_DEFAULT,
            header_bytes: HEADER_BYTES_DEFAULT,
            batch_bytes: BATCH_BYTES_DEFAULT,
            ratio_max: RATIO_MAX_DEFAULT,
            batch_events: BATCH_EVENTS_DEFAULT,
            in_flight_bytes: IN_FLIGHT_BYTES_DEFAULT,
            reading_bytes: READING_BYTES_DEFAULT,
            lookup_keys: LOOKUP_KEYS_DEFAULT,
            hosts: Hosts::AsListener,
        }
    }
}
