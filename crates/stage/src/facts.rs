//! Answers the asks of a batch from the sources of the configuration. One version of each source is pinned per batch.

use std::sync::Arc;

use event::json::write_string;
use flow::{Asks, Facts, SourceId, Status};
use lookup::{Answer, ReloadReport, Source};

/// Every source there is; a [`SourceId`] is a place in it.
#[derive(Default)]
pub struct Sources {
    list: Vec<Named>,
}

struct Named {
    /// The member its facts are about, for `data_versions`.
    name: String,
    source: Box<dyn Source>,
    /// It has no version: what it knows comes with the events.
    live: bool,
}

/// A source as it is at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overview {
    /// The member its facts are about.
    pub name: String,
    /// Of the files in use.
    pub versions: Vec<String>,
    /// What nobody should wait for although there is data.
    pub lacks: Vec<&'static str>,
    /// Files that are not in use, and why.
    pub refused: Vec<String>,
}

impl Sources {
    pub fn add(&mut self, name: impl Into<String>, source: Box<dyn Source>) -> SourceId {
        self.push(Named { name: name.into(), source, live: false })
    }

    /// A source that learns from the events themselves: it is not among `data_versions`.
    pub fn add_live(&mut self, name: impl Into<String>, source: Box<dyn Source>) -> SourceId {
        self.push(Named { name: name.into(), source, live: true })
    }

    fn push(&mut self, named: Named) -> SourceId {
        self.list.push(named);
        SourceId((self.list.len() - 1) as u16)
    }

    /// Takes new versions of files that changed; see [`lookup::Reloaded::reload_if_changed`].
    pub fn reload_if_changed(&self) -> Vec<(&str, ReloadReport)> {
        self.list.iter().map(|s| (s.name.as_str(), s.source.reload_if_changed())).collect()
    }

    /// Files whose newest version is not in use, and why: (source, reason).
    pub fn refused(&self) -> Vec<(&str, String)> {
        self.list.iter().flat_map(|s| s.source.refused().into_iter().map(|why| (s.name.as_str(), why))).collect()
    }

    /// What nobody should wait for although its source is there: `geo.postal`.
    pub fn lacks(&self) -> Vec<String> {
        let of = |s: &Named| s.source.pin().lacks().iter().map(|l| format!("{}.{l}", s.name)).collect::<Vec<_>>();
        self.list.iter().flat_map(of).collect()
    }

    /// What there is in each source, in their order.
    pub fn overview(&self) -> Vec<Overview> {
        let of = |s: &Named| {
            let answer = s.source.pin();
            Overview {
                name: s.name.clone(),
                versions: answer.versions().into_iter().map(str::to_owned).collect(),
                lacks: answer.lacks().to_vec(),
                refused: s.source.refused(),
            }
        };
        self.list.iter().filter(|s| !s.live).map(of).collect()
    }

    /// The versions in use, for `data_versions`.
    pub fn versions(&self) -> Arc<str> {
        self.pin().versions.clone()
    }

    /// The newest versions, with others in the place of some sources.
    pub fn pin_with(&self, others: impl IntoIterator<Item = (SourceId, Arc<dyn Answer>)>) -> Pinned {
        let mut pinned = self.pin();
        for (source, answer) in others {
            pinned.answers[source.0 as usize] = answer;
        }
        pinned.versions = self.versions_of(&pinned.answers);
        pinned
    }

    fn versions_of(&self, answers: &[Arc<dyn Answer>]) -> Arc<str> {
        versions(self.list.iter().zip(answers).filter(|(s, _)| !s.live).map(|(s, answer)| (s.name.as_str(), answer)))
    }

    fn epoch(&self) -> u64 {
        self.list.iter().map(|s| s.source.epoch()).sum()
    }

    fn pin(&self) -> Pinned {
        // Read before the sources are pinned: a version that comes in between is seen by the next batch.
        let epoch = self.epoch();
        let answers: Vec<Arc<dyn Answer>> = self.list.iter().map(|s| s.source.pin()).collect();
        let versions = self.versions_of(&answers);
        Pinned { epoch, answers, versions }
    }
}

/// One version of each source, held from batch to batch until there is a newer one.
#[derive(Default)]
pub struct Pinned {
    epoch: u64,
    answers: Vec<Arc<dyn Answer>>,
    versions: Arc<str>,
}

impl Pinned {
    /// Takes the newest versions, if there are newer ones. To be called between batches, never between the rounds of one.
    pub fn renew(&mut self, sources: &Sources) {
        if self.answers.len() != sources.list.len() || self.epoch != sources.epoch() {
            *self = sources.pin();
        }
    }

    /// Answers every ask from the `from`-th on, in order. In-memory sources only: nothing here waits.
    pub fn answer(&self, asks: &Asks, from: usize) -> Facts {
        let mut facts = Facts::new(self.versions.clone());
        for (source, key) in asks.since(from) {
            facts.push_with(|out| match self.answers.get(source.0 as usize) {
                Some(source) => source.answer(key, out),
                None => Status::Skipped,
            });
        }
        facts
    }
}

/// `{"geo":"country-2026-11","geo.postal":null,"company":null}`: what a batch is answered from; null: there is no such
/// data.
fn versions<'a>(sources: impl Iterator<Item = (&'a str, &'a Arc<dyn Answer>)>) -> Arc<str> {
    let mut out = Vec::from(*b"{");
    let mut member = |name: &str, version: Option<&str>| {
        if out.len() > 1 {
            out.push(b',');
        }
        write_string(name.as_bytes(), &mut out);
        out.push(b':');
        match version {
            Some(version) => write_string(version.as_bytes(), &mut out),
            None => out.extend_from_slice(b"null"),
        }
    };
    for (name, answer) in sources {
        let versions = answer.versions();
        member(name, (!versions.is_empty()).then(|| versions.join("+")).as_deref());
        if !versions.is_empty() {
            answer.lacks().iter().for_each(|lack| member(&format!("{name}.{lack}"), None));
        }
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of names").into()
}
