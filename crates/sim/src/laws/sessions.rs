//! The laws as they hold of sessions. Whose event it is, enrich said, and may have learned from another event (L3); what
//! is told of sessions comes in order and once (L2, L11) while events flow, and is what the model has in the end (L6, L8).

use event::Code;
use hashbrown::{HashMap, HashSet};

use super::{Finding, Law, Violation, World, found, place};
use crate::outputs::{Row, Topic};
use crate::sessions::{Cut, compare, cut};
use crate::told::{Ends, Told};

/// What the program was told of sessions, in microseconds: the gap is all their rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRules {
    pub gap_us: i64,
    pub allowed_lateness_us: i64,
}

/// What must hold at any time.
pub fn at_any_time(world: &World<'_>, rules: SessionRules) -> Vec<Violation> {
    let mut all = l2_told_once(world);
    all.extend(l3_links_were_seen(world, rules));
    all.extend(l4_poison_is_set_aside(world));
    all.extend(l8_late_is_late(world, rules));
    all
}

/// L2 and L11. What is told of a visitor's session follows from what was told before, and no position of the input speaks
/// again after a later one has spoken.
pub fn l2_told_once(world: &World<'_>) -> Vec<Violation> {
    let mut wrong = Finding::new(
        Law::L2,
        "what is told of a session does not follow from what was told before",
        "the sessions stage after a restart: is a replay sent, or state older than its position?",
    );
    let mut twice = Finding::new(
        Law::L2,
        "one event is told of twice in one output",
        "the sessions stage after a restart: are outputs and position in one commit, and does a replay stay silent?",
    );
    let mut backwards = Finding::new(
        Law::L11,
        "outputs of an earlier position stand behind those of a later one, or in another partition",
        "the sessions stage: one partition in order, and nothing sent again",
    );
    let mut ends = Ends::default();
    for (name, topic) in [("sessions", &world.outputs.sessions), ("late", &world.outputs.late)] {
        for (partition, rows) in (0..).zip(&topic.rows) {
            let mut spoken = HashSet::new();
            let mut last = 0;
            for row in rows {
                let at = || format!("{} {:?}", place(name, partition, row), row.told);
                match row.source {
                    Some((from, offset)) if from == partition && offset >= last && row.placed => last = offset,
                    _ => backwards.add(|| format!("{}, from {:?}, after {last}", at(), row.source)),
                }
                let Some(told) = &row.told else { continue };
                // An event opens or extends one session, or is late: it says that at most once.
                if let (Told::Update { .. } | Told::Late { .. }, Some(source)) = (told, row.source)
                    && !spoken.insert(source)
                {
                    twice.add(at);
                }
                if let Err(why) = ends.hear(row.key, told) {
                    wrong.add(|| format!("{}: {why}", at()));
                }
            }
        }
    }
    found([wrong, twice, backwards])
}

/// L3. The visitor in an event is its key; where it was found by the user, `raw` has an event of that visitor that names
/// the user, at most the gap before.
pub fn l3_links_were_seen(world: &World<'_>, rules: SessionRules) -> Vec<Violation> {
    let mut other = Finding::new(
        Law::L3,
        "the visitor in the event is not the one it is stored under",
        "enrich: one visitor is written, and is the key",
    );
    let mut unseen = Finding::new(
        Law::L3,
        "linked to a visitor that no event within the gap names together with the user",
        "the links: who was seen when; is anything older than the gap, or later than the event?",
    );
    let mut seen: HashMap<(u64, u64), Vec<i64>> = HashMap::new();
    for (_, row) in world.outputs.enriched.iter().filter(|(_, r)| r.linked) {
        seen.entry((row.user.unwrap_or(0), row.key)).or_default();
    }
    for (_, row) in world.outputs.raw.iter() {
        if let (Some(user), Some(time), Some(received)) = (row.user, row.time, row.received)
            && let Some(times) = seen.get_mut(&(user, row.key))
        {
            times.push(time.min(received).0);
        }
    }
    seen.values_mut().for_each(|times| times.sort_unstable());
    for (partition, row) in world.outputs.enriched.iter() {
        if row.visitor != Some(row.key) {
            other.add(|| place("enriched", partition, row));
        }
        if row.linked {
            let at = row.time.map_or(i64::MIN, |t| t.0);
            let times = seen.get(&(row.user.unwrap_or(0), row.key)).map_or(&[][..], Vec::as_slice);
            let before = times.partition_point(|t| *t <= at);
            if before == 0 || at - times[before - 1] > rules.gap_us {
                unseen.add(|| format!("{}, user {:?}", place("enriched", partition, row), row.user));
            }
        }
    }
    found([other, unseen])
}

/// L2 and L4. Every event that the stage fails on has one dead letter, and is told of nowhere else; no other event has one.
pub fn l4_poison_is_set_aside(world: &World<'_>) -> Vec<Violation> {
    let mut missing = Finding::new(
        Law::L4,
        "the sessions stage fails on this event, and dlq has no letter of it",
        "the sessions stage: was the position moved past a failed record whose letter was not committed?",
    );
    let mut twice = Finding::new(
        Law::L2,
        "an event was set aside twice",
        "the sessions stage after a restart: are set-aside positions kept, and does a replay stay silent?",
    );
    let mut wrongly = Finding::new(
        Law::L4,
        "a dead letter of the sessions stage is of no event that it fails on, or has not its bytes",
        "the sessions stage: which record of a batch is the guilty one?",
    );
    let mut told = Finding::new(
        Law::L4,
        "an event that the sessions stage fails on is told of",
        "the sessions stage: are the effects of a batch dropped with the panic in it?",
    );
    let enriched = &world.outputs.enriched;
    let is_poison = |at| event_at(enriched, at).is_some_and(|event| world.is_poison(event));
    let mut set_aside = HashSet::new();
    for (partition, row) in world.outputs.dlq.iter().filter(|(_, r)| r.from_enriched) {
        let event = row.source.and_then(|at| event_at(enriched, at));
        if event.is_none_or(|e| !world.is_poison(e) || e.bytes != row.bytes) || row.code != Some(Code::OperatorPanic) {
            wrongly.add(|| format!("{}, of {:?}", place("dlq", partition, row), row.source));
        } else if !set_aside.insert(row.source) {
            twice.add(|| format!("{}, of {:?}", place("dlq", partition, row), row.source));
        }
    }
    for (partition, row) in enriched.iter().filter(|(_, r)| world.is_poison(r)) {
        if !set_aside.contains(&Some((partition, row.offset))) {
            missing.add(|| place("enriched", partition, row));
        }
    }
    for (name, topic) in [("sessions", &world.outputs.sessions), ("late", &world.outputs.late)] {
        for (partition, row) in topic.iter() {
            // A final may stand at any event that moved the watermark.
            let is_own = matches!(row.told, Some(Told::Update { .. } | Told::Late { .. }));
            if is_own && row.source.is_some_and(is_poison) {
                told.add(|| place(name, partition, row));
            }
        }
    }
    found([missing, twice, wrongly, told])
}

/// L8. An event in `late` is in `enriched`, is told of once, and was too late for any session.
pub fn l8_late_is_late(world: &World<'_>, rules: SessionRules) -> Vec<Violation> {
    let mut unknown = Finding::new(
        Law::L8,
        "a late event is not in enriched, or is another one there",
        "the sessions stage: does it name the position it read?",
    );
    let mut timely = Finding::new(
        Law::L8,
        "in late, and not late",
        "the sessions stage: time + gap + allowed lateness against the watermark",
    );
    let mut twice = Finding::new(Law::L2, "an event is in late twice", "the sessions stage after a restart");
    let mut named = HashSet::new();
    for (partition, row) in world.outputs.late.iter() {
        let Some(Told::Late { at, time, watermark }) = row.told else { continue };
        let event = event_at(&world.outputs.enriched, at);
        if event.is_none_or(|e| e.key != row.key || e.counts_at() != Some(time)) || row.source != Some(at) {
            unknown.add(|| format!("{}: enriched/{}@{}", place("late", partition, row), at.0, at.1));
        }
        if time.0 + rules.gap_us + rules.allowed_lateness_us > watermark.0 {
            timely.add(|| format!("{}: {time} at {watermark}", place("late", partition, row)));
        }
        if !named.insert(at) {
            twice.add(|| place("late", partition, row));
        }
    }
    found([unknown, timely, twice])
}

fn event_at(enriched: &Topic, (partition, offset): (u32, u64)) -> Option<&Row> {
    let rows = enriched.rows.get(partition as usize)?;
    rows.binary_search_by_key(&offset, |r| r.offset).ok().map(|n| &rows[n])
}

/// L6 and L8. Once every session is over: those that were told are those of the model, made of all events that did not go
/// to `late` and that the stage does not fail on. So no event is in two sessions or in none.
pub fn l8_sessions_equal_the_model(world: &World<'_>, rules: SessionRules) -> Vec<Violation> {
    let (model, told) = (model(world, rules), ends(world).sessions());
    let mut missing = Finding::new(
        Law::L8,
        "the model has this session, and it was not told, or began at another time",
        "the sessions stage: lost state or timers, a late event that went nowhere, a watermark that stands still",
    );
    let mut extra = Finding::new(
        Law::L8,
        "this session was told, and the model does not have it",
        "the sessions stage: sessions that should have been one, state older than its position",
    );
    let mut end = Finding::new(Law::L8, "a session ends at another time than the model's", "the sessions stage");
    let mut count = Finding::new(
        Law::L6,
        "a session has another count of events than the model's",
        "the sessions stage: an event taken twice, or by no session, around a restart or a merge",
    );
    let differences = compare(&model, &told);
    differences.missing.iter().for_each(|s| missing.add(|| show(s)));
    differences.extra.iter().for_each(|s| extra.add(|| show(s)));
    for (visitor, model, told) in &differences.other {
        let finding = if model.end == told.end { &mut count } else { &mut end };
        finding.add(|| format!("{}; told: end {}, {} events", show(&(*visitor, *model)), told.end, told.events));
    }
    found([missing, extra, end, count])
}

/// L7 as the sessions stage says it of itself: all of `enriched` was processed or set aside.
pub fn l7_sessions_sum(world: &World<'_>, processed: u64, quarantined: u64) -> Vec<Violation> {
    let mut sums = Finding::new(
        Law::L7,
        "enriched = processed + quarantined does not hold of the sessions stage",
        "its counts beside the committed position, and what a snapshot says of them",
    );
    let enriched = world.outputs.enriched.len() as u64;
    if enriched != processed + quarantined {
        sums.add(|| format!("{enriched} in enriched; {processed} processed + {quarantined} quarantined"));
    }
    found([sums])
}

/// The model's sessions.
pub fn model(world: &World<'_>, rules: SessionRules) -> Vec<(u64, Cut)> {
    let late = world.outputs.late.iter().filter_map(|(_, r)| match r.told {
        Some(Told::Late { at, .. }) => Some(at),
        _ => None,
    });
    let late: HashSet<(u32, u64)> = late.collect();
    let taken = world.outputs.enriched.iter();
    let taken = taken.filter(|(partition, r)| !late.contains(&(*partition, r.offset)) && !world.is_poison(r));
    let mut events: Vec<_> = taken.filter_map(|(_, r)| Some((r.key, r.counts_at()?))).collect();
    cut(&mut events, rules.gap_us)
}

/// What was told of sessions.
pub fn ends(world: &World<'_>) -> Ends {
    let mut ends = Ends::default();
    for (_, row) in world.outputs.sessions.iter() {
        // What does not follow is L2's.
        let _ = row.told.map(|told| ends.hear(row.key, &told));
    }
    ends
}

fn show((visitor, cut): &(u64, Cut)) -> String {
    format!("visitor {visitor:016x}, {} to {}, {} events", cut.start, cut.end, cut.events)
}

#[cfg(test)]
mod tests {
    use event::Micros;

    use ouzel_gen::EventId;

    use super::*;
    use crate::ledger::Ledger;
    use crate::model::Model;
    use crate::outputs::Outputs;

    const RULES: SessionRules = SessionRules { gap_us: 10, allowed_lateness_us: 5 };

    fn row(offset: u64, key: u64, at: i64) -> Row {
        let time = Some(Micros(at));
        Row {
            offset,
            id: None,
            bytes: offset,
            payload: 0,
            key,
            source: None,
            from_enriched: false,
            revision: 0,
            code: None,
            future: false,
            placed: true,
            time,
            received: time,
            user: None,
            visitor: Some(key),
            linked: false,
            told: None,
        }
    }

    fn told(offset: u64, key: u64, source: u64, told: Told) -> Row {
        Row { source: Some((0, source)), told: Some(told), ..row(offset, key, 0) }
    }

    fn ended(offset: u64, key: u64, session: u128, (start, end, events): (i64, i64, u32)) -> Row {
        let cut = Cut { start: Micros(start), end: Micros(end), events };
        told(offset, key, 9, Told::Final { session, revision: 0, cut })
    }

    const POISON: EventId = EventId { run: 1, number: 6 };

    /// A dead letter of the event at this offset of `enriched`.
    fn letter(offset: u64, source: u64) -> Row {
        let code = Some(Code::OperatorPanic);
        Row { source: Some((0, source)), from_enriched: true, code, bytes: source, ..row(offset, 1, 0) }
    }

    /// Visitor 1 has sessions of two events and of one, visitor 2 one of an event that was linked; an event was late, and
    /// one was set aside.
    fn good() -> Outputs {
        let topic = |rows| Topic { next: vec![0], rows: vec![rows] };
        let linked = Row { user: Some(7), linked: true, ..row(4, 2, 58) };
        let late = Told::Late { at: (0, 5), time: Micros(20), watermark: Micros(35) };
        let poison = Row { id: Some(POISON), ..row(6, 1, 45) };
        Outputs {
            raw: topic(vec![Row { user: Some(7), ..row(0, 2, 50) }]),
            enriched: topic(vec![row(1, 1, 30), row(2, 1, 40), row(3, 1, 51), linked, row(5, 1, 20), poison]),
            dlq: topic(vec![letter(0, 6)]),
            sessions: topic(vec![
                told(0, 1, 1, Told::Update { session: 11 }),
                ended(1, 1, 11, (30, 40, 2)),
                ended(2, 1, 12, (51, 51, 1)),
                ended(3, 2, 21, (58, 58, 1)),
            ]),
            late: topic(vec![told(0, 1, 5, late)]),
        }
    }

    fn broken(outputs: &Outputs) -> Vec<Law> {
        let mut ledger = Ledger::in_memory();
        ledger.poison.insert(POISON);
        let world = World { ledger: &ledger, outputs, model: &Model::default(), sessions: Some(RULES) };
        let mut all = at_any_time(&world, RULES);
        all.extend(l8_sessions_equal_the_model(&world, RULES));
        let mut laws: Vec<Law> = all.into_iter().map(|v| v.law).collect();
        laws.dedup();
        laws
    }

    type Break = fn(&mut Outputs);

    #[test]
    fn what_breaks_a_law_is_found_by_it() {
        assert_eq!(broken(&good()), []);
        let breaks: [(&str, Break, Law); 20] = [
            ("a final is lost", |o| o.sessions.rows[0].retain(|r| r.offset != 2), Law::L8),
            ("a session too many", |o| o.sessions.rows[0].push(ended(4, 9, 91, (1, 1, 1))), Law::L8),
            ("it ends later", |o| o.sessions.rows[0][2] = ended(2, 1, 12, (51, 52, 1)), Law::L8),
            ("an event too many", |o| o.sessions.rows[0][1] = ended(1, 1, 11, (30, 40, 3)), Law::L6),
            ("two that should be one", |o| o.enriched.rows[0][2].time = Some(Micros(50)), Law::L8),
            ("a revision twice", |o| o.sessions.rows[0].push(ended(4, 1, 12, (51, 51, 1))), Law::L2),
            ("an update twice", |o| o.sessions.rows[0].insert(1, told(1, 1, 1, Told::Update { session: 11 })), Law::L2),
            ("a replay", |o| o.sessions.rows[0].push(told(4, 1, 3, Told::Update { session: 12 })), Law::L11),
            ("of another partition", |o| o.sessions.rows[0][3].source = Some((1, 9)), Law::L11),
            ("late is forgotten", |o| o.late.rows[0].clear(), Law::L8),
            ("late and not there", |o| o.enriched.rows[0].truncate(4), Law::L8),
            (
                "late in time",
                |o| o.late.rows[0][0].told = Some(Told::Late { at: (0, 5), time: Micros(20), watermark: Micros(34) }),
                Law::L8,
            ),
            ("linked to a stranger", |o| o.raw.rows[0][0].user = Some(8), Law::L3),
            ("linked too long after", |o| o.raw.rows[0][0].time = Some(Micros(47)), Law::L3),
            ("no letter", |o| o.dlq.rows[0].clear(), Law::L4),
            ("two letters", |o| o.dlq.rows[0].push(letter(1, 6)), Law::L2),
            ("a letter of a neighbour", |o| o.dlq.rows[0].push(letter(1, 5)), Law::L4),
            ("a letter with other bytes", |o| o.dlq.rows[0][0].bytes = 7, Law::L4),
            (
                "set aside and told of",
                |o| o.sessions.rows[0].push(told(4, 1, 6, Told::Update { session: 11 })),
                Law::L4,
            ),
            ("not an event that it fails on", |o| o.enriched.rows[0][5].id = None, Law::L8),
        ];
        for (what, break_it, law) in breaks {
            let mut outputs = good();
            break_it(&mut outputs);
            let laws = broken(&outputs);
            assert!(laws.contains(&law), "{what}: {laws:?}");
        }
    }

    #[test]
    fn the_stage_counts_all_of_enriched() {
        let (outputs, ledger) = (good(), Ledger::in_memory());
        let world = World { ledger: &ledger, outputs: &outputs, model: &Model::default(), sessions: Some(RULES) };
        assert_eq!(l7_sessions_sum(&world, 5, 1), []);
        assert_eq!(l7_sessions_sum(&world, 5, 0)[0].law, Law::L7);
    }
}
