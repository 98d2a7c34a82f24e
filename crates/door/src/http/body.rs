//! A request's body on its way in: capped before memory is taken, at a rate that shows somebody is sending.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use seam::Clock;

use super::counters::Counters;
use super::limits::{DRAIN_BYTES_MAX, DRAIN_TIME_MAX, Limits};
use crate::inflate::{Encoding, InflateError, InflateLimits, Inflater};

/// Why a body was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the batch is larger than {0} bytes; send it in parts")]
    TooLarge(usize),
    #[error(transparent)]
    Inflate(#[from] InflateError),
    #[error("the body came in slower than {0} bytes a second")]
    TooSlow(u32),
    #[error("too many batches are being received; send this one again")]
    Overloaded,
    /// The client went away, or broke the protocol. There is nobody to tell.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Bytes, or other things, that many requests hold together, with a bound.
pub struct Gauge {
    held: AtomicUsize,
    max: usize,
}

/// A request's share of a [`Gauge`], given back when dropped.
pub struct Share<'a> {
    gauge: &'a Gauge,
    bytes: usize,
}

impl Gauge {
    pub fn new(max: usize) -> Gauge {
        Gauge { held: AtomicUsize::new(0), max }
    }

    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    pub fn is_full(&self) -> bool {
        self.held() >= self.max
    }

    /// Takes `bytes` more; `false`, and nothing taken, when that is over the bound. A single share that is larger than
    /// the bound is let through when nothing else is held, so that no limit can contradict another for good.
    pub fn take(&self, bytes: usize) -> bool {
        let before = self.held.fetch_add(bytes, Relaxed);
        let fits = before == 0 || before + bytes <= self.max;
        if !fits {
            self.held.fetch_sub(bytes, Relaxed);
        }
        fits
    }

    pub fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
    }

    pub fn share(&self) -> Share<'_> {
        Share { gauge: self, bytes: 0 }
    }
}

impl Share<'_> {
    /// Takes so much more, or nothing.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let fits = self.gauge.take(bytes);
        self.bytes += if fits { bytes } else { 0 };
        fits
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.gauge.give(self.bytes);
    }
}

/// What a body is read with.
pub struct Reader<'a> {
    pub limits: &'a Limits,
    pub clock: &'a dyn Clock,
    pub counters: &'a Counters,
    pub reading: &'a Gauge,
}

impl Reader<'_> {
    /// Reads the whole body into `out`, decompressed.
    pub async fn read(
        &self,
        body: &mut Incoming,
        encoding: Option<Encoding>,
        out: &mut Vec<u8>,
    ) -> Result<(), BodyError> {
        let cap = self.limits.batch_bytes;
        let said = body.size_hint().exact();
        if said.is_some_and(|n| n > cap as u64) {
            return Err(BodyError::TooLarge(cap));
        }
        let inflate_limits = InflateLimits { max_out: cap as u64, max_ratio: self.limits.ratio_max };
        let mut inflater = encoding.map(|e| Inflater::new(e, inflate_limits));
        if let (None, Some(n)) = (&inflater, said) {
            out.reserve(n as usize);
        }
        let mut share = self.reading.share();
        let mut received = 0;
        let started_at = self.clock.elapsed();
        while let Some(piece) = self.next(body, received, started_at).await? {
            received += piece.len();
            self.counters.body_bytes.add(piece.len() as u64);
            if received > cap {
                return Err(BodyError::TooLarge(cap));
            }
            let before = out.len();
            match &mut inflater {
                Some(inflater) => inflater.push(&piece, out)?,
                None => out.extend_from_slice(&piece),
            }
            if !share.grow(out.len() - before) {
                return Err(BodyError::Overloaded);
            }
        }
        if let Some(inflater) = &mut inflater {
            inflater.finish()?;
        }
        self.counters.inflated_bytes.add(out.len() as u64);
        Ok(())
    }

    /// The next piece of data, if it comes in time. Trailers are of no use to us and are skipped.
    async fn next(
        &self,
        body: &mut Incoming,
        received: usize,
        started_at: Duration,
    ) -> Result<Option<Bytes>, BodyError> {
        loop {
            let rate = self.limits.body_rate_min;
            let allowed = self.limits.body_grace + Duration::from_secs_f64(received as f64 / f64::from(rate));
            let left = allowed.saturating_sub(self.clock.elapsed().saturating_sub(started_at));
            let Ok(frame) = tokio::time::timeout(left, frame(body)).await else {
                self.counters.too_slow.add(1);
                return Err(BodyError::TooSlow(rate));
            };
            match frame {
                None => return Ok(None),
                Some(Err(e)) => return Err(BodyError::Broken(e.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Reads and throws away what is left of a refused body, within bounds, so that its sender gets to read why.
pub async fn drain(body: &mut Incoming) {
    if body.size_hint().exact().is_some_and(|n| n > DRAIN_BYTES_MAX as u64) {
        return;
    }
    let all = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(piece)) = frame(body).await {
            let len = piece.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(len) else { break };
            left = rest;
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, all).await;
}

async fn frame(body: &mut Incoming) -> Option<Result<hyper::body::Frame<Bytes>, hyper::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_holds_its_bound_and_lets_a_lone_giant_pass() {
        let gauge = Gauge::new(10);
        let mut a = gauge.share();
        let mut b = gauge.share();
        assert!(a.grow(6));
        assert!(!b.grow(5));
        assert!(b.grow(4));
        assert!(gauge.is_full());
        drop((a, b));
        assert_eq!(gauge.held(), 0);
        assert!(gauge.take(11), "nothing else is held");
        assert!(!gauge.take(1));
    }
}
