//! Bodies: one piece that is sent, and what is read, counted while it comes and again while it is decompressed.

use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap};

use super::super::Failure;
use super::{Exchange, answer};

/// A body of one piece.
pub(super) struct Once(Option<Bytes>);

impl Once {
    pub(super) fn new(bytes: Bytes) -> Once {
        Once((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for Once {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The whole body; `None` if it has more than `max` bytes, of which no more are read.
pub(super) async fn read(mut body: Incoming, max: usize) -> Result<Option<Bytes>, Failure> {
    if body.size_hint().lower() > max as u64 {
        return Ok(None);
    }
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.map_err(|e| answer::broken(&e))?.into_data() {
            if all.len() + data.len() > max {
                return Ok(None);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(Some(all.freeze()))
}

/// What was compressed, at most `max` bytes of it.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, max: usize) -> Exchange {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes().to_ascii_lowercase()).as_deref() {
        None | Some(b"identity") => Exchange::Body(body),
        Some(b"gzip" | b"x-gzip") => {
            let mut out = Vec::new();
            match MultiGzDecoder::new(&*body).take(max as u64 + 1).read_to_end(&mut out) {
                Ok(_) if out.len() > max => Exchange::TooLarge,
                Ok(_) => Exchange::Body(out.into()),
                Err(_) => Exchange::Undecodable,
            }
        }
        Some(_) => Exchange::Undecodable,
    }
}
