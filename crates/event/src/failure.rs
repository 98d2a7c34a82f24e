//! What can be wrong with an event, as data on it. (An *error* is the program's; see each crate's `error`.)

/// What became of an event that has a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not accepted: the sender is told where the protocol can, and a copy is in `dlq`.
    Refused,
    /// Accepted, but set aside in `dlq`: nothing downstream sees it.
    Quarantined,
    /// Processed, with the failure on it.
    Flagged,
}

macro_rules! codes {
    ($($variant:ident = $number:literal, $name:literal, $outcome:ident, $meaning:literal;)*) => {
        /// Why. The number is stored in the dead-letter topic: never reuse one. Each has a page in the docs.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Code { $(#[doc = $meaning] $variant = $number,)* }

        impl Code {
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];
            /// The code as it stands in answers, dead letters and metrics.
            pub fn name(self) -> &'static str { match self { $(Code::$variant => $name,)* } }
            pub fn outcome(self) -> Outcome { match self { $(Code::$variant => Outcome::$outcome,)* } }
            /// One sentence for people.
            pub fn meaning(self) -> &'static str { match self { $(Code::$variant => $meaning,)* } }
            pub fn named(name: &str) -> Option<Code> { match name { $($name => Some(Code::$variant),)* _ => None } }
        }
    };
}

codes! {
    NotJson = 1, "not_json", Refused, "The text is not valid JSON.";
    NotObject = 2, "not_object", Refused, "The JSON is valid, but it is not an object.";
    NotUtf8 = 3, "not_utf8", Refused, "The bytes are not valid UTF-8.";
    TooLarge = 4, "too_large", Refused, "The event is larger than `limits.event`.";
    TooDeep = 5, "too_deep", Refused, "The event is nested deeper than `limits.depth`.";
    TooManyMembers = 6, "too_many_members", Refused, "The event has more members than `limits.members`.";
    DuplicateMember = 7, "duplicate_member", Refused, "A first-level member is there twice.";
    ReservedMember = 8, "reserved_member", Refused, "The event already has the member that enrichment adds.";
    MissingField = 9, "missing_field", Refused, "A field that is needed (`type`) is not there.";
    BadField = 10, "bad_field", Refused, "A mapped field has a value of a kind it cannot have.";
    BadTime = 11, "bad_time", Refused, "A time cannot be read, or is outside the years 1970 to 2200.";
    BadLine = 12, "bad_line", Refused, "The line does not have the shape of its format (access log, CSV).";
    ConflictingDuplicate = 20, "conflicting_duplicate", Quarantined, "The id was used before by another payload.";
    OperatorPanic = 21, "operator_panic", Quarantined, "An operator failed on this event; its neighbours went on.";
    ForeignRecord = 22, "foreign_record", Quarantined, "The record was written into the topic by another program.";
    Future = 30, "future", Flagged, "The event's time is more than `max_future` ahead of its receipt.";
    Derived = 31, "derived", Flagged, "The event had no id; one was derived from its position.";
    AtLeastOnce = 32, "at_least_once", Flagged, "The event had no id and no position; a resend would be a new event.";
}

/// One thing wrong with one event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub code: Code,
    /// JSON Pointer to the member, or empty where the event as a whole is meant.
    pub pointer: String,
    /// For people; never holds the event's content.
    pub message: String,
}

impl Failure {
    pub fn new(code: Code, pointer: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure { code, pointer: pointer.into(), message: message.into() }
    }
}
