//! `POST /v1/lookup/{name}`: many keys of one lookup, for programs elsewhere. What is known in this process is written into
//! the answer as it is found; for the rest the lookup is asked once, and whoever goes away takes his asks with him.
//!
//! * [`question`]: the body of a request

mod question;

use std::sync::atomic::{AtomicUsize, Ordering::AcqRel, Ordering::Acquire};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::lookup::{Asked, Listed, Origin, Told};
use flow::Status;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::{Request, StatusCode};
use serde_json::json;
use tokio::sync::Notify;

use super::answer::{self, Answer, write_number};
use super::body::{BodyError, drain};
use super::limits::RETRY_SOON_SECS;
use super::{Front, events};
use question::{KEYS_MAX, Question, Refused};

/// Bytes of an answer that are made ready for a key.
const RESULT_BYTES: usize = 256;

const OVERLOADED: &str = "overloaded";

/// Takes keys.
pub async fn post(front: &Arc<Front>, name: &str, request: Request<Incoming>) -> Answer {
    let waits = request.headers().contains_key(header::EXPECT);
    let (head, mut body) = request.into_parts();
    match take(front, name, &head.headers, &mut body).await {
        Ok(answer) => answer,
        Err(answer) => {
            if !waits && !body.is_end_stream() {
                drain(&mut body).await;
            }
            *answer
        }
    }
}

/// `Err` is an answer to a client that may still be sending.
async fn take(front: &Front, name: &str, headers: &HeaderMap, body: &mut Incoming) -> Result<Answer, Box<Answer>> {
    let Some(listed) = front.site.lookups().and_then(|lookups| lookups.find(name)) else {
        return Err(Box::new(no_lookup(front, name)));
    };
    let encoding = events::encoding(headers).ok_or_else(|| Box::new(events::bad_encoding()))?;
    // Before a byte is read: what is turned away must cost less than what is taken.
    if front.asking.is_full() || front.reading.is_full() {
        return Err(Box::new(shed(front)));
    }
    let mut bytes = front.bodies.take().unwrap_or_default();
    bytes.clear();
    let answer = match front.reader().read(body, encoding, &mut bytes).await {
        Ok(()) => Ok(asked(front, listed, &bytes).await),
        Err(BodyError::Overloaded) => Err(Box::new(shed(front))),
        // Nothing more comes that would keep its sender from reading the answer.
        Err(e @ (BodyError::TooSlow(_) | BodyError::Broken(_))) => Ok(events::refused_body(&e)),
        Err(e @ (BodyError::TooLarge(_) | BodyError::Inflate(_))) => Err(Box::new(events::refused_body(&e))),
    };
    front.give_body(bytes);
    answer
}

async fn asked(front: &Front, listed: Listed<'_>, body: &[u8]) -> Answer {
    let question = match Question::read(body, listed.parameters) {
        Ok(question) => question,
        Err(refused) => return refusal(&refused),
    };
    let begun = front.clock.elapsed();
    let mut answer = Known::write(listed.asked, &question, body);
    if !answer.unknown.is_empty() {
        let mut share = front.asking.share();
        if !share.grow(answer.unknown.len()) {
            return shed(front);
        }
        let within = question.deadline_ms.map_or(listed.deadline, Duration::from_millis);
        let deadline = u64::try_from((begun + within).as_micros()).unwrap_or(u64::MAX);
        let Some(whole) = answer.ask(listed.asked, &question, body, deadline).await else { return shed(front) };
        answer.out = whole;
    }
    front.counters.lookup_keys.add(question.len() as u64);
    front.counters.lookups.record(front.clock.elapsed().saturating_sub(begun));
    answer.out.extend_from_slice(b"]}\n");
    answer::whole(StatusCode::OK, answer::JSON, answer.out)
}

/// An answer with what is known at once.
struct Known {
    out: Vec<u8>,
    /// Keys that must be asked for, each with its place in the answer.
    unknown: Vec<(usize, usize)>,
}

impl Known {
    fn write(asked: &dyn Asked, question: &Question, body: &[u8]) -> Known {
        let mut out = Vec::with_capacity(32 + question.len() * RESULT_BYTES);
        out.extend_from_slice(b"{\"results\":[");
        let mut unknown = Vec::new();
        for place in 0..question.len() {
            if place > 0 {
                out.push(b',');
            }
            let (key, shown) = question.key(place);
            let begin = out.len();
            write_key(&mut out, &body[shown]);
            let told = out.len();
            // Most of what is known has a value, which goes from the cache to its place.
            out.extend_from_slice(VALUE);
            match asked.known(key, &mut out) {
                Some((Status::Ok, origin)) => write_origin(&mut out, Some(origin)),
                Some((status, origin)) => {
                    out.truncate(told);
                    write_told(&mut out, &Told { status, json: &[], origin: Some(origin) });
                }
                None => {
                    out.truncate(begin);
                    unknown.push((place, begin));
                }
            }
        }
        Known { out, unknown }
    }

    /// Asks for what is not known, and gives the answer with all of it. `None`: there is too much to do for any of it.
    async fn ask(&self, asked: &dyn Asked, question: &Question, body: &[u8], deadline: u64) -> Option<Vec<u8>> {
        let keys = self.unknown.iter().map(|(place, _)| question.key(*place).0.into()).collect();
        let results = Arc::new(Results::new(self.unknown.len()));
        let heard = Arc::clone(&results);
        let asking = asked.ask(keys, deadline, Box::new(move |place, told| heard.hear(place, &told)));
        results.all().await;
        drop(asking);
        if results.refused.load(Acquire) == self.unknown.len() && self.unknown.len() == question.len() {
            return None;
        }
        let told = std::mem::take(&mut *results.told());
        let mut out = Vec::with_capacity(self.out.len() + told.iter().map(Vec::len).sum::<usize>() + body.len());
        let mut copied = 0;
        for ((place, at), told) in self.unknown.iter().zip(told) {
            out.extend_from_slice(&self.out[copied..*at]);
            copied = *at;
            write_key(&mut out, &body[question.key(*place).1]);
            out.extend_from_slice(&told);
        }
        out.extend_from_slice(&self.out[copied..]);
        Some(out)
    }
}

/// What comes in for the keys that were asked for, in any order.
struct Results {
    /// Results as they stand in the answer, behind the key.
    told: Mutex<Vec<Vec<u8>>>,
    left: AtomicUsize,
    /// Keys that nobody was asked for, because too many wait already.
    refused: AtomicUsize,
    all: Notify,
}

impl Results {
    fn new(keys: usize) -> Results {
        Results {
            told: Mutex::new(vec![Vec::new(); keys]),
            left: AtomicUsize::new(keys),
            refused: AtomicUsize::new(0),
            all: Notify::new(),
        }
    }

    fn hear(&self, place: usize, told: &Told<'_>) {
        let mut out = Vec::with_capacity(told.json.len() + RESULT_BYTES / 2);
        write_told(&mut out, told);
        self.told()[place] = out;
        if told.status == Status::Error(OVERLOADED) {
            self.refused.fetch_add(1, AcqRel);
        }
        if self.left.fetch_sub(1, AcqRel) == 1 {
            self.all.notify_one();
        }
    }

    /// Until all are settled, which they are by their deadline.
    async fn all(&self) {
        self.all.notified().await;
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const VALUE: &[u8] = b",\"status\":\"ok\",\"value\":";

fn write_key(out: &mut Vec<u8>, shown: &[u8]) {
    out.extend_from_slice(b"{\"key\":");
    out.extend_from_slice(shown);
}

/// What stands behind the key, with the end of the result.
fn write_told(out: &mut Vec<u8>, told: &Told<'_>) {
    out.extend_from_slice(b",\"status\":\"");
    told.status.write(out);
    out.push(b'"');
    if !told.json.is_empty() {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(told.json);
    }
    write_origin(out, told.origin);
}

fn write_origin(out: &mut Vec<u8>, origin: Option<Origin>) {
    if let Some(Origin { tier, age_us }) = origin {
        out.extend_from_slice(b",\"age_ms\":");
        write_number(out, age_us / 1_000);
        out.extend_from_slice(b",\"tier\":\"");
        out.extend_from_slice(tier.word().as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
}

fn refusal(refused: &Refused) -> Answer {
    match refused {
        Refused::Bad { pointer, message } => {
            let mut more = serde_json::Map::new();
            more.insert("pointer".to_owned(), json!(pointer));
            answer::error_with(StatusCode::BAD_REQUEST, "bad_body", message, more)
        }
        Refused::TooMany => {
            let message = format!("there are more than {KEYS_MAX} keys in the body; send them in parts");
            answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too_many_keys", &message)
        }
    }
}

fn no_lookup(front: &Front, name: &str) -> Answer {
    let names = front.site.lookups().map(|lookups| lookups.names()).unwrap_or_default();
    let there = match names.is_empty() {
        true => "there are none: [[lookup]] in the configuration makes one".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    let shown: String = name.chars().take(80).collect();
    let mut more = serde_json::Map::new();
    more.insert("lookups".to_owned(), json!(names));
    answer::error_with(StatusCode::NOT_FOUND, "no_lookup", &format!("there is no lookup {shown}; {there}"), more)
}

fn shed(front: &Front) -> Answer {
    front.counters.lookups_shed.add(1);
    let message = "too many keys are being asked for; send this again";
    answer::retry(StatusCode::SERVICE_UNAVAILABLE, OVERLOADED, message, RETRY_SOON_SECS)
}
