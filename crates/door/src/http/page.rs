//! The status page: one HTML file without anything from elsewhere, which reads `/status.json` every second.
//!
//! What is known of the site's object, all of it optional:
//! ```text
//! {"version": "0.1.0", "uptime_s": 12.5, "rate": 27800.0, "p50_ms": 1.2, "p99_ms": 3.4, "lag": 120,
//!  "failures": {"missing_field": 3}, "topics": [{"name": "raw", "records": 10, "bytes": 12000}],
//!  "ready": ["reason"], "data": {"dir": "...", "durability": "fsync"}}
//! ```
//! Any other member that is a number or a text is listed below by its name. Everything is shown as text, never as HTML:
//! names of sources, paths and messages come from outside.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::{Front, topics};

const PAGE: &str = include_str!("page.html");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// `GET /`.
pub fn html(front: &Front) -> Answer {
    // Only what carries this request's number runs, so that nothing in an event could ever be run by the page.
    let nonce = format!("{:032x}", front.rng.next_u128());
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut answer = answer::whole(StatusCode::OK, HTML, PAGE.replace("NONCE", &nonce));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).expect("plain text"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    answer
}

/// `GET /status.json`: the site's object, and what the front line knows where the site does not say it.
pub async fn status(front: &Arc<Front>) -> Answer {
    let mut status = match front.site.status() {
        Value::Object(status) => status,
        _ => serde_json::Map::new(),
    };
    if !status.contains_key("ready") {
        status.insert("ready".to_owned(), json!(front.site.ready()));
    }
    if front.events.is_some() && !status.contains_key("topics") {
        let topics = topics::blocking(front, topics::overview).await;
        // A damaged log is no reason to show nothing.
        status.insert("topics".to_owned(), topics.unwrap_or_else(|e| json!(e.to_string())));
    }
    if !status.contains_key("http") {
        status.insert("http".to_owned(), http(front));
    }
    let mut answer = answer::whole(StatusCode::OK, answer::JSON, Value::Object(status).to_string() + "\n");
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn http(front: &Front) -> Value {
    let c = &front.counters;
    let ms = |d: Option<Duration>| d.map(|d| d.as_micros() as f64 / 1e3);
    let refused: serde_json::Map<_, _> = c.refusals().map(|(code, n)| (code.name().to_owned(), json!(n))).collect();
    json!({
        "accepted": c.accepted.value(),
        "refused": c.refused.value(),
        "refused_by_code": refused,
        "ack_p50_ms": ms(c.ack.quantile(0.5)),
        "ack_p99_ms": ms(c.ack.quantile(0.99)),
        "shed": c.shed.value(),
        "not_stored": c.not_stored.value(),
        "connections": c.connections_open.value(),
        "in_flight_bytes": front.in_flight.held(),
    })
}
