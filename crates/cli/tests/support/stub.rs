//! A service on a port of its own, that answers as it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Calls `answer` with the path of each request and the stream, which is at the beginning of its answer. `false`: the
/// connection is closed.
pub fn serve(answer: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || speak(stream, &*answer));
        }
    });
    addr
}

fn speak(mut stream: TcpStream, answer: &dyn Fn(&str, &mut TcpStream) -> bool) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).is_err() || first.is_empty() {
            return;
        }
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        let path = first.split(' ').nth(1).unwrap_or_default();
        if reader.read_exact(&mut body).is_err() || !answer(path, &mut stream) {
            return;
        }
    }
}

/// Answers with a status line's end (`200 OK`), further headers (each with its line end) and a body.
pub fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
}
