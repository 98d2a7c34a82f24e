//! A connection's socket with two clocks on it: one for a request's head, one for an answer nobody takes.
//!
//! hyper has one timer for a head, and it runs from the end of the last answer. That is our idle timer. The time for
//! the head itself is kept here, from its first byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::counters::Counters;

/// What the service tells the socket. Both run in one task, so relaxed is enough.
#[derive(Default)]
pub struct Phase {
    /// Heads that were read whole.
    heads: AtomicU64,
    /// A request is being served.
    serving: AtomicBool,
}

impl Phase {
    /// A head was read whole. The guard goes into the answer's body: when hyper is done with it, the next head may begin.
    pub fn begin(self: &Arc<Phase>) -> Serving {
        self.heads.fetch_add(1, Relaxed);
        self.serving.store(true, Relaxed);
        Serving(Arc::clone(self))
    }
}

pub struct Serving(Arc<Phase>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.store(false, Relaxed);
    }
}

pub struct Guarded {
    stream: TcpStream,
    phase: Arc<Phase>,
    counters: Arc<Counters>,
    header_time: Duration,
    write_stall: Duration,
    /// Heads that were whole when `head_begun` was last set.
    heads: u64,
    head_begun: bool,
    head_timer: Option<Pin<Box<Sleep>>>,
    stall_timer: Option<Pin<Box<Sleep>>>,
}

/// Said before closing on a head that is too slow, as far as the socket takes it at once.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n\
content-length: 66\r\n\r\n{\"code\":\"too_slow\",\"message\":\"the request's head took too long\"}\n\n";

impl Guarded {
    pub fn new(
        stream: TcpStream,
        phase: Arc<Phase>,
        counters: Arc<Counters>,
        header_time: Duration,
        write_stall: Duration,
    ) -> Guarded {
        Guarded {
            stream,
            phase,
            counters,
            header_time,
            write_stall,
            heads: 0,
            head_begun: false,
            head_timer: None,
            stall_timer: None,
        }
    }

    /// Armed only when a head did not come in one piece: nearly all do, and those cost no timer.
    fn poll_head_timer(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.head_begun || self.phase.serving.load(Relaxed) {
            return Poll::Pending;
        }
        let header_time = self.header_time;
        let timer = self.head_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(header_time)));
        ready!(timer.as_mut().poll(cx));
        self.counters.too_slow.add(1);
        self.counters.answered(408);
        let _ = self.stream.try_write(TOO_SLOW);
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the request's head took too long"))
    }

    fn stalled<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stall_timer = None;
            return wrote;
        }
        let write_stall = self.write_stall;
        let timer = self.stall_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(write_stall)));
        ready!(timer.as_mut().poll(cx));
        self.counters.too_slow.add(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl Read for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let heads = me.phase.heads.load(Relaxed);
        if heads != me.heads {
            (me.heads, me.head_begun, me.head_timer) = (heads, false, None);
        }
        // SAFETY: `ReadBuf::uninit` never de-initialises, and `advance` is called with what it says was filled.
        let read = unsafe {
            let mut tokio_buf = ReadBuf::uninit(buf.as_mut());
            let read = Pin::new(&mut me.stream).poll_read(cx, &mut tokio_buf);
            let filled = tokio_buf.filled().len();
            buf.advance(filled);
            if filled > 0 && !me.phase.serving.load(Relaxed) {
                me.head_begun = true;
            }
            read
        };
        match read {
            Poll::Pending => me.poll_head_timer(cx).map(Err),
            // A head that drips is never pending for long: its time counts all the same.
            ready => match me.head_timer.is_some().then(|| me.poll_head_timer(cx)) {
                Some(Poll::Ready(e)) => Poll::Ready(Err(e)),
                _ => ready,
            },
        }
    }
}

impl Write for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let wrote = Pin::new(&mut me.stream).poll_write(cx, buf);
        me.stalled(cx, wrote)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let wrote = Pin::new(&mut me.stream).poll_write_vectored(cx, bufs);
        me.stalled(cx, wrote)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_a_slow_head_is_as_long_as_it_says() {
        let text = std::str::from_utf8(super::TOO_SLOW).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
