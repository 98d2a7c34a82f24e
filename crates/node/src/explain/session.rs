//! What the sessions stage made of an enriched record.

use std::ops::ControlFlow::Continue;

use event::key::{hash64, partition_of};
use event::topic::{LATE, SESSIONS};
use event::{Header, Micros, Offset, Source, TopicPartition};
use log::{Log, LogError};
use serde_json::{Map, Value, json};
use session::operator::GROUP;

use super::{Open, counts_at, place, scan};

/// Members `session`, `late` and `dead_letter`, those that there are. `letter`: what the stage set aside.
pub fn of(
    log: &dyn Log,
    at: TopicPartition,
    offset: Offset,
    visitor: &[u8],
    header: &Header,
    letter: Option<Value>,
    open: &Open<'_>,
) -> Result<Map<String, Value>, LogError> {
    let mut more = Map::new();
    let committed = log.committed(GROUP, &log::Input::Topic(at))?;
    let Some(committed) = committed else { return Ok(more) };
    if offset >= committed.next {
        more.insert("session".to_owned(), json!({"waiting": true}));
        return Ok(more);
    }
    if let Some(letter) = letter {
        more.insert("dead_letter".to_owned(), letter);
        return Ok(more);
    }
    let made_of = Source::of(at.topic, at.partition, offset);
    let partition = partition_of(visitor, log.partitions(SESSIONS));
    let late = LATE.partition(partition);
    scan::made_of(log, late, made_of, |offset, record, _| {
        let said: Value = serde_json::from_slice(record.value.unwrap_or_default()).unwrap_or_default();
        if record.key == visitor {
            let mut told = place(late, offset);
            for name in ["lateness_s", "watermark", "missed"] {
                told[name] = said[name].clone();
            }
            more.insert("late".to_owned(), told);
        }
        Continue(())
    })?;
    if more.contains_key("late") {
        return Ok(more);
    }
    let session = Search { at: SESSIONS.partition(partition), made_of, visitor, time: counts_at(header) };
    more.insert("session".to_owned(), session.run(log, open)?);
    Ok(more)
}

struct Search<'a> {
    at: TopicPartition,
    made_of: Source,
    visitor: &'a [u8],
    time: Micros,
}

impl Search<'_> {
    /// What was said when the event was taken, and the newest that is known of the session that covers its time.
    fn run(&self, log: &dyn Log, open: &Open<'_>) -> Result<Value, LogError> {
        let from = scan::seek(log, self.at, self.made_of)?;
        let (_, end) = log.bounds(self.at)?;
        let hash = hash64(self.visitor);
        let mut said = Vec::new();
        let mut all = Vec::new();
        scan::each(log, self.at, from..end, |offset, record, header| {
            if header.visitor_hash() == hash && record.key == self.visitor {
                let value: Value = serde_json::from_slice(record.value.unwrap_or_default()).unwrap_or_default();
                let told = self.told(offset, &value);
                if header.source() == self.made_of {
                    said.push(told.clone());
                }
                all.push(told);
            }
            Continue(())
        })?;
        let covers = newest_that_covers(&all, self.time);
        let open = open(self.visitor).and_then(|open| {
            let sessions = open["sessions"].as_array()?.iter().find(|s| covers_time(s, self.time))?.clone();
            Some(json!({
                "session_id": sessions["session_id"], "start": sessions["start"], "end": sessions["end"],
                "events": sessions["events"], "revision": sessions["revision"], "provisional": sessions["provisional"],
            }))
        });
        Ok(json!({"said": said, "covered_by": covers, "open": open}))
    }

    fn told(&self, offset: Offset, value: &Value) -> Value {
        let mut told = place(self.at, offset);
        let names = [
            "kind",
            "session_id",
            "revision",
            "start",
            "end",
            "events",
            "closed_by",
            "absorbed",
            "survivor",
            "session_index",
        ];
        for name in names.into_iter().filter(|name| !value[*name].is_null()) {
            told[name] = value[name].clone();
        }
        told
    }
}

/// The newest word on the session that took an event of this time in, through merges.
fn newest_that_covers(all: &[Value], time: Micros) -> Option<Value> {
    let mut id = &all.iter().find(|told| covers_time(told, time))?["session_id"];
    let mut newest = None;
    for told in all {
        if told["kind"] == "merge" && told["absorbed"] == *id {
            id = &told["survivor"];
        }
        if told["session_id"] == *id && told["kind"] != "merge" {
            newest = Some(told);
        }
    }
    newest.cloned()
}

fn covers_time(told: &Value, time: Micros) -> bool {
    let at = |name: &str| told[name].as_str().and_then(|t| Micros::parse_rfc3339(t.as_bytes()));
    let (Some(start), Some(end)) = (at("start"), at("end")) else { return false };
    (start..=end).contains(&time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_followed_through_merges_to_the_newest_word_on_its_session() {
        let told = |kind: &str, id: &str, revision: u64, start: &str, end: &str| {
            json!({"kind": kind, "session_id": id, "revision": revision, "start": format!("2026-01-01T{start}Z"),
                "end": format!("2026-01-01T{end}Z")})
        };
        let time = |text: &str| Micros::parse_rfc3339(format!("2026-01-01T{text}Z").as_bytes()).expect("a time");
        let mut all = vec![
            told("update", "b", 0, "10:00:00", "10:01:00"),
            told("final", "a", 0, "08:00:00", "08:10:00"),
            told("final", "b", 0, "10:00:00", "10:20:00"),
        ];
        let newest = |all: &[Value], at: &str| newest_that_covers(all, time(at));
        assert_eq!(newest(&all, "10:00:30"), Some(all[2].clone()));
        assert_eq!(newest(&all, "08:10:00"), Some(all[1].clone()));
        assert_eq!(newest(&all, "09:00:00"), None);
        let mut merge = told("merge", "a", 1, "08:00:00", "10:20:00");
        (merge["survivor"], merge["absorbed"]) = (json!("a"), json!("b"));
        all.push(merge);
        all.push(told("final", "a", 1, "08:00:00", "10:20:00"));
        assert_eq!(newest(&all, "10:00:30"), Some(all[4].clone()));
    }
}
