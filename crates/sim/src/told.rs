//! What is told of sessions and of late events, read from the records of `sessions` and `late`, and what it comes to.

use std::borrow::Cow;

use event::Micros;
use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use crate::sessions::Cut;

/// What one record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// The session goes on.
    Update { session: u128 },
    /// The session is over.
    Final { session: u128, revision: u32, cut: Cut },
    /// The session took in another one.
    Merge { session: u128, absorbed: u128 },
    /// No session takes the event at this partition and offset of `enriched`.
    Late { at: (u32, u64), time: Micros, watermark: Micros },
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(default, borrow)]
    session_id: Cow<'a, str>,
    #[serde(default, borrow)]
    absorbed: Cow<'a, str>,
    #[serde(default, borrow)]
    start: Cow<'a, str>,
    #[serde(default, borrow)]
    end: Cow<'a, str>,
    #[serde(default, borrow)]
    time: Cow<'a, str>,
    #[serde(default, borrow)]
    watermark: Cow<'a, str>,
    #[serde(default)]
    revision: u32,
    #[serde(default)]
    events: u32,
    at: Option<At>,
}

#[derive(Deserialize)]
struct At {
    partition: u32,
    offset: u64,
}

impl Told {
    /// # Errors
    /// What is wrong with the value of the record.
    pub fn of(value: &[u8]) -> Result<Told, String> {
        let v: Value<'_> = serde_json::from_slice(value).map_err(|e| e.to_string())?;
        let id = |text: &str| match text.len() {
            32 => u128::from_str_radix(text, 16).map_err(|e| format!("the id {text:?}: {e}")),
            _ => Err(format!("no id of a session: {text:?}")),
        };
        let time = |text: &str| Micros::parse_rfc3339(text.as_bytes()).ok_or_else(|| format!("no time: {text:?}"));
        match &*v.kind {
            "update" => Ok(Told::Update { session: id(&v.session_id)? }),
            "final" => {
                let cut = Cut { start: time(&v.start)?, end: time(&v.end)?, events: v.events };
                Ok(Told::Final { session: id(&v.session_id)?, revision: v.revision, cut })
            }
            "merge" => Ok(Told::Merge { session: id(&v.session_id)?, absorbed: id(&v.absorbed)? }),
            "late" => {
                let at = v.at.ok_or("a late event without its place")?;
                let (time, watermark) = (time(&v.time)?, time(&v.watermark)?);
                Ok(Told::Late { at: (at.partition, at.offset), time, watermark })
            }
            other => Err(format!("a record of the kind {other:?}")),
        }
    }
}

/// What all that was told comes to: the last final of each session that no merge took back.
#[derive(Clone, Default, Debug)]
pub struct Ends {
    /// The visitor, by the hash of the key; the last final; and its revision.
    finals: HashMap<u128, (u64, Cut, u32)>,
    absorbed: HashSet<u128>,
}

impl Ends {
    /// Takes in a record of `sessions`; those of a visitor in their order. `visitor`: hash of its key.
    ///
    /// # Errors
    /// Why it cannot be said after what was said before.
    pub fn hear(&mut self, visitor: u64, told: &Told) -> Result<(), String> {
        match *told {
            Told::Update { session } if self.absorbed.contains(&session) => {
                Err("an update of a session that was taken in by another".to_owned())
            }
            Told::Update { .. } | Told::Late { .. } => Ok(()),
            Told::Final { session, .. } if self.absorbed.contains(&session) => {
                Err("a final of a session that was taken in by another".to_owned())
            }
            Told::Final { session, revision, cut } => {
                let before = self.finals.insert(session, (visitor, cut, revision));
                let next = before.map_or(0, |(.., r)| r + 1);
                match before {
                    Some((owner, ..)) if owner != visitor => Err("one session of two visitors".to_owned()),
                    _ if revision != next => Err(format!("revision {revision} where {next} is the next")),
                    _ => Ok(()),
                }
            }
            Told::Merge { session, absorbed } => {
                self.finals.remove(&absorbed);
                if session == absorbed {
                    return Err("a session that takes in itself".to_owned());
                }
                let again = !self.absorbed.insert(absorbed) || self.absorbed.contains(&session);
                if again { Err("a merge with a session that was taken in before".to_owned()) } else { Ok(()) }
            }
        }
    }

    /// The sessions by visitor, sorted.
    pub fn sessions(&self) -> Vec<(u64, Cut)> {
        let mut all: Vec<(u64, Cut)> = self.finals.values().map(|(visitor, cut, _)| (*visitor, *cut)).collect();
        all.sort_unstable();
        all
    }

    /// Sessions that others took in.
    pub fn merges(&self) -> usize {
        self.absorbed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(session: u128, revision: u32, end: i64) -> Told {
        Told::Final { session, revision, cut: Cut { start: Micros(1), end: Micros(end), events: 2 } }
    }

    #[test]
    fn the_last_final_counts_and_what_a_merge_took_in_does_not() {
        let mut ends = Ends::default();
        let merge = Told::Merge { session: 1, absorbed: 2 };
        for told in [last(1, 0, 5), last(2, 0, 9), last(1, 1, 6), merge, last(1, 2, 9)] {
            assert_eq!(ends.hear(7, &told), Ok(()), "{told:?}");
        }
        assert_eq!(ends.sessions(), [(7, Cut { start: Micros(1), end: Micros(9), events: 2 })]);
        let of_itself = Told::Merge { session: 1, absorbed: 1 };
        for wrong in [last(1, 2, 9), last(1, 9, 9), last(2, 1, 9), Told::Update { session: 2 }, merge, of_itself] {
            assert!(ends.clone().hear(7, &wrong).is_err(), "{wrong:?}");
        }
        assert!(ends.hear(8, &last(1, 3, 9)).is_err(), "somebody else's");
    }

    #[test]
    fn records_are_read() {
        const ID: &str = "000000000000000000000000000000ff";
        const TIME: &str = "1970-01-01T00:00:01.000000Z";
        let of = |text: &str| Told::of(text.replace("ID", ID).replace("TIME", TIME).as_bytes());
        let at = Micros(1_000_000);
        let cut = Cut { start: at, end: at, events: 3 };
        for (text, told) in [
            (r#"{"kind":"update","session_id":"ID"}"#, Told::Update { session: 255 }),
            (
                r#"{"v":1,"kind":"final","session_id":"ID","start":"TIME","end":"TIME","revision":2,"events":3}"#,
                Told::Final { session: 255, revision: 2, cut },
            ),
            (
                r#"{"kind":"late","time":"TIME","watermark":"TIME","at":{"topic":"enriched","partition":1,"offset":2}}"#,
                Told::Late { at: (1, 2), time: at, watermark: at },
            ),
        ] {
            assert_eq!(of(text), Ok(told));
        }
        for wrong in
            [r#"{"kind":"final","session_id":"ID"}"#, r#"{"kind":"merge","session_id":"ID"}"#, r#"{"kind":"open"}"#]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
