//! Decoders: bytes in, events out. A decoder finds the members of the envelope in somebody's JSON through a field map and
//! writes them into a record's header; what is not JSON is first given a documented JSON form.
//!
//! * [`json`]: one pass that validates an event, keeps its limits and finds the wanted members; [`json::walk`] steps through
//!   what was checked before
//! * [`map`], [`time`]: presets and the user's overrides; times as people write them
//! * [`decode`]: an event -> key, header and id of its record
//! * [`access_log`], [`csv`]: lines of other formats -> JSON
//! * [`split`]: a body or file -> its events
//! * [`guess`](mod@guess): what an input looks like that nobody could read
//! * [`infer`]: where the fields are in events that nobody has mapped yet
//!
//! It does not read files or sockets, know the time, judge duplicates, or keep anything from one event to the next.

pub mod access_log;
pub mod csv;
pub mod decode;
pub mod guess;
pub mod infer;
pub mod json;
pub mod map;
pub mod split;
pub mod time;

pub use decode::{Arrival, ArrivalPosition, BatchContext, ClockMode, Decoder, DecoderConfig, RawRecord};
pub use guess::{Guess, guess};
pub use json::Limits;
pub use map::{FieldMap, MapEntry, MapError, Preset};
pub use time::TimeFormat;
