//! Sessions for people: a row of a table, and a card.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::card::text;
use crate::term;

/// The table's head. Times are UTC. A visitor is never cut: it is what one asks for next.
pub fn head() -> String {
    row_of(["start", "duration", "visitor", "events", "views", "entry", "from", "ended by"])
}

/// A final, an update or an open session as a row.
pub fn row(session: &Value) -> String {
    let visitor = text(plain(&session["visitor"]));
    let entry = text(session["entry"]["page"].as_str().or(session["last_page"].as_str()).unwrap_or("-"));
    let ended = match session["kind"].as_str() {
        Some("update") => "(open)".to_owned(),
        Some("merge") => format!("took in {}", plain(&session["absorbed"]).get(..8).unwrap_or_default()),
        Some("final") if session["revision"].as_u64().unwrap_or(0) > 0 => {
            format!("{}, revision {}", plain(&session["closed_by"]), session["revision"])
        }
        Some("final") => plain(&session["closed_by"]).to_owned(),
        _ => "(open)".to_owned(),
    };
    row_of([
        &seconds(&session["start"]),
        &duration(session),
        &visitor,
        &session["events"].as_u64().map_or("-".to_owned(), term::count),
        &session["views"].as_u64().map_or("-".to_owned(), term::count),
        &entry,
        &came_from(session),
        &ended,
    ])
}

fn row_of(cells: [&str; 8]) -> String {
    let [start, duration, visitor, events, views, entry, from, ended] = cells;
    let line = format!(
        "{start:<19}  {duration:>12}  {visitor:<36} {events:>6} {views:>6}  {:<32} {:<20} {ended}",
        cut(entry, 32),
        cut(from, 20)
    );
    line.trim_end().to_owned()
}

/// What a record of `sessions` or an open session says, in a few lines.
pub fn card(session: &Value) -> String {
    let mut out = String::new();
    let kind = session["kind"].as_str().unwrap_or("open");
    let _ = writeln!(
        out,
        "session {kind}   {} to {} UTC   {}",
        seconds(&session["start"]),
        seconds(&session["end"]),
        text(plain(&session["visitor"]))
    );
    let mut line = |name: &str, parts: Vec<String>| {
        let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        if !parts.is_empty() {
            let _ = writeln!(out, "  {name:<9} {}", parts.join(" \u{b7} "));
        }
    };
    let number = |name: &str, of: &str| match session[name].as_u64() {
        None => String::new(),
        Some(n) => format!("{} {of}{}", term::count(n), if n == 1 { "" } else { "s" }),
    };
    let nth = session["session_index"].as_u64().map_or(String::new(), |n| format!("number {n} of this visitor"));
    let revised = session["revision"].as_u64().filter(|n| *n > 0).map_or(String::new(), |n| format!("revision {n}"));
    line("id", vec![plain(&session["session_id"]).to_owned(), nth, revised]);
    line(
        "length",
        vec![duration(session), number("events", "event"), number("views", "view"), number("key_events", "key event")],
    );
    if session["engaged"] == true {
        line("engaged", vec!["yes".to_owned()]);
    }
    line("took in", vec![plain(&session["absorbed"]).to_owned()]);
    line("user", vec![text(plain(&session["user"]))]);
    line("entry", vec![text(plain(&session["entry"]["page"])), came_from(session).replace('-', "")]);
    line("last page", vec![text(plain(&session["last_page"]))]);
    let types = session["types"].as_object().into_iter().flatten();
    line("events", types.map(|(name, n)| format!("{} {n}", text(name))).collect());
    let places = session["places"].as_array().into_iter().flatten();
    line("places", places.map(|p| text([plain(&p["city"]), plain(&p["country"])].join(" ").trim())).collect());
    line("devices", list(&session["devices"]));
    line("networks", list(&session["networks"]));
    let value = session["value"].as_array().into_iter().flatten();
    line("value", value.map(|v| format!("{} {}", v["amount"], text(plain(&v["currency"])))).collect());
    line("closed by", vec![plain(&session["closed_by"]).to_owned()]);
    out
}

fn list(of: &Value) -> Vec<String> {
    of.as_array().into_iter().flatten().filter_map(Value::as_str).map(text).collect()
}

fn came_from(session: &Value) -> String {
    let entry = &session["entry"];
    let named = [
        &entry["campaign"]["name"],
        &entry["campaign"]["source"],
        &entry["referrer"]["source"],
        &entry["referrer"]["medium"],
    ];
    named.into_iter().find_map(Value::as_str).map_or("-".to_owned(), text)
}

fn duration(session: &Value) -> String {
    let secs = session["duration_s"].as_f64().or_else(|| {
        let at = |name: &str| event::Micros::parse_rfc3339(session[name].as_str()?.as_bytes());
        Some((at("end")?.0 - at("start")?.0) as f64 / 1e6)
    });
    secs.map_or("-".to_owned(), |secs| length(Duration::from_secs_f64(secs.max(0.0))))
}

/// `0 s`, `59 s`, `12 min 5 s`, `3 h 2 min`.
fn length(d: Duration) -> String {
    match d.as_secs() {
        secs @ 0..60 => format!("{secs} s"),
        secs @ 60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        secs => format!("{} h {} min", secs / 3600, secs / 60 % 60),
    }
}

/// `2026-11-22T19:33:01.000000Z` -> `2026-11-22 19:33:01`.
pub fn seconds(time: &Value) -> String {
    let time = time.as_str().unwrap_or("-");
    time.get(..19).unwrap_or(time).replace('T', " ")
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars - 1).chain(['\u{2026}']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_session_as_a_row_and_as_a_card() {
        let session = json!({
            "kind": "final", "session_id": "ab", "visitor": "v-81", "closed_by": "gap", "revision": 1, "session_index": 2,
            "start": "2026-11-22T19:33:01.000000Z", "end": "2026-11-22T19:45:06.500000Z", "duration_s": 725.5,
            "events": 1200, "views": 3, "engaged": true, "types": {"Page Viewed": 1200}, "user": null,
            "entry": {"page": "/a\u{1b}[2J", "referrer": {"source": "Google"}, "campaign": {}},
            "value": [{"currency": "EUR", "amount": 12.5}],
        });
        assert_eq!(
            row(&session),
            "2026-11-22 19:33:01    12 min 5 s  v-81                                  1,200      3  /a\\u{1b}[2J                      Google               gap, revision 1"
        );
        let card = card(&session);
        assert!(card.starts_with("session final   2026-11-22 19:33:01 to 2026-11-22 19:45:06 UTC   v-81\n"), "{card}");
        assert!(card.contains("  value     12.5 EUR\n") && card.contains("number 2 of this visitor"), "{card}");
        for (secs, says) in [(0, "0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min")] {
            assert_eq!(length(Duration::from_secs(secs)), says);
        }
        assert_eq!(cut("abcdef", 4), "abc\u{2026}");
    }
}
