//! Packets of MySQL's protocol and what is in them.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::super::socket::Duplex;
use super::super::super::{Failure, Kind};
use super::ERR;

/// Longest piece of a packet; one that is as long is followed by another piece.
const PIECE_MAX: usize = 0xff_ffff;
/// Longest packet that is read: a row, which may be as long as its values.
const PACKET_MAX: usize = 16 << 20;

/// Packets on a connection.
pub(super) struct Packets {
    pub(super) io: Box<dyn Duplex>,
    /// The number of the next piece in this exchange.
    pub(super) number: u8,
    incoming: BytesMut,
}

impl Packets {
    pub(super) fn new(io: Box<dyn Duplex>) -> Packets {
        Packets { io, number: 0, incoming: BytesMut::new() }
    }

    /// Begins an exchange.
    pub(super) async fn command(&mut self, command: u8, body: &[u8]) -> Result<(), Failure> {
        self.number = 0;
        self.write(&[&[command], body].concat()).await
    }

    pub(super) async fn write(&mut self, body: &[u8]) -> Result<(), Failure> {
        let mut out = Vec::with_capacity(body.len() + 4);
        let mut rest = body;
        loop {
            let (piece, others) = rest.split_at(rest.len().min(PIECE_MAX));
            out.extend_from_slice(&(piece.len() as u32).to_le_bytes()[..3]);
            out.push(self.number);
            out.extend_from_slice(piece);
            self.number = self.number.wrapping_add(1);
            rest = others;
            if piece.len() < PIECE_MAX {
                break;
            }
        }
        let lost = |e: std::io::Error| Failure::lost(&e.kind().to_string());
        self.io.write_all(&out).await.map_err(lost)?;
        self.io.flush().await.map_err(lost)
    }

    pub(super) async fn read(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            self.fill(4).await?;
            let len = u32::from_le_bytes([self.incoming[0], self.incoming[1], self.incoming[2], 0]) as usize;
            self.number = self.incoming[3].wrapping_add(1);
            if body.len() + len > PACKET_MAX {
                return Err(Failure::new(Kind::TooLarge, format!("a row has more than {PACKET_MAX} bytes")));
            }
            self.incoming.advance(4);
            self.fill(len).await?;
            body.extend_from_slice(&self.incoming.split_to(len));
            if len < PIECE_MAX {
                return Ok(body);
            }
        }
    }

    async fn fill(&mut self, len: usize) -> Result<(), Failure> {
        while self.incoming.len() < len {
            match self.io.read_buf(&mut self.incoming).await {
                Ok(0) => return Err(Failure::lost("it was closed")),
                Ok(_) => {}
                Err(e) => return Err(Failure::lost(&e.kind().to_string())),
            }
        }
        Ok(())
    }
}

pub(super) fn malformed() -> Failure {
    Failure::new(Kind::Malformed, "the answer is not what MySQL says to this command")
}

/// The failure that a packet is, if it is one. A message is told only where it is about the statement or the login: others
/// have values.
pub(super) fn refused(packet: &[u8]) -> Result<(), Failure> {
    if packet.first() != Some(&ERR) {
        return Ok(());
    }
    let mut reader = Reader::new(&packet[1..]);
    let code = reader.u16()?;
    let message = reader.rest();
    let (state, message) = match message {
        [b'#', tail @ ..] => tail.split_at_checked(5).ok_or_else(malformed)?,
        message => (&b"HY000"[..], message),
    };
    let kind = match (code, state) {
        // Too many connections, shutting down, killed; a statement that was prepared by somebody else's session.
        (1040 | 1053 | 1080 | 1152..=1161 | 1203 | 1226 | 1243 | 1927, _) | (_, [b'0', b'8', ..]) => Kind::Connection,
        // Bounded in time, or interrupted.
        (1205 | 1317 | 1969 | 3024, _) => Kind::Timeout,
        _ => Kind::Query,
    };
    let about_us = matches!(state, [b'4', b'2', ..] | [b'2', b'8', ..] | [b'0', b'8', ..] | b"25006") || code == 1698;
    let message = match about_us {
        true => format!("MySQL answered {code}: {}", String::from_utf8_lossy(message)),
        false => format!("MySQL answered {code}"),
    };
    Err(Failure::new(kind, message))
}

/// Appends a text with its length.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let len = text.len() as u64;
    match len {
        0..=0xfa => out.push(len as u8),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&len.to_le_bytes()[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&len.to_le_bytes()[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// Reads a packet from its beginning on.
pub(super) struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    pub(super) fn new(packet: &'p [u8]) -> Reader<'p> {
        Reader(packet)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'p [u8], Failure> {
        let (head, tail) = self.0.split_at_checked(len).ok_or_else(malformed)?;
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or_else(malformed)?;
        self.0 = tail;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Failure> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Failure> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A number in its short form.
    pub(super) fn length(&mut self) -> Result<usize, Failure> {
        Ok(match self.u8()? {
            byte @ 0..=0xfa => usize::from(byte),
            0xfc => usize::from(self.u16()?),
            0xfd => {
                let [a, b, c] = self.fixed()?;
                u32::from_le_bytes([a, b, c, 0]) as usize
            }
            0xfe => usize::try_from(u64::from_le_bytes(self.fixed()?)).map_err(|_| malformed())?,
            // 0xfb asks for a file of ours, which nobody gets.
            _ => return Err(malformed()),
        })
    }

    pub(super) fn text(&mut self) -> Result<&'p [u8], Failure> {
        let len = self.length()?;
        self.bytes(len)
    }

    /// A text that ends with NUL, or with the packet.
    pub(super) fn ended(&mut self) -> &'p [u8] {
        let end = memchr::memchr(0, self.0).unwrap_or(self.0.len());
        let (head, tail) = self.0.split_at(end);
        self.0 = tail.get(1..).unwrap_or_default();
        head
    }

    pub(super) fn rest(&mut self) -> &'p [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        for len in [0, 250, 251, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000] {
            let mut out = Vec::new();
            write_text(&vec![b'x'; len], &mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.text().expect("a text").len(), len);
            assert!(reader.rest().is_empty());
        }
        for cut in [&[][..], &[3, b'a'], &[0xfc, 1], &[0xfb], &[0xff]] {
            assert!(Reader::new(cut).text().is_err());
        }
    }

    #[test]
    fn errors_tell_of_statements_and_not_of_data() {
        let error = |code: u16, state: &str, message: &str| {
            let packet = [&[ERR][..], &code.to_le_bytes(), b"#", state.as_bytes(), message.as_bytes()].concat();
            refused(&packet).expect_err("an error")
        };
        let syntax = error(1064, "42000", "near 'SELEKT'");
        assert!(syntax.kind == Kind::Query && syntax.message.contains("SELEKT"));
        let data = error(1292, "22007", "Incorrect value: 'ada'");
        assert!(data.kind == Kind::Query && !data.message.contains("ada"));
        assert_eq!(error(1053, "08S01", "shutdown").kind, Kind::Connection);
        assert_eq!(error(1969, "70100", "max_statement_time").kind, Kind::Timeout);
        assert_eq!(refused(&[0]), Ok(()));
    }
}
