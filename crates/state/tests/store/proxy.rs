//! Between a store and its service: passes requests on, one answer to a connection, and does to each what it is told.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone, Debug)]
pub enum Act {
    Pass,
    /// This answer, and the service is not asked.
    Answer(u16, &'static str),
    /// It never reaches the service.
    CutBefore,
    /// The service does it, and nobody hears of it.
    CutAfter,
    /// The answer loses the end of its body.
    Truncate,
    /// A byte in the middle of the answer's body is another.
    Garble,
    /// The answer comes byte by byte, for as long as anybody reads.
    Drip,
    /// Nothing comes.
    Hang,
}

#[derive(Default)]
struct Script {
    next: VecDeque<Act>,
    /// What is done when there is no next one.
    always: Option<Act>,
    /// The first lines of all requests.
    seen: Vec<String>,
}

/// A listener on loopback; its threads end with the process.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Proxy {
    pub fn new(service: SocketAddr) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let proxy = Proxy { address: listener.local_addr().expect("bound"), script: Arc::default() };
        let script = Arc::clone(&proxy.script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                std::thread::spawn(move || serve(stream, service, &script));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// For the next requests, one each; after them all pass.
    pub fn next(&self, acts: impl IntoIterator<Item = Act>) {
        let mut script = self.script.lock().expect("whole");
        (script.next, script.always) = (acts.into_iter().collect(), None);
        script.seen.clear();
    }

    /// For all that come.
    pub fn always(&self, act: Act) {
        self.next([]);
        self.script.lock().expect("whole").always = Some(act);
    }

    /// First lines of the requests since it was last told what to do.
    pub fn seen(&self) -> Vec<String> {
        self.script.lock().expect("whole").seen.clone()
    }
}

/// One request.
fn serve(mut client: TcpStream, service: SocketAddr, script: &Mutex<Script>) {
    let Ok((head, body)) = read(&mut client) else { return };
    let act = {
        let mut script = script.lock().expect("whole");
        script.seen.push(head.lines().next().unwrap_or_default().to_owned());
        script.next.pop_front().or_else(|| script.always.clone()).unwrap_or(Act::Pass)
    };
    // Nobody may be there any more to hear what comes of it.
    let _ = perform(&act, &mut client, service, &head, &body);
    let _ = client.shutdown(Shutdown::Both);
}

fn perform(act: &Act, client: &mut TcpStream, service: SocketAddr, head: &str, body: &[u8]) -> io::Result<()> {
    match act {
        Act::CutBefore => Ok(()),
        Act::Hang => client.read(&mut [0]).map(drop),
        Act::Answer(status, body) => {
            let length = body.len();
            let etag = "etag: \"x\"\r\nlast-modified: Thu, 26 Nov 2026 12:00:00 GMT\r\nconnection: close";
            write!(client, "HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{etag}\r\n\r\n{body}")
        }
        Act::Pass => client.write_all(&asked(service, head, body)?),
        Act::CutAfter => asked(service, head, body).map(drop),
        Act::Truncate => {
            let answer = asked(service, head, body)?;
            let cut = (answer.len() - body_at(&answer)).div_ceil(2);
            client.write_all(&answer[..answer.len() - cut])
        }
        Act::Garble => {
            let mut answer = asked(service, head, body)?;
            let at = (answer.len() + body_at(&answer)) / 2;
            if let Some(byte) = answer.get_mut(at) {
                *byte ^= 0x10;
            }
            client.write_all(&answer)
        }
        Act::Drip => {
            for byte in asked(service, head, body)? {
                client.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        }
    }
}

/// The service's answer, whole.
fn asked(service: SocketAddr, head: &str, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut service = TcpStream::connect(service)?;
    // What is signed stays as it is; this is not.
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    service.write_all(head.as_bytes())?;
    service.write_all(body)?;
    let mut answer = Vec::new();
    service.read_to_end(&mut answer)?;
    Ok(answer)
}

fn body_at(answer: &[u8]) -> usize {
    answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4
}

/// A request: its head with the empty line, and its body.
pub fn read(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut got, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let mut more = |got: &mut Vec<u8>| match stream.read(&mut buffer)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        n => {
            got.extend_from_slice(&buffer[..n]);
            Ok(())
        }
    };
    while !got.windows(4).any(|end| end == b"\r\n\r\n") {
        more(&mut got)?;
    }
    let at = body_at(&got);
    let head = String::from_utf8_lossy(&got[..at]).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(0, |(_, length)| length.parse().expect("a length"));
    while got.len() < at + length {
        more(&mut got)?;
    }
    Ok((head, got.split_off(at)))
}
