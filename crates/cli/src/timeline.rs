//! What became of an event, for people: a short timeline of what `node::explain` tells.

use std::fmt::Write as _;

use serde_json::Value;

use crate::card::{shown, text as short};
use crate::session::seconds;

/// All events of an id, then what was refused.
pub fn text(told: &Value) -> String {
    let mut out = String::new();
    let events = told["events"].as_array().into_iter().flatten().map(event);
    let refused = told["refused"].as_array().into_iter().flatten().map(refusal);
    for (n, one) in events.chain(refused).enumerate() {
        if n > 0 {
            out.push('\n');
        }
        out += &one;
    }
    if told["searched"]["complete"] == false {
        out += "\nonly the newest part of raw was searched; there may be more events of this id\n";
    }
    out
}

fn event(e: &Value) -> String {
    let mut out =
        format!("{}   {}   from {}\n", short(plain(&e["id"])), short(plain(&e["type"])), short(plain(&e["source"])));
    let mut line = |at: &str, what: &str, says: String| {
        let _ = writeln!(out, "  {}", format!("{at:<26} {what:<10} {says}").trim_end());
    };
    let flags: Vec<&str> = e["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    line(&time(&e["event_time"]), "happened", flags.join(", "));
    line(
        &time(&e["received_at"]),
        "received",
        format!("{}, visitor {}", place(&e["raw"]), visitor(&e["raw"]["visitor"])),
    );
    match plain(&e["outcome"]) {
        "enriched" => {
            let enriched = &e["enriched"];
            let linked = match e["visitor"]["how"] == "linked" {
                true => format!(", visitor {}", visitor(&e["visitor"])),
                false => String::new(),
            };
            line(&time(&enriched["at"]), "enriched", format!("{}{linked}", place(enriched)));
            let (ok, other): (Vec<_>, Vec<_>) =
                enriched["enrichers"].as_object().into_iter().flatten().partition(|(_, status)| **status == "ok");
            let took = |name: &str| enriched["waited"][name].as_f64().map(|ms| format!("{ms:.1} ms"));
            if !ok.is_empty() {
                let one = |(name, _): &(&String, &Value)| match took(name) {
                    Some(took) => format!("{} ({took})", short(name)),
                    None => short(name),
                };
                line("", "with", ok.iter().map(one).collect::<Vec<_>>().join(", "));
            }
            if !other.is_empty() {
                let one = |(name, status): &(&String, &Value)| match took(name) {
                    Some(took) => format!("{} ({}, {took})", short(name), short(plain(status))),
                    None => format!("{} ({})", short(name), short(plain(status))),
                };
                line("", "without", other.iter().map(one).collect::<Vec<_>>().join(", "));
            }
            session(e, &mut line);
        }
        "duplicate" => line("", "duplicate", format!("of {}: counted, and not passed on", place(&e["duplicate_of"]))),
        "quarantined" => letter(&e["dead_letter"], "set aside", &mut line),
        "waiting" => line("", "waiting", "for the enrich stage, which has not read it yet".to_owned()),
        "expired" => line("", "expired", "what was made of it is no longer kept in enriched".to_owned()),
        _ => line("", "gone", "neither in enriched nor in dlq: a duplicate of what is no longer kept".to_owned()),
    }
    body(&e["event"], &mut out);
    out
}

fn session(e: &Value, line: &mut impl FnMut(&str, &str, String)) {
    if !e["dead_letter"].is_null() {
        return letter(&e["dead_letter"], "set aside", line);
    }
    let late = &e["late"];
    if !late.is_null() {
        let says = format!("{}: {} s behind the watermark, no session took it", place(late), late["lateness_s"]);
        return line("", "late", says);
    }
    let session = &e["session"];
    if session["waiting"] == true {
        return line("", "waiting", "for the sessions stage, which has not read it yet".to_owned());
    }
    for said in session["said"].as_array().into_iter().flatten() {
        line("", "session", format!("{} ({})", of_session(said), place(said)));
    }
    let said = session["said"].as_array().into_iter().flatten();
    let is_said = said.last().is_some_and(|said| *said == session["covered_by"]);
    if !session["open"].is_null() {
        line("", "open now", of_session(&session["open"]));
    } else if !session["covered_by"].is_null() && !is_said {
        line("", "in session", format!("{} ({})", of_session(&session["covered_by"]), place(&session["covered_by"])));
    }
}

fn of_session(s: &Value) -> String {
    let id = plain(&s["session_id"]);
    let kind = s["kind"].as_str().map_or(String::new(), |kind| format!("{kind} of "));
    let revision = s["revision"].as_u64().filter(|r| *r > 0).map_or(String::new(), |r| format!(", revision {r}"));
    let absorbed = s["absorbed"].as_str().map_or(String::new(), |id| format!(", which took in {id}"));
    let events = match s["events"].as_u64() {
        None => String::new(),
        Some(1) => ", 1 event".to_owned(),
        Some(n) => format!(", {n} events"),
    };
    format!("{kind}{id}{absorbed}: {} to {}{events}{revision}", seconds(&s["start"]), seconds(&s["end"]))
}

fn letter(letter: &Value, what: &str, line: &mut impl FnMut(&str, &str, String)) {
    let pointer =
        letter["pointer"].as_str().filter(|p| !p.is_empty()).map_or(String::new(), |p| format!(" at {}", short(p)));
    line(
        "",
        what,
        format!("{}: {}{pointer}: {}", place(letter), plain(&letter["code"]), short(plain(&letter["message"]))),
    );
}

fn refusal(letter_of: &Value) -> String {
    let mut out = format!("refused   from {}\n", short(plain(&letter_of["source"])));
    let mut line = |at: &str, what: &str, says: String| {
        let _ = writeln!(out, "  {}", format!("{at:<26} {what:<10} {says}").trim_end());
    };
    line(&time(&letter_of["received_at"]), "received", short(plain(&letter_of["position"])));
    letter(letter_of, "refused", &mut line);
    body(&letter_of["event"], &mut out);
    out
}

fn body(event: &Value, out: &mut String) {
    match event {
        Value::Null => {}
        Value::String(text) => *out += &format!("  {}\n", shown(text)),
        event => *out += &format!("  {event}\n"),
    }
}

fn time(value: &Value) -> String {
    value.as_str().map_or("-".to_owned(), |t| t.trim_end_matches('Z').replace('T', " "))
}

fn place(at: &Value) -> String {
    format!("{}/{}@{}", plain(&at["topic"]), at["partition"], at["offset"])
}

fn visitor(v: &Value) -> String {
    format!("{} ({})", short(plain(&v["id"])), plain(&v["how"]))
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
