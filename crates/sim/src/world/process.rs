//! A process: the stages, on a log, a disk and a store of snapshots. Its turns are given by the world; when it dies, all
//! that is gone that was not in one of these.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use enrich::enricher::{AsksBy, LookupSetup, Setup};
use enrich::path::Path as FieldPath;
use enrich::{DedupConfig, Enrich, EnrichConfig, StatusMode};
use event::topic::{ENRICHED, RAW};
use event::{Micros, TopicId};
use flow::{Operator as _, Progress, Punctuation};
use log::{Assignment, Log, Membership, Ticket};
use lookup::Links;
use seam::fault::{Bug, planted};
use seam::{Background, Fs, Rng};
use session::operator::Planted;
use session::{SessionStage, SessionsConfig};
use stage::facts::Sources;
use stage::keyed::{KeyedParts, Settings};
use stage::lookahead::Lookahead;
use stage::{EnrichParts, EnrichStage, KeyedStage, KeyedWorld, Stage, StageStatus, Then, Turn};
use state::Store;

use super::scenario::Rules;
use super::{SimClock, SimLookup, SimSource};

/// What a process is started with.
pub struct Setting {
    pub log: Arc<dyn Log>,
    pub fs: Arc<dyn Fs>,
    pub data: PathBuf,
    pub store: Arc<dyn Store>,
    pub clock: Arc<SimClock>,
    pub rng: Arc<dyn Rng>,
    pub source: SimSource,
    pub rules: Rules,
    /// Whether others write snapshots to the store too.
    pub shared: bool,
}

/// Which of a process's stages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Which {
    Enrich,
    Sessions,
}

impl Which {
    pub const ALL: [Which; 2] = [Which::Enrich, Which::Sessions];

    pub fn name(self) -> &'static str {
        match self {
            Which::Enrich => "enrich",
            Which::Sessions => "sessions",
        }
    }

    /// The topic it reads.
    pub fn input(self) -> TopicId {
        match self {
            Which::Enrich => RAW,
            Which::Sessions => ENRICHED,
        }
    }
}

/// What a step of a stage came to.
pub enum Step {
    Busy,
    /// A commit is on its way; [`Process::outcome`] has it when it is decided.
    Waits,
    Idle,
    /// It waits for answers; the next comes then.
    Asks(Duration),
    NoRoom,
    /// Its commit was fenced; what it has now is asked for in its next step.
    Fenced,
    Held,
}

/// How long an event waits for what it asks for.
pub const BUDGET: Duration = Duration::from_millis(40);

/// The stages at work.
pub struct Process {
    enrich: Worker<EnrichStage>,
    pub lookup: SimLookup,
    sessions: Worker<KeyedStage<SessionStage>>,
    pub parts: Arc<KeyedParts<SessionStage>>,
    operator: Arc<Enrich>,
    log: Arc<dyn Log>,
    punctuation: Arc<Mutex<Punctuation>>,
}

struct Worker<S> {
    stage: S,
    seat: Box<dyn Membership>,
    waiting: Option<Ticket>,
}

impl Process {
    /// # Errors
    /// Why it cannot start.
    pub fn start(with: Setting) -> Result<Process, String> {
        let Setting { log, fs, data, store, clock, rng, source, rules, shared } = with;
        let partitions = log.partitions(RAW);
        let mut sources = Sources::default();
        let links = Links::new(rules.sessions.gap_us, 1 << 20);
        let link = sources.add_live("visitor", Box::new(links.clone()));
        let lookup = SimLookup::new(clock.clone(), source.clone(), rng.next_u128() as u64);
        let fact = sources.add_asked("fact", Arc::new(lookup.clone()));
        let again = LookupSetup {
            name: "again".into(),
            source: sources.add("again", Box::new(source)),
            asks_by: AsksBy::Text,
            key: vec![FieldPath::parse("enriched.fact.n").expect("a path")],
            when: None,
        };
        // By the visitor, by what many visitors share, and by what no two events share.
        let asked = |name: &str, path: &str| LookupSetup {
            name: name.into(),
            source: fact,
            key: vec![FieldPath::parse(path).expect("a path")],
            ..again.clone()
        };
        let mut lookups = vec![asked("fact", "event.visitor"), asked("kind", "event.type"), asked("own", "event.id")];
        lookups.push(again.clone());
        let operator = Enrich::new(EnrichConfig {
            member: "enriched".into(),
            status: StatusMode::All,
            partitions,
            out_of_order_us: rules.out_of_order_us,
            setup: Setup { lookups, link: Some(link), ..Setup::default() },
        });
        let operator = Arc::new(operator.map_err(|e| format!("{e:?}"))?);
        let status = Arc::new(StageStatus::new(partitions));
        status.preset(&*log, flow::Kind::Recording, operator.group(), RAW).map_err(|e| e.to_string())?;
        let mut punctuation = Punctuation::new(RAW, partitions, partitions, rules.idle_after_us);
        let positions: Vec<u64> = status.partitions().map(|committed| committed.next).collect();
        (0..partitions).for_each(|p| punctuation.release(p));
        let punctuation = Arc::new(Mutex::new(punctuation));
        let lookahead = Lookahead::new(links, &*log, &positions, rules.sessions.gap_us).map_err(|e| e.to_string())?;
        while lookahead.recall(&*log).map_err(|e| e.to_string())? {}
        let enrich = EnrichStage::new(EnrichParts {
            log: log.clone(),
            operator: operator.clone(),
            sources: Arc::new(sources),
            budget: BUDGET,
            // Whoever gives the turns asks when something comes.
            bell: Arc::new(|| {}),
            clock: clock.clone(),
            fs,
            data,
            dedup: rules.dedup.share(partitions),
            punctuation: punctuation.clone(),
            lookahead: Some(Arc::new(lookahead)),
            status,
            store: shared.then(|| store.clone()),
            background: Background::Turns,
        });
        let parts = Arc::new(KeyedParts::new(partitions));
        let sessions = KeyedStage::new(KeyedWorld {
            log: log.clone(),
            operator: Arc::new(session_stage(&rules.sessions, partitions)),
            input: ENRICHED,
            sources: partitions,
            clock,
            rng,
            store,
            parts: parts.clone(),
            status: Arc::new(StageStatus::new(partitions)),
            settings: Settings {
                snapshot_every: rules.snapshot_every,
                memory: u64::MAX,
                accept_divergence: false,
                shared,
            },
            background: Background::Turns,
        });
        let seat = |which: Which| log.join(which.name(), which.input());
        Ok(Process {
            enrich: Worker { stage: enrich.map_err(|e| e.to_string())?, seat: seat(Which::Enrich), waiting: None },
            sessions: Worker { stage: sessions, seat: seat(Which::Sessions), waiting: None },
            lookup,
            parts,
            operator,
            log,
            punctuation,
        })
    }

    /// Gives a stage a turn. `polls`: it asks first what it has.
    ///
    /// # Errors
    /// Why the stage stopped.
    pub fn step(&mut self, which: Which, polls: bool, reading: bool) -> Result<Step, String> {
        if polls {
            self.poll(which)?;
        }
        match which {
            Which::Enrich => {
                self.lookup.turn();
                let step = turn(&mut self.enrich, reading)?;
                Ok(match (step, self.lookup.due_in()) {
                    (Step::Asks(_), Some(after)) => Step::Asks(after),
                    (step, _) => step,
                })
            }
            Which::Sessions => turn(&mut self.sessions, reading),
        }
    }

    /// Tells a stage how its commit ended, if that is known now.
    ///
    /// # Errors
    /// Why the stage stopped.
    pub fn outcome(&mut self, which: Which) -> Result<Step, String> {
        match which {
            Which::Enrich => settle(&mut self.enrich),
            Which::Sessions => settle(&mut self.sessions),
        }
    }

    /// Leaves the stages as the next start finds them best; they are idle, and have stopped reading.
    pub fn finish(&mut self) {
        self.enrich.stage.finish();
        self.sessions.stage.finish();
    }

    fn poll(&mut self, which: Which) -> Result<(), String> {
        match which {
            Which::Enrich => {
                for news in self.enrich.seat.poll() {
                    if let Assignment::Granted { partitions, .. } = &news {
                        self.resume(partitions.iter().map(|tp| tp.partition))?;
                    }
                    assign(&mut self.enrich.stage, news)?;
                }
            }
            Which::Sessions => {
                for news in self.sessions.seat.poll() {
                    assign(&mut self.sessions.stage, news)?;
                }
            }
        }
        Ok(())
    }

    /// Takes up what was last said of the time of these partitions of `raw`.
    fn resume(&self, partitions: impl Iterator<Item = u32>) -> Result<(), String> {
        for p in partitions {
            let at = log::Input::Topic(RAW.partition(p));
            let stored = self.log.committed(self.operator.group(), &at).map_err(|e| e.to_string())?;
            let progress = stored.and_then(|s| Progress::decode(&s.metadata)).unwrap_or_default();
            self.punctuation.lock().expect("no panic while held").resume(p, progress.watermark);
        }
        Ok(())
    }

    /// What ends everything, to be appended to each partition of `enriched`.
    pub fn close(&self, now: Micros) -> Vec<u8> {
        self.punctuation.lock().expect("no panic while held").close(now).encode()
    }
}

fn assign(stage: &mut impl Stage, news: Assignment) -> Result<(), String> {
    match news {
        Assignment::Granted { partitions, generation } => stage.grant(&partitions, generation),
        Assignment::Revoked { partitions } => {
            stage.revoke(&partitions);
            Ok(())
        }
    }
}

fn turn<S: Stage>(worker: &mut Worker<S>, reading: bool) -> Result<Step, String> {
    if worker.waiting.is_some() {
        return settle(worker);
    }
    Ok(match worker.stage.turn(reading)? {
        Turn::Busy | Turn::Crowded => Step::Busy,
        Turn::Idle => Step::Idle,
        Turn::Waiting => Step::Asks(BUDGET),
        Turn::Held => Step::Held,
        Turn::Submitted(ticket) => {
            worker.waiting = Some(ticket);
            Step::Waits
        }
    })
}

fn settle<S: Stage>(worker: &mut Worker<S>) -> Result<Step, String> {
    let Some(ticket) = &mut worker.waiting else { return Ok(Step::Busy) };
    let Some(outcome) = ticket.try_take() else { return Ok(Step::Waits) };
    worker.waiting = None;
    Ok(match worker.stage.settle(outcome)? {
        Then::GoOn => Step::Busy,
        Then::NoRoom => Step::NoRoom,
        Then::Fenced => Step::Fenced,
    })
}

/// The sessions stage, with the bug that is planted at present.
pub fn session_stage(rules: &SessionsConfig, partitions: u32) -> SessionStage {
    let mut stage = SessionStage::new(rules.build().expect("rules of a scenario"), partitions);
    let bugs = [
        (Bug::OtherDecisions, Planted::OtherDecisions),
        (Bug::LateForgotten, Planted::LateForgotten),
        (Bug::MergeKeepsBoth, Planted::MergeKeepsBoth),
    ];
    // Events of this type are what the world calls poison.
    stage.plant(Planted::PanicsOn(event::key::hash64(b"poison")));
    for (_, plant) in bugs.iter().filter(|(bug, _)| planted(*bug)) {
        stage.plant(*plant);
    }
    stage
}

/// Where a process keeps its data on its disk.
pub fn data_dir() -> &'static Path {
    Path::new("/data")
}

/// How duplicates are told in a small world: generations of some dozen, so that runs are sealed and merged.
pub fn small_dedup(horizon_us: i64) -> DedupConfig {
    DedupConfig { memory: 64 << 20, disk: 64 << 20, horizon_us, generation: 64 }
}
