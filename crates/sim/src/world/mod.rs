//! What a simulated world is made of: time that moves when it is told to, chance from a seed, and the story of a run by
//! which two runs are compared and one is understood.

pub mod chance;
pub mod clock;
pub mod trace;

pub use chance::SimRng;
pub use clock::SimClock;
pub use trace::Trace;
