//! The sessions stage alone, on one core, without a log: its own state machine, whose every commit happens at once.

use std::sync::Arc;

use drive::{Action, Driver, Input, Phase, Restored, Settled};
use event::record::Chunk;
use event::topic::ENRICHED;
use event::{Block, Offset};
use flow::Keyed;
use node::config::{Config, RunArgs};
use serde_json::{Value, json};
use session::SessionStage;

use super::feed::{Market, Visits};
use crate::command::bench::{own_cpu_seconds, resident};
use crate::exit::{Exit, Failed, Result};
use crate::{Global, look};

/// Events of the marketplace before anything is counted: 42 minutes, so that sessions end as fast as they begin.
const WARM_UP: u64 = 250_000;
/// Nine years: as good as never.
const OFF_US: i64 = 9 * 365 * 86_400_000_000;

/// A position and its metadata.
type Committed = (Offset, Vec<u8>);

struct Stage {
    driver: Driver<SessionStage>,
    /// What the driver is told when it asks what is committed.
    stored: Option<Committed>,
    /// What it committed last.
    last: Option<Committed>,
    next: Offset,
    outputs: u64,
    /// Seconds of processor time in the driver.
    spent: f64,
}

impl Stage {
    fn new(config: &Config, update_every_us: i64, stored: Option<Committed>) -> Stage {
        let mut config = config.clone();
        config.sessions.rules.update_every_us = update_every_us;
        config.data.partitions = 1;
        let operator = Arc::new(node::sessions::stage(&config));
        let from =
            Restored { state: Keyed::default(), position: 0, metadata: None, sources: 1, accept_divergence: false };
        let driver = Driver::restored(operator, ENRICHED.partition(0), (), from, 1);
        Stage { driver, stored, last: None, next: 0, outputs: 0, spent: 0.0 }
    }

    /// Lets it work on a block until it wants more.
    fn take(&mut self, block: &Block) -> Result<()> {
        let mut chunk = Some(Chunk { base: self.next, count: block.count, bytes: block.bytes.clone() });
        self.next += Offset::from(block.count);
        let begun = own_cpu_seconds();
        while let Some(action) = self.driver.next_action() {
            match action {
                Action::ReadPosition => self.driver.handle(Input::Position(self.stored.take())),
                Action::Read { .. } => match chunk.take() {
                    Some(chunk) => {
                        self.driver.handle(Input::Records { chunks: vec![chunk], at: event::Micros(0) });
                    }
                    None => {
                        self.driver.read_nothing();
                        break;
                    }
                },
                Action::Commit { seq, blocks, next, metadata, .. } => {
                    self.outputs += blocks.iter().map(|b| u64::from(b.count)).sum::<u64>();
                    self.last = Some((next, metadata));
                    self.driver.handle(Input::Settled { seq, settled: Settled::Committed });
                }
                Action::Ask { .. } => unreachable!("a deterministic stage asks nobody"),
                Action::Stop(why) => return Err(Failed::new(Exit::Failed, why.to_string())),
            }
        }
        self.spent += own_cpu_seconds() - begun;
        Ok(())
    }

    /// Nanoseconds of processor time an event since `(spent, next)`.
    fn ns_since(&self, (spent, next): (f64, Offset)) -> f64 {
        (self.spent - spent) * 1e9 / (self.next - next) as f64
    }
}

fn config(global: &Global) -> Result<Config> {
    Ok(look::load(global, false, RunArgs::default())?.config)
}

/// The marketplace's events at their own times: what an event costs where sessions begin and end as they do. Each stage
/// has the processor's caches for itself.
pub fn apply(global: &Global, events: u64) -> Result<Value> {
    let config = config(global)?;
    let mut out = json!({});
    for (name, every) in [("off", OFF_US), ("each", 0), ("configured", config.sessions.rules.update_every_us)] {
        let mut market = Market::open(&config)?;
        let mut stage = Stage::new(&config, every, None);
        while stage.next < WARM_UP {
            stage.take(&market.next()?)?;
        }
        let (spent, next, outputs) = (stage.spent, stage.next, stage.outputs);
        let mut bytes = 0;
        while stage.next < next + events {
            let block = market.next()?;
            bytes += block.bytes.len();
            stage.take(&block)?;
        }
        let events = (stage.next - next) as f64;
        out[format!("{name}_ns")] = json!(stage.ns_since((spent, next)));
        out[format!("{name}_outputs_per_event")] = json!((stage.outputs - outputs) as f64 / events);
        out["events"] = json!(events);
        out["mean_record_bytes"] = json!(bytes as f64 / events);
        out["visitors"] = json!(stage.driver.state().len());
        out["floor_ns"] = json!(market.floor_ns());
    }
    Ok(out)
}

/// A million visitors at the same time: what they take in memory, what an event costs then, and how fast all of it is
/// replayed.
pub fn live(global: &Global, visitors: u64) -> Result<Value> {
    let config = config(global)?;
    let visits = Visits::of(&mut Market::open(&config)?)?;
    let update_every_us = config.sessions.rules.update_every_us;
    let mut stage = Stage::new(&config, update_every_us, None);
    give_back();
    let before = resident().0;
    let mut begun = Vec::new();
    visits.pass(visitors, |round, block| {
        if begun.len() == round {
            begun.push((stage.spent, stage.next));
        }
        stage.take(&block)
    })?;
    let grown = resident().0.saturating_sub(before) as f64;
    let state = stage.driver.state();
    let values = state.canonical().len();
    let keys = state.len() as f64;
    let out = json!({
        "events": stage.next,
        "sessions": keys,
        "resident_mb": grown / 1e6,
        "resident_gib": grown / (1u64 << 30) as f64,
        "bytes_per_session": grown / keys,
        "counted_bytes_per_session": state.bytes() as f64 / keys,
        "canonical_bytes_per_session": values as f64 / keys,
        "first_event_ns": (begun[1].0 - begun[0].0) * 1e9 / (begun[1].1 - begun[0].1) as f64,
        "later_events_ns": stage.ns_since(begun[1]),
    });
    let last = stage.last.take();
    drop(stage);
    Ok(json!({ "live": out, "replay": replay(&config, &visits, visitors, last)? }))
}

/// Gives the system what was freed, or the state would lie where something else lay and seem smaller than it is.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The same events again, up to what was committed: the outputs must be the same, and go nowhere.
fn replay(config: &Config, visits: &Visits, visitors: u64, stored: Option<Committed>) -> Result<Value> {
    let mut stage = Stage::new(config, config.sessions.rules.update_every_us, stored);
    let mut begun = Vec::new();
    visits.pass(visitors, |round, block| {
        if begun.len() == round {
            begun.push((stage.spent, stage.next));
        }
        stage.take(&block)
    })?;
    if stage.driver.phase() != Phase::Running || stage.last.is_some() {
        return Err(Failed::new(Exit::Failed, "the replay did not end where it was to end"));
    }
    Ok(json!({
        "events_per_s": stage.next as f64 / stage.spent,
        "later_events_per_s": 1e9 / stage.ns_since(begun[1]),
    }))
}
