//! The enrich stage as a part of the process: its threads, and what is said of time.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use door::http::Histogram;
use enrich::Enrich;
use event::TopicPartition;
use event::topic::RAW;
use flow::{Kind, Operator as _, Punctuation};
use log::{Log, Membership};
use seam::Background;
use stage::facts::Sources;
use stage::lookahead::Lookahead;
use stage::{Committed, EnrichParts, EnrichStage, StageStatus};
use state::Store;
use tokio::sync::Notify;

use crate::config::Config;
use crate::engine::{StartError, World, spawn};
use crate::parts::{dedup, pace, worker_count};
use crate::seats::Seats;
use crate::sessions::Worker;
use crate::share::share;
use crate::worker::{self, Post, Work};

/// What the stage is made of.
pub struct Enriching<'a> {
    pub config: &'a Config,
    pub world: &'a World,
    pub log: &'a Arc<dyn Log>,
    pub operator: &'a Arc<Enrich>,
    pub sources: &'a Arc<Sources>,
    pub lookahead: Option<&'a Arc<Lookahead>>,
    pub store: &'a Arc<dyn Store>,
    pub status: &'a Arc<StageStatus>,
    pub seats: &'a Arc<Seats>,
    pub commits: &'a Arc<Histogram>,
    pub stop: &'a Arc<AtomicBool>,
}

impl Enriching<'_> {
    /// On a log that is this process's own: one member, whose partitions the threads share. What is said of time they say
    /// together; it is given back too.
    pub fn alone(&self) -> Result<(Vec<Worker>, Arc<Mutex<Punctuation>>), StartError> {
        let mut punctuation = self.punctuation();
        for (p, Committed { progress, .. }) in (0..).zip(self.status.partitions()) {
            punctuation.resume(p, progress.watermark);
        }
        let punctuation = Arc::new(Mutex::new(punctuation));
        let members = share(self.log.join(self.operator.group(), RAW), worker_count(self.config));
        let data = self.config.data.dir.clone();
        let of = |(number, member)| self.worker(number, data.clone(), punctuation.clone(), Some(member));
        let workers = members.into_iter().enumerate().map(of).collect::<Result<_, _>>()?;
        Ok((workers, punctuation))
    }

    /// On a log that others work on too: every thread is a member of its own, with what it says of time, and takes up what
    /// the one before it said.
    pub fn among_others(&self) -> Result<Vec<Worker>, StartError> {
        let of = |number| {
            let mut punctuation = self.punctuation();
            (0..self.config.data.partitions).for_each(|p| punctuation.release(p));
            // Partitions come and go: two threads never have the files of one at the same time.
            let data = self.config.data.dir.join(format!("enrich-{number}"));
            self.worker(number, data, Arc::new(Mutex::new(punctuation)), None)
        };
        (0..worker_count(self.config)).map(of).collect()
    }

    /// A thread with a member that is there already, or one of its own.
    fn worker(
        &self,
        number: usize,
        data: PathBuf,
        punctuation: Arc<Mutex<Punctuation>>,
        mut member: Option<Box<dyn Membership>>,
    ) -> Result<Worker, StartError> {
        let shared = member.is_none();
        let bell = Arc::new(Notify::new());
        let store = shared.then(|| self.store.clone());
        let parts = self.parts(&bell, data, &punctuation, store);
        let group = self.operator.group();
        let (log, clock, status) = (self.log.clone(), self.world.clock.clone(), self.status.clone());
        let (seats, commits, stop) = (self.seats.clone(), self.commits.clone(), self.stop.clone());
        let pace = pace(self.config);
        spawn(&format!("enrich-{number}"), move || {
            let begin = || {
                let stage = EnrichStage::new(parts()).map_err(|e| format!("cannot start a thread: {e}"))?;
                Ok(Work { stage, member: member.take().unwrap_or_else(|| log.join(group, RAW)) })
            };
            let granting = |partitions: &[TopicPartition]| {
                if !shared {
                    return Ok(());
                }
                let preset = status.preset_of(&*log, Kind::Recording, group, partitions);
                preset.map_err(|e| format!("what {group} has committed cannot be read: {e}"))?;
                let all: Vec<_> = status.partitions().collect();
                let mut punctuation = punctuation.lock().expect("no panic while held");
                for p in partitions {
                    punctuation.resume(p.partition, all[p.partition as usize].progress.watermark);
                }
                Ok(())
            };
            let post = Post {
                log: &*log,
                clock: &*clock,
                status: &status,
                seats: &seats,
                number,
                bell: &bell,
                stop: &stop,
                commits: &commits,
                pace,
            };
            worker::run(&post, shared, begin, granting)
        })
    }

    fn punctuation(&self) -> Punctuation {
        let partitions = self.config.data.partitions;
        let idle_after_us = self.config.time.idle_after.as_micros() as i64;
        Punctuation::new(RAW, partitions, partitions, idle_after_us)
    }

    /// What makes a stage.
    fn parts(
        &self,
        bell: &Arc<Notify>,
        data: PathBuf,
        punctuation: &Arc<Mutex<Punctuation>>,
        store: Option<Arc<dyn Store>>,
    ) -> impl Fn() -> EnrichParts + Send + use<> {
        let bell = bell.clone();
        let (log, operator, sources) = (self.log.clone(), self.operator.clone(), self.sources.clone());
        let (clock, fs, status) = (self.world.clock.clone(), self.world.fs.clone(), self.status.clone());
        let (punctuation, lookahead) = (punctuation.clone(), self.lookahead.cloned());
        let mut dedup = dedup(self.config).share(self.config.data.partitions);
        if store.is_some() {
            // What a killed owner had not sealed is read again: a quarter of it is a quarter of the pause.
            dedup.generation /= 4;
        }
        let budget = self.config.enrich.deadline;
        move || {
            let ring = bell.clone();
            EnrichParts {
                log: log.clone(),
                operator: operator.clone(),
                sources: sources.clone(),
                budget,
                bell: Arc::new(move || ring.notify_one()),
                clock: clock.clone(),
                fs: fs.clone(),
                data: data.clone(),
                dedup,
                punctuation: punctuation.clone(),
                lookahead: lookahead.clone(),
                status: status.clone(),
                store: store.clone(),
                background: Background::Threads,
            }
        }
    }
}

#[cfg(test)]
mod tests;
