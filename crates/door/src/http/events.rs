//! `POST /v1/events`: a batch in, one commit, and an answer only when the log has decided.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use event::{Failure, Field, Micros};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use log::{Aborted, Commit, Outcome, Ticket};
use seam::fault::point;
use wire::{Arrival, ArrivalPosition};

use super::answer::{self, Answer, write_number, write_string};
use super::body::{BodyError, Gauge, drain};
use super::counters::{Counters, Tally};
use super::limits::{IDEMPOTENCY_KEY_MAX, RESULTS_MAX, RETRY_DISK_SECS, RETRY_SOON_SECS, USER_AGENT_MAX};
use super::{ClientAddress, Front};
use crate::collect::Collector;
use crate::inflate::Encoding;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Takes a batch.
pub async fn post(front: &Arc<Front>, request: Request<Incoming>, peer: IpAddr) -> Answer {
    let waits = request.headers().contains_key(header::EXPECT);
    let (head, mut body) = request.into_parts();
    match take(front, &head.headers, &mut body, peer).await {
        Ok(answer) => answer,
        Err(answer) => {
            if !waits && !body.is_end_stream() {
                drain(&mut body).await;
            }
            answer
        }
    }
}

/// `Err` is an answer to a client that may still be sending.
async fn take(front: &Arc<Front>, headers: &HeaderMap, body: &mut Incoming, peer: IpAddr) -> Result<Answer, Answer> {
    let how = How::of(headers).map_err(|answer| *answer)?;
    // Before a byte is read: what is turned away must cost less than what is taken.
    if front.in_flight.is_full() || front.reading.is_full() {
        return Err(shed(front));
    }
    let mut bytes = front.bodies.take().unwrap_or_default();
    bytes.clear();
    if let Err(e) = front.reader().read(body, how.encoding, &mut bytes).await {
        front.give_body(bytes);
        return match e {
            BodyError::Overloaded => Err(shed(front)),
            // Nothing more comes that would keep its sender from reading the answer.
            BodyError::TooSlow(_) | BodyError::Broken(_) => Ok(refused_body(&e)),
            BodyError::TooLarge(_) | BodyError::Inflate(_) => Err(refused_body(&e)),
        };
    }
    let whole_at = front.clock.elapsed();
    let size = bytes.len();
    if !front.in_flight.take(size) {
        front.give_body(bytes);
        return Ok(shed(front));
    }
    let held = Held { gauge: Arc::clone(&front.in_flight), bytes: size };
    let collected = collect(front, &how, headers, peer, &bytes);
    front.give_body(bytes);
    point("door.parsed");
    let batch = match collected {
        Ok(batch) => batch,
        Err(answer) => return Ok(*answer),
    };
    let Batch { commit, tally, status, answer, accepted, refused } = batch;
    if commit.blocks.is_empty() {
        return Ok(answer::error(StatusCode::BAD_REQUEST, "no_events", "there is no event in the body"));
    }
    let ticket = front.events().log.submit(commit);
    point("door.submitted");
    let counts = Counts { counters: Arc::clone(&front.counters), accepted, refused, tally };
    let outcome = Submitted { ticket: Some(ticket), held: Some((held, counts)) }.decided().await;
    point("door.acked");
    front.counters.ack.record(front.clock.elapsed().saturating_sub(whole_at));
    Ok(match outcome {
        Outcome::Committed(_) => answer::whole(status, answer::JSON, answer),
        Outcome::Aborted(why) => aborted(&why),
        Outcome::Unknown => answer::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            "unknown_outcome",
            "this batch may or may not have been stored; send it again with the same ids or the same Idempotency-Key",
            RETRY_SOON_SECS,
        ),
    })
}

fn aborted(why: &Aborted) -> Answer {
    match why {
        Aborted::Full(_) => answer::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            "disk_full",
            "the disk is full; nothing of this batch was stored, and reading goes on",
            RETRY_DISK_SECS,
        ),
        Aborted::Fenced | Aborted::Closed | Aborted::Retriable => answer::retry(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_stored",
            "nothing of this batch was stored; send it again",
            RETRY_SOON_SECS,
        ),
        // Sent again it would fail again.
        Aborted::Invalid(what) => {
            tracing::error!(what, "the log does not take what this door made of a batch");
            answer::error(StatusCode::INTERNAL_SERVER_ERROR, "bug", "nothing of this batch was stored, by our fault")
        }
    }
}

/// What the headers say about the body.
struct How {
    encoding: Option<Encoding>,
    /// `http:<key>`, when the client gave one.
    id_prefix: Option<String>,
}

impl How {
    fn of(headers: &HeaderMap) -> Result<How, Box<Answer>> {
        if !is_taken(headers.get(header::CONTENT_TYPE)) {
            return Err(Box::new(answer::error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content_type",
                "Content-Type is application/json, application/x-ndjson or text/plain, or absent",
            )));
        }
        let encoding = match encoding(headers) {
            Some(encoding) => encoding,
            None => return Err(Box::new(bad_encoding())),
        };
        let id_prefix = match headers.get(IDEMPOTENCY_KEY) {
            None => None,
            Some(key) => match key.to_str() {
                Ok(key) if (1..=IDEMPOTENCY_KEY_MAX).contains(&key.len()) => Some(format!("http:{key}")),
                _ => {
                    return Err(Box::new(answer::error(
                        StatusCode::BAD_REQUEST,
                        "idempotency_key",
                        "Idempotency-Key is 1 to 255 visible ASCII characters",
                    )));
                }
            },
        };
        Ok(How { encoding, id_prefix })
    }
}

fn is_taken(content_type: Option<&HeaderValue>) -> bool {
    let Some(value) = content_type else { return true };
    let Ok(value) = value.to_str() else { return false };
    let essence = value.split(';').next().unwrap_or("").trim();
    // A form is what `curl -d` calls its data when nobody tells it otherwise; what is in it is JSON all the same, or refused.
    const FORM: &str = "application/x-www-form-urlencoded";
    ["", "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "text/plain", FORM]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

pub fn bad_encoding() -> Answer {
    let mut answer = answer::error(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content_encoding",
        "Content-Encoding is gzip or zstd, one of them and once, or absent",
    );
    answer.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
    answer
}

/// `None` for what is not taken: another encoding, or a second layer.
pub fn encoding(headers: &HeaderMap) -> Option<Option<Encoding>> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Some(None) };
    let value = value.to_str().ok()?.trim();
    if values.next().is_some() {
        return None;
    }
    match value.to_ascii_lowercase().as_str() {
        "" | "identity" => Some(None),
        "gzip" | "x-gzip" => Some(Some(Encoding::Gzip)),
        "zstd" => Some(Some(Encoding::Zstd)),
        _ => None,
    }
}

/// A parsed batch: what to commit, and what to say if it is committed.
struct Batch {
    commit: Commit,
    tally: Tally,
    accepted: u64,
    refused: u64,
    status: StatusCode,
    answer: Vec<u8>,
}

fn collect(front: &Front, how: &How, headers: &HeaderMap, peer: IpAddr, body: &[u8]) -> Result<Batch, Box<Answer>> {
    let events = front.events();
    let mut collector =
        front.collectors.take().unwrap_or_else(|| Collector::new(Arc::clone(&events.decoder), events.partitions));
    let mut refusals = Refusals::new();
    let fresh = front.rng.next_u128();
    let position = |index: u64| match &how.id_prefix {
        Some(prefix) => ArrivalPosition::At { prefix, index },
        None => ArrivalPosition::Fresh(fresh.wrapping_add(u128::from(index))),
    };
    let address = peer.to_string();
    let agent = headers.get(header::USER_AGENT).and_then(|v| std::str::from_utf8(v.as_bytes()).ok()).unwrap_or("");
    let delivery = Delivery {
        content_type: headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()),
        received: front.clock.now(),
        connection: (events.client_address == ClientAddress::Connection).then_some((&address, agent)),
        events_max: front.limits.batch_events,
    };
    let taken = take_body(&mut collector, body, &delivery, position, |index, failure| refusals.add(index, failure));
    match taken {
        Ok(()) => Ok(batch(front, collector, refusals)),
        // The collector is dropped with what it has: a batch is taken as a whole or not at all.
        Err(TooManyEvents) => {
            let message = format!("there are more than {} events in the body; send it in parts", delivery.events_max);
            Err(Box::new(answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", &message)))
        }
    }
}

/// What surrounds the events of a body.
pub struct Delivery<'a> {
    pub content_type: Option<&'a str>,
    pub received: Micros,
    /// The connection's address and `User-Agent`, for events without their own; `None` where senders speak for others.
    pub connection: Option<(&'a str, &'a str)>,
    pub events_max: u64,
}

/// There are more events in the body than `events_max`; so many were collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyEvents;

/// Hands the events of a request's body to a collector. `position` says where the event of that number is, for those
/// without an id; `refused` hears of every refusal.
pub fn take_body<'p>(
    collector: &mut Collector,
    body: &[u8],
    delivery: &Delivery<'_>,
    position: impl Fn(u64) -> ArrivalPosition<'p>,
    mut refused: impl FnMut(u64, &Failure),
) -> Result<(), TooManyEvents> {
    let mut events = wire::split::body(body, delivery.content_type);
    let around = events.take_batch();
    let received = delivery.received;
    let context = match around.as_deref().map(|batch| collector.decoder().batch_context(batch)).transpose() {
        Ok(context) => context.unwrap_or_default(),
        // Without its context no event of the batch would mean what its sender meant: all of it is refused, as one.
        Err(failure) => {
            let arrival = Arrival { received, position: position(0), inherited: &[] };
            collector.refuse(body, &arrival, &failure);
            refused(0, &failure);
            return Ok(());
        }
    };
    let inherited = inherited(&context, delivery.connection);
    for (index, (_, event)) in (0..).zip(events) {
        if index == delivery.events_max {
            return Err(TooManyEvents);
        }
        let arrival = Arrival { received, position: position(index), inherited: &inherited };
        if let Err(failure) = collector.event(event, &arrival) {
            refused(index, &failure);
        }
    }
    Ok(())
}

/// What events have from their batch and, where that does not say it, from their connection.
fn inherited<'a>(
    context: &'a [(Field, Cow<'a, [u8]>)],
    connection: Option<(&'a str, &'a str)>,
) -> Vec<(Field, &'a [u8])> {
    let mut all: Vec<(Field, &[u8])> = context.iter().map(|(field, value)| (*field, &**value)).collect();
    let Some((address, agent)) = connection else { return all };
    let agent = &agent[..agent.floor_char_boundary(USER_AGENT_MAX)];
    for (field, value) in [(Field::IP, address), (Field::USER_AGENT, agent)] {
        if !value.is_empty() && !all.iter().any(|(f, _)| *f == field) {
            all.push((field, value.as_bytes()));
        }
    }
    all
}

fn batch(front: &Front, mut collector: Collector, refusals: Refusals) -> Batch {
    let (accepted, refused) = (collector.accepted(), collector.refused());
    let commit = Commit { blocks: collector.take(), ..Commit::default() };
    front.collectors.give(collector);
    let status = if accepted == 0 { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let (tally, answer) = refusals.answer(accepted, refused);
    Batch { commit, tally, accepted, refused, status, answer }
}

/// The refusals of a batch, as the answer lists them and as they are counted.
struct Refusals {
    /// JSON objects with commas between them.
    listed: Vec<u8>,
    count: u64,
    tally: Tally,
}

impl Refusals {
    fn new() -> Refusals {
        Refusals { listed: Vec::new(), count: 0, tally: Tally::new() }
    }

    fn add(&mut self, index: u64, failure: &Failure) {
        self.tally.add(failure.code);
        self.count += 1;
        if self.count > RESULTS_MAX {
            return;
        }
        let out = &mut self.listed;
        out.extend_from_slice(if out.is_empty() { b"{\"index\":" } else { b",{\"index\":" });
        write_number(out, index);
        out.extend_from_slice(b",\"id\":null,\"code\":\"");
        out.extend_from_slice(failure.code.name().as_bytes());
        out.extend_from_slice(b"\",\"pointer\":");
        write_string(out, &failure.pointer);
        out.extend_from_slice(b",\"message\":");
        write_string(out, &failure.message);
        out.push(b'}');
    }

    fn answer(self, accepted: u64, refused: u64) -> (Tally, Vec<u8>) {
        let mut out = Vec::with_capacity(self.listed.len() + 96);
        out.extend_from_slice(b"{\"accepted\":");
        write_number(&mut out, accepted);
        out.extend_from_slice(b",\"refused\":");
        write_number(&mut out, refused);
        out.extend_from_slice(b",\"results\":[");
        out.extend_from_slice(&self.listed);
        out.push(b']');
        if self.count > RESULTS_MAX {
            out.extend_from_slice(b",\"results_omitted\":");
            write_number(&mut out, self.count - RESULTS_MAX);
        }
        out.extend_from_slice(b"}\n");
        (self.tally, out)
    }
}

/// Bytes in flight, given back when the log has decided.
struct Held {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.give(self.bytes);
    }
}

/// What to add to the counters if the commit happens.
struct Counts {
    counters: Arc<Counters>,
    accepted: u64,
    refused: u64,
    tally: Tally,
}

impl Counts {
    fn settle(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Committed(_) => {
                self.counters.accepted.add(self.accepted);
                self.counters.refused.add(self.refused);
                if self.refused > 0 {
                    self.counters.refused_by(&self.tally);
                }
            }
            _ => self.counters.not_stored.add(1),
        }
    }
}

/// A commit that is not decided yet. A client that goes away meanwhile takes the request with it, but not the commit: its
/// bytes stay held and its events are counted when it is decided.
struct Submitted {
    ticket: Option<Ticket>,
    held: Option<(Held, Counts)>,
}

impl Submitted {
    async fn decided(mut self) -> Outcome {
        let ticket = self.ticket.as_mut().expect("taken only on drop");
        let outcome = ticket.await;
        if let Some((_, counts)) = self.held.take() {
            counts.settle(&outcome);
        }
        outcome
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if let (Some(ticket), Some((held, counts))) = (self.ticket.take(), self.held.take())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                counts.settle(&ticket.await);
                drop(held);
            });
        }
    }
}

impl Front {
    /// Keeps a batch's buffer for the next one, unless one giant made it large.
    pub(super) fn give_body(&self, bytes: Vec<u8>) {
        if bytes.capacity() <= 2 * self.limits.batch_bytes {
            self.bodies.give(bytes);
        }
    }
}

fn shed(front: &Front) -> Answer {
    front.counters.shed.add(1);
    answer::retry(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "too much is waiting to be stored; send this again a little later",
        RETRY_SOON_SECS,
    )
}

/// The answer to a body that could not be read.
pub fn refused_body(e: &BodyError) -> Answer {
    use crate::inflate::InflateError;
    let (status, code) = match e {
        BodyError::TooLarge(_) | BodyError::Inflate(InflateError::TooLarge { .. } | InflateError::Ratio { .. }) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "batch_too_large")
        }
        BodyError::Inflate(InflateError::Bad(_)) => (StatusCode::BAD_REQUEST, "bad_encoding"),
        BodyError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "broken_body"),
        BodyError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
    };
    answer::error(status, code, &e.to_string())
}

#[cfg(test)]
mod tests {
    use event::Code;

    use super::*;

    #[test]
    fn content_types_and_encodings_are_taken_or_not() {
        for (value, taken) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/x-ndjson", true),
            ("text/plain;charset=UTF-8", true),
            ("application/x-www-form-urlencoded", true),
            ("multipart/form-data; boundary=x", false),
            ("application/xml", false),
        ] {
            assert_eq!(is_taken(Some(&HeaderValue::from_static(value))), taken, "{value}");
        }
        assert!(is_taken(None));
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for v in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(v));
            }
            encoding(&headers)
        };
        assert_eq!(of(&[]), Some(None));
        assert_eq!(of(&["GZIP"]), Some(Some(Encoding::Gzip)));
        assert_eq!(of(&["zstd"]), Some(Some(Encoding::Zstd)));
        assert_eq!(of(&["br"]), None);
        assert_eq!(of(&["gzip, zstd"]), None);
        assert_eq!(of(&["gzip", "gzip"]), None);
    }

    #[test]
    fn a_thousand_refusals_are_listed_and_the_rest_is_counted() {
        let mut refusals = Refusals::new();
        for index in 0..RESULTS_MAX + 7 {
            refusals.add(index, &Failure::new(Code::MissingField, "/type", "there is no \"type\""));
        }
        let (_, answer) = refusals.answer(0, RESULTS_MAX + 7);
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["results"].as_array().expect("a list").len() as u64, RESULTS_MAX);
        assert_eq!(answer["results_omitted"], 7);
        assert_eq!(answer["results"][999]["index"], 999);
        assert_eq!(answer["results"][0]["message"], "there is no \"type\"");
    }
}
