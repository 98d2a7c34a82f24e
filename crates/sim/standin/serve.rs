//! The HTTP contract, as little of it as the harness uses.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use event::{Micros, key};
use seam::{Clock, RealClock};

use crate::decode::{decode, split};
use crate::store::{PARTITIONS, Record, TOPICS, letter};
use crate::{Fault, Standin, point};

pub fn connection(standin: &Standin, stream: TcpStream) {
    stream.set_nodelay(true).expect("an option");
    let mut out = stream.try_clone().expect("a second handle");
    let mut input = BufReader::with_capacity(1 << 16, stream);
    while let Some((method, path, body)) = request(&mut input) {
        let (status, headers, answer) = route(standin, &method, &path, &body);
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", answer.len());
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(answer.as_bytes())).is_err() {
            return;
        }
        point("door.acked");
    }
}

fn request(input: &mut impl BufRead) -> Option<(String, String, Vec<u8>)> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        input.read_line(&mut header).ok().filter(|n| *n > 0)?;
        if header == "\r\n" {
            break;
        }
        if let Some(n) = header.strip_prefix("content-length: ") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).ok()?;
    Some((method, path, body))
}

fn route(standin: &Standin, method: &str, path: &str, body: &[u8]) -> (u16, String, String) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|p| p.split_once('='));
        pairs.filter(|(n, _)| *n == name).find_map(|(_, v)| v.parse::<usize>().ok())
    };
    match (method, path) {
        (_, "/readyz") => (200, String::new(), "{}".to_owned()),
        (_, "/metrics") => (200, String::new(), metrics(standin)),
        ("POST", "/v1/events") => events(standin, body),
        (_, "/v1/topics") => {
            let partitions: Vec<_> = (0..PARTITIONS).map(|p| format!("{{\"partition\":{p}}}")).collect();
            let topics = TOPICS.map(|t| format!("{{\"name\":\"{t}\",\"partitions\":[{}]}}", partitions.join(",")));
            (200, String::new(), format!("{{\"topics\":[{}]}}", topics.join(",")))
        }
        _ => {
            let topic = TOPICS.iter().position(|t| path == format!("/v1/topics/{t}/records"));
            match (topic, number("partition"), number("from"), number("limit")) {
                (Some(t), Some(p), Some(from), Some(limit)) => records(standin, t, p, from, limit),
                _ => (404, String::new(), "{}".to_owned()),
            }
        }
    }
}

fn records(standin: &Standin, topic: usize, partition: usize, from: usize, limit: usize) -> (u16, String, String) {
    let store = standin.store.lock().expect("no panic");
    let all = &store.records[topic][partition];
    if from > all.len() {
        return (416, String::new(), format!("{{\"code\":\"out_of_range\",\"end\":{}}}", all.len()));
    }
    let mut out = String::new();
    let next = all.len().min(from + limit);
    for (offset, r) in (from..).zip(&all[from..next]) {
        let source = r.source.map_or("null".to_owned(), |offset| {
            let partition = key::partition_of(r.key.as_bytes(), PARTITIONS);
            format!("{{\"topic\":\"raw\",\"partition\":{partition},\"offset\":{offset}}}")
        });
        let flags = if r.future { "[\"future\"]" } else { "[]" };
        let key = serde_json::to_string(if topic == 2 { &r.id } else { &r.key }).expect("a string");
        let _ = writeln!(
            out,
            "{{\"partition\":{partition},\"offset\":{offset},\"key\":{key},\"event_time\":\"\",\"flags\":{flags},\"source\":{source},\"value\":{}}}",
            r.value
        );
    }
    (200, format!("x-ouzel-next: {next}\r\nx-ouzel-end: {}\r\n", all.len()), out)
}

fn events(standin: &Standin, body: &[u8]) -> (u16, String, String) {
    let now: Micros = RealClock::new().now();
    let (mut accepted, mut refused, mut results) = (0, 0, Vec::new());
    let mut records = Vec::new();
    for (index, event) in split(body).into_iter().enumerate() {
        let text = String::from_utf8_lossy(event).into_owned();
        match decode(event, now) {
            Ok(d) => {
                accepted += 1;
                let rarely = xxhash_rust::xxh3::xxh3_64(event).is_multiple_of(1500);
                if standin.has(Fault::DropsOne) && rarely {
                    continue;
                }
                let key = if standin.has(Fault::WrongKey) && rarely { "v-0000000000".to_owned() } else { d.key };
                let partition = key::partition_of(key.as_bytes(), PARTITIONS);
                records.push(Record {
                    topic: 0,
                    partition,
                    source: None,
                    key,
                    id: d.id,
                    future: d.future,
                    value: text,
                });
            }
            Err(code) => {
                refused += 1;
                results.push(format!("{{\"index\":{index},\"id\":null,\"code\":\"{}\"}}", code.name()));
                if standin.has(Fault::NoDeadLetter) {
                    continue;
                }
                let value = letter(code, None, event);
                let partition = index as u32 % PARTITIONS;
                let id = format!("refused-{index}");
                records.push(Record { topic: 2, partition, source: None, key: id.clone(), id, future: false, value });
            }
        }
    }
    {
        let mut store = standin.store.lock().expect("no panic");
        let twice = standin.has(Fault::StoresTwice) && store.rarely(&String::from_utf8_lossy(body), 40);
        if twice {
            store.commit(records.clone());
        }
        store.commit(records);
    }
    if standin.has(Fault::DirtyReads) {
        std::thread::sleep(std::time::Duration::from_millis(22));
    }
    if standin.has(Fault::WrongAnswer) && refused > 0 {
        (accepted, refused) = (accepted + 1, refused - 1);
    }
    let status = if accepted == 0 { 400 } else { 200 };
    let results = results.join(",");
    (status, String::new(), format!("{{\"accepted\":{accepted},\"refused\":{refused},\"results\":[{results}]}}"))
}

fn metrics(standin: &Standin) -> String {
    let store = standin.store.lock().expect("no panic");
    let rows = |topic: usize| store.records[topic].iter().map(Vec::len).sum::<usize>();
    let (accepted, processed) = (rows(0), rows(1));
    let quarantined = store.records[2].iter().flatten().filter(|r| r.source.is_some()).count();
    let refused = rows(2) - quarantined;
    let done: usize = store.position.iter().sum();
    let deduplicated = done.saturating_sub(processed + quarantined);
    let deduplicated = if standin.has(Fault::WrongSums) { 0 } else { deduplicated };
    let mut out = String::new();
    for (name, value) in [
        ("received_total", accepted + refused),
        ("accepted_total", accepted),
        ("refused_total", refused),
        ("processed_total", processed),
        ("quarantined_total", quarantined),
        ("deduplicated_total", deduplicated),
        ("in_flight", accepted - done),
        ("expired_total", 0),
    ] {
        let _ = writeln!(out, "ouzel_events_{name} {value}");
    }
    out
}
