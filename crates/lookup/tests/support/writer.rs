//! Writes small MMDB files, so that shapes can be tested that no file at hand has.

use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone)]
pub enum Value {
    Text(&'static str),
    Long(String),
    F32(f32),
    F64(f64),
    U32(u32),
    U128(u128),
    Bytes(Vec<u8>),
    Bool(bool),
    Map(Vec<(&'static str, Value)>),
    Array(Vec<Value>),
    /// To a byte of the data section.
    Pointer(u32),
}

pub struct Writer {
    pub ip_version: u16,
    pub record_size: u16,
    pub build_epoch: u64,
    networks: Vec<(u128, usize, Value)>,
}

enum Child {
    Empty,
    Node(usize),
    Data(usize),
}

impl Writer {
    pub fn new(ip_version: u16, record_size: u16) -> Writer {
        Writer { ip_version, record_size, build_epoch: 1_793_836_800, networks: Vec::new() }
    }

    /// A network that overlaps none that was added before. IPv4 networks go below `::/96` in an IPv6 tree.
    pub fn add(mut self, network: &str, value: Value) -> Writer {
        let (ip, prefix) = network.split_once('/').expect("a prefix");
        let prefix: usize = prefix.parse().expect("a number");
        let bits = if self.ip_version == 4 { 32 } else { 128 };
        let (address, prefix) = match ip.parse().expect("an address") {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), prefix + bits - 32),
            IpAddr::V6(v6) => (u128::from(v6), prefix),
        };
        self.networks.push((address, prefix, value));
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let bits = if self.ip_version == 4 { 32 } else { 128 };
        let mut nodes = vec![[Child::Empty, Child::Empty]];
        let mut data = Vec::new();
        for (address, prefix, value) in &self.networks {
            let mut node = 0;
            for depth in 0..prefix - 1 {
                let side = (address >> (bits - 1 - depth) & 1) as usize;
                let new = nodes.len();
                node = match nodes[node][side] {
                    Child::Node(next) => next,
                    Child::Empty => {
                        nodes[node][side] = Child::Node(new);
                        nodes.push([Child::Empty, Child::Empty]);
                        new
                    }
                    Child::Data(_) => panic!("networks overlap"),
                };
            }
            nodes[node][(address >> (bits - prefix) & 1) as usize] = Child::Data(data.len());
            encode(value, &mut data);
        }
        let mut out = Vec::new();
        for node in &nodes {
            let [left, right] = [0, 1].map(|side| match node[side] {
                Child::Empty => nodes.len(),
                Child::Node(n) => n,
                Child::Data(at) => nodes.len() + 16 + at,
            });
            let (left, right) = (left as u32, right as u32);
            match self.record_size {
                24 => {
                    out.extend_from_slice(&left.to_be_bytes()[1..]);
                    out.extend_from_slice(&right.to_be_bytes()[1..]);
                }
                28 => {
                    out.extend_from_slice(&left.to_be_bytes()[1..]);
                    out.push((left >> 24 << 4 | right >> 24) as u8);
                    out.extend_from_slice(&right.to_be_bytes()[1..]);
                }
                32 => {
                    out.extend_from_slice(&left.to_be_bytes());
                    out.extend_from_slice(&right.to_be_bytes());
                }
                other => panic!("no record has {other} bits"),
            }
        }
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        let mut metadata = BTreeMap::new();
        metadata.insert("binary_format_major_version", (5, 2));
        metadata.insert("binary_format_minor_version", (5, 0));
        metadata.insert("build_epoch", (9, self.build_epoch));
        metadata.insert("ip_version", (5, u64::from(self.ip_version)));
        metadata.insert("node_count", (6, nodes.len() as u64));
        metadata.insert("record_size", (5, u64::from(self.record_size)));
        control(7, metadata.len() + 3, &mut out);
        for (key, (kind, value)) in metadata {
            encode(&Value::Text(key), &mut out);
            unsigned(kind, u128::from(value), &mut out);
        }
        for (key, value) in [
            ("database_type", Value::Text("test city")),
            ("description", Value::Map(vec![])),
            ("languages", Value::Array(vec![])),
        ] {
            encode(&Value::Text(key), &mut out);
            encode(&value, &mut out);
        }
        out
    }
}

/// The control byte, and what follows it of type and size.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (first, rest): (u8, Vec<u8>) = match size {
        0..29 => (size as u8, vec![]),
        29..285 => (29, vec![(size - 29) as u8]),
        285..65_821 => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
        _ => (31, ((size - 65_821) as u32).to_be_bytes()[1..].to_vec()),
    };
    if kind < 8 {
        out.push(kind << 5 | first);
    } else {
        out.extend_from_slice(&[first, kind - 7]);
    }
    out.extend_from_slice(&rest);
}

fn unsigned(kind: u8, value: u128, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let bytes = &bytes[value.leading_zeros() as usize / 8..];
    control(kind, bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Long(text) => {
            control(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::F64(v) => {
            control(3, 8, out);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Bytes(bytes) => {
            control(4, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Value::U32(v) => unsigned(6, u128::from(*v), out),
        Value::U128(v) => unsigned(10, *v, out),
        Value::Bool(v) => control(14, usize::from(*v), out),
        Value::F32(v) => {
            control(15, 4, out);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Map(members) => {
            control(7, members.len(), out);
            for (key, value) in members {
                encode(&Value::Text(key), out);
                encode(value, out);
            }
        }
        Value::Pointer(to) => {
            out.push(1 << 5 | 3 << 3);
            out.extend_from_slice(&to.to_be_bytes());
        }
        Value::Array(values) => {
            control(11, values.len(), out);
            values.iter().for_each(|value| encode(value, out));
        }
    }
}
