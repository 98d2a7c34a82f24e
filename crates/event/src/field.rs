//! The members of the envelope. A field map says where each is found in somebody's JSON; a record header says where it
//! was found in this one.

/// A member of the envelope, or one the user's field map adds. The number is stored in record headers: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field(pub u8);

impl Field {
    pub const ID: Field = Field(0);
    pub const TYPE: Field = Field(1);
    pub const TIME: Field = Field(2);
    pub const SENT_AT: Field = Field(3);
    pub const USER: Field = Field(4);
    pub const VISITOR: Field = Field(5);
    pub const IP: Field = Field(6);
    pub const USER_AGENT: Field = Field(7);
    pub const URL: Field = Field(8);
    pub const REFERRER: Field = Field(9);
    pub const CAMPAIGN: Field = Field(10);
    pub const SESSION: Field = Field(11);
    /// The name of the `[[source]]` that received the event. Never mapped: always inherited from the door.
    pub const SOURCE: Field = Field(12);
    /// What a control record says. No member of any event.
    pub const CONTROL: Field = Field(13);
    /// First id of the fields a user's map adds beyond the envelope.
    pub const FIRST_CUSTOM: u8 = 16;
    /// At most this many fields are kept per record: what fits a header of about 350 bytes.
    pub const MAX: usize = 32;

    /// The envelope's own fields with their names in configuration, in the order of their ids.
    pub const NAMED: [(Field, &'static str); 13] = [
        (Field::ID, "id"),
        (Field::TYPE, "type"),
        (Field::TIME, "time"),
        (Field::SENT_AT, "sent_at"),
        (Field::USER, "user"),
        (Field::VISITOR, "visitor"),
        (Field::IP, "ip"),
        (Field::USER_AGENT, "user_agent"),
        (Field::URL, "url"),
        (Field::REFERRER, "referrer"),
        (Field::CAMPAIGN, "campaign"),
        (Field::SESSION, "session"),
        (Field::SOURCE, "source"),
    ];

    /// The field of that name in configuration; `None` for a name the envelope does not have.
    pub fn named(name: &str) -> Option<Field> {
        Field::NAMED.iter().find(|(_, n)| *n == name).map(|(f, _)| *f)
    }

    /// The name in configuration; `"custom"` for fields a user's map added.
    pub fn name(self) -> &'static str {
        Field::NAMED.iter().find(|(f, _)| *f == self).map_or("custom", |(_, n)| n)
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.name(), self.0)
    }
}
