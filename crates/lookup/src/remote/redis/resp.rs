//! RESP2, as Redis speaks it unless told otherwise: commands are arrays of texts with their lengths, so that nothing in
//! them is read as anything else.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Failure, HASH_FIELDS_MAX, Kind, MGET_MAX, SKIPPED_MAX, VALUE_MAX};

/// Longest line: errors are the longest.
const LINE_MAX: usize = 4 << 10;
/// Elements of an array: keys of a MGET, or the fields of a hash and their values.
const ELEMENTS_MAX: usize = if MGET_MAX > 2 * HASH_FIELDS_MAX { MGET_MAX } else { 2 * HASH_FIELDS_MAX };

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    Simple(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
    Nil,
    /// A text or an array that is longer than a value may be; it was skipped.
    TooLarge,
    Error(Error),
}

/// An error of a command. Its text may have the command in it, so only its first word is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Error(String);

impl Error {
    fn new(line: &[u8]) -> Error {
        let word = line.split(|b| *b == b' ').next().unwrap_or_default();
        let is_code = !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
        Error(if is_code { String::from_utf8_lossy(word).into_owned() } else { "ERR".into() })
    }

    pub(super) fn is(&self, code: &str) -> bool {
        self.0 == code
    }

    /// It is about the state of the server, which passes, not about the command.
    pub(super) fn is_of_the_server(&self) -> bool {
        matches!(self.0.as_str(), "LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "READONLY")
    }

    pub(super) fn failure(&self) -> Failure {
        let what = match self.0.as_str() {
            "NOAUTH" | "WRONGPASS" => "it does not know who asks: look at user and password",
            "NOPERM" => "this user may not do that",
            "MOVED" | "ASK" | "CROSSSLOT" => "it is a cluster, which is not supported",
            "READONLY" => "it is a replica",
            "LOADING" => "it is loading its data",
            _ => "it refused the command",
        };
        let kind = if self.is_of_the_server() { Kind::Connection } else { Kind::Query };
        Failure::new(kind, format!("Redis answered {}: {what}", self.0))
    }
}

pub(super) fn malformed() -> Failure {
    Failure::new(Kind::Malformed, "the answer is not what Redis says to this command")
}

/// Appends a command.
pub(super) fn write(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// What came and was not read yet.
#[derive(Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    at: usize,
}

/// The head of a reply: what it is, and what is still to come of it.
enum Head {
    Whole(Reply),
    Bulk(usize),
    Array(usize),
}

impl Incoming {
    /// The next reply.
    pub(super) async fn next(&mut self, io: &mut (impl AsyncRead + Unpin)) -> Result<Reply, Failure> {
        match self.head(io).await? {
            Head::Whole(reply) => Ok(reply),
            Head::Bulk(len) => self.bulk(len, io).await,
            Head::Array(len) => {
                let mut all = Vec::new();
                let mut too_large = false;
                for _ in 0..len {
                    // Arrays in arrays are no answer to any command used here.
                    let element = match self.head(io).await? {
                        Head::Whole(reply) => reply,
                        Head::Bulk(len) => self.bulk(len, io).await?,
                        Head::Array(_) => return Err(malformed()),
                    };
                    too_large |= len > ELEMENTS_MAX;
                    if !too_large {
                        all.push(element);
                    }
                }
                Ok(if too_large { Reply::TooLarge } else { Reply::Array(all) })
            }
        }
    }

    async fn head(&mut self, io: &mut (impl AsyncRead + Unpin)) -> Result<Head, Failure> {
        let line = self.line(io).await?;
        let (kind, rest) = line.split_first().ok_or_else(malformed)?;
        let number = || std::str::from_utf8(rest).ok().and_then(|n| n.parse::<i64>().ok()).ok_or_else(malformed);
        Ok(match kind {
            b'+' => Head::Whole(Reply::Simple(rest.to_vec())),
            b'-' => Head::Whole(Reply::Error(Error::new(rest))),
            b':' => Head::Whole(Reply::Integer(number()?)),
            b'$' | b'*' => match (kind, number()?) {
                (_, -1) => Head::Whole(Reply::Nil),
                (b'$', len @ 0..) => Head::Bulk(len as usize),
                (_, len @ 0..) => Head::Array(len as usize),
                _ => return Err(malformed()),
            },
            _ => return Err(malformed()),
        })
    }

    /// A text of this length and the line end after it. One that is too long is read past, so that the replies behind it
    /// are not lost; within reason.
    async fn bulk(&mut self, len: usize, io: &mut (impl AsyncRead + Unpin)) -> Result<Reply, Failure> {
        if len <= VALUE_MAX {
            self.fill(len + 2, io).await?;
            let text = self.bytes[self.at..self.at + len].to_vec();
            if &self.bytes[self.at + len..self.at + len + 2] != b"\r\n" {
                return Err(malformed());
            }
            self.at += len + 2;
            return Ok(Reply::Bulk(text));
        }
        if len > SKIPPED_MAX {
            return Err(Failure::new(Kind::TooLarge, format!("a value has more than {SKIPPED_MAX} bytes")));
        }
        let mut left = len + 2;
        while left > 0 {
            self.fill(1, io).await?;
            let skipped = left.min(self.bytes.len() - self.at);
            self.at += skipped;
            left -= skipped;
        }
        Ok(Reply::TooLarge)
    }

    async fn line(&mut self, io: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Failure> {
        let mut seen = 0;
        loop {
            let here = &self.bytes[self.at..];
            if let Some(end) = memchr::memchr(b'\n', &here[seen..]).map(|n| seen + n) {
                let line = here[..end].strip_suffix(b"\r").ok_or_else(malformed)?.to_vec();
                self.at += end + 1;
                return Ok(line);
            }
            seen = here.len();
            if seen > LINE_MAX {
                return Err(malformed());
            }
            self.fill(seen + 1, io).await?;
        }
    }

    /// Reads until there are `len` bytes.
    async fn fill(&mut self, len: usize, io: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
        if self.bytes.len() - self.at < len {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        while self.bytes.len() - self.at < len {
            match io.read_buf(&mut self.bytes).await {
                Ok(0) => return Err(Failure::lost("it was closed")),
                Ok(_) => {}
                Err(e) => return Err(Failure::lost(&e.kind().to_string())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (mut incoming, mut from) = (Incoming::default(), bytes);
            let mut replies = Vec::new();
            while !from.is_empty() || incoming.at < incoming.bytes.len() {
                replies.push(incoming.next(&mut from).await?);
            }
            Ok(replies)
        })
    }

    #[test]
    fn replies_of_every_kind() {
        let long = VALUE_MAX + 1;
        let text = format!(
            "+OK\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*2\r\n$0\r\n\r\n:1\r\n*0\r\n*-1\r\n${long}\r\n{}\r\n+after\r\n",
            "x".repeat(long)
        );
        let bulk = |t: &str| Reply::Bulk(t.into());
        let expected = [
            Reply::Simple(b"OK".to_vec()),
            Reply::Integer(-7),
            bulk("a\r\n"),
            Reply::Nil,
            Reply::Array(vec![bulk(""), Reply::Integer(1)]),
            Reply::Array(vec![]),
            Reply::Nil,
            Reply::TooLarge,
            Reply::Simple(b"after".to_vec()),
        ];
        assert_eq!(read(text.as_bytes()), Ok(expected.to_vec()));
    }

    #[test]
    fn errors_tell_their_code_and_nothing_else() {
        let replies = read(b"-WRONGTYPE user:ada@example.com\r\n").expect("a reply");
        let [Reply::Error(error)] = &replies[..] else { panic!("{replies:?}") };
        assert!(error.is("WRONGTYPE"));
        assert!(!error.failure().message.contains("ada"));
        assert!(Error::new(b"unknown command 'ada'").is("ERR"));
    }

    #[test]
    fn what_is_no_reply() {
        for bad in
            ["HTTP/1.1 400 Bad\r\n", "$x\r\n", "$-2\r\n", "$3\r\nabcd\r\n", "*1\r\n*0\r\n", "+no line end\n", "\r\n"]
        {
            assert_eq!(read(bad.as_bytes()).expect_err(bad).kind, Kind::Malformed, "{bad}");
        }
        for cut in ["$3\r\nab", "*2\r\n:1\r\n", "+O"] {
            assert_eq!(read(cut.as_bytes()).expect_err(cut).kind, Kind::Connection, "{cut}");
        }
        assert_eq!(read(b"+".repeat(LINE_MAX + 2).as_slice()).expect_err("no end").kind, Kind::Malformed);
        assert_eq!(read(b"$999999999999\r\n").expect_err("too large").kind, Kind::TooLarge);
    }
}
