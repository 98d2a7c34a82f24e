//! Time, chance, files, sockets and named faults come in through here, so that a simulated world can hand in its own.
//!
//! * [`background`]: who does the work that nobody waits for
//! * [`clock`]: wall time and elapsed time
//! * [`rng`]: random numbers, for fresh ids
//! * [`fs`]: the file operations the log is made of
//! * [`net`]: listening on sockets
//! * [`fault`]: named points at which tests kill the process, and bugs that tests plant
//!
//! Nothing here decides anything. Pure crates do not use it: they get times and random numbers as arguments.

pub mod background;
pub mod clock;
pub mod fault;
pub mod fs;
pub mod net;
pub mod rng;

pub use background::Background;
pub use clock::{Clock, RealClock};
pub use fs::{File, FileLock, Fs, RealFs};
pub use net::{Net, RealNet};
pub use rng::{RealRng, Rng};
