//! The lookups of a process by their names, for whoever asks over HTTP or by hand.

use std::sync::Arc;
use std::time::Duration;

use enrich::address;
use flow::{SourceId, Status};
use lookup::{Asked, Asking, Directory, Hear, Key, Listed, Origin, Tier, Told};
use stage::facts::Sources;

use super::Lookups;
use crate::config::{Config, LookupKind};

/// All lookups of a configuration.
pub struct Named {
    list: Vec<One>,
    deadline: Duration,
}

struct One {
    name: String,
    asked: Arc<dyn Asked>,
    parameters: usize,
}

impl Named {
    /// `sources` are those of the same configuration.
    pub fn new(config: &Config, sources: &Arc<Sources>, lookups: &Lookups) -> Named {
        let one = |lookup: &crate::config::Lookup| {
            let file = |addresses| {
                let source = sources.find(&lookup.name)?;
                Some(Arc::new(File { sources: Arc::clone(sources), source, addresses }) as Arc<dyn Asked>)
            };
            let (asked, parameters) = match &lookup.kind {
                LookupKind::Mmdb { .. } => (file(true)?, 1),
                LookupKind::File { .. } => (file(false)?, 1),
                LookupKind::Remote(_) => (lookups.asked(&lookup.name)?, lookup.key.len()),
            };
            Some(One { name: lookup.name.clone(), asked, parameters })
        };
        Named { list: config.lookups.iter().filter_map(one).collect(), deadline: config.enrich.deadline }
    }
}

impl Directory for Named {
    fn find(&self, name: &str) -> Option<Listed<'_>> {
        let one = self.list.iter().find(|one| one.name == name)?;
        Some(Listed { asked: &*one.asked, parameters: one.parameters, deadline: self.deadline })
    }

    fn names(&self) -> Vec<&str> {
        self.list.iter().map(|one| one.name.as_str()).collect()
    }
}

/// A file in memory: its own source, whose answers have no age.
struct File {
    sources: Arc<Sources>,
    source: SourceId,
    /// Its keys are addresses.
    addresses: bool,
}

impl File {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        // The one parameter stands behind its length.
        let Some(text) = key.get(4..) else { return Status::Error("bad_key") };
        let Some(file) = self.sources.files(self.source) else { return Status::Skipped };
        if !self.addresses {
            return file.answer(text, out);
        }
        match address::parse(text) {
            Some(address) => {
                let (bytes, len) = address::key(&address);
                file.answer(&bytes[..len], out)
            }
            None => Status::Error("bad_address"),
        }
    }
}

impl Asked for File {
    fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)> {
        Some((self.answer(key, out), Origin { tier: Tier::Source, age_us: 0 }))
    }

    fn ask(&self, keys: Vec<Key>, _: u64, hear: Hear) -> Asking {
        let mut json = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            json.clear();
            let status = self.answer(key, &mut json);
            let json: &[u8] = if status == Status::Ok { &json } else { &[] };
            hear(place, Told { status, json, origin: Some(Origin { tier: Tier::Source, age_us: 0 }) });
        }
        Box::new(())
    }
}
