//! One process on a disk, without a world around it: for bodies that are made by hand, and for disks that are hurt by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use event::Micros;
use log::Outcome;
use log::journal::{Drive, Journal, JournalConfig, MinFree};
use ouzel_sim::fs::LossyFs;
use ouzel_sim::ledger::Answer;
use ouzel_sim::world::broker::{Broker, Fate};
use ouzel_sim::world::client::{Body, Door};
use ouzel_sim::world::machine::Reached;
use ouzel_sim::world::process::{Process, Setting, Step, Which, data_dir};
use ouzel_sim::world::{Scenario, Shape, SimClock, SimRng, SimSource};
use seam::Fs;

use super::tell::ms;

/// A Friday in November 2026, 12:00.
pub const NOW: Micros = Micros(1_795_780_800_000_000);

pub struct Single {
    disk: LossyFs,
    clock: Arc<SimClock>,
    pub broker: Broker,
    process: Option<Process>,
    batches: u128,
}

impl Single {
    /// The log alone.
    ///
    /// # Errors
    /// Why the log does not open.
    pub fn open(disk: &LossyFs) -> Result<Single, String> {
        if !disk.exists(data_dir()) {
            disk.create_dir_all(data_dir()).map_err(|e| e.to_string())?;
            disk.sync_dir(Path::new("/")).map_err(|e| e.to_string())?;
        }
        let config = JournalConfig {
            partitions: 2,
            segment_bytes: 32 << 10,
            allocate_step: 16 << 10,
            min_free: MinFree::Bytes(0),
            cache_bytes: 4 << 10,
            drive: Drive::Caller,
            ..JournalConfig::default()
        };
        let clock = SimClock::new(NOW);
        let journal = Journal::open(data_dir(), config, Arc::new(disk.clone()), clock.clone());
        let journal = journal.map_err(|e| e.to_string())?;
        let broker = Broker::new(journal, Shape::Embedded, 1);
        Ok(Single { disk: disk.clone(), clock, broker, process: None, batches: 0 })
    }

    /// Sends lines to a door. `None`: they were not stored, or nobody knows.
    pub fn send(&mut self, lines: &str) -> Option<Answer> {
        self.batches += 1;
        let body = Body { bytes: lines.as_bytes().into(), content_type: "application/x-ndjson" };
        let door = Door::new(Arc::new(self.broker.clone()));
        let mut request = door.take(0, 1, &body, NOW, self.batches << 64);
        self.broker.decide(Fate::Plain);
        matches!(request.ticket.try_take(), Some(Outcome::Committed(_))).then_some(request.answer)
    }

    /// Lets the stages work until they are idle.
    ///
    /// # Errors
    /// Why one stopped.
    pub fn work(&mut self) -> Result<(), String> {
        if self.process.is_none() {
            self.process = Some(self.start()?);
        }
        let process = self.process.as_mut().expect("just started");
        for _ in 0..100_000 {
            let mut idle = true;
            for which in Which::ALL {
                idle &= matches!(process.step(which, true, true)?, Step::Idle);
                while self.broker.pending() > 0 {
                    self.broker.decide(Fate::Plain);
                }
            }
            self.clock.advance(ms(1) / 20);
            if idle {
                return Ok(());
            }
        }
        Err("it does not come to rest".to_owned())
    }

    fn start(&self) -> Result<Process, String> {
        let store = Reached::new(&self.disk, Arc::new(AtomicBool::new(true)), Arc::default());
        Process::start(Setting {
            log: Arc::new(self.broker.clone()),
            fs: Arc::new(self.disk.clone()),
            data: PathBuf::from(data_dir()),
            store: Arc::new(store),
            clock: self.clock.clone(),
            rng: Arc::new(SimRng::new(1)),
            source: SimSource::new(1),
            rules: Scenario::calm(1, Shape::Embedded).rules,
            shared: false,
        })
    }
}

/// A line of one event.
pub fn line(id: &str, visitor: &str, timestamp: &str) -> String {
    format!(
        "{{\"messageId\":\"{id}\",\"type\":\"track\",\"event\":\"seen\",\"anonymousId\":\"{visitor}\",\
         \"timestamp\":{timestamp},\"fill\":\"{:400}\"}}\n",
        ""
    )
}

/// The journal's segments, oldest first.
pub fn segments(disk: &LossyFs) -> Vec<PathBuf> {
    let dir = data_dir().join("journal");
    let mut all: Vec<String> = disk.list(&dir).expect("it is there");
    all.retain(|name| name.ends_with(".seg"));
    all.sort();
    all.into_iter().map(|name| dir.join(name)).collect()
}
