//! The task that speaks with the shared tier. Errands are done in their order, those of a kind that follow one another at
//! once: while some are under way, others gather.
//!
//! IMPORTANT: the order is what makes leases safe. A lease that is given back before it was taken would hold others up.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use ask::shared::Lease;
use ask::{Entry, Key};
use futures_util::future::join_all;
use seam::Clock;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::meter::Meters;
use super::{micros, moment};
use crate::remote::SharedCache;
use crate::remote::redis::Cached;

/// What is said to Redis may take so long: enough to make a connection with TLS. The desk waits less, and goes on without.
const ERRAND_MAX: Duration = Duration::from_millis(250);

/// Errands that are taken at once.
const ERRANDS_MAX: usize = 1_024;

/// How long a service that stops waits for what is still to be written or given back.
const FINISH_MAX: Duration = Duration::from_secs(1);

pub(super) enum Errand {
    Read(Vec<Key>),
    Write(Key, Entry),
    /// For so many microseconds.
    Lease(Key, u64),
    Release(Key),
}

/// What came of errands, for the desk.
pub(super) enum Said {
    Read(Key, Option<Entry>),
    Lease(Key, Lease),
    Failed(Key),
}

/// The clerk's end of it.
pub(super) struct Courier {
    /// The desk bounds what is in it: what it reads and leases is for a flight each, and a breaker holds writes back.
    errands: UnboundedSender<Errand>,
    said: UnboundedReceiver<Said>,
    task: JoinHandle<()>,
}

impl Courier {
    pub fn start(
        name: &str,
        seed: u64,
        shared: Arc<SharedCache>,
        clock: Arc<dyn Clock>,
        meters: Arc<Meters>,
        runtime: &Handle,
    ) -> Courier {
        let (errands, incoming) = unbounded_channel();
        let (say, said) = unbounded_channel();
        let rounds = Rounds {
            entries: format!("ouzel/{name}/entry/").into_bytes(),
            leases: format!("ouzel/{name}/lease/").into_bytes(),
            holder: format!("{seed:016x}").into_bytes(),
            shared,
            clock,
            meters,
            say,
        };
        Courier { errands, said, task: runtime.spawn(rounds.run(incoming)) }
    }

    pub fn send(&self, errand: Errand) {
        // It ends only with its runtime, and the clerk with it.
        let _ = self.errands.send(errand);
    }

    /// Never of a service without a shared tier.
    pub async fn said(courier: &mut Option<Courier>) -> Option<Said> {
        match courier {
            Some(courier) => courier.said.recv().await,
            None => pending().await,
        }
    }

    /// Does what is still to be done, if it can be done soon.
    pub async fn finish(self) {
        let Courier { errands, said, mut task } = self;
        drop((errands, said));
        if timeout(FINISH_MAX, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// The task's end of it.
struct Rounds {
    /// What is before a key, so that entries and leases of several sources lie side by side.
    entries: Vec<u8>,
    leases: Vec<u8>,
    /// This process, among those that take leases.
    holder: Vec<u8>,
    shared: Arc<SharedCache>,
    clock: Arc<dyn Clock>,
    meters: Arc<Meters>,
    say: UnboundedSender<Said>,
}

impl Rounds {
    async fn run(self, mut incoming: UnboundedReceiver<Errand>) {
        let mut errands = Vec::with_capacity(ERRANDS_MAX);
        while incoming.recv_many(&mut errands, ERRANDS_MAX).await > 0 {
            let mut rest = errands.drain(..).peekable();
            while let Some(first) = rest.next() {
                match first {
                    Errand::Read(mut keys) => {
                        while let Some(Errand::Read(more)) = rest.next_if(|next| matches!(next, Errand::Read(_))) {
                            keys.extend(more);
                        }
                        self.read(keys).await;
                    }
                    Errand::Write(key, entry) => {
                        let mut entries = vec![(key, entry)];
                        while let Some(Errand::Write(key, entry)) =
                            rest.next_if(|next| matches!(next, Errand::Write(..)))
                        {
                            entries.push((key, entry));
                        }
                        self.write(entries).await;
                    }
                    Errand::Lease(key, for_us) => {
                        let mut leases = vec![(key, for_us)];
                        while let Some(Errand::Lease(key, for_us)) =
                            rest.next_if(|next| matches!(next, Errand::Lease(..)))
                        {
                            leases.push((key, for_us));
                        }
                        self.lease(leases).await;
                    }
                    Errand::Release(key) => {
                        let mut keys = vec![key];
                        while let Some(Errand::Release(key)) = rest.next_if(|next| matches!(next, Errand::Release(_))) {
                            keys.push(key);
                        }
                        self.release(keys).await;
                    }
                }
            }
        }
    }

    async fn read(&self, keys: Vec<Key>) {
        let names: Vec<Vec<u8>> = keys.iter().map(|key| under(&self.entries, key)).collect();
        let since = micros(&*self.clock);
        let Ok(found) = self.shared.read(&names, ERRAND_MAX).await else {
            return keys.into_iter().for_each(|key| self.say(Said::Failed(key)));
        };
        let at = moment(&*self.clock);
        self.meters.shared.took(at.elapsed.saturating_sub(since));
        for (key, cached) in keys.into_iter().zip(found) {
            let entry = match cached {
                Cached::Bytes(bytes) => Entry::decode(&key, &bytes, at),
                Cached::Missing | Cached::Unusable => None,
            };
            self.say(Said::Read(key, entry));
        }
    }

    async fn write(&self, entries: Vec<(Key, Entry)>) {
        let at = moment(&*self.clock);
        let mut encoded = Vec::with_capacity(entries.len());
        for (key, entry) in &entries {
            let left = entry.stale_until.saturating_sub_unsigned(at.elapsed);
            if let Ok(left @ 1..) = u64::try_from(left) {
                let mut bytes = Vec::new();
                entry.encode(key, at, &mut bytes);
                encoded.push((under(&self.entries, key), bytes, Duration::from_micros(left)));
            }
        }
        let lent: Vec<(&[u8], &[u8], Duration)> =
            encoded.iter().map(|(name, bytes, life)| (&name[..], &bytes[..], *life)).collect();
        if !lent.is_empty() && self.shared.write(&lent, ERRAND_MAX).await.is_err() {
            entries.into_iter().for_each(|(key, _)| self.say(Said::Failed(key)));
        }
    }

    async fn lease(&self, leases: Vec<(Key, u64)>) {
        let granted = join_all(leases.iter().map(async |(key, for_us)| {
            let (name, life) = (under(&self.leases, key), Duration::from_micros(*for_us));
            self.shared.lease(&name, &self.holder, life, ERRAND_MAX).await
        }))
        .await;
        for ((key, _), granted) in leases.into_iter().zip(granted) {
            self.say(match granted {
                Ok(true) => Said::Lease(key, Lease::Granted),
                Ok(false) => Said::Lease(key, Lease::Taken),
                Err(_) => Said::Failed(key),
            });
        }
    }

    async fn release(&self, keys: Vec<Key>) {
        let names: Vec<Vec<u8>> = keys.iter().map(|key| under(&self.leases, key)).collect();
        // What cannot be given back runs out.
        join_all(names.iter().map(|name| self.shared.release(name, &self.holder, ERRAND_MAX))).await;
    }

    fn say(&self, said: Said) {
        // A service that stops does not listen any more.
        let _ = self.say.send(said);
    }
}

fn under(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    [prefix, key].concat()
}
