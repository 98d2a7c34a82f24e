//! The pipeline in one call: events that were decoded go through the enrich stage's own state machine and come out, with no
//! log, no thread and no clock. For tests of a configuration and for measuring.

use std::sync::Arc;

use drive::{Action, Driver, Input, Settled, Stop};
use enrich::enricher::Setup;
use enrich::{Dedup, Enrich, EnrichConfig, StatusMode};
use event::record::Chunk;
use event::topic::RAW;
use event::{Block, Micros, Offset};
use flow::Progress;

use crate::config::{self, Config};
use stage::facts::Pinned;

/// One partition of `raw`, from its beginning.
pub struct Pipeline {
    operator: Arc<Enrich>,
    driver: Driver<Enrich>,
    next: Offset,
}

/// The operator of the enrich stage, as the configuration has it.
pub fn operator(config: &Config, partitions: u32, setup: Setup) -> Enrich {
    let operator = Enrich::new(EnrichConfig {
        member: config.enrich.member.clone(),
        status: match config.enrich.status {
            config::Status::NotOk => StatusMode::NotOk,
            config::Status::All => StatusMode::All,
        },
        partitions,
        out_of_order_us: config.time.out_of_order.as_micros() as i64,
        setup,
    });
    operator.expect("the configuration was built, so its lookups have an order")
}

impl Pipeline {
    /// `dedup_memory`: bytes for telling duplicates.
    pub fn new(config: &Config, setup: Setup, dedup_memory: u64) -> Pipeline {
        let operator = Arc::new(operator(config, 1, setup));
        let driver = Driver::new(operator.clone(), RAW.partition(0), Dedup::new(dedup_memory), 0, 1);
        Pipeline { operator, driver, next: 0 }
    }

    /// The members of `enriched` that enrichers write, in their order.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.operator.members()
    }

    /// How many were processed, deduplicated and set aside so far.
    pub fn progress(&self) -> Progress {
        self.driver.committed().0
    }

    /// Puts a block of `raw` through as one batch of the time `at`. `out` gets what the stage would commit: blocks of
    /// `enriched` and `dlq`, whose headers name the place of each event in all that was put through, from 0.
    ///
    /// # Errors
    /// Why the stage would stop; nothing more can be put through then.
    pub fn pass(
        &mut self,
        block: Block,
        at: Micros,
        facts: &Pinned,
        mut out: impl FnMut(Vec<Block>),
    ) -> Result<(), Stop> {
        let mut chunk = Some(Chunk { base: self.next, count: block.count, bytes: block.bytes });
        self.next += Offset::from(block.count);
        while let Some(action) = self.driver.next_action() {
            match action {
                Action::ReadPosition => self.driver.handle(Input::Position(None)),
                Action::Read { .. } => match chunk.take() {
                    Some(chunk) => self.driver.handle(Input::Records { chunks: vec![chunk], at }),
                    None => {
                        self.driver.read_nothing();
                        break;
                    }
                },
                Action::Ask { flight, asks, from } => {
                    let facts = facts.answer_at_once(&asks, from);
                    drop(asks);
                    self.driver.handle(Input::Facts { flight, facts });
                }
                Action::Commit { seq, blocks, .. } => {
                    out(blocks);
                    self.driver.handle(Input::Settled { seq, settled: Settled::Committed });
                }
                Action::Stop(why) => return Err(why),
            }
        }
        Ok(())
    }
}
