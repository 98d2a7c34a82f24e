//! Answers: JSON as bytes, errors that say what to do, and streams.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::guard::Serving;

/// The body of an answer.
pub struct Reply {
    pieces: Pieces,
    /// Tells the socket, when hyper is done with this body, that the next head may begin.
    pub(super) serving: Option<Serving>,
}

enum Pieces {
    Whole(Option<Bytes>),
    Stream(Box<dyn Iterator<Item = Bytes> + Send>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.pieces {
            Pieces::Whole(bytes) => bytes.take(),
            Pieces::Stream(pieces) => pieces.next(),
        };
        Poll::Ready(piece.map(|p| Ok(Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.pieces, Pieces::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Pieces::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Pieces::Stream(_) => SizeHint::default(),
        }
    }
}

pub type Answer = Response<Reply>;

pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
pub const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Prometheus' text format; without the version some scrapers refuse it.
pub const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// An answer of one piece.
pub fn whole(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    of(status, content_type, Pieces::Whole(Some(body.into())))
}

/// An answer in pieces that are made as the client takes them.
pub fn stream(content_type: HeaderValue, pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Answer {
    of(StatusCode::OK, content_type, Pieces::Stream(Box::new(pieces)))
}

/// `{"code":"...","message":"..."}`.
pub fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    error_with(status, code, message, serde_json::Map::new())
}

/// The same with more members, for programs.
pub fn error_with(
    status: StatusCode,
    code: &str,
    message: &str,
    more: serde_json::Map<String, serde_json::Value>,
) -> Answer {
    let mut body = b"{\"code\":".to_vec();
    write_string(&mut body, code);
    body.extend_from_slice(b",\"message\":");
    write_string(&mut body, message);
    for (name, value) in more {
        body.push(b',');
        write_string(&mut body, &name);
        body.push(b':');
        body.extend_from_slice(value.to_string().as_bytes());
    }
    body.extend_from_slice(b"}\n");
    whole(status, JSON, body)
}

/// An error after which the same request may succeed, and after how many seconds.
pub fn retry(status: StatusCode, code: &str, message: &str, after_secs: u32) -> Answer {
    let mut answer = error(status, code, message);
    answer.headers_mut().insert(header::RETRY_AFTER, after_secs.into());
    answer
}

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(&mut *out, text).expect("a string is JSON, and a Vec takes it");
}

/// Appends a number without going through a `String`.
pub fn write_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn of(status: StatusCode, content_type: HeaderValue, pieces: Pieces) -> Answer {
    let mut answer = Response::new(Reply { pieces, serving: None });
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are() {
        for n in [0, 7, 10, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, n);
            assert_eq!(out, n.to_string().as_bytes());
        }
    }
}
