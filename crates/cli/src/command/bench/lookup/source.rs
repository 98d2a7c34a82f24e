//! A service over HTTP that has a value for every key.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Bytes of a value: a row of a few columns.
pub const VALUE_BYTES: usize = 180;

/// Serves on a port of its own, until the process ends.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    std::thread::Builder::new().name("source".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    })?;
    Ok(addr)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let value = format!("{{\"name\":\"{}\"}}", "a".repeat(VALUE_BYTES - 11));
    let answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {VALUE_BYTES}\r\n\r\n{value}");
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        // A request has no body: it ends with an empty line.
        if line == "\r\n" {
            writer.write_all(answer.as_bytes())?;
        }
        line.clear();
    }
    Ok(())
}
