//! Reads the topics through the public reader, and watches that what was shown once stays as it was.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{Client, Response};
use crate::laws::{Violation, conduct};
use crate::outputs::{Outputs, Row, Topic, parse_line};

/// Records asked for at once.
const PAGE: u64 = 1000;
/// How many of the last records are read again after a restart.
const OVERLAP: usize = 100;

/// Why reading stopped.
#[derive(Debug)]
pub enum ReadError {
    /// The program is gone.
    Unreachable(io::Error),
    Wrong(Violation),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> ReadError {
        ReadError::Unreachable(e)
    }
}

fn wrong(what: String, look_at: &'static str) -> ReadError {
    ReadError::Wrong(conduct(what, look_at))
}

fn brief(row: &Row) -> String {
    let id = row.id.map_or("no id of ours".to_owned(), |id| id.to_string());
    format!("@{} {id} (bytes {:016x}, source {:?})", row.offset, row.bytes, row.source)
}

pub struct Reader {
    client: Client,
    topics: &'static [&'static str],
    scratch: Vec<u8>,
}

/// Rows of one page, where to read on, and the end of the partition.
struct Page {
    rows: Vec<Row>,
    next: u64,
    end: u64,
}

impl Reader {
    /// Reads these topics, in their order.
    pub fn new(addr: SocketAddr, topics: &'static [&'static str]) -> Reader {
        Reader { client: Client::new(addr), topics, scratch: Vec::new() }
    }

    /// How many partitions a topic has.
    fn partitions(&mut self, topic: &str) -> Result<u32, ReadError> {
        let response = self.client.get("/v1/topics")?;
        let read: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let topics = read["topics"].as_array().into_iter().flatten();
        let found = topics.filter(|t| t["name"] == topic).find_map(|t| t["partitions"].as_array());
        match found {
            Some(partitions) if response.status == 200 => Ok(partitions.len() as u32),
            _ => Err(wrong(format!("no partitions of {topic} in /v1/topics: {}", response.text()), "the door")),
        }
    }

    /// Reads everything that is new in every topic; gives how many records that were.
    pub fn read_new(&mut self, outputs: &mut Outputs) -> Result<usize, ReadError> {
        self.topics.iter().map(|name| self.read_topic(name, outputs.topic_mut(name))).sum()
    }

    fn read_topic(&mut self, name: &str, topic: &mut Topic) -> Result<usize, ReadError> {
        if topic.rows.is_empty() {
            *topic = Topic::new(self.partitions(name)?);
        }
        let before = topic.len();
        for partition in 0..topic.rows.len() as u32 {
            loop {
                let from = topic.next[partition as usize];
                let page = self.page(name, partition, from, topic.rows.len() as u32)?;
                for row in page.rows {
                    let at = format!("{name}/{partition}@{}", row.offset);
                    if row.offset < from {
                        return Err(wrong(format!("{at} came for a read from {from}"), "the door's reader"));
                    }
                    topic.push(partition, row).map_err(|what| wrong(format!("{at}: {what}"), "the door's reader"))?;
                }
                topic.next[partition as usize] = page.next;
                if page.next >= page.end || page.next == from {
                    break;
                }
            }
        }
        Ok(topic.len() - before)
    }

    /// Reads the last records of every partition once more: after a restart they must be what they were.
    pub fn read_again(&mut self, outputs: &Outputs) -> Result<(), ReadError> {
        for name in self.topics {
            let topic = outputs.topic(name);
            for (partition, rows) in (0..).zip(&topic.rows) {
                let known = &rows[rows.len().saturating_sub(OVERLAP)..];
                self.compare(name, partition, known, topic.rows.len() as u32)?;
            }
        }
        Ok(())
    }

    /// Reads everything from the beginning: it must be what was read bit by bit.
    pub fn read_all_again(&mut self, outputs: &Outputs) -> Result<(), ReadError> {
        for name in self.topics {
            let topic = outputs.topic(name);
            for (partition, rows) in (0..).zip(&topic.rows) {
                self.compare(name, partition, rows, topic.rows.len() as u32)?;
            }
        }
        Ok(())
    }

    fn compare(&mut self, name: &str, partition: u32, known: &[Row], partitions: u32) -> Result<(), ReadError> {
        let Some(first) = known.first() else { return Ok(()) };
        let mut from = first.offset;
        let mut known = known.iter();
        while known.len() > 0 {
            let page = self.page(name, partition, from, partitions)?;
            if page.next == from {
                let left = known.len();
                let what = format!("{name}/{partition}: {left} records that were there from @{from} on are gone");
                return Err(wrong(what, "the journal's tail at start; what readers may see before it is synced"));
            }
            for (row, known) in page.rows.iter().zip(known.by_ref()) {
                if row != known {
                    let what = format!("{name}/{partition}@{}: was {}, is {}", known.offset, brief(known), brief(row));
                    return Err(wrong(what, "offsets given twice: the journal's tail at start"));
                }
            }
            from = page.next;
        }
        Ok(())
    }

    fn page(&mut self, name: &str, partition: u32, from: u64, partitions: u32) -> Result<Page, ReadError> {
        let path = format!("/v1/topics/{name}/records?partition={partition}&from={from}&limit={PAGE}");
        let response = self.client.get(&path)?;
        let number = |r: &Response, name| r.header(name).and_then(|v| v.parse::<u64>().ok());
        let (Some(next), Some(end), 200) =
            (number(&response, "x-ouzel-next"), number(&response, "x-ouzel-end"), response.status)
        else {
            let what = format!("GET {path}: status {}: {}", response.status, response.text());
            return Err(wrong(what, "416: the end of the partition lies below what was read from it before"));
        };
        let mut rows = Vec::new();
        for line in response.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let (at, row) = parse_line(name, line, partitions, &mut self.scratch)
                .map_err(|what| wrong(format!("{name}/{partition} from {from}: {what}"), "the reader, or splice"))?;
            if at != partition {
                return Err(wrong(format!("asked for {name}/{partition}, got partition {at}"), "the door's reader"));
            }
            rows.push(row);
        }
        Ok(Page { rows, next, end })
    }

    /// `/status.json`.
    pub fn status(&mut self) -> Result<Value, ReadError> {
        let response = self.client.get("/status.json")?;
        serde_json::from_slice(&response.body).map_err(|e| wrong(format!("/status.json: {e}"), "the door"))
    }

    pub fn metrics(&mut self) -> Result<String, ReadError> {
        let response = self.client.get("/metrics")?;
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }
}
