//! A client of keep-alive connections that sends requests several at a time and reads their answers: as little as it can do,
//! for it has the server's cores.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use door::http::Histogram;

pub struct Client {
    pub addr: SocketAddr,
    /// Different keys.
    pub keys: usize,
    pub connections: usize,
}

/// What is sent.
#[derive(Clone, Copy)]
pub struct Load {
    /// Keys of a request.
    pub size: usize,
    /// Requests that a connection sends before it reads their answers.
    pub depth: usize,
    /// Requests a second, all connections together; `None`: as fast as it goes.
    pub rate: Option<f64>,
    pub span: Duration,
}

/// What came of it.
pub struct Measured {
    /// Requests answered a second.
    pub per_second: f64,
    /// From the time a request was due to its answer.
    pub latency: Arc<Histogram>,
}

/// Keys of a request while the caches are warmed: a round of the source each.
const WARM_SIZE: usize = 100;

impl Client {
    /// Asks for every key once, so that the caches know it.
    pub fn warm(&self) -> io::Result<()> {
        let mut connection = Connection::open(self.addr)?;
        for first in (0..self.keys).step_by(WARM_SIZE) {
            let keys = (first..self.keys.min(first + WARM_SIZE)).map(key);
            connection.ask(&request(keys, ",\"deadline_ms\":10000"), 1)?;
        }
        Ok(())
    }

    /// Each connection on a thread of its own where a rate is held, else all of them on as many threads as there are cores.
    pub fn run(&self, load: Load) -> io::Result<Measured> {
        let latency = Arc::new(Histogram::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if load.rate.is_some() { self.connections } else { cores.min(self.connections) };
        let begun = Instant::now();
        let counts: Vec<io::Result<u64>> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..threads)
                .map(|n| {
                    let mine = (self.connections - n).div_ceil(threads);
                    let latency = &latency;
                    scope.spawn(move || match load.rate {
                        None => self.fast(n, mine, load, begun),
                        Some(rate) => self.paced(n, rate / threads as f64, load, begun, latency),
                    })
                })
                .collect();
            started.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        let answered = counts.into_iter().sum::<io::Result<u64>>()?;
        Ok(Measured { per_second: answered as f64 / begun.elapsed().as_secs_f64(), latency })
    }

    fn fast(&self, thread: usize, connections: usize, load: Load, begun: Instant) -> io::Result<u64> {
        let mut open = (0..connections).map(|_| Connection::open(self.addr)).collect::<io::Result<Vec<_>>>()?;
        let batches = self.batches(thread, load);
        let mut answered = 0;
        for batch in batches.iter().cycle() {
            if begun.elapsed() >= load.span {
                break;
            }
            for connection in &mut open {
                connection.send(batch)?;
            }
            for connection in &mut open {
                connection.read(load.depth)?;
                answered += load.depth as u64;
            }
        }
        Ok(answered)
    }

    fn paced(&self, thread: usize, rate: f64, load: Load, begun: Instant, latency: &Histogram) -> io::Result<u64> {
        let mut connection = Connection::open(self.addr)?;
        let batches = self.batches(thread, load);
        let every = Duration::from_secs_f64(load.depth as f64 / rate);
        // Threads that are due together would be a burst of the client's own making.
        let mut due = begun + every.mul_f64(thread as f64 / self.connections as f64);
        let mut answered = 0;
        for batch in batches.iter().cycle() {
            if due >= begun + load.span {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.ask(batch, load.depth)?;
            // From when it was due: a server that is late makes the next ones late, too.
            (0..load.depth).for_each(|_| latency.record(due.elapsed()));
            answered += load.depth as u64;
            due += every;
        }
        Ok(answered)
    }

    /// What a thread sends, over and over: keys that lie apart.
    fn batches(&self, thread: usize, load: Load) -> Vec<Vec<u8>> {
        const DIFFERENT: usize = 512;
        let mut n = thread * self.keys / 7;
        let mut next = || {
            n += 7_919;
            key(n % self.keys)
        };
        let mut batch = || (0..load.depth).flat_map(|_| request((0..load.size).map(|_| next()), "")).collect();
        (0..DIFFERENT).map(|_| batch()).collect()
    }
}

fn key(n: usize) -> String {
    format!("user-{n}")
}

fn request(keys: impl Iterator<Item = String>, more: &str) -> Vec<u8> {
    let keys: Vec<String> = keys.map(|key| format!("\"{key}\"")).collect();
    let body = format!("{{\"keys\":[{}]{more}}}", keys.join(","));
    let head = format!("POST /v1/lookup/bench HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    (head + &body).into_bytes()
}

struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    fn open(addr: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Connection { stream, unread: Vec::with_capacity(1 << 16) })
    }

    fn ask(&mut self, requests: &[u8], count: usize) -> io::Result<()> {
        self.send(requests)?;
        self.read(count)
    }

    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests)
    }

    /// Reads so many answers, each of which must have a value for each key.
    fn read(&mut self, count: usize) -> io::Result<()> {
        let mut piece = [0; 1 << 16];
        let (mut answers, mut at) = (0, 0);
        loop {
            while let Some(end) = answer_end(&self.unread[at..])? {
                at += end;
                answers += 1;
            }
            self.unread.drain(..std::mem::take(&mut at));
            if answers >= count {
                return Ok(());
            }
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.unread.extend_from_slice(&piece[..n]),
            }
        }
    }
}

/// Where the first answer ends, if all of it is there.
fn answer_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    const LENGTH: &[u8] = b"content-length: ";
    let find = |what: &[u8], bytes: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let Some(head) = find(b"\r\n\r\n", bytes) else { return Ok(None) };
    let bad =
        |what: &str| io::Error::other(format!("{what}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(600)])));
    let length = find(LENGTH, &bytes[..head]).ok_or_else(|| bad("an answer without a length"))?;
    let digits = bytes[length + LENGTH.len()..].iter().take_while(|b| b.is_ascii_digit());
    let length = digits.fold(0, |n, b| n * 10 + usize::from(b - b'0'));
    let end = head + 4 + length;
    if bytes.len() < end {
        return Ok(None);
    }
    let first = b"{\"results\":[{\"key\":\"user-";
    if !bytes.starts_with(b"HTTP/1.1 200") || !bytes[head + 4..].starts_with(first) {
        return Err(bad("an answer that is none"));
    }
    Ok(Some(end))
}
