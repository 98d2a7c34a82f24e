//! Sending batches over HTTP at almost no cost of its own: one connection that is kept, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer takes a group commit; who has not answered by then has lost the batch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer to a batch has. A peer that says more is none of ours.
const BODY_MAX: usize = 16 << 20;
const HEADERS_MAX: u64 = 64 << 10;

/// A connection that is made when it is first needed, and anew after an error.
pub struct Connection {
    addr: SocketAddr,
    path: String,
    open: Option<Open>,
    head: Vec<u8>,
    answer: Answer,
}

struct Open {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// What was answered.
#[derive(Default, Debug)]
pub struct Answer {
    pub status: u16,
    /// What the answer asks to wait before trying again.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
    closes: bool,
}

impl Connection {
    pub fn new(addr: SocketAddr, path: impl Into<String>) -> Connection {
        Connection { addr, path: path.into(), open: None, head: Vec::new(), answer: Answer::default() }
    }

    /// Connects, if that is still to be done.
    pub fn connect(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            let stream = TcpStream::connect_timeout(&self.addr, CONNECT_TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            self.open = Some(Open { reader: BufReader::new(stream.try_clone()?), stream });
        }
        Ok(())
    }

    /// Sends lines of JSON. After an error nobody knows whether they arrived.
    pub fn post(&mut self, body: &[u8]) -> io::Result<&Answer> {
        let result = self.exchange(body);
        if result.is_err() || self.answer.closes {
            self.open = None;
        }
        result.map(|()| &self.answer)
    }

    fn exchange(&mut self, body: &[u8]) -> io::Result<()> {
        self.connect()?;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotConnected.into()) };
        self.head.clear();
        write!(
            self.head,
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.addr,
            body.len()
        )?;
        write_both(&mut open.stream, &self.head, body)?;
        self.answer.read(&mut open.reader)
    }
}

impl Answer {
    fn read(&mut self, reader: &mut BufReader<TcpStream>) -> io::Result<()> {
        (self.status, self.retry_after, self.closes) = (0, None, false);
        self.body.clear();
        let mut length = 0usize;
        let mut headers = reader.by_ref().take(HEADERS_MAX);
        let mut line = String::new();
        headers.read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("no HTTP answer"))?;
        loop {
            line.clear();
            headers.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(|_| bad("an answer of no length"))?;
            } else if name.eq_ignore_ascii_case("retry-after") {
                self.retry_after = value.parse().ok().map(Duration::from_secs);
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(bad("an answer in pieces: this is no receiver of events"));
            }
        }
        if length > BODY_MAX {
            return Err(bad("an answer too large for one to a batch"));
        }
        self.body.resize(length, 0);
        reader.read_exact(&mut self.body)
    }
}

/// Both in one call where the system takes them.
fn write_both(stream: &mut TcpStream, head: &[u8], body: &[u8]) -> io::Result<()> {
    let wrote = stream.write_vectored(&[io::IoSlice::new(head), io::IoSlice::new(body)])?;
    if wrote < head.len() {
        stream.write_all(&head[wrote..])?;
        return stream.write_all(body);
    }
    stream.write_all(&body[wrote - head.len()..])
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers each request with the next text.
    fn server(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            let (mut stream, mut reader) = (None, None);
            for answer in answers {
                if stream.is_none() {
                    let (accepted, _) = listener.accept().expect("a caller");
                    reader = Some(BufReader::new(accepted.try_clone().expect("a clone")));
                    stream = Some(accepted);
                }
                let from = reader.as_mut().expect("open");
                let (mut line, mut length) = (String::new(), 0);
                loop {
                    line.clear();
                    from.read_line(&mut line).expect("a line");
                    match line.trim_end().split_once(": ") {
                        Some(("Content-Length", n)) => length = n.parse().expect("a number"),
                        None if line.trim_end().is_empty() => break,
                        _ => {}
                    }
                }
                from.read_exact(&mut vec![0; length]).expect("a body");
                stream.as_mut().expect("open").write_all(answer.as_bytes()).expect("written");
                if answer.contains("close") || answer.is_empty() {
                    (stream, reader) = (None, None);
                }
            }
        });
        addr
    }

    #[test]
    fn answers_are_read_and_connections_kept_or_made_anew() {
        let addr = server(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n",
        ]);
        let mut connection = Connection::new(addr, "/v1/events");
        let first = connection.post(b"{}\n").expect("an answer");
        assert_eq!((first.status, first.body.as_slice(), first.retry_after), (200, &b"abc"[..], None));
        let second = connection.post(b"{}\n").expect("an answer");
        assert_eq!((second.status, second.retry_after), (503, Some(Duration::from_secs(7))));
        assert!(connection.post(b"{}\n").is_err(), "hung up");
        assert_eq!(connection.post(&[b'x'; 300_000]).expect("an answer").body, b"ok");
        assert!(connection.post(b"{}\n").is_err(), "too large");
    }
}
