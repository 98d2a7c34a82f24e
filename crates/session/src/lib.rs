//! Sessionization: one visitor's events become sessions, cut by a gap in time and by rules, in spite of disorder. A pure
//! function of one visitor's state, one event and two clocks from the log.
//!
//! * [`config`]: the rules, the presets, and which types of events mean what
//! * [`event`](mod@event): what is read of a record of `enriched`, and no sooner than it is needed
//! * [`facts`]: what a session keeps of an event; also what waits in the buffer
//! * [`session`], [`facets`], [`visitor`]: one session, its bounded lists, all that is kept of a visitor
//! * [`encode`]: the bytes of a state
//! * [`stage`]: `apply` and `advance`; its two ways to place an event are [`free`] (the gap alone) and [`ordered`] (rules)
//! * [`operator`]: the stage that does so for every record of `enriched`
//! * [`write`](mod@write): updates, finals, merges, late events and the open view as JSON
//!
//! It does not know where batches are cut, and does not resolve who a visitor is: `enriched` says so.

mod codec;
pub mod config;
mod encode;
pub mod event;
mod facets;
mod facts;
mod free;
pub mod operator;
mod ordered;
mod scan;
mod session;
mod stage;
mod visitor;
mod write;
mod zone;

pub use config::{ConfigError, Preset, SessionsConfig};
pub use event::Event;
pub use operator::SessionStage;
pub use stage::{Clocks, Kind, Next, STATE_VERSION, Sessions, Sink};
