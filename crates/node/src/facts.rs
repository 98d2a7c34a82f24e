//! Answers the asks of a batch from the sources of the configuration. One version of each source is pinned per batch.

use std::sync::Arc;

use flow::{Asks, Facts, SourceId, Status};
use lookup::{GeoSource, Mmdb};

/// A source, by its place in [`Sources`].
pub enum Source {
    Geo(GeoSource),
    /// The whole record of an MMDB file.
    Record {
        name: String,
        mmdb: Mmdb,
    },
}

/// Every source there is; a [`SourceId`] is a place in it.
#[derive(Default)]
pub struct Sources {
    list: Vec<Source>,
}

impl Sources {
    pub fn add(&mut self, source: Source) -> SourceId {
        self.list.push(source);
        SourceId((self.list.len() - 1) as u16)
    }

    pub fn geo(&self) -> Option<&GeoSource> {
        self.list.iter().find_map(|s| match s {
            Source::Geo(geo) => Some(geo),
            Source::Record { .. } => None,
        })
    }

    /// Answers every ask, in order. In-memory sources only: nothing here waits.
    pub fn answer(&self, asks: &Asks) -> Facts {
        let pinned: Vec<_> = self.list.iter().map(Pinned::of).collect();
        let mut facts = Facts::new(versions(&pinned));
        for (source, key) in asks.iter() {
            facts.push_with(|out| match (pinned.get(source.0 as usize), enrich::address::from_key(key)) {
                (Some(source), Some(ip)) => {
                    let found = match source {
                        Pinned::Geo(geo) => geo.geo(ip, out),
                        Pinned::Record(_, mmdb) => mmdb.record(ip, out),
                    };
                    match found {
                        Ok(true) => Status::Ok,
                        Ok(false) => Status::Miss,
                        Err(e) => Status::Error(e.code()),
                    }
                }
                _ => Status::Error("bad_key"),
            });
        }
        facts
    }
}

enum Pinned<'a> {
    Geo(Arc<lookup::GeoVersion>),
    Record(&'a str, &'a Mmdb),
}

impl Pinned<'_> {
    fn of(source: &Source) -> Pinned<'_> {
        match source {
            Source::Geo(geo) => Pinned::Geo(geo.pin()),
            Source::Record { name, mmdb } => Pinned::Record(name, mmdb),
        }
    }
}

/// `{"geo":"country-2026-11","isp":"..."}`: what this batch was answered from.
fn versions(pinned: &[Pinned<'_>]) -> Arc<str> {
    let mut out = Vec::from(*b"{");
    for source in pinned {
        let (name, version) = match source {
            Pinned::Geo(geo) => ("geo", geo.versions().collect::<Vec<_>>().join("+")),
            Pinned::Record(name, mmdb) => (*name, mmdb.version().to_owned()),
        };
        if out.len() > 1 {
            out.push(b',');
        }
        event::json::write_string(name.as_bytes(), &mut out);
        out.push(b':');
        event::json::write_string(version.as_bytes(), &mut out);
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of names").into()
}
