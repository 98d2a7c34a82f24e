//! An enriched event for people: a card of a few lines instead of a line of JSON. Those of sessions are in `session`.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest text of a line; what is longer is cut, because a card is for looking at.
const TEXT_MAX: usize = 96;

/// The card of a record as `GET /v1/topics/{topic}/records` gives it; `member` is where the enrichers wrote.
pub fn card(record: &Value, member: &str) -> String {
    let value = &record["value"];
    if record["source"]["topic"] == "enriched" && value["session_id"].is_string() {
        return crate::session::card(value);
    }
    let e = &value[member];
    let mut out = String::new();
    let kind = record["type"].as_str().unwrap_or("event");
    let time = record["event_time"].as_str().map_or(String::new(), |t| t.get(..19).unwrap_or(t).replace('T', " "));
    let _ = writeln!(out, "{}   {time} UTC   {}", text(kind), text(record["from"].as_str().unwrap_or_default()));
    let mut line = |name: &str, parts: Vec<String>| {
        let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
        if !parts.is_empty() {
            let _ = writeln!(out, "  {name:<9} {}", parts.join(" \u{b7} "));
        }
    };
    let visitor = &e["visitor"];
    line("visitor", vec![both(&visitor["id"], &visitor["how"])]);
    let geo = &e["geo"];
    let place: Vec<String> = ["city", "region", "country", "postal"].iter().map(|m| plain(&geo[*m])).collect();
    line("place", vec![listed(&place), plain(&geo["tz"])]);
    let network = &e["network"];
    let asn = network["asn"].as_u64().map_or(String::new(), |n| format!("AS{n} {}", plain(&network["org"])));
    line("network", vec![asn, plain(&network["kind"]), joined(&network["flags"])]);
    let device = &e["device"];
    let version = |name: &str, version: &str| format!("{} {}", plain(&device[name]), plain(&device[version]));
    line(
        "device",
        vec![
            plain(&device["kind"]),
            version("browser", "browser_version").trim().to_owned(),
            version("os", "os_version").trim().to_owned(),
        ],
    );
    let bot = &e["bot"];
    if bot["is_bot"] == true {
        line("bot", vec![plain(&bot["name"]), joined(&bot["tags"]), format!("because: {}", joined(&bot["reasons"]))]);
    }
    let referrer = &e["referrer"];
    let from = both(&referrer["source"], &referrer["medium"]);
    line("came from", vec![from.trim().to_owned(), quoted(&referrer["term"])]);
    let campaign = &e["campaign"];
    let clicked = campaign["click_id"].as_object().and_then(|c| c.keys().next()).map(|k| format!("clicked: {k}"));
    line(
        "campaign",
        vec![
            plain(&campaign["name"]),
            listed(&[plain(&campaign["source"]), plain(&campaign["medium"])]),
            clicked.unwrap_or_default(),
        ],
    );
    const SHOWN: [&str; 13] = [
        "v",
        "at",
        "revision",
        "visitor",
        "geo",
        "network",
        "device",
        "bot",
        "referrer",
        "campaign",
        "status",
        "data_versions",
        "cross_domain",
    ];
    for (name, fact) in e.as_object().into_iter().flatten().filter(|(name, _)| !SHOWN.contains(&name.as_str())) {
        line(name, vec![text(&fact.to_string())]);
    }
    let missing: Vec<String> =
        e["status"].as_object().into_iter().flatten().map(|(n, s)| format!("{n}: {}", plain(s))).collect();
    line("without", missing);
    out
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(s) => text(s),
        other => text(&other.to_string()),
    }
}

fn quoted(value: &Value) -> String {
    value.as_str().map_or(String::new(), |s| format!("\"{}\"", text(s)))
}

/// `a (b)`, or what there is of it.
fn both(a: &Value, b: &Value) -> String {
    match (plain(a), plain(b)) {
        (a, b) if a.is_empty() => b,
        (a, b) if b.is_empty() => a,
        (a, b) => format!("{a} ({b})"),
    }
}

fn listed(parts: &[String]) -> String {
    parts.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(", ")
}

fn joined(list: &Value) -> String {
    let parts: Vec<String> = list.as_array().into_iter().flatten().map(plain).collect();
    listed(&parts)
}

/// As [`text`], of any length.
pub fn shown(s: &str) -> String {
    s.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A text of an event on a terminal: control characters, which could move its cursor, are shown as escapes.
pub fn text(s: &str) -> String {
    let mut out = String::new();
    for c in s.chars() {
        if out.len() >= TEXT_MAX {
            out.push('\u{2026}');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_card_says_what_is_known_and_what_is_not() {
        let record = json!({
            "type": "Listing Viewed", "from": "web", "event_time": "2026-11-22T19:33:01.000000Z",
            "value": {"enriched": {
                "visitor": {"id": "v-81", "how": "given"},
                "geo": {"country": "US", "region": "California", "city": "Fairfield"},
                "network": {"asn": 7922, "org": "COMCAST-7922", "kind": "unknown"},
                "device": {"kind": "desktop", "browser": "Chrome", "browser_version": "141", "os": "Mac OS X"},
                "bot": {"is_bot": false},
                "referrer": {"medium": "search", "source": "Google", "term": "oak table"},
                "plan": {"plan": "pro"},
                "status": {"user": "miss"},
            }},
        });
        let expected = "\
Listing Viewed   2026-11-22 19:33:01 UTC   web
  visitor   v-81 (given)
  place     Fairfield, California, US
  network   AS7922 COMCAST-7922 \u{b7} unknown
  device    desktop \u{b7} Chrome 141 \u{b7} Mac OS X
  came from Google (search) \u{b7} \"oak table\"
  plan      {\"plan\":\"pro\"}
  without   user: miss
";
        assert_eq!(card(&record, "enriched"), expected);
    }

    #[test]
    fn a_text_cannot_move_the_cursor_or_fill_the_screen() {
        assert_eq!(text("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert!(text(&"x".repeat(10_000)).len() < 200);
        assert_eq!(card(&json!({"value": null}), "enriched"), "event    UTC   \n");
    }
}
