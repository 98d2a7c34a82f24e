//! Real backends: a Postgres and a Redis that somebody has started, and a small service over HTTP in this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use super::backend::row;
use super::load::key;

/// Where they are: what `cargo xtask services` says.
pub const POSTGRES: &str = "OUZEL_TEST_POSTGRES";
pub const REDIS: &str = "OUZEL_TEST_REDIS";
/// Commands that are sent before their answers are read.
const PIPELINE: usize = 1000;

/// Puts a row for each key into the Redis of `url`.
pub fn fill(url: &str, keys: usize) -> io::Result<()> {
    let rest = url.strip_prefix("redis://").ok_or_else(|| io::Error::other("no URL of a Redis"))?;
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let mut stream = TcpStream::connect(rest.split('/').next().unwrap_or(rest))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    if let Some((user, password)) = login.split_once(':') {
        let words = [b"AUTH".as_slice(), user.as_bytes(), password.as_bytes()];
        let words: Vec<&[u8]> = words.into_iter().filter(|word| !word.is_empty()).collect();
        stream.write_all(&command(&words))?;
        accepted(&mut answers)?;
    }
    let all: Vec<usize> = (0..keys).collect();
    for some in all.chunks(PIPELINE) {
        let set = |n: &usize| command(&[b"SET", key(*n).as_bytes(), &row(&key(*n)), b"EX", b"7200"]);
        stream.write_all(&some.iter().flat_map(set).collect::<Vec<u8>>())?;
        some.iter().try_for_each(|_| accepted(&mut answers))?;
    }
    Ok(())
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn accepted(answers: &mut impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    if line == "+OK\r\n" { Ok(()) } else { Err(io::Error::other("the Redis does not take what is written")) }
}

/// Starts a service that answers `{"ids":[...]}` with an object from key to row. It ends with the process.
#[allow(clippy::disallowed_methods)] // a backend, which is outside of what is measured
pub fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || while answer(&stream).unwrap_or(false) {});
        }
    });
    Ok(addr)
}

/// Answers one request; false when no more comes.
fn answer(stream: &TcpStream) -> io::Result<bool> {
    // Nobody sends two requests at once, so nothing is lost with the buffer.
    let mut requests = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if requests.read_line(&mut line)? == 0 {
            return Ok(false);
        }
        if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    requests.read_exact(&mut body)?;
    let asked: Value = serde_json::from_slice(&body)?;
    let ids = asked["ids"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let members: Vec<String> = ids.map(|id| format!("\"{id}\":{}", String::from_utf8_lossy(&row(id)))).collect();
    let json = format!("{{{}}}", members.join(","));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", json.len());
    let mut stream = stream;
    stream.write_all((head + &json).as_bytes())?;
    Ok(true)
}
