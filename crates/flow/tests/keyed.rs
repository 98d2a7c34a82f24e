//! Keyed state beside a naive model: a map that is cloned at each open commit. Whatever is set, removed, merged, dropped
//! and folded, both hold the same; what a chain of snapshots loads is the state at the begin of its last one.

use std::collections::BTreeMap;

use event::Micros;
use ouzel_flow::Keyed;
use ouzel_flow::keyed::LoadError;

/// xorshift64, so that a failing seed can be run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

type State = BTreeMap<Vec<u8>, (Vec<u8>, Option<Micros>)>;

/// The state now, and what it was when each open commit was opened, oldest first.
#[derive(Default)]
struct Model {
    now: State,
    opened: Vec<State>,
}

impl Model {
    fn due(&self, until: Micros, max: usize) -> Vec<(Micros, Vec<u8>)> {
        let timers = self.now.iter().filter_map(|(key, (_, timer))| Some(((*timer)?, key.clone())));
        let mut due: Vec<_> = timers.filter(|(at, _)| *at <= until).collect();
        due.sort();
        due.truncate(max);
        due
    }
}

/// As [`Keyed::canonical`] says it.
fn canonical(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, (value, _)) in state {
        for part in [key, value] {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(&u32::MAX.to_le_bytes());
    let mut timers: Vec<_> = state.iter().filter_map(|(key, (_, at))| Some((((*at)?).0, key))).collect();
    timers.sort();
    for (at, key) in timers {
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
    }
    out
}

fn time(chance: &mut Chance) -> Micros {
    Micros([i64::MIN, 0, 1, 2, 3, i64::MAX][chance.below(6) as usize])
}

/// Both, kept in step.
#[derive(Default)]
struct Pair {
    keyed: Keyed,
    model: Model,
}

impl Pair {
    fn key(chance: &mut Chance, keys: u64) -> Vec<u8> {
        // Lengths differ, so that the order by key is not the order by length.
        let n = chance.below(keys);
        format!("{}{n}", "k".repeat(1 + (n % 3) as usize)).into_bytes()
    }

    fn write(&mut self, chance: &mut Chance, keys: u64) {
        let key = Pair::key(chance, keys);
        if chance.below(3) == 0 {
            self.keyed.remove(&key);
            self.model.now.remove(&key);
        } else {
            let value = vec![chance.below(256) as u8; chance.below(4) as usize * 3];
            let timer = (chance.below(4) > 0).then(|| time(chance));
            self.keyed.set(&key, value.clone(), timer);
            self.model.now.insert(key, (value, timer));
        }
    }

    fn open(&mut self) {
        self.keyed.open();
        self.model.opened.push(self.model.now.clone());
    }

    fn merge_oldest(&mut self) {
        self.keyed.merge_oldest();
        self.model.opened.remove(0);
    }

    fn drop_all_open(&mut self) {
        self.keyed.drop_all_open();
        if let Some(first) = self.model.opened.drain(..).next() {
            self.model.now = first;
        }
    }

    /// Something that may happen to a state.
    fn step(&mut self, chance: &mut Chance, keys: u64) {
        let open = self.model.opened.len();
        match chance.below(16) {
            0 | 1 if open < 4 => self.open(),
            2 | 3 if open > 0 => self.merge_oldest(),
            4 => self.drop_all_open(),
            5 if open > 0 => {
                self.keyed.drop_newest();
                self.model.now = self.model.opened.pop().expect("one is open");
            }
            6 if open > 1 => {
                self.keyed.fold_newest();
                self.model.opened.pop();
            }
            _ if open > 0 => self.write(chance, keys),
            _ => self.open(),
        }
    }

    fn settle(&mut self, chance: &mut Chance) {
        while self.keyed.open_commits() > 0 {
            if chance.below(3) == 0 { self.drop_all_open() } else { self.merge_oldest() }
        }
    }

    fn check(&mut self, chance: &mut Chance, keys: u64, what: &str) {
        assert_eq!(self.keyed.canonical(), canonical(&self.model.now), "{what}");
        assert_eq!(self.keyed.len(), self.model.now.len(), "{what}");
        assert_eq!(self.keyed.open_commits(), self.model.opened.len(), "{what}");
        let earliest = self.model.now.values().filter_map(|(_, at)| *at).min();
        assert_eq!(self.keyed.earliest_timer(), earliest, "{what}");
        let (until, max) = (time(chance), chance.below(6) as usize);
        assert_eq!(self.keyed.take_due(until, max), self.model.due(until, max), "{what}, due until {until:?}, {max}");
        let key = Pair::key(chance, keys);
        let held = self.model.now.get(&key);
        assert_eq!(self.keyed.value(&key), held.map(|(value, _)| value.as_slice()), "{what}");
        assert_eq!(self.keyed.timer(&key), held.and_then(|(_, timer)| *timer), "{what}");
    }
}

#[test]
fn it_holds_what_the_model_holds() {
    for seed in 1..=400 {
        let mut chance = Chance(seed);
        let keys = [2, 7, 40][chance.below(3) as usize];
        let mut pair = Pair::default();
        for step in 0..300 {
            pair.step(&mut chance, keys);
            pair.check(&mut chance, keys, &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn an_abort_after_every_kth_commit_is_as_if_it_had_never_been() {
    for k in 1..=7 {
        let mut chance = Chance(k);
        let (mut pair, mut straight) = (Pair::default(), Keyed::default());
        for commit in 1..=200 {
            let aborted = commit % (k + 1) == 0;
            pair.open();
            if !aborted {
                straight.open();
            }
            for _ in 0..chance.below(9) {
                let seed = chance.0;
                pair.write(&mut chance, 12);
                if !aborted {
                    let mut alone = Pair { keyed: std::mem::take(&mut straight), model: Model::default() };
                    alone.write(&mut Chance(seed), 12);
                    straight = alone.keyed;
                }
            }
            if aborted {
                pair.drop_all_open();
            } else {
                pair.merge_oldest();
                straight.merge_oldest();
            }
            assert_eq!(pair.keyed.canonical(), straight.canonical(), "k {k}, commit {commit}");
            assert_eq!(pair.keyed.bytes(), straight.bytes(), "k {k}, commit {commit}");
        }
    }
}

#[test]
fn the_timers_of_one_time_come_a_few_at_a_time_in_the_order_of_their_keys() {
    let mut keyed = Keyed::default();
    keyed.open();
    for n in (0..500u32).rev() {
        keyed.set(&n.to_be_bytes(), vec![1], Some(Micros(7)));
    }
    let mut order = Vec::new();
    while let Some((at, key)) = keyed.take_due(Micros(7), 3).first().cloned() {
        order.push((at, u32::from_be_bytes(key[..].try_into().expect("four bytes"))));
        match order.len() % 3 {
            0 => keyed.remove(&key),
            1 => keyed.set(&key, vec![2], None),
            _ => keyed.set(&key, vec![2], Some(Micros(8))),
        }
        // A timer that is set for the same time meanwhile takes its place among them.
        if order.len() == 100 {
            keyed.set(&50u32.to_be_bytes(), vec![3], Some(Micros(7)));
        }
    }
    let expected: Vec<u32> = (0..100).chain([50]).chain(100..500).collect();
    assert_eq!(order, expected.into_iter().map(|n| (Micros(7), n)).collect::<Vec<_>>());
    keyed.drop_all_open();
    assert_eq!((keyed.len(), keyed.earliest_timer(), keyed.take_due(Micros(9), 9)), (0, None, vec![]));
}

/// What a chain of snapshots holds, base first.
fn loaded(chain: &[Vec<u8>]) -> Keyed {
    let mut keyed = Keyed::default();
    for entries in chain {
        keyed.load(entries).expect("it was written whole");
    }
    keyed
}

#[test]
fn a_chain_of_snapshots_is_the_state_at_the_begin_of_its_last() {
    let mut taken = 0;
    for seed in 1..=300 {
        let mut chance = Chance(seed);
        let keys = [3, 30, 200][chance.below(3) as usize];
        let mut pair = Pair::default();
        let mut chain: Vec<Vec<u8>> = Vec::new();
        for round in 0..20 {
            // Now and then the state is another process's, which loaded it and goes on with the chain.
            if !chain.is_empty() && chance.below(5) == 0 {
                pair = Pair { keyed: loaded(&chain), model: Model::default() };
                pair.model.now = decoded(&chain);
                assert!(!pair.keyed.needs_full_snapshot());
            }
            for _ in 0..chance.below(2 * keys) {
                pair.step(&mut chance, keys);
            }
            if pair.keyed.open_commits() > 0 {
                assert!(!pair.keyed.begin_snapshot(true), "a commit is open");
            }
            pair.settle(&mut chance);
            let full = pair.keyed.needs_full_snapshot() || chance.below(4) == 0;
            let at_begin = pair.keyed.canonical();
            assert!(pair.keyed.begin_snapshot(full));
            assert!(!pair.keyed.begin_snapshot(full), "one is running");
            let mut entries = Vec::new();
            let abandoned = chance.below(5) == 0;
            let slice = [1, 60, 400][chance.below(3) as usize];
            let done = loop {
                if pair.keyed.snapshot_slice(slice, &mut entries) {
                    break true;
                }
                if abandoned && chance.below(4) == 0 {
                    break false;
                }
                for _ in 0..chance.below(12) {
                    pair.step(&mut chance, keys);
                }
            };
            if !done {
                pair.keyed.abandon_snapshot();
                continue;
            }
            if full {
                chain.clear();
            }
            chain.push(entries);
            let what = format!("seed {seed}, round {round}, full {full}, chain of {}", chain.len());
            assert_eq!(loaded(&chain).canonical(), at_begin, "{what}");
            assert_eq!(pair.keyed.canonical(), canonical(&pair.model.now), "{what}");
            taken += 1;
        }
    }
    assert!(taken > 3000, "{taken} snapshots");
}

/// A chain's entries, read by the form that `snapshot.rs` gives and nothing else.
fn decoded(chain: &[Vec<u8>]) -> State {
    let mut state = State::new();
    for entries in chain {
        let mut rest = &entries[..];
        while let [flags, more @ ..] = rest {
            let len = |at: usize| u32::from_le_bytes(more[at..at + 4].try_into().expect("four bytes")) as usize;
            let (key_len, value_len) = (len(0), len(4));
            let timer_len = if flags & 2 != 0 { 8 } else { 0 };
            let timer = more[8..8 + timer_len].try_into().ok().map(|at| Micros(i64::from_le_bytes(at)));
            let key = &more[8 + timer_len..][..key_len];
            let value = &more[8 + timer_len + key_len..][..value_len];
            rest = &more[8 + timer_len + key_len + value_len..];
            if flags & 1 != 0 {
                state.remove(key);
            } else {
                state.insert(key.to_vec(), (value.to_vec(), timer));
            }
        }
    }
    state
}

#[test]
fn an_increment_holds_what_changed_and_no_more() {
    let mut keyed = Keyed::default();
    keyed.open();
    for n in 0..1000u32 {
        keyed.set(&n.to_be_bytes(), vec![0; 100], None);
    }
    keyed.merge_oldest();
    assert!(!keyed.begin_snapshot(false) && keyed.begin_snapshot(true), "there is none that it could be added to");
    let (mut base, mut slices) = (Vec::new(), 1);
    while !keyed.snapshot_slice(1000, &mut base) {
        slices += 1;
    }
    assert_eq!(base.len(), 1000 * (9 + 4 + 100));
    assert!((100..200).contains(&slices), "{slices} slices");
    keyed.open();
    keyed.set(&1u32.to_be_bytes(), vec![1; 100], Some(Micros(5)));
    keyed.remove(&2u32.to_be_bytes());
    keyed.merge_oldest();
    assert!(keyed.begin_snapshot(false));
    let mut increment = Vec::new();
    assert!(keyed.snapshot_slice(1 << 20, &mut increment));
    assert_eq!(increment.len(), (9 + 8 + 4 + 100) + (9 + 4));
    assert!(keyed.begin_snapshot(false) && keyed.snapshot_slice(1 << 20, &mut increment));
    assert_eq!(increment.len(), (9 + 8 + 4 + 100) + (9 + 4), "nothing has changed since");
    let again = loaded(&[base.clone(), increment]);
    assert_eq!(again.canonical(), keyed.canonical());
    assert_eq!(again.bytes(), keyed.bytes());
}

#[test]
fn what_was_given_out_is_not_given_again_when_it_changes() {
    for full in [true, false] {
        let mut keyed = Keyed::default();
        assert!(keyed.begin_snapshot(true) && keyed.snapshot_slice(1, &mut Vec::new()));
        let write = |keyed: &mut Keyed, value: u8| {
            keyed.open();
            for n in 0..10u32 {
                keyed.set(&n.to_be_bytes(), vec![value; 100], None);
            }
            keyed.merge_oldest();
        };
        write(&mut keyed, 1);
        assert!(keyed.begin_snapshot(full));
        let mut entries = Vec::new();
        assert!(!keyed.snapshot_slice(300, &mut entries));
        write(&mut keyed, 2);
        assert!(keyed.snapshot_slice(1 << 20, &mut entries));
        assert_eq!(entries.len(), 10 * (9 + 4 + 100), "full: {full}");
    }
}

#[test]
fn removals_without_end_are_not_remembered_without_end() {
    let mut keyed = Keyed::default();
    assert!(keyed.begin_snapshot(true) && keyed.snapshot_slice(1, &mut Vec::new()));
    keyed.open();
    for n in 0..100_000u32 {
        keyed.set(&n.to_be_bytes(), vec![], None);
        keyed.remove(&n.to_be_bytes());
    }
    keyed.merge_oldest();
    assert!(keyed.needs_full_snapshot() && !keyed.begin_snapshot(false));
    assert!(keyed.begin_snapshot(true) && !keyed.needs_full_snapshot());
}

#[test]
fn damaged_entries_are_refused_without_a_panic() {
    let mut keyed = Keyed::default();
    keyed.open();
    for n in 0..20u32 {
        keyed.set(&n.to_be_bytes(), vec![7; n as usize], (n % 2 == 0).then_some(Micros(3)));
    }
    keyed.merge_oldest();
    let mut entries = Vec::new();
    assert!(keyed.begin_snapshot(true) && keyed.snapshot_slice(1 << 20, &mut entries));
    let mut ends = 0;
    for cut in 0..entries.len() {
        ends += usize::from(Keyed::default().load(&entries[..cut]).is_ok());
    }
    assert_eq!(ends, 20, "only between two entries");
    assert_eq!(Keyed::default().load(&[9, 0, 0, 0, 0, 0, 0, 0, 0]), Err(LoadError { at: 0 }));
    let mut chance = Chance(3);
    for _ in 0..2000 {
        let mut damaged = entries.clone();
        let at = chance.below(entries.len() as u64) as usize;
        damaged[at] ^= 1 << chance.below(8);
        let _ = Keyed::default().load(&damaged);
    }
}

#[test]
fn a_key_that_was_removed_leaves_no_empty_key_behind() {
    let mut keyed = Keyed::default();
    keyed.open();
    keyed.set(b"a", vec![1], None);
    assert_eq!(keyed.value(b"a"), Some(&[1][..]));
    keyed.remove(b"a");
    assert_eq!((keyed.value(b""), keyed.value(b"a")), (None, None));
}
