//! Positions in the cluster: offsets that groups committed, with what stands beside them.
//!
//! ```text
//! metadata of an offset: | base64 of ours | : | transactional id of who committed it |
//! ```
//! A position in something that is no topic is that of a group of its own, at the first partition of `raw`.

use std::ffi::{CStr, CString};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use event::TopicPartition;
use event::topic::RAW;
use log::{Input, StoredPosition};
use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr as Code;

use crate::config::KafkaConfig;
use crate::native::{self, Handle, List};

/// The group's name in the cluster, and the partition under which the position stands.
pub(crate) fn place(config: &KafkaConfig, group: &str, input: &Input) -> (String, TopicPartition) {
    match input {
        Input::Topic(at) => (config.group(group), *at),
        Input::External(name) => (format!("{}.of.{name}", config.group(group)), RAW.partition(0)),
    }
}

pub(crate) fn encode(metadata: &[u8], committer: &str) -> String {
    let mut text = BASE64.encode(metadata);
    text.push(':');
    text.push_str(committer);
    text
}

/// What is ours, and who committed it; `None`: somebody else's tool did.
pub(crate) fn decode(text: &[u8]) -> Option<(Vec<u8>, String)> {
    let at = text.iter().position(|b| *b == b':')?;
    let committer = std::str::from_utf8(&text[at + 1..]).ok()?;
    Some((BASE64.decode(&text[..at]).ok()?, committer.to_owned()))
}

/// A position as the cluster has it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub position: StoredPosition,
    pub committer: Option<String>,
}

/// What the client's group committed for a partition. A client that reads what is committed waits for as long as an open
/// transaction may still change it.
pub(crate) fn read(client: Handle, topic: &str, partition: u32, wait: Duration) -> Result<Option<Stored>, Code> {
    let mut list = List::new();
    list.add(topic, partition as i32, rd::RD_KAFKA_OFFSET_INVALID.into());
    // SAFETY: a live consumer and list; what is borrowed from the list is not kept.
    unsafe {
        native::ok(rd::rd_kafka_committed(client.rk(), list.raw(), wait.as_millis() as i32))?;
        let element = native::slice((*list.raw()).elems, (*list.raw()).cnt).first();
        let element = element.ok_or(Code::RD_KAFKA_RESP_ERR__BAD_MSG)?;
        native::ok(element.err)?;
        if element.offset < 0 {
            return Ok(None);
        }
        let metadata = native::slice(element.metadata.cast::<u8>(), element.metadata_size as i32);
        let (ours, committer) = match decode(metadata) {
            Some((ours, committer)) => (ours, Some(committer)),
            None => (Vec::new(), None),
        };
        let position = StoredPosition { next: element.offset as u64, metadata: ours.into() };
        Ok(Some(Stored { position, committer }))
    }
}

/// The client ids of a group's members.
pub(crate) fn members(client: Handle, group: &str, wait: Duration) -> Result<Vec<String>, Code> {
    let group = CString::new(group).map_err(|_| Code::RD_KAFKA_RESP_ERR__INVALID_ARG)?;
    let mut list = std::ptr::null();
    // SAFETY: a live client and a name that ends; the list is freed here, after its last use.
    unsafe {
        native::ok(rd::rd_kafka_list_groups(client.rk(), group.as_ptr(), &mut list, wait.as_millis() as i32))?;
        let mut ids = Vec::new();
        for group in native::slice((*list).groups, (*list).group_cnt) {
            let members = native::slice(group.members, group.member_cnt);
            ids.extend(members.iter().map(|m| CStr::from_ptr(m.client_id).to_string_lossy().into_owned()));
        }
        rd::rd_kafka_group_list_destroy(list);
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use log::contract::METADATA_MAX;

    use super::*;

    #[test]
    fn what_stands_beside_a_position_comes_back_and_fits() {
        for n in [0, 1, 57, 2106, METADATA_MAX] {
            let metadata: Vec<u8> = (0..n).map(|i| (i * 37) as u8).collect();
            let id = format!("ouzel.sessions-{}-0", "x".repeat(60));
            let text = encode(&metadata, &id);
            assert!(text.len() <= 4096, "{} bytes of text for {n}", text.len());
            assert_eq!(decode(text.as_bytes()), Some((metadata, id)));
        }
        for other in ["", "text", "no base64!:id"] {
            assert_eq!(decode(other.as_bytes()), None, "{other}");
        }
    }
}
