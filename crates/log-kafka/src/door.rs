//! Commits without positions: records from doors, each stored once, without a transaction.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use log::{Aborted, Commit, Committed, Outcome, Ticket};
use rdkafka::types::RDKafkaRespErr as Code;

use crate::delivery::Pending;
use crate::kafka::Shared;
use crate::native::words;
use crate::producer::{Producer, Refused};

/// How long a thread with nothing to do waits for news.
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct Door {
    producer: Arc<Mutex<Arc<Producer>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    pub fn start(shared: &Arc<Shared>) -> Result<Door, String> {
        let producer = Arc::new(Mutex::new(Arc::new(make(shared)?)));
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, ended, weak) = (producer.clone(), stop.clone(), Arc::downgrade(shared));
        let thread = std::thread::Builder::new()
            .name("kafka-door".to_owned())
            .spawn(move || poll(&polled, &ended, &weak))
            .map_err(|e| e.to_string())?;
        Ok(Door { producer, stop, thread: Some(thread) })
    }

    /// Never blocks.
    pub fn submit(&self, commit: &Commit) -> Ticket {
        let (answer, ticket) = Ticket::new();
        let pending = Pending::new(commit.blocks.len(), Some(answer), outcome);
        let producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match producer.send(&commit.blocks, &pending, false) {
            Ok(()) => {}
            Err(Refused::Full) => {
                return Ticket::ready(Outcome::Aborted(Aborted::Full(
                    "Kafka does not take records as fast as they come, and the buffer for them is full".to_owned(),
                )));
            }
            Err(Refused::Invalid(what)) => return Ticket::ready(Outcome::Aborted(Aborted::Invalid(what))),
            Err(Refused::Failed(code)) => pending.fail(code),
        }
        pending.handed_in();
        ticket
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn make(shared: &Shared) -> Result<Producer, String> {
    Producer::new(&shared.config, &shared.config.door(&shared.config.member("door", 0)))
}

fn poll(producer: &Mutex<Arc<Producer>>, stop: &AtomicBool, shared: &Weak<Shared>) {
    loop {
        let current = producer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.client.poll(POLL);
        if stop.load(Relaxed) && current.client.in_flight() == 0 {
            return;
        }
        let Some((_, why)) = current.client.fatal() else { continue };
        let Some(shared) = shared.upgrade() else { return };
        tracing::warn!(target: "kafka", "the producer of the doors is made anew: {why}");
        match make(&shared) {
            Ok(new) => *producer.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new),
            Err(why) => {
                shared.waits("door", Some(format!("no producer can be made: {why}")));
                std::thread::sleep(POLL);
            }
        }
    }
}

fn outcome(pending: &Pending) -> Outcome {
    match pending.failed() {
        None => Outcome::Committed(Committed { bases: pending.bases() }),
        Some(Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) => Outcome::Aborted(Aborted::Invalid(
            "a record is larger than the topic takes: raise its max.message.bytes".to_owned(),
        )),
        // Never sent.
        Some(
            code @ (Code::RD_KAFKA_RESP_ERR__PURGE_QUEUE
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
        ) => {
            tracing::warn!(target: "kafka", "a record was not stored: {}", words(code));
            Outcome::Aborted(Aborted::Retriable)
        }
        Some(code) => {
            tracing::warn!(target: "kafka", "whether a record was stored is not known: {}", words(code));
            Outcome::Unknown
        }
    }
}
