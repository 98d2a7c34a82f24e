//! A member that is given instead of found out, for tests of a pipeline: what the enricher of that name would write.

use flow::Status;

use super::{Enricher, View};

/// What stands in for an enricher.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenMember {
    /// The member, and so the enricher.
    pub name: String,
    pub status: Status,
    /// JSON; for `Ok` and `Stale`.
    pub json: Vec<u8>,
}

pub struct Given(GivenMember);

impl Given {
    pub fn new(given: &GivenMember) -> Given {
        Given(given.clone())
    }
}

impl Enricher for Given {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn apply(&self, _view: &View<'_>, out: &mut Vec<u8>) -> Status {
        out.extend_from_slice(&self.0.json);
        self.0.status
    }
}
