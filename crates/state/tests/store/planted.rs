//! Stores with a bug each, which the conformance suite must find.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ouzel_state::{Store, name};

use crate::conformance::STORIES;
use crate::support::Memory;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    Overwrites,
    /// It looks and then writes, as two steps.
    Races,
    SaysAlways(bool),
    ForgetsNames,
    CutsLarge,
    ListsThePage,
    ListsBelow,
    ListsUnsorted,
    ListsBeginnings,
    DeletesTheFirst,
    MindsTheAbsent,
    TakesAnyName,
    TrimsNames,
}

struct Planted {
    memory: Arc<Memory>,
    bug: Bug,
}

impl Planted {
    fn name(&self, name: &str) -> io::Result<String> {
        if self.bug != Bug::TakesAnyName {
            name::check(name)?;
        }
        Ok(if self.bug == Bug::TrimsNames { name.replace("%20", " ") } else { name.to_owned() })
    }
}

impl Store for Planted {
    fn put_if_absent(&self, name: &str, bytes: &[u8], hurry: &AtomicBool) -> io::Result<bool> {
        let name = self.name(name)?;
        let bytes = if self.bug == Bug::CutsLarge { &bytes[..bytes.len().min(1 << 20)] } else { bytes };
        match self.bug {
            Bug::Overwrites => Ok(self.memory.objects.lock().expect("whole").insert(name, bytes.to_vec()).is_none()),
            Bug::Races => {
                let is_new = self.memory.get(&name)?.is_none();
                std::thread::sleep(std::time::Duration::from_millis(2));
                self.memory.put_if_absent(&name, bytes, hurry)?;
                Ok(is_new)
            }
            Bug::SaysAlways(said) => self.memory.put_if_absent(&name, bytes, hurry).map(|_| said),
            _ => self.memory.put_if_absent(&name, bytes, hurry),
        }
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.memory.get(&self.name(name)?)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        name::check_prefix(prefix)?;
        let objects = self.memory.objects.lock().expect("whole");
        let beginning = if self.bug == Bug::ListsBeginnings { prefix.trim_end_matches('/') } else { prefix };
        let below = |name: &&String| match name.strip_prefix(beginning) {
            Some(rest) => self.bug == Bug::ListsBelow || !rest.trim_start_matches('/').contains('/'),
            None => false,
        };
        let mut names: Vec<String> = objects.keys().filter(below).cloned().collect();
        match self.bug {
            Bug::ListsThePage => names.truncate(1000),
            Bug::ListsUnsorted => names.reverse(),
            Bug::ForgetsNames => drop(names.pop()),
            _ => {}
        }
        Ok(names)
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let names = names.iter().map(|name| self.name(name)).collect::<io::Result<Vec<_>>>()?;
        let mut objects = self.memory.objects.lock().expect("whole");
        for name in &names {
            if objects.remove(name).is_none() && self.bug == Bug::MindsTheAbsent {
                return Err(io::ErrorKind::NotFound.into());
            }
            if self.bug == Bug::DeletesTheFirst {
                break;
            }
        }
        Ok(())
    }
}

/// The first story that fails.
fn found(bug: Bug) -> Option<&'static str> {
    let fails = |(name, story): (&'static str, fn(crate::conformance::Reach<'_>))| {
        let memory = Arc::new(Memory::default());
        let reach = || Arc::new(Planted { memory: Arc::clone(&memory), bug }) as Arc<dyn Store>;
        catch_unwind(AssertUnwindSafe(|| story(&reach))).is_err().then_some(name)
    };
    STORIES.into_iter().find_map(fails)
}

#[test]
fn every_planted_bug_is_found() {
    // What the stories say when they fail is of no interest here.
    static QUIET: AtomicBool = AtomicBool::new(false);
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.load(SeqCst) || std::thread::current().name().is_some_and(|name| !name.contains("planted")) {
            said(info);
        }
    }));
    assert_eq!(found(Bug::None), None);
    QUIET.store(true, SeqCst);
    let bugs = [
        Bug::Overwrites,
        Bug::Races,
        Bug::SaysAlways(true),
        Bug::SaysAlways(false),
        Bug::ForgetsNames,
        Bug::CutsLarge,
        Bug::ListsThePage,
        Bug::ListsBelow,
        Bug::ListsUnsorted,
        Bug::ListsBeginnings,
        Bug::DeletesTheFirst,
        Bug::MindsTheAbsent,
        Bug::TakesAnyName,
        Bug::TrimsNames,
    ];
    let missed: Vec<Bug> = bugs.into_iter().filter(|bug| found(*bug).is_none()).collect();
    QUIET.store(false, SeqCst);
    assert_eq!(missed, []);
}
