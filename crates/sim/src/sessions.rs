//! The sessions that a visitor's events make, the slow and obvious way: sorted by time, cut where the pause is longer than
//! the gap. Whose event it is, is taken as recorded.

use event::Micros;

/// A session as the model knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cut {
    pub start: Micros,
    pub end: Micros,
    pub events: u32,
}

/// The sessions of these events, each its visitor (by any number) and the time at which it counts. Sorts the events;
/// sessions come by visitor, then by start. `gap_us`: two events exactly so far apart are still in one.
pub fn cut(events: &mut [(u64, Micros)], gap_us: i64) -> Vec<(u64, Cut)> {
    events.sort_unstable();
    let mut sessions: Vec<(u64, Cut)> = Vec::new();
    for &(visitor, at) in &*events {
        match sessions.last_mut() {
            Some((last, cut)) if *last == visitor && at.0 - cut.end.0 <= gap_us => {
                cut.end = at;
                cut.events += 1;
            }
            _ => sessions.push((visitor, Cut { start: at, end: at, events: 1 })),
        }
    }
    sessions
}

/// Where two sorted lists of sessions differ, by (visitor, start).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Differences {
    /// The model has them, and they were not told.
    pub missing: Vec<(u64, Cut)>,
    /// They were told, and the model does not have them.
    pub extra: Vec<(u64, Cut)>,
    /// Of one start with another end or count: as the model has them, and as they were told.
    pub other: Vec<(u64, Cut, Cut)>,
}

impl Differences {
    pub fn is_empty(&self) -> bool {
        *self == Differences::default()
    }
}

/// Compares the model's sessions with those that were told, both sorted.
pub fn compare(model: &[(u64, Cut)], told: &[(u64, Cut)]) -> Differences {
    let mut differences = Differences::default();
    let (mut model, mut told) = (model.iter().peekable(), told.iter().peekable());
    let name = |(visitor, cut): &(u64, Cut)| (*visitor, cut.start);
    loop {
        match (model.peek().map(|s| name(s)), told.peek().map(|s| name(s))) {
            (None, None) => return differences,
            (Some(m), t) if t.is_none_or(|t| m < t) => differences.missing.extend(model.next()),
            (m, Some(t)) if m.is_none_or(|m| t < m) => differences.extra.extend(told.next()),
            _ => {
                if let (Some((visitor, m)), Some((_, t))) = (model.next(), told.next())
                    && m != t
                {
                    differences.other.push((*visitor, *m, *t));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(start: i64, end: i64, events: u32) -> Cut {
        Cut { start: Micros(start), end: Micros(end), events }
    }

    #[test]
    fn events_are_cut_where_the_pause_is_longer_than_the_gap() {
        let mut events = [(2, 7), (1, 30), (1, 0), (1, 10), (1, 19), (2, 7), (1, 41)].map(|(v, at)| (v, Micros(at)));
        let sessions = cut(&mut events, 10);
        assert_eq!(sessions, [(1, of(0, 19, 3)), (1, of(30, 30, 1)), (1, of(41, 41, 1)), (2, of(7, 7, 2))]);
        assert_eq!(cut(&mut [], 10), []);
    }

    #[test]
    fn every_difference_is_named_once() {
        let model = [(1, of(0, 9, 3)), (1, of(30, 31, 2)), (2, of(7, 7, 1)), (3, of(1, 1, 1))];
        let told = [(1, of(0, 9, 3)), (1, of(30, 40, 2)), (1, of(41, 41, 1)), (3, of(1, 1, 1)), (4, of(0, 0, 1))];
        let differences = compare(&model, &told);
        assert_eq!(differences.missing, [(2, of(7, 7, 1))]);
        assert_eq!(differences.extra, [(1, of(41, 41, 1)), (4, of(0, 0, 1))]);
        assert_eq!(differences.other, [(1, of(30, 31, 2), of(30, 40, 2))]);
        assert!(compare(&model, &model).is_empty());
    }
}
