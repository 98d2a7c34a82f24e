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
    /// through hosting providers, and use proxies.
    fn of_network(&self, view: &View<'_>) -> OfNetwork {
        let fact = view.fact(self.network).json;
        // The fact is our own source's, without white space; a quote within its texts has a backslash before it.
        let says = |text: &[u8]| memchr::memmem::find(fact, text);
        let kind = |name: &[u8]| says(name).is_some();
        let flags = says(b"\"flags\":[").map_or(&b""[..], |at| &fact[at..]);
        OfNetwork {
            hosting: kind(b"\"kind\":\"hosting\""),
            hidden: kind(b"\"kind\":\"proxy\"") || kind(b"\"kind\":\"tor\""),
            hostile: memchr::memmem::find(flags, b"\"hostile\"").is_some(),
        }
    }
}

/// What is known of the network that programs live in more than people do.
struct OfNetwork {
    hosting: bool,
    /// Somebody else's address is before the sender's own.
    hidden: bool,
    hostile: bool,
}

impl OfNetwork {
    fn write(&self, out: &mut Vec<u8>) {
        if self.hosting || self.hidden {
            out.extend_from_slice(b",\"hosting_network\"");
        }
        if self.hostile {
            out.extend_from_slice(b",\"hostile_network\"");
        }
        out.extend_from_slice(b"]}");
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
        match fact.status {
            Status::Ok | Status::Stale(_) => {
                // The fact ends with its list of reasons.
                let Some(begun) = fact.json.strip_prefix(b"{").and_then(|f| f.strip_suffix(b"]}")) else {
                    return Status::Error("bad_fact");
                };
                out.extend_from_slice(b"{\"is_bot\":true,");
                out.extend_from_slice(begun);
                network.write(out);
                Status::Ok
            }
            Status::Miss => {
                out.extend_from_slice(b"{\"is_bot\":false}");
                Status::Ok
            }
            // A browser never leaves its agent out. A program may, but so may a server that speaks for somebody, a log that
            // does not note it, and a shipper that drops it, and those are the rule where agents are missing. So a missing
            // agent is one reason of two: the other is an address that people do not have, of a hosting provider or of
            // a network known for attacks. A proxy or Tor is none here: people have such addresses, and their events come
            // by servers too.
            Status::Skipped if agent(view).is_none() && (network.hosting || network.hostile) => {
                out.extend_from_slice(b"{\"is_bot\":true,\"tags\":[],\"reasons\":[\"no_agent\"");
                network.write(out);
                Status::Ok
            }
            other => other,
        }
    }
}
