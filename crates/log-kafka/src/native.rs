//! librdkafka, as far as it is used here: handles that are freed, errors that are values, callbacks that are closures.
//!
//! The safe wrapper is passed by where it costs what exactness or speed depend on: it polls for as long as it was allowed to
//! although there is news, does not say at which position a partition ended, and reads one record a call.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Duration;

use event::Offset;
use rdkafka::ClientConfig;
use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr as Code;

/// What librdkafka calls back, on the thread that polls.
pub(crate) trait Events: Send + Sync + 'static {
    /// A record was stored at this offset, or not. `opaque` is what was handed in with it.
    fn delivered(&self, opaque: usize, result: Result<Offset, Code>) {
        let _ = (opaque, result);
    }

    /// The group gives these partitions to this member, or takes them.
    fn rebalanced(&self, client: Handle, assigned: bool, partitions: &List) {
        let _ = (client, assigned, partitions);
    }
}

/// Nothing is of interest.
pub(crate) struct Quiet;

impl Events for Quiet {}

/// A client of the cluster.
pub(crate) struct Client {
    handle: Handle,
    /// What callbacks are given; it outlives the handle.
    _events: Box<Box<dyn Events>>,
}

/// What may be done with a client, on any thread.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    rk: *mut rd::rd_kafka_t,
}

// SAFETY: librdkafka's handles are thread-safe by its documentation.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl std::ops::Deref for Client {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Producer,
    Consumer,
}

/// An error of a call that is part of a transaction.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub code: Code,
    pub text: String,
    /// The producer is of no use any more.
    pub fatal: bool,
    /// The same call may be tried again.
    pub retriable: bool,
    /// The transaction must be aborted.
    pub abort: bool,
}

impl Failure {
    /// A call did not return: the producer, which is still in it, is of no use any more.
    pub fn stuck() -> Failure {
        let text = "a call of the client does not return".to_owned();
        Failure { code: Code::RD_KAFKA_RESP_ERR__TIMED_OUT, text, fatal: true, retriable: false, abort: false }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, name(self.code))
    }
}

impl Client {
    /// # Errors
    /// A property that there is not, or a value that it cannot have.
    pub fn new(config: &ClientConfig, kind: Kind, events: impl Events) -> Result<Client, String> {
        let native = config.create_native_config().map_err(|e| e.to_string())?;
        let events: Box<Box<dyn Events>> = Box::new(Box::new(events));
        let opaque = std::ptr::from_ref(&*events).cast_mut().cast::<c_void>();
        let kind_ = match kind {
            Kind::Producer => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Kind::Consumer => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        };
        let mut why = [0 as c_char; 512];
        // SAFETY: the configuration is a live one, of which the copy is the client's; the callbacks have the types that are
        // asked for; `opaque` lives as long as the client, which holds it.
        let rk = unsafe {
            let conf = rd::rd_kafka_conf_dup(native.ptr());
            rd::rd_kafka_conf_set_opaque(conf, opaque);
            rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            match kind {
                Kind::Producer => rd::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery)),
                Kind::Consumer => rd::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance)),
            }
            let rk = rd::rd_kafka_new(kind_, conf, why.as_mut_ptr(), why.len());
            if rk.is_null() {
                rd::rd_kafka_conf_destroy(conf);
            }
            rk
        };
        if rk.is_null() {
            // SAFETY: it was zeroed, and librdkafka ends what it writes with a zero.
            return Err(unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy().into_owned());
        }
        if kind == Kind::Consumer {
            // SAFETY: a live consumer. From here on one queue has all there is to poll.
            unsafe { rd::rd_kafka_poll_set_consumer(rk) };
        }
        Ok(Client { handle: Handle { rk }, _events: events })
    }
}

impl Handle {
    /// Of a client that lives for as long as this is used.
    pub fn of(rk: *mut rd::rd_kafka_t) -> Handle {
        Handle { rk }
    }

    pub fn rk(&self) -> *mut rd::rd_kafka_t {
        self.rk
    }

    /// Why this client is of no use any more, if it is not.
    pub fn fatal(&self) -> Option<(Code, String)> {
        let mut why = [0 as c_char; 512];
        // SAFETY: a live client and room for a text.
        let code = unsafe { rd::rd_kafka_fatal_error(self.rk, why.as_mut_ptr(), why.len()) };
        // SAFETY: it was zeroed, and librdkafka ends what it writes with a zero.
        let text = || unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy().into_owned();
        ok(code).err().map(|code| (code, text()))
    }

    /// Serves callbacks; returns when one was served, or after `wait`. For producers.
    pub fn poll(&self, wait: Duration) -> i32 {
        // SAFETY: a live client.
        unsafe { rd::rd_kafka_poll(self.rk, wait.as_millis() as c_int) }
    }

    /// Records and requests that are not done with.
    pub fn in_flight(&self) -> i32 {
        // SAFETY: a live client.
        unsafe { rd::rd_kafka_outq_len(self.rk) }
    }

    /// Hands in a record. `QUEUE_FULL`: poll, and hand it in again.
    pub fn produce(&self, to: &Topic, partition: u32, record: Record<'_>, opaque: usize) -> Result<(), Code> {
        let vu = |vtype, u| rd::rd_kafka_vu_t { vtype, u };
        use rd::rd_kafka_vtype_t as v;
        type U = rd::rd_kafka_vu_s__bindgen_ty_1;
        let mem = |bytes: Option<&[u8]>| U {
            mem: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: bytes.map_or(std::ptr::null_mut(), |b| b.as_ptr().cast_mut().cast()),
                size: bytes.map_or(0, <[u8]>::len),
            },
        };
        let header = U {
            header: rd::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_2 {
                name: HEADER.as_ptr(),
                val: record.header.as_ptr().cast(),
                size: record.header.len() as isize,
            },
        };
        let vus = [
            vu(v::RD_KAFKA_VTYPE_RKT, U { rkt: to.0 }),
            vu(v::RD_KAFKA_VTYPE_PARTITION, U { i32_: partition as i32 }),
            vu(v::RD_KAFKA_VTYPE_MSGFLAGS, U { i: rd::RD_KAFKA_MSG_F_COPY as c_int }),
            vu(v::RD_KAFKA_VTYPE_KEY, mem(Some(record.key))),
            vu(v::RD_KAFKA_VTYPE_VALUE, mem(record.value)),
            vu(v::RD_KAFKA_VTYPE_OPAQUE, U { ptr: opaque as *mut c_void }),
            vu(v::RD_KAFKA_VTYPE_TIMESTAMP, U { i64_: record.timestamp }),
            vu(v::RD_KAFKA_VTYPE_HEADER, header),
        ];
        // A record without a header of ours is one of other people's.
        let count = vus.len() - usize::from(record.header.is_empty());
        // SAFETY: a live producer; all that is pointed to lives for the call, and librdkafka copies it.
        match failure(unsafe { rd::rd_kafka_produceva(self.rk, vus.as_ptr(), count) }) {
            Ok(()) => Ok(()),
            Err(e) => Err(e.code),
        }
    }

    /// A topic to produce to.
    pub fn topic(&self, name: &str) -> Result<Topic, String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        // SAFETY: a live client and a name that ends.
        let topic = unsafe { rd::rd_kafka_topic_new(self.rk, name.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() { Err(format!("no topic can be called {name:?}")) } else { Ok(Topic(topic)) }
    }

    /// (first offset kept, offset at which a reader of committed records must wait)
    pub fn watermarks(&self, topic: &str, partition: u32, wait: Duration) -> Result<(Offset, Offset), Code> {
        let name = CString::new(topic).map_err(|_| Code::RD_KAFKA_RESP_ERR__INVALID_ARG)?;
        let (mut low, mut high) = (0, 0);
        let ms = wait.as_millis() as c_int;
        // SAFETY: a live client, a name that ends, two places for numbers.
        let code = unsafe {
            rd::rd_kafka_query_watermark_offsets(self.rk, name.as_ptr(), partition as i32, &mut low, &mut high, ms)
        };
        // IMPORTANT: so says the client when it has once seen the partition without a leader, and it does not look again.
        if matches!(code, Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            self.look_at_topic(&name, ms);
        }
        ok(code)?;
        Ok((low.max(0) as Offset, high.max(0) as Offset))
    }

    /// Asks the cluster about a topic, so that the client knows it as it is now.
    fn look_at_topic(&self, name: &CStr, ms: c_int) {
        let mut metadata = std::ptr::null();
        // SAFETY: a live client; the topic and what is given are freed here, before the client.
        unsafe {
            let topic = rd::rd_kafka_topic_new(self.rk, name.as_ptr(), std::ptr::null_mut());
            if topic.is_null() {
                return;
            }
            if ok(rd::rd_kafka_metadata(self.rk, 0, topic, &mut metadata, ms)).is_ok() {
                rd::rd_kafka_metadata_destroy(metadata);
            }
            rd::rd_kafka_topic_destroy(topic);
        }
    }

    pub fn begin(&self) -> Result<(), Failure> {
        // SAFETY: a live producer.
        failure(unsafe { rd::rd_kafka_begin_transaction(self.rk) })
    }

    pub fn init(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: a live producer.
        failure(unsafe { rd::rd_kafka_init_transactions(self.rk, wait.as_millis() as c_int) })
    }

    /// IMPORTANT: it may never return, whatever `wait` says: a request whose coordinator is not known goes on only when some
    /// connection comes or goes.
    pub fn offsets(&self, offsets: &List, group: &GroupMetadata, wait: Duration) -> Result<(), Failure> {
        let ms = wait.as_millis() as c_int;
        // SAFETY: a live producer, list and group metadata.
        failure(unsafe { rd::rd_kafka_send_offsets_to_transaction(self.rk, offsets.0, group.0, ms) })
    }

    /// Waits for the outcome, for at most `wait`: then it is a retriable failure, and is to be called again.
    pub fn commit(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: a live producer.
        failure(unsafe { rd::rd_kafka_commit_transaction(self.rk, wait.as_millis() as c_int) })
    }

    pub fn abort(&self, wait: Duration) -> Result<(), Failure> {
        // SAFETY: a live producer.
        failure(unsafe { rd::rd_kafka_abort_transaction(self.rk, wait.as_millis() as c_int) })
    }

    pub fn subscribe(&self, topic: &str) -> Result<(), Code> {
        let mut list = List::new();
        list.add(topic, -1, rd::RD_KAFKA_OFFSET_INVALID.into());
        // SAFETY: a live consumer and list.
        ok(unsafe { rd::rd_kafka_subscribe(self.rk, list.0) })
    }

    /// Wakes the client's own thread, which looks whether a heartbeat is due once a second only, whatever interval was set, unless
    /// it is given something to do. (librdkafka 2.12: `rd_kafka_thread_main`.)
    pub fn wake(&self) {
        // SAFETY: a live consumer; what it answers is a constant.
        unsafe { rd::rd_kafka_rebalance_protocol(self.rk) };
    }

    /// For members of a group: serves rebalances; records are thrown away.
    pub fn serve(&self, wait: Duration) {
        // SAFETY: a live consumer; what it gives is freed.
        unsafe {
            let message = rd::rd_kafka_consumer_poll(self.rk, wait.as_millis() as c_int);
            if !message.is_null() {
                rd::rd_kafka_message_destroy(message);
            }
        }
    }

    /// Leaves the group.
    pub fn close(&self) {
        // SAFETY: a live consumer.
        unsafe { rd::rd_kafka_consumer_close(self.rk) };
    }

    pub fn assign_more(&self, list: &List) -> Result<(), Failure> {
        // SAFETY: a live consumer and list.
        failure(unsafe { rd::rd_kafka_incremental_assign(self.rk, list.0) })
    }

    pub fn assign_less(&self, list: &List) -> Result<(), Failure> {
        // SAFETY: a live consumer and list.
        failure(unsafe { rd::rd_kafka_incremental_unassign(self.rk, list.0) })
    }

    pub fn pause(&self, list: &List) {
        // SAFETY: a live consumer and list.
        unsafe { rd::rd_kafka_pause_partitions(self.rk, list.0) };
    }

    /// The member as it is now: it changes with every rebalance.
    pub fn group_metadata(&self) -> GroupMetadata {
        // SAFETY: a live consumer with a group.
        GroupMetadata(unsafe { rd::rd_kafka_consumer_group_metadata(self.rk) })
    }

    /// Whether the broker thinks that this member's partitions are another's.
    pub fn assignment_lost(&self) -> bool {
        // SAFETY: a live consumer.
        unsafe { rd::rd_kafka_assignment_lost(self.rk) != 0 }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: nobody has the handle any more; callbacks may come until this returns, and the events are dropped after.
        // A consumer that is to leave its group is closed before; here nothing is waited for.
        unsafe { rd::rd_kafka_destroy_flags(self.handle.rk, rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int) };
    }
}

/// Under which a record's header stands.
pub(crate) const HEADER: &CStr = c"ouzel";

/// A record on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub key: &'a [u8],
    pub header: &'a [u8],
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; 0: now.
    pub timestamp: i64,
}

pub(crate) struct Topic(*mut rd::rd_kafka_topic_t);

// SAFETY: topic handles are reference counted and thread-safe.
unsafe impl Send for Topic {}
// SAFETY: as above.
unsafe impl Sync for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: ours, once.
        unsafe { rd::rd_kafka_topic_destroy(self.0) };
    }
}

/// What all polled events of a consumer come out of.
pub(crate) struct Queue {
    queue: *mut rd::rd_kafka_queue_t,
    most: usize,
}

// SAFETY: queues are thread-safe.
unsafe impl Send for Queue {}

impl Queue {
    /// Of at most `most` records a call.
    pub fn new(client: Handle, most: usize) -> Queue {
        // SAFETY: a live consumer.
        Queue { queue: unsafe { rd::rd_kafka_queue_get_consumer(client.rk) }, most }
    }

    /// Hands all that is there to `each`, after waiting for the first for at most `wait`; says how many.
    ///
    /// IMPORTANT: one by one. The call that gives many at once takes the end of a partition for a record, so that a client which
    /// fetches anew (after a rebalance, or a pause) goes on one position too far: a record would be missing.
    pub fn read(&mut self, wait: Duration, mut each: impl FnMut(Message<'_>)) -> usize {
        let mut ms = wait.as_millis() as c_int;
        for n in 0..self.most {
            // SAFETY: a live queue.
            let message = unsafe { rd::rd_kafka_consume_queue(self.queue, ms) };
            if message.is_null() {
                return n;
            }
            // SAFETY: librdkafka gave it just now, and it is freed here and not used after.
            unsafe {
                each(Message(&*message));
                rd::rd_kafka_message_destroy(message);
            }
            ms = 0;
        }
        self.most
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: ours, once.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// A record that was read, or an error in its place.
pub(crate) struct Message<'a>(&'a rd::rd_kafka_message_t);

impl<'a> Message<'a> {
    /// `Err(PARTITION_EOF)`: the partition ends at [`Message::offset`] for now.
    pub fn result(&self) -> Result<(), Code> {
        ok(self.0.err)
    }

    pub fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic of a live message; its name lives as long.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or("")
    }

    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> Offset {
        self.0.offset.max(0) as Offset
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: what a live message says of itself.
        (!self.0.key.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.0.key.cast(), self.0.key_len) })
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: as above.
        (!self.0.payload.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.0.payload.cast(), self.0.len) })
    }

    /// The value of the last header of that name.
    pub fn header(&self, name: &CStr) -> Option<&'a [u8]> {
        let (mut headers, mut value, mut size) = (std::ptr::null_mut(), std::ptr::null(), 0);
        // SAFETY: a live message; headers and values live as long.
        unsafe {
            ok(rd::rd_kafka_message_headers(self.0, &mut headers)).ok()?;
            ok(rd::rd_kafka_header_get_last(headers, name.as_ptr(), &mut value, &mut size)).ok()?;
            (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast(), size))
        }
    }
}

impl Message<'_> {
    /// When it was made, or stored, in milliseconds since 1970.
    pub fn timestamp(&self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message.
        let at = unsafe { rd::rd_kafka_message_timestamp(self.0, &mut kind) };
        (at >= 0).then_some(at)
    }
}

/// Partitions with positions.
pub(crate) struct List(*mut rd::rd_kafka_topic_partition_list_t);

// SAFETY: a list is plain memory.
unsafe impl Send for List {}

impl Clone for List {
    fn clone(&self) -> List {
        // SAFETY: a live list.
        List(unsafe { rd::rd_kafka_topic_partition_list_copy(self.0) })
    }
}

impl List {
    pub fn new() -> List {
        // SAFETY: allocates.
        List(unsafe { rd::rd_kafka_topic_partition_list_new(4) })
    }

    pub fn add(&mut self, topic: &str, partition: i32, offset: i64) -> &mut rd::rd_kafka_topic_partition_t {
        let topic = CString::new(topic).unwrap_or_default();
        // SAFETY: a live list and a name that ends; what it gives is in the list, which we borrow.
        unsafe {
            let element = &mut *rd::rd_kafka_topic_partition_list_add(self.0, topic.as_ptr(), partition);
            element.offset = offset;
            element
        }
    }

    /// With what stands beside the position.
    pub fn add_with(&mut self, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let element = self.add(topic, partition, offset);
        // SAFETY: librdkafka frees it with the list by the allocator that makes it here.
        unsafe {
            let copy = libc::malloc(metadata.len() + 1).cast::<u8>();
            if copy.is_null() {
                return;
            }
            std::ptr::copy_nonoverlapping(metadata.as_ptr(), copy, metadata.len());
            *copy.add(metadata.len()) = 0;
            element.metadata = copy.cast();
            element.metadata_size = metadata.len();
        }
    }

    pub fn raw(&self) -> *mut rd::rd_kafka_topic_partition_list_t {
        self.0
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        // SAFETY: what a live list says of itself.
        let elements = unsafe { slice((*self.0).elems, (*self.0).cnt) };
        // SAFETY: as above.
        elements.iter().map(|e| (unsafe { CStr::from_ptr(e.topic) }.to_str().unwrap_or(""), e.partition))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours, once.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// Who commits positions.
pub(crate) struct GroupMetadata(*mut rd::rd_kafka_consumer_group_metadata_t);

// SAFETY: plain memory, which is only read.
unsafe impl Send for GroupMetadata {}
// SAFETY: as above.
unsafe impl Sync for GroupMetadata {}

impl GroupMetadata {
    /// Of nobody: taken only while the group has no members.
    pub fn of_nobody(group: &str) -> GroupMetadata {
        let group = CString::new(group).unwrap_or_default();
        // SAFETY: a name that ends.
        GroupMetadata(unsafe { rd::rd_kafka_consumer_group_metadata_new(group.as_ptr()) })
    }

    /// Whether it names a member of a generation. IMPORTANT: a consumer that has just lost its place has metadata like nobody's,
    /// and a broker takes a transaction's positions from nobody.
    pub fn is_of_a_member(&self) -> bool {
        // SAFETY: live metadata, as it has a member.
        !self.member().is_empty() && unsafe { rd::rd_kafka_consumer_group_metadata_generation_id(self.0) } >= 0
    }

    /// What the group calls the member, anew each time it lets it in; empty: it is none.
    pub fn member(&self) -> &str {
        if self.0.is_null() {
            return "";
        }
        // SAFETY: live metadata; its member is a text that ends and lives as long, or none.
        unsafe {
            let member = rd::rd_kafka_consumer_group_metadata_member_id(self.0);
            if member.is_null() { "" } else { CStr::from_ptr(member).to_str().unwrap_or("") }
        }
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, once.
            unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.0) };
        }
    }
}

/// What librdkafka says it has; it says nothing by a null.
///
/// # Safety
/// `count` elements are there for as long as the slice is used, or none.
pub(crate) unsafe fn slice<'a, T>(first: *const T, count: c_int) -> &'a [T] {
    if first.is_null() || count <= 0 {
        return &[];
    }
    // SAFETY: by the caller's word.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

pub(crate) fn ok(code: Code) -> Result<(), Code> {
    if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code) }
}

/// A code as Kafka's documentation has it.
pub(crate) fn name(code: Code) -> String {
    // SAFETY: a static text for every code.
    unsafe { CStr::from_ptr(rd::rd_kafka_err2name(code)) }.to_string_lossy().into_owned()
}

/// A code in words.
pub(crate) fn words(code: Code) -> String {
    // SAFETY: a static text for every code.
    unsafe { CStr::from_ptr(rd::rd_kafka_err2str(code)) }.to_string_lossy().into_owned()
}

/// Takes an error that librdkafka allocated.
pub(crate) fn failure(error: *mut rd::rd_kafka_error_t) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a live error, freed here and not used after.
    unsafe {
        let failure = Failure {
            code: rd::rd_kafka_error_code(error),
            text: CStr::from_ptr(rd::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
            fatal: rd::rd_kafka_error_is_fatal(error) != 0,
            retriable: rd::rd_kafka_error_is_retriable(error) != 0,
            abort: rd::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        rd::rd_kafka_error_destroy(error);
        Err(failure)
    }
}

/// # Safety
/// `opaque` is what [`Client::new`] set.
unsafe fn events<'a>(opaque: *mut c_void) -> &'a dyn Events {
    // SAFETY: by the caller's word; it outlives the client.
    unsafe { &**opaque.cast::<Box<dyn Events>>() }
}

unsafe extern "C" fn on_delivery(_: *mut rd::rd_kafka_t, message: *const rd::rd_kafka_message_t, opaque: *mut c_void) {
    // SAFETY: librdkafka gives a live message, and the opaque that was set.
    let (message, events) = unsafe { (&*message, events(opaque)) };
    let result = ok(message.err).map(|()| message.offset.max(0) as Offset);
    events.delivered(message._private as usize, result);
}

unsafe extern "C" fn on_rebalance(
    rk: *mut rd::rd_kafka_t,
    code: Code,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // The list is librdkafka's: it is not freed here.
    let list = std::mem::ManuallyDrop::new(List(partitions));
    // SAFETY: the opaque that was set.
    let events = unsafe { events(opaque) };
    events.rebalanced(Handle { rk }, code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, &list);
}

unsafe extern "C" fn on_log(_: *const rd::rd_kafka_t, level: c_int, fac: *const c_char, text: *const c_char) {
    // SAFETY: librdkafka gives texts that end.
    let (fac, text) = unsafe { (CStr::from_ptr(fac).to_string_lossy(), CStr::from_ptr(text).to_string_lossy()) };
    match level {
        ..=3 => tracing::warn!(target: "kafka", "{fac} {text}"),
        4 => tracing::info!(target: "kafka", "{fac} {text}"),
        _ => tracing::debug!(target: "kafka", "{fac} {text}"),
    }
}

unsafe extern "C" fn on_error(_: *mut rd::rd_kafka_t, code: c_int, reason: *const c_char, _: *mut c_void) {
    // SAFETY: librdkafka gives a text that ends.
    let reason = unsafe { CStr::from_ptr(reason).to_string_lossy() };
    tracing::info!(target: "kafka", code, "{reason}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(generation: i32, member: &str) -> GroupMetadata {
        let (group, member) = (c"group", CString::new(member).expect("a name"));
        let none = std::ptr::null();
        // SAFETY: names that end.
        GroupMetadata(unsafe {
            rd::rd_kafka_consumer_group_metadata_new_with_genid(group.as_ptr(), generation, member.as_ptr(), none)
        })
    }

    #[test]
    fn who_has_lost_its_place_is_no_member() {
        assert!(of(0, "somebody").is_of_a_member());
        assert!(!of(-1, "somebody").is_of_a_member());
        assert!(!of(3, "").is_of_a_member());
        assert!(!GroupMetadata::of_nobody("group").is_of_a_member());
    }
}
