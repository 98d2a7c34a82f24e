//! A client that sends exactly the bytes it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
    }
}

impl Client {
    pub fn new(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).expect("a connection");
        // A test that waits for an answer that never comes fails instead of hanging.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may have answered and closed already; the answer is what counts.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads one answer; `None` when the connection is closed before its first byte.
    pub fn read(&mut self) -> Option<Answer> {
        self.read_for("GET")
    }

    pub fn read_for(&mut self, method: &str) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if !self.more() {
                assert!(self.unread.is_empty(), "cut off: {:?}", String::from_utf8_lossy(&self.unread));
                return None;
            }
        };
        let head = String::from_utf8(self.unread.drain(..head_end + 4).collect()).expect("a head");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> =
            lines.map(|l| l.split_once(": ").unwrap()).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method == "HEAD" || status == 100 {
            return Some(answer);
        }
        match answer.header("content-length").map(|n| n.parse::<usize>().unwrap()) {
            Some(len) => {
                while self.unread.len() < len {
                    assert!(self.more(), "the answer was cut off");
                }
                answer.body = self.unread.drain(..len).collect();
            }
            None if answer.header("transfer-encoding") == Some("chunked") => loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                while self.unread.len() < size + 2 {
                    assert!(self.more(), "the answer was cut off");
                }
                answer.body.extend(self.unread.drain(..size));
                self.unread.drain(..2);
                if size == 0 {
                    break;
                }
            },
            None => {}
        }
        Some(answer)
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).unwrap();
            }
            assert!(self.more(), "the answer was cut off");
        }
    }

    fn more(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&piece[..n]);
                true
            }
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(e) => panic!("no answer: {e}"),
        }
    }

    /// A whole request on this connection.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(request(method, path, headers, body));
        self.read_for(method).expect("an answer")
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", "/v1/events", &[], body.as_ref())
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes += &format!("{name}: {value}\r\n");
    }
    bytes += "\r\n";
    [bytes.as_bytes(), body].concat()
}
