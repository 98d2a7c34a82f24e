//! What stands for a source over a connection where nothing is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use flow::Status;
use lookup::{Answer, ReloadReport, Source};

/// Answers `skipped`, and remembers that it was wanted.
#[derive(Clone, Default)]
pub struct Unasked(Arc<AtomicBool>);

impl Unasked {
    /// Whether an event would have had it asked.
    pub fn wanted(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Answer for Unasked {
    fn answer(&self, _: &[u8], _: &mut Vec<u8>) -> Status {
        self.0.store(true, Relaxed);
        Status::Skipped
    }

    fn versions(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Source for Unasked {
    fn pin(&self) -> Arc<dyn Answer> {
        Arc::new(self.clone())
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn reload_if_changed(&self) -> ReloadReport {
        ReloadReport::default()
    }

    fn refused(&self) -> Vec<String> {
        Vec::new()
    }
}
