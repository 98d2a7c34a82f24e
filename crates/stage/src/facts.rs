//! Answers the asks of a batch from the sources of the configuration. One version of each file is pinned per batch; what a
//! source that is asked over a connection does not know at once is told later.

use std::sync::Arc;

use event::json::write_string;
use flow::{AskId, Asks, Facts, SourceId, Status};
use lookup::{Answer, Asked, ReloadReport, Source};

/// Every source there is; a [`SourceId`] is a place in it.
#[derive(Default)]
pub struct Sources {
    list: Vec<Named>,
}

struct Named {
    /// The member its facts are about, for `data_versions`.
    name: String,
    from: From,
}

enum From {
    /// Files.
    Files(Box<dyn Source>),
    /// What it knows comes with the events: it has no version.
    Events(Box<dyn Source>),
    /// It is asked over a connection.
    Connection(Arc<dyn Asked>),
}

impl Named {
    fn source(&self) -> Option<&dyn Source> {
        match &self.from {
            From::Files(source) | From::Events(source) => Some(&**source),
            From::Connection(_) => None,
        }
    }

    fn files(&self) -> Option<&dyn Source> {
        match &self.from {
            From::Files(source) => Some(&**source),
            From::Events(_) | From::Connection(_) => None,
        }
    }
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
        self.push(Named { name: name.into(), from: From::Files(source) })
    }

    /// A source that learns from the events themselves: it is not among `data_versions`.
    pub fn add_live(&mut self, name: impl Into<String>, source: Box<dyn Source>) -> SourceId {
        self.push(Named { name: name.into(), from: From::Events(source) })
    }

    /// A source that is asked over a connection, and may have to be waited for.
    pub fn add_asked(&mut self, name: impl Into<String>, source: Arc<dyn Asked>) -> SourceId {
        self.push(Named { name: name.into(), from: From::Connection(source) })
    }

    fn push(&mut self, named: Named) -> SourceId {
        self.list.push(named);
        SourceId((self.list.len() - 1) as u16)
    }

    /// The newest version of one source's files; `None` for a source without.
    pub fn files(&self, source: SourceId) -> Option<Arc<dyn Answer>> {
        Some(self.list.get(source.0 as usize)?.files()?.pin())
    }

    pub fn find(&self, name: &str) -> Option<SourceId> {
        self.list.iter().position(|named| named.name == name).map(|at| SourceId(at as u16))
    }

    /// Takes new versions of files that changed; see [`lookup::Reloaded::reload_if_changed`].
    pub fn reload_if_changed(&self) -> Vec<(&str, ReloadReport)> {
        self.list.iter().filter_map(|s| Some((s.name.as_str(), s.source()?.reload_if_changed()))).collect()
    }

    /// Files whose newest version is not in use, and why: (source, reason).
    pub fn refused(&self) -> Vec<(&str, String)> {
        let of = |s: &dyn Source| s.refused();
        let all = self.list.iter().filter_map(|s| Some((s.name.as_str(), of(s.source()?))));
        all.flat_map(|(name, whys)| whys.into_iter().map(move |why| (name, why))).collect()
    }

    /// What nobody should wait for although its source is there: `geo.postal`.
    pub fn lacks(&self) -> Vec<String> {
        let of = |s: &Named| {
            let lacks = s.source().map(|source| source.pin().lacks().to_vec()).unwrap_or_default();
            lacks.into_iter().map(|l| format!("{}.{l}", s.name)).collect::<Vec<_>>()
        };
        self.list.iter().flat_map(of).collect()
    }

    /// What there is in each source, in their order.
    pub fn overview(&self) -> Vec<Overview> {
        let of = |s: &Named| {
            let source = s.files()?;
            let answer = source.pin();
            Some(Overview {
                name: s.name.clone(),
                versions: answer.versions().into_iter().map(str::to_owned).collect(),
                lacks: answer.lacks().to_vec(),
                refused: source.refused(),
            })
        };
        self.list.iter().filter_map(of).collect()
    }

    /// The versions in use, for `data_versions`.
    pub fn versions(&self) -> Arc<str> {
        self.pin().versions.clone()
    }

    /// The newest versions, with others in the place of some sources.
    pub fn pin_with(&self, others: impl IntoIterator<Item = (SourceId, Arc<dyn Answer>)>) -> Pinned {
        let mut pinned = self.pin();
        for (source, answer) in others {
            pinned.ways[source.0 as usize] = Way::Known(answer);
        }
        pinned.versions = self.versions_of(&pinned.ways);
        pinned
    }

    fn versions_of(&self, ways: &[Way]) -> Arc<str> {
        versions(self.list.iter().zip(ways).filter_map(|(s, way)| match (way, &s.from) {
            (_, From::Events(_)) => None,
            (Way::Known(answer), _) => Some((s.name.as_str(), Some(answer))),
            (Way::Asked(_), _) => Some((s.name.as_str(), None)),
        }))
    }

    /// Takes the newest versions, if there are newer ones. To be called between batches, never between the rounds of one.
    pub fn renew(&self, pinned: &mut Arc<Pinned>) {
        if pinned.ways.len() != self.list.len() || pinned.epoch != self.epoch() {
            *pinned = Arc::new(self.pin());
        }
    }

    fn epoch(&self) -> u64 {
        self.list.iter().filter_map(Named::source).map(Source::epoch).sum()
    }

    fn pin(&self) -> Pinned {
        // Read before the sources are pinned: a version that comes in between is seen by the next batch.
        let epoch = self.epoch();
        let way = |s: &Named| match &s.from {
            From::Files(source) | From::Events(source) => Way::Known(source.pin()),
            From::Connection(asked) => Way::Asked(asked.clone()),
        };
        let ways: Vec<Way> = self.list.iter().map(way).collect();
        let versions = self.versions_of(&ways);
        Pinned { epoch, ways, versions }
    }
}

/// How a source is asked.
enum Way {
    Known(Arc<dyn Answer>),
    Asked(Arc<dyn Asked>),
}

/// One version of each source, held from batch to batch until there is a newer one.
#[derive(Default)]
pub struct Pinned {
    epoch: u64,
    ways: Vec<Way>,
    versions: Arc<str>,
}

impl Pinned {
    /// Answers every ask from the `from`-th on, in order, as far as that can be done without waiting; tells `wait` of the
    /// others, which are to be waited for: the ask, its key, and whom to ask.
    pub fn answer<'a>(
        &'a self,
        asks: &Asks,
        from: usize,
        mut wait: impl FnMut(AskId, SourceId, &'a Arc<dyn Asked>, &[u8]),
    ) -> Facts {
        let mut facts = Facts::new(self.versions.clone());
        for (at, (source, key)) in (from as u32..).zip(asks.since(from)) {
            facts.push_with(|out| match self.ways.get(source.0 as usize) {
                Some(Way::Known(answer)) => Some(answer.answer(key, out)),
                Some(Way::Asked(asked)) => match asked.known(key, out) {
                    Some((status, _)) => Some(status),
                    None => {
                        wait(AskId(at), source, asked, key);
                        None
                    }
                },
                None => Some(Status::Skipped),
            });
        }
        facts
    }

    /// As [`Pinned::answer`], of those that need no waiting: others are skipped.
    pub fn answer_at_once(&self, asks: &Asks, from: usize) -> Facts {
        let mut facts = Facts::new(self.versions.clone());
        for (source, key) in asks.since(from) {
            facts.push_with(|out| match self.ways.get(source.0 as usize) {
                Some(Way::Known(answer)) => Some(answer.answer(key, out)),
                _ => Some(Status::Skipped),
            });
        }
        facts
    }
}

/// `{"geo":"country-2026-11","geo.postal":null,"company":null}`: what a batch is answered from; null: there is no such
/// data.
fn versions<'a>(sources: impl Iterator<Item = (&'a str, Option<&'a Arc<dyn Answer>>)>) -> Arc<str> {
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
        let versions = answer.map(|answer| answer.versions()).unwrap_or_default();
        member(name, (!versions.is_empty()).then(|| versions.join("+")).as_deref());
        if let Some(answer) = answer.filter(|_| !versions.is_empty()) {
            answer.lacks().iter().for_each(|lack| member(&format!("{name}.{lack}"), None));
        }
    }
    out.push(b'}');
    String::from_utf8(out).expect("JSON of names").into()
}
