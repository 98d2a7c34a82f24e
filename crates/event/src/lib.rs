//! What an event is: its fields, its record and header in the log, its keys, its times, the failures on it, and the
//! topics it travels through. Everything here is plain data; every other crate speaks in these nouns.
//!
//! * [`field`]: the members of the envelope and the compact ids they have in headers
//! * [`header`]: the fixed binary part of a record, so that consumers need not parse JSON again
//! * [`control`]: records that carry no event: watermarks, idleness, ends
//! * [`record`]: a record (key, header, value) and the block encoding the log stores
//! * [`key`]: partitioning and the hashes identity rests on
//! * [`time`]: microseconds since 1970, RFC 3339 in and out
//! * [`failure`]: what can be wrong with an event, as data
//! * [`dead_letter`]: the value of a record in `dlq`
//! * [`json`]: writing JSON's strings and numbers
//! * [`topic`]: the one table of topics
//!
//! It does not parse JSON (`wire` does), keep state, or know where bytes come from.

pub mod control;
pub mod dead_letter;
pub mod failure;
pub mod field;
pub mod header;
pub mod json;
pub mod key;
pub mod record;
pub mod time;
pub mod topic;

pub use control::{Assertion, Control, Says};
pub use failure::{Code, Failure, Outcome};
pub use field::Field;
pub use header::{Flags, Header, HeaderRef, Source, Span};
pub use record::{Block, BlockBuilder, BlockError, RecordRef};
pub use time::Micros;
pub use topic::{Offset, TopicId, TopicPartition};
