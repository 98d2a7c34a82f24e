//! A simulated world: the stages as they run in production, on simulated files, clock, network and log, in one thread, with
//! a seed that decides who has the next turn and which disaster comes next.
//!
//! * [`scenario`]: what a seed decides beforehand; [`run`]: the world at work
//! * [`process`]: the stages; [`machine`]: what they run on; [`client`]: clients and doors
//! * [`broker`]: the log that everybody sees; [`source`]: where facts come from, [`lookup`]: how a process asks there
//! * [`oracle`]: who knows the truth
//! * [`clock`], [`chance`]: time that moves when it is told to, chance from a seed
//! * [`trace`]: the story of a run, by which two runs are compared and one is understood
//! * [`seeds`]: many worlds on all cores; [`tally`]: what came of them

pub mod broker;
pub mod chance;
pub mod client;
pub mod clock;
pub mod lookup;
pub mod machine;
pub mod oracle;
pub mod process;
pub mod run;
pub mod scenario;
pub mod seeds;
mod silence;
pub mod source;
pub mod tally;
pub mod trace;

pub use broker::{Broker, Shape};
pub use chance::SimRng;
pub use clock::SimClock;
pub use lookup::SimLookup;
pub use run::{Report, World};
pub use scenario::{Disaster, Scenario};
pub use source::{Mood, SimSource};
pub use tally::Tally;
pub use trace::Trace;
