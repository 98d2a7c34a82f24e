//! What a snapshot is: a line of JSON and a line with its checksum. It names every part of its chain, base first, so that
//! nothing else has to be read to know whether it is whole.

use event::{Micros, Offset};
use serde::{Deserialize, Serialize};

/// Of the text and of the entries in parts. Another one is passed over, never guessed at.
const FORMAT: u32 = 1;

/// The most a manifest may take: a chain of nine snapshots with a thousand parts each is under 2 MiB.
const BYTES_MAX: usize = 16 << 20;

const MANIFEST: &str = ".manifest";
const PART: &str = ".part";

/// A snapshot of one operator's state for one input partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: u32,
    pub operator: String,
    pub partition: u32,
    pub version: Version,
    /// The first record that is not in the state.
    pub position: Offset,
    /// What is committed beside that position; its form is the operator's.
    #[serde(with = "hex")]
    pub metadata: Vec<u8>,
    /// How many keys the state has.
    pub keys: u64,
    /// Wall time of the writing, in microseconds. Retention goes by it.
    written_at: i64,
    /// The base, then its increments in order.
    pub chain: Vec<Shot>,
}

/// An operator's number, raised when its outputs may change, and a hash of the configuration it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub number: u32,
    pub configuration: u64,
}

/// The entries that one snapshot added to its chain.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    pub position: Offset,
    /// In order.
    pub parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The object's name, whole.
    pub name: String,
    pub bytes: u64,
    pub crc32c: u32,
}

impl Shot {
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

impl Part {
    pub fn of(name: String, bytes: &[u8]) -> Part {
        Part { name, bytes: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) }
    }

    /// What is wrong with bytes that were read as this part.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() as u64 != self.bytes {
            return Err(format!("it has {} bytes, not {}", bytes.len(), self.bytes));
        }
        if crc32c::crc32c(bytes) != self.crc32c {
            return Err("its checksum is wrong".to_owned());
        }
        Ok(())
    }
}

impl Manifest {
    pub fn new(operator: &str, partition: u32, version: Version, position: Offset, written_at: Micros) -> Manifest {
        Manifest {
            format: FORMAT,
            operator: operator.to_owned(),
            partition,
            version,
            position,
            metadata: Vec::new(),
            keys: 0,
            written_at: written_at.0,
            chain: Vec::new(),
        }
    }

    pub fn written_at(&self) -> Micros {
        Micros(self.written_at)
    }

    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.chain.iter().flat_map(|shot| &shot.parts)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("numbers and texts");
        let crc = crc32c::crc32c(&text);
        text.extend_from_slice(format!("\ncrc32c {crc:08x}\n").as_bytes());
        text
    }

    /// Reads it, or says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        if bytes.len() > BYTES_MAX {
            return Err(format!("it has more than {BYTES_MAX} bytes"));
        }
        let end = bytes.iter().position(|b| *b == b'\n').ok_or("it is cut off")?;
        let (json, sum) = bytes.split_at(end);
        if sum != format!("\ncrc32c {:08x}\n", crc32c::crc32c(json)).as_bytes() {
            return Err("its checksum is wrong".to_owned());
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if format != FORMAT {
            return Err(format!("its format is {format}; this program reads {FORMAT}"));
        }
        serde_json::from_slice(json).map_err(|e| e.to_string())
    }
}

/// The prefix of all objects of an operator's partition.
pub fn prefix(operator: &str, partition: u32) -> String {
    format!("{operator}/{partition}/")
}

/// What the names of a snapshot's objects begin with: no two snapshots have the same, whoever writes them. `random` is the
/// writer's number, `serial` counts its snapshots.
pub fn stem(of: &Manifest, random: u64, serial: u64) -> String {
    let Version { number, configuration } = of.version;
    let prefix = prefix(&of.operator, of.partition);
    format!("{prefix}{:020}-v{number}-{configuration:016x}-{random:016x}-{serial}", of.position)
}

pub fn manifest_name(stem: &str) -> String {
    format!("{stem}{MANIFEST}")
}

pub fn part_name(stem: &str, part: usize) -> String {
    format!("{stem}-{part:05}{PART}")
}

pub fn is_manifest(name: &str) -> bool {
    name.ends_with(MANIFEST) && position_of(name).is_some()
}

/// The position in the name of a manifest or a part; `None` for what is neither.
pub fn position_of(name: &str) -> Option<Offset> {
    if !name.ends_with(MANIFEST) && !name.ends_with(PART) {
        return None;
    }
    let file = name.rsplit('/').next()?;
    file.get(..20)?.parse().ok()
}

/// Bytes as text.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        to.serialize_str(&text)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
        let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
        text.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}
