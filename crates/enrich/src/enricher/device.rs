//! What device the event comes from: its kind, browser and system, by the user agent.

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Slot, View, ask_by_agent};

pub struct Device {
    slot: Slot,
    source: Option<SourceId>,
    bot: Slot,
}

/// How the source's fact begins.
const KIND: &[u8] = b"{\"kind\":\"";

impl Device {
    pub fn new(slot: Slot, source: Option<SourceId>, bot: Slot) -> Device {
        Device { slot, source, bot }
    }
}

impl Enricher for Device {
    fn name(&self) -> &str {
        "device"
    }

    fn reads(&self) -> Vec<&str> {
        vec!["bot"]
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::USER_AGENT]
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        ask_by_agent(self.source, view, asked)
    }

    /// A program is no phone, whatever it says: its kind is `bot`.
    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        let kind_end = || memchr::memchr(b'"', fact.json.strip_prefix(KIND)?).map(|n| KIND.len() + n);
        match kind_end() {
            Some(end) if matches!(view.fact(self.bot).status, Status::Ok | Status::Stale(_)) => {
                out.extend_from_slice(KIND);
                out.extend_from_slice(b"bot");
                out.extend_from_slice(&fact.json[end..]);
            }
            _ => out.extend_from_slice(fact.json),
        }
        fact.status
    }
}
