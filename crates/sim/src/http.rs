//! A small HTTP/1.1 client on a blocking socket: one connection, one request at a time. It is here because a test's
//! client must say exactly what it does not know: whether a request arrived.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer takes a group commit, not this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a reader may answer at once; a larger one is a fault.
const BODY_MAX: usize = 256 << 20;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(500)]).into_owned()
    }
}

/// A connection that is made when it is first needed, and again after an error.
pub struct Client {
    addr: SocketAddr,
    stream: Option<TcpStream>,
    head: Vec<u8>,
    /// Bytes read and not yet used.
    buffer: Vec<u8>,
    at: usize,
}

impl Client {
    pub fn new(addr: SocketAddr) -> Client {
        Client { addr, stream: None, head: Vec::new(), buffer: Vec::new(), at: 0 }
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Response> {
        self.request("POST", path, &[("content-type", content_type)], body)
    }

    /// After an error nobody knows whether the request was carried out; the connection is made anew for the next one.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let result = self.exchange(method, path, headers, body);
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    fn exchange(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        if self.stream.is_none() {
            let stream = TcpStream::connect_timeout(&self.addr, Duration::from_secs(5))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
            stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
            self.stream = Some(stream);
            self.buffer.clear();
            self.at = 0;
        }
        self.head.clear();
        write!(self.head, "{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.addr)?;
        for (name, value) in headers {
            write!(self.head, "{name}: {value}\r\n")?;
        }
        write!(self.head, "content-length: {}\r\n\r\n", body.len())?;
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(&self.head)?;
        stream.write_all(body)?;
        self.response()
    }

    fn response(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| bad(format!("no status in {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("no header: {line:?}")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        let chunked = response.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        if chunked {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                    .map_err(|_| bad(format!("no chunk size: {line:?}")))?;
                self.take(size, &mut response.body)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| bad(format!("content-length: {length}")))?;
            self.take(length, &mut response.body)?;
        } else if status != 204 && status != 304 {
            return Err(bad("an answer without a length".to_owned()));
        }
        if response.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close")) {
            self.stream = None;
        }
        Ok(response)
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(n) = self.buffer[self.at..].iter().position(|b| *b == b'\n') {
                let line = &self.buffer[self.at..self.at + n];
                let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
                self.at += n + 1;
                return Ok(line);
            }
            if self.buffer.len() - self.at > 64 << 10 {
                return Err(bad("a header line over 64 KiB".to_owned()));
            }
            self.fill()?;
        }
    }

    fn take(&mut self, n: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if n > BODY_MAX - out.len() {
            return Err(bad(format!("a body over {BODY_MAX} bytes")));
        }
        out.reserve(n);
        let held = n.min(self.buffer.len() - self.at);
        out.extend_from_slice(&self.buffer[self.at..self.at + held]);
        self.at += held;
        if held < n {
            let begin = out.len();
            out.resize(begin + n - held, 0);
            self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?.read_exact(&mut out[begin..])?;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + (16 << 10), 0);
        let n = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?.read(&mut self.buffer[len..]);
        self.buffer.truncate(len + *n.as_ref().unwrap_or(&0));
        if n? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
