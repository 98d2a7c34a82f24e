//! The task that owns a desk: tells it what happened, and carries out what it says.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ask::{Action, AskId, CallId, Counters, Desk, DeskConfig, Entry, FailureKind, Key};
use hashbrown::HashMap;
use seam::Clock;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::sleep;

use super::courier::{Courier, Errand, Said};
use super::hearing::Promise;
use super::local::Local;
use super::meter::{Failed, Meters};
use super::micros;
use super::reply::{self, Reply};
use crate::asked::{Origin, Tier, Told};
use crate::remote::Remote;

/// Messages that are taken at once: what they ask for goes in bulk, and a burst does not keep answers waiting for long.
const MESSAGES_MAX: usize = 256;

pub(super) enum Message {
    Ask {
        asked: Vec<Asked>,
        at: u64,
        deadline: u64,
    },
    /// These asks' asker has gone.
    Cancel(Range<u64>),
    Refresh {
        key: Key,
        entry: Entry,
    },
    Stop,
}

pub(super) struct Asked {
    pub id: AskId,
    pub key: Key,
    pub stale: Option<Entry>,
    pub promise: Promise,
}

/// An attempt that has ended.
struct Ended {
    call: CallId,
    attempt: u32,
    reply: Reply,
}

pub(super) struct Clerk {
    desk: Desk,
    clock: Arc<dyn Clock>,
    local: Arc<Local>,
    remote: Arc<dyn Remote>,
    courier: Option<Courier>,
    /// Who waits, and since when.
    waiting: HashMap<AskId, (Promise, u64)>,
    calls: JoinSet<Ended>,
    /// The attempts that are open.
    open: BTreeMap<CallId, (u32, AbortHandle)>,
    wake_at: Option<u64>,
    counters: Arc<Mutex<Counters>>,
    meters: Arc<Meters>,
}

impl Clerk {
    pub fn new(
        config: DeskConfig,
        clock: Arc<dyn Clock>,
        local: Arc<Local>,
        remote: Arc<dyn Remote>,
        courier: Option<Courier>,
        counters: Arc<Mutex<Counters>>,
        meters: Arc<Meters>,
    ) -> Clerk {
        Clerk {
            desk: Desk::new(config),
            clock,
            local,
            remote,
            courier,
            waiting: HashMap::new(),
            calls: JoinSet::new(),
            open: BTreeMap::new(),
            wake_at: None,
            counters,
            meters,
        }
    }

    /// Until it is told to stop, or nobody is left who could ask.
    pub async fn run(mut self, mut incoming: UnboundedReceiver<Message>) {
        let mut messages = Vec::with_capacity(MESSAGES_MAX);
        let timer = sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut goes_on = true;
        while goes_on {
            let armed = self.wake_at;
            tokio::select! {
                count = incoming.recv_many(&mut messages, MESSAGES_MAX) => {
                    if count == 0 {
                        break;
                    }
                    for message in messages.drain(..) {
                        goes_on &= !matches!(message, Message::Stop);
                        self.take(message);
                    }
                }
                Some(ended) = self.calls.join_next() => self.ended(ended),
                Some(said) = Courier::said(&mut self.courier) => self.said(said),
                () = &mut timer, if self.wake_at.is_some() => {
                    // It is told the time that it named: the two clocks may differ by a little.
                    let due = self.wake_at.take().unwrap_or(0);
                    self.desk.tick(self.now().max(due));
                }
            }
            self.act();
            if let Some(at) = self.wake_at
                && self.wake_at != armed
            {
                timer.set(sleep(Duration::from_micros(at.saturating_sub(self.now()))));
            }
        }
        self.stop().await;
        // This is what whoever told it to stop waits for.
        incoming.close();
        // What came meanwhile is dropped, which settles it.
        while incoming.recv().await.is_some() {}
    }

    fn now(&self) -> u64 {
        micros(&*self.clock)
    }

    fn take(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Ask { asked, at, deadline } => {
                for Asked { id, key, stale, promise } in asked {
                    self.waiting.insert(id, (promise, at));
                    self.desk.ask(now, id, key, deadline, stale);
                }
            }
            Message::Cancel(ids) => {
                for id in ids.map(AskId) {
                    if let Some((promise, _)) = self.waiting.remove(&id) {
                        promise.forget();
                        self.desk.cancel(now, id);
                    }
                }
            }
            Message::Refresh { key, entry } => self.desk.refresh(now, key, &entry),
            Message::Stop => {}
        }
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        let now = self.now();
        match ended {
            Ok(Ended { call, attempt, reply }) => {
                if self.open.get(&call).is_some_and(|(open, _)| *open == attempt) {
                    self.open.remove(&call);
                }
                match reply {
                    Ok(answers) => self.desk.answered(now, call, attempt, answers),
                    Err(failure) => self.desk.failed(now, call, attempt, failure),
                }
            }
            // A client that panicked has lost its connection, too.
            Err(error) => {
                let open = self.open.iter().find(|(_, (_, handle))| handle.id() == error.id());
                if let Some((call, attempt)) = open.map(|(call, (attempt, _))| (*call, *attempt)) {
                    self.open.remove(&call);
                    self.desk.failed(now, call, attempt, FailureKind::Connection.into());
                }
            }
        }
    }

    fn said(&mut self, said: Said) {
        let now = self.now();
        match said {
            Said::Read(key, entry) => self.desk.shared(now, &key, entry),
            Said::Lease(key, lease) => self.desk.lease(now, &key, lease),
            Said::Failed(key) => self.desk.shared_failed(now, &key),
        }
    }

    /// Carries out what the desk says, in its order.
    fn act(&mut self) {
        // First, so that whoever hears of something finds it counted.
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = self.desk.counters();
        while let Some(action) = self.desk.next_action() {
            match action {
                Action::Settle { ask, outcome, origin } => {
                    if let Some((promise, at)) = self.waiting.remove(&ask) {
                        let now = self.now();
                        self.meters.asks.took(now.saturating_sub(at));
                        let origin =
                            origin.map(|origin| Origin { tier: tier(origin.tier), age_us: origin.age_us(now) });
                        promise.settle(Told { status: outcome.status(), json: outcome.json(), origin });
                    }
                }
                Action::Call { call, attempt, keys, give_up_at } => self.call(call, attempt, keys, give_up_at),
                Action::Drop { call } => {
                    if let Some((_, handle)) = self.open.remove(&call) {
                        handle.abort();
                    }
                }
                Action::Remember { key, entry } => self.local.put(self.now(), &key, &entry),
                Action::ReadShared { keys } => self.send(Errand::Read(keys)),
                Action::WriteShared { key, entry } => self.send(Errand::Write(key, entry)),
                Action::Lease { key, for_us } => self.send(Errand::Lease(key, for_us)),
                Action::Release { key } => self.send(Errand::Release(key)),
                Action::WakeAt(at) => self.wake_at = Some(at),
            }
        }
    }

    fn call(&mut self, call: CallId, attempt: u32, keys: Vec<Key>, give_up_at: u64) {
        let since = self.now();
        let give_up_after = Duration::from_micros(give_up_at.saturating_sub(since));
        let (remote, clock, meters) = (Arc::clone(&self.remote), Arc::clone(&self.clock), Arc::clone(&self.meters));
        let handle = self.calls.spawn(async move {
            let failed = |message: &str| meters.failed(Failed { at: micros(&*clock), message: message.to_owned() });
            let reply = reply::call(&*remote, keys, give_up_after, failed).await;
            meters.source.took(micros(&*clock).saturating_sub(since));
            Ended { call, attempt, reply }
        });
        self.open.insert(call, (attempt, handle));
    }

    fn send(&self, errand: Errand) {
        self.courier.as_ref().expect("a desk with a shared tier has one").send(errand);
    }

    /// Settles all, and gives the leases back, so that nobody waits for calls that are not made.
    async fn stop(mut self) {
        let now = self.now();
        let mut ids: Vec<AskId> = self.waiting.drain().map(|(id, _)| id).collect();
        // In their order, not in that of a hash map.
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.desk.cancel(now, id));
        for (call, (attempt, handle)) in std::mem::take(&mut self.open) {
            handle.abort();
            self.desk.failed(now, call, attempt, FailureKind::Connection.into());
        }
        self.act();
        self.calls.abort_all();
        if let Some(courier) = self.courier.take() {
            courier.finish().await;
        }
    }
}

fn tier(tier: ask::Tier) -> Tier {
    match tier {
        ask::Tier::Local => Tier::Local,
        ask::Tier::Shared => Tier::Shared,
        ask::Tier::Source => Tier::Source,
    }
}
