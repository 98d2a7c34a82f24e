//! Logging in: by `mysql_native_password` (MariaDB, older MySQL) or `caching_sha2_password` (MySQL 8). The latter wants TLS
//! for the first login of a user after the server began; what it offers instead, to encrypt with a key that anybody could
//! have sent, is not taken.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::super::super::{Failure, Kind, tls};
use super::packet::{Packets, Reader, malformed, refused};
use super::{Door, EOF, OK};

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
/// MariaDB's own, of the other 32: columns come with what they are made of.
const EXTENDED_METADATA: u32 = 1 << 3;
/// What both sides speak of texts: utf8mb4_general_ci.
const UTF8MB4: u8 = 45;
const PACKET_MAX: u32 = 1 << 30;

const NATIVE: &[u8] = b"mysql_native_password";
const CACHING_SHA2: &[u8] = b"caching_sha2_password";

/// What the server said of itself.
pub(super) struct Server {
    pub(super) mariadb: bool,
    pub(super) extended: bool,
}

struct Greeting {
    server: Server,
    tls: bool,
    nonce: Vec<u8>,
    plugin: Vec<u8>,
}

impl Greeting {
    fn read(packet: &[u8]) -> Result<Greeting, Failure> {
        refused(packet)?;
        let mut reader = Reader::new(packet);
        if reader.u8()? != 10 {
            return Err(Failure::new(Kind::Malformed, "this is no MySQL, or one from before 1998"));
        }
        let version = reader.ended();
        reader.u32()?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.u8()?;
        let low = reader.u16()?;
        reader.bytes(3)?;
        let capabilities = u32::from(low) | u32::from(reader.u16()?) << 16;
        let nonce_len = usize::from(reader.u8()?);
        reader.bytes(6)?;
        let extended = reader.u32()?;
        nonce.extend_from_slice(reader.bytes(nonce_len.saturating_sub(8).max(13))?);
        nonce.truncate(20);
        let plugin = reader.ended().to_vec();
        let required = PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH | CONNECT_WITH_DB;
        if capabilities & required != required {
            return Err(Failure::new(Kind::Malformed, "this MySQL is too old"));
        }
        // MySQL's own server has the first bit, and nothing where MariaDB has its others.
        let is_mariadb = capabilities & LONG_PASSWORD == 0;
        Ok(Greeting {
            server: Server {
                mariadb: is_mariadb || memchr::memmem::find(version, b"MariaDB").is_some(),
                extended: is_mariadb && extended & EXTENDED_METADATA != 0,
            },
            tls: capabilities & SSL != 0,
            nonce,
            plugin,
        })
    }
}

/// A connection on which commands can be given.
pub(super) async fn log_in(door: &Door) -> Result<(Packets, Server), Failure> {
    let tcp = door.host.connect_tcp().await?;
    let mut packets = Packets::new(Box::new(tcp));
    let greeting = Greeting::read(&packets.read().await?)?;

    let mut capabilities = CONNECT_WITH_DB | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;
    let extended = if greeting.server.extended { EXTENDED_METADATA } else { 0 };
    if !greeting.server.extended {
        capabilities |= LONG_PASSWORD;
    }
    if door.host.tls.is_some() {
        capabilities |= SSL;
    }
    let mut response = capabilities.to_le_bytes().to_vec();
    response.extend_from_slice(&PACKET_MAX.to_le_bytes());
    response.push(UTF8MB4);
    response.extend_from_slice(&[0; 19]);
    response.extend_from_slice(&extended.to_le_bytes());
    if let Some(tls) = &door.host.tls {
        if !greeting.tls {
            return Err(Failure::new(Kind::Tls, "MySQL does not offer TLS"));
        }
        packets.write(&response).await?;
        let Packets { io, number, .. } = packets;
        let io = tls.connector.connect(tls.name.clone(), io).await.map_err(|e| tls::failure(&e))?;
        packets = Packets::new(Box::new(io));
        packets.number = number;
    }

    let password = door.password.as_ref().map_or("", |p| p.reveal());
    // A plugin that is not known here is answered as if it were the usual one: the server then says which it wants.
    let plugin = if greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE };
    let answer = scramble(plugin, password, &greeting.nonce)?;
    response.extend_from_slice(door.user.as_bytes());
    response.push(0);
    response.push(answer.len() as u8);
    response.extend_from_slice(&answer);
    response.extend_from_slice(door.db.as_bytes());
    response.push(0);
    response.extend_from_slice(plugin);
    response.push(0);
    packets.write(&response).await?;
    finish(door, &mut packets, password).await?;
    Ok((packets, greeting.server))
}

/// What the server wants to hear further; a few rounds at most.
async fn finish(door: &Door, packets: &mut Packets, password: &str) -> Result<(), Failure> {
    const MORE: u8 = 0x01;
    for _ in 0..4 {
        let reply = packets.read().await?;
        refused(&reply)?;
        match &reply[..] {
            [OK, ..] => return Ok(()),
            [EOF, request @ ..] => {
                let mut reader = Reader::new(request);
                let plugin = reader.ended();
                let nonce = reader.rest();
                let answer = scramble(plugin, password, nonce.strip_suffix(&[0]).unwrap_or(nonce))?;
                packets.write(&answer).await?;
            }
            // It knew the password.
            [MORE, 3] => {}
            // It wants the password itself.
            [MORE, 4] if door.host.tls.is_some() => packets.write(&[password.as_bytes(), &[0]].concat()).await?,
            [MORE, 4] => {
                let what = "MySQL wants TLS for a first login by caching_sha2_password: write tls = true";
                return Err(Failure::new(Kind::Query, what));
            }
            _ => return Err(malformed()),
        }
    }
    Err(malformed())
}

/// What proves that the password is known, for this connection.
fn scramble(plugin: &[u8], password: &str, nonce: &[u8]) -> Result<Vec<u8>, Failure> {
    fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
        a.iter().zip(b).map(|(a, b)| a ^ b).collect()
    }
    match plugin {
        NATIVE | CACHING_SHA2 if password.is_empty() => Ok(Vec::new()),
        NATIVE => {
            let once = Sha1::digest(password);
            let proof = Sha1::new().chain_update(nonce).chain_update(Sha1::digest(once)).finalize();
            Ok(xor(&once, &proof))
        }
        CACHING_SHA2 => {
            let once = Sha256::digest(password);
            let proof = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
            Ok(xor(&once, &proof))
        }
        other => {
            let other = String::from_utf8_lossy(other);
            let what = format!("this user logs in by {other}, which is not known here: use mysql_native_password");
            Err(Failure::new(Kind::Query, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The first is proved by logging in; the second, whose server no test has, against its definition written out.
    #[test]
    fn passwords_are_proved_and_not_sent() {
        let nonce: Vec<u8> = (1..=20).collect();
        let native = scramble(NATIVE, "sesame", &nonce).expect("a proof");
        assert_eq!(native.len(), 20);
        let sha2 = scramble(CACHING_SHA2, "sesame", &nonce).expect("a proof");
        let stored = Sha256::digest(Sha256::digest("sesame"));
        let proof = Sha256::digest([&stored[..], &nonce].concat());
        let once: Vec<u8> = sha2.iter().zip(proof).map(|(a, b)| a ^ b).collect();
        // The server keeps what the digest of this gives.
        assert_eq!(hex(&Sha256::digest(once)), hex(&stored));
        assert_eq!(scramble(NATIVE, "", &nonce), Ok(Vec::new()));
        assert!(scramble(b"client_ed25519", "sesame", &nonce).is_err());
    }
}
