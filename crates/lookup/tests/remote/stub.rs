//! A server that answers each request with what a test says, down to the bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as it came.
pub struct Asked {
    /// The request line and the headers.
    pub head: String,
    pub body: Vec<u8>,
    /// Requests on this connection before it.
    pub before: usize,
}

impl Asked {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a request line")
    }
}

pub enum Answer {
    Bytes(Vec<u8>),
    /// Byte by byte.
    Drip(Vec<u8>, Duration),
    /// These bytes, and the connection is reset.
    Reset(Vec<u8>),
    Hang,
}

pub fn json(body: &str) -> Answer {
    with("200 OK", "content-type: application/json", body.as_bytes())
}

pub fn status(line: &str) -> Answer {
    with(line, "x: y", b"{\"error\":\"no\"}")
}

pub fn with(line: &str, header: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {line}\r\n{header}\r\ncontent-length: {}\r\n\r\n", body.len());
    Answer::Bytes([head.as_bytes(), body].concat())
}

pub struct Stub {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Stub {
    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    pub async fn start(answer: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, counted) = (Arc::new(answer), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let reset = tcp.set_zero_linger().is_ok();
                    assert!(reset);
                    serve(tcp, &*answer).await;
                });
            }
        });
        Stub { address, connections }
    }
}

/// Answers on one connection until it ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut io: S, answer: &(impl Fn(Asked) -> Answer + ?Sized)) {
    let mut text = Vec::new();
    for before in 0.. {
        let end = loop {
            if let Some(at) = text.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(io.read_buf(&mut text).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8(text[..end].to_vec()).expect("a head is ASCII");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |digits| digits.trim().parse().expect("digits"));
        while text.len() < end + length {
            if !matches!(io.read_buf(&mut text).await, Ok(1..)) {
                return;
            }
        }
        let body = text[end..end + length].to_vec();
        text.drain(..end + length);
        let sent = match answer(Asked { head, body, before }) {
            Answer::Bytes(bytes) => io.write_all(&bytes).await,
            Answer::Drip(bytes, pause) => {
                for byte in bytes {
                    if io.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
                Ok(())
            }
            Answer::Reset(bytes) => {
                let _ = io.write_all(&bytes).await;
                return;
            }
            Answer::Hang => std::future::pending().await,
        };
        if sent.is_err() {
            return;
        }
    }
}
