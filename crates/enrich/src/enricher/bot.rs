//! Whether a program is behind the event: a verdict with a name, tags and reasons.

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Slot, View, agent, ask_by_agent};

pub struct Bot {
    slot: Slot,
    source: Option<SourceId>,
    network: Slot,
}

impl Bot {
    /// `source` answers with `{"name","tags","reasons"}` for an agent that gives itself away.
    pub fn new(slot: Slot, source: Option<SourceId>, network: Slot) -> Bot {
        Bot { slot, source, network }
    }

    /// What the network adds to a suspicion that is there. It raises none alone: people work in offices that go out
    /// through hosting providers, and use VPNs.
    fn of_network(&self, view: &View<'_>) -> [Option<&'static [u8]>; 2] {
        let network = view.fact(self.network).json;
        // The fact is our own source's, without white space.
        let says = |text: &[u8]| memchr::memmem::find(network, text).is_some();
        let shared = says(b"\"kind\":\"hosting\"") || says(b"\"kind\":\"proxy\"") || says(b"\"kind\":\"tor\"");
        [
            shared.then_some(b"\"hosting_network\"".as_slice()),
            says(b"\"hostile\"").then_some(b"\"hostile_network\"".as_slice()),
        ]
    }
}

impl Enricher for Bot {
    fn name(&self) -> &str {
        "bot"
    }

    fn reads(&self) -> Vec<&str> {
        vec!["network"]
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::USER_AGENT]
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        ask_by_agent(self.source, view, asked)
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        let network = self.of_network(view);
        let network = || network.iter().flatten();
        match fact.status {
            Status::Ok | Status::Stale(_) => {
                // The fact ends with its list of reasons.
                let Some(begun) = fact.json.strip_prefix(b"{").and_then(|f| f.strip_suffix(b"]}")) else {
                    return Status::Error("bad_fact");
                };
                out.extend_from_slice(b"{\"is_bot\":true,");
                out.extend_from_slice(begun);
                for reason in network() {
                    out.push(b',');
                    out.extend_from_slice(reason);
                }
                out.extend_from_slice(b"]}");
                Status::Ok
            }
            Status::Miss => {
                out.extend_from_slice(b"{\"is_bot\":false}");
                Status::Ok
            }
            // A browser never leaves its agent out. A program may, and so may a server that speaks for somebody: only where
            // the sender has the field, left it empty, and comes from where programs live, it is called one.
            Status::Skipped if agent(view).is_some() && network().next().is_some() => {
                out.extend_from_slice(b"{\"is_bot\":true,\"tags\":[],\"reasons\":[\"no_agent\"");
                for reason in network() {
                    out.push(b',');
                    out.extend_from_slice(reason);
                }
                out.extend_from_slice(b"]}");
                Status::Ok
            }
            other => other,
        }
    }
}
