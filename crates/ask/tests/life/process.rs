//! A process of a world, as one that carries out its desk's actions; and what it must not be told to do.

use std::collections::{BTreeMap, BTreeSet};

use ouzel_ask::{Cache, CallId, Desk, DeskConfig, Key, Origin, Planted, Tier};

pub struct Process {
    pub desk: Desk,
    pub cache: Cache,
    /// Which of its lives it is: what was meant for an earlier one does not reach it.
    pub life: u64,
    pub wake_at: Option<u64>,
    /// Calls that were made and not answered, failed or dropped, with attempt and keys.
    pub open: BTreeMap<CallId, (u32, Vec<Key>)>,
    /// Which tier said something of a key, and when the source had been asked for it.
    said: BTreeSet<(Tier, Key, i64)>,
    /// When the first attempt of every call was made.
    began: BTreeMap<CallId, u64>,
    /// The last attempt of every call.
    attempts: BTreeMap<CallId, (u32, Vec<Key>)>,
}

impl Process {
    pub fn new(life: u64, config: DeskConfig, planted: Option<Planted>) -> Process {
        let mut desk = Desk::new(DeskConfig { seed: config.seed ^ life, ..config });
        planted.into_iter().for_each(|bug| desk.plant(bug));
        Process {
            desk,
            cache: Cache::new(0, 10),
            life,
            wake_at: None,
            open: BTreeMap::new(),
            said: BTreeSet::new(),
            began: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// It was told to call.
    pub fn called(
        &mut self,
        now: u64,
        call: CallId,
        attempt: u32,
        keys: &[Key],
        give_up_at: u64,
        bulk: usize,
    ) -> Result<(), String> {
        let rule = |holds: bool, what: &str| match holds {
            true => Ok(()),
            false => Err(format!("{call:?}, attempt {attempt} of {} keys: {what}", keys.len())),
        };
        rule((1..=bulk).contains(&keys.len()), "a call has keys, and no more than a bulk")?;
        rule(give_up_at >= now, "it is to be given up before it is made")?;
        rule(!self.open.contains_key(&call), "it is open already")?;
        rule(keys.iter().all(|key| self.desk.is_on_its_way(key)), "a key of it is not on its way")?;
        let twice = |key: &Key| self.open.values().any(|(_, others)| others.contains(key));
        rule(!keys.iter().any(twice), "a key of it is asked for by another open call")?;
        match self.attempts.get(&call) {
            None => rule(attempt == 0, "a call begins with its first attempt")?,
            Some((last, before)) => {
                rule(attempt == last + 1, "attempts follow one another")?;
                rule(keys.iter().all(|key| before.contains(key)), "a retry asks for what was asked for")?;
            }
        }
        self.began.entry(call).or_insert(now);
        self.attempts.insert(call, (attempt, keys.to_vec()));
        self.open.insert(call, (attempt, keys.to_vec()));
        Ok(())
    }

    /// An answer or a failure of an attempt has come.
    pub fn came(&mut self, call: CallId, attempt: u32) {
        if self.open.get(&call).is_some_and(|(open, _)| *open == attempt) {
            let (_, keys) = self.open.remove(&call).expect("it is open");
            keys.iter().for_each(|key| self.says(Tier::Source, key, self.began[&call] as i64));
        }
    }

    pub fn says(&mut self, tier: Tier, key: &Key, fetched_at: i64) {
        self.said.insert((tier, key.clone(), fetched_at));
    }

    /// Whether that tier said something that old of the key.
    pub fn heard(&self, key: &Key, origin: Origin) -> bool {
        self.said.contains(&(origin.tier, key.clone(), origin.fetched_at))
    }
}
