//! Positions in the cluster: offsets that groups committed, with what stands beside them.
//!
//! ```text
//! metadata of an offset: | base64 of ours | : | transactional id of who committed it |
//! ```
//! A position in something that is no topic is that of a group of its own, at the first partition of `raw`.

use std::ffi::{CStr, CString, c_char};
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

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unread {
    /// A transaction that has this position in it is open.
    Unstable,
    Failed(Code),
}

/// What a group committed for a partition. `stable`: an answer only if no open transaction may still change it.
pub(crate) fn read(
    client: Handle,
    group: &str,
    topic: &str,
    partition: u32,
    stable: bool,
    wait: Duration,
) -> Result<Option<Stored>, Unread> {
    let mut list = List::new();
    list.add(topic, partition as i32, rd::RD_KAFKA_OFFSET_INVALID.into());
    let group = CString::new(group).map_err(|_| Unread::Failed(Code::RD_KAFKA_RESP_ERR__INVALID_ARG))?;
    let rk = client.rk();
    // SAFETY: a live client; everything that is made here is freed here, after its last use.
    unsafe {
        let queue = rd::rd_kafka_queue_new(rk);
        let options =
            rd::rd_kafka_AdminOptions_new(rk, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
        let mut why = [0 as c_char; 256];
        let ms = wait.as_millis() as i32;
        rd::rd_kafka_AdminOptions_set_request_timeout(options, ms, why.as_mut_ptr(), why.len());
        let _ = native::failure(rd::rd_kafka_AdminOptions_set_require_stable_offsets(options, i32::from(stable)));
        let mut asked = rd::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.raw());
        rd::rd_kafka_ListConsumerGroupOffsets(rk, &mut asked, 1, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, ms + 1000);
        let answer = if event.is_null() {
            Err(Unread::Failed(Code::RD_KAFKA_RESP_ERR__TIMED_OUT))
        } else {
            let answer = answer(event);
            rd::rd_kafka_event_destroy(event);
            answer
        };
        rd::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// # Safety
/// A live event that answers such a request.
unsafe fn answer(event: *mut rd::rd_kafka_event_t) -> Result<Option<Stored>, Unread> {
    let failed = |code| match code {
        Code::RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT => Unread::Unstable,
        code => Unread::Failed(code),
    };
    // SAFETY: by the caller's word; what is borrowed from the event is not kept.
    unsafe {
        native::ok(rd::rd_kafka_event_error(event)).map_err(failed)?;
        let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event);
        let mut count = 0;
        let groups = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        if result.is_null() || count == 0 {
            return Err(Unread::Failed(Code::RD_KAFKA_RESP_ERR__BAD_MSG));
        }
        let group = *groups;
        let error = rd::rd_kafka_group_result_error(group);
        if !error.is_null() {
            match rd::rd_kafka_error_code(error) {
                // A group that nobody ever committed in.
                Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => return Ok(None),
                code => return Err(failed(code)),
            }
        }
        let list = rd::rd_kafka_group_result_partitions(group);
        if list.is_null() || (*list).cnt < 1 {
            return Ok(None);
        }
        let element = &*(*list).elems;
        native::ok(element.err).map_err(failed)?;
        if element.offset < 0 {
            return Ok(None);
        }
        let metadata = if element.metadata.is_null() {
            &[][..]
        } else {
            std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
        };
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
