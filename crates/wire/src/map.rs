//! Field maps: where each member of the envelope is in somebody's JSON. A preset, and the user's overrides of it.

use event::Field;

use crate::json::pointer;
use crate::time::{ACCESS_LOG, TimeFormat};

/// Why a field map cannot be used; always the configuration's to fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapError {
    /// The field's name in configuration; empty where no single field is meant.
    pub field: String,
    /// For people.
    pub message: String,
}

impl MapError {
    pub(crate) fn new(field: &str, message: impl Into<String>) -> MapError {
        MapError { field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for MapError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.message),
            field => write!(f, "map of `{field}`: {}", self.message),
        }
    }
}

impl std::error::Error for MapError {}

/// Where one field comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapEntry {
    Pointer {
        /// The first that leads to something wins. None at all, in [`FieldMap::set`]: those that were there before, so
        /// that a zone can be added to a preset.
        pointers: Vec<String>,
        /// For times only.
        format: Option<TimeFormat>,
        /// For times only: the zone of texts that have none.
        zone: Option<String>,
    },
    /// The same text for every event. For `id`, `hash` means a hash of the event's bytes without `sent_at`: equal events
    /// are then taken for one.
    Constant(String),
}

impl MapEntry {
    /// Members of the event, the first that is there.
    pub fn pointers(pointers: &[&str]) -> MapEntry {
        MapEntry::Pointer { pointers: pointers.iter().map(|p| p.to_string()).collect(), format: None, zone: None }
    }

    /// What stands behind the `=` in `--map time=/timestamp,zone=UTC`: pointers, `format=` and `zone=` between commas, or
    /// a constant (`request`, or `value=...` where it would look like something else).
    pub fn parse_cli(text: &str) -> Result<MapEntry, MapError> {
        if let Some(constant) = text.strip_prefix("value=") {
            return Ok(MapEntry::Constant(constant.into()));
        }
        let (mut pointers, mut format, mut zone) = (Vec::new(), None::<String>, None::<String>);
        for part in text.split(',') {
            if part.starts_with('/') {
                pointers.push(part.to_string());
            } else if let Some(f) = part.strip_prefix("format=") {
                format = Some(f.into());
            } else if let Some(z) = part.strip_prefix("zone=") {
                zone = Some(z.into());
            } else if let (Some(f), None) = (&mut format, &zone) {
                // A comma inside a pattern.
                f.push(',');
                f.push_str(part);
            } else if pointers.is_empty() && format.is_none() && zone.is_none() && !text.contains("=") {
                return match text {
                    "" => Err(MapError::new("", "nothing is given: write a pointer, like /user/id, or a constant")),
                    constant => Ok(MapEntry::Constant(constant.into())),
                };
            } else {
                return Err(MapError::new(
                    "",
                    format!(
                        "`{part}` is no pointer, `format=` or `zone=`: a pointer begins with a slash, like /{part}"
                    ),
                ));
            }
        }
        let format = match format {
            None => None,
            Some(name) => Some(TimeFormat::named(&name).ok_or_else(|| {
                MapError::new(
                    "",
                    format!("there is no format `{name}`: rfc3339, epoch_s, epoch_ms, epoch_us or a pattern with %"),
                )
            })?),
        };
        Ok(MapEntry::Pointer { pointers, format, zone })
    }
}

/// A shape of events that many people send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Preset {
    /// What the Segment, RudderStack and Jitsu SDKs send. The default.
    Segment,
    /// Flat, each field under its own name.
    Ouzel,
    /// The JSON form of a line of an access log; see [`crate::access_log`].
    AccessLog,
    /// The JSON form of a CSV row, with the usual names of columns; see [`crate::csv`].
    Csv,
}

impl Preset {
    pub const NAMES: [(&str, Preset); 4] = [
        ("segment", Preset::Segment),
        ("ouzel", Preset::Ouzel),
        ("access-log", Preset::AccessLog),
        ("csv", Preset::Csv),
    ];

    /// The preset of that name in configuration.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::NAMES.iter().find(|(n, _)| *n == name).map(|(_, p)| *p)
    }

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        Preset::NAMES.iter().find(|(_, p)| *p == self).expect("every preset has a name").0
    }

    fn pointers(self) -> &'static [(Field, &'static [&'static str])] {
        match self {
            Preset::Segment => SEGMENT,
            Preset::Ouzel => OUZEL,
            Preset::AccessLog => ACCESS_LOG_FIELDS,
            Preset::Csv => CSV,
        }
    }
}

type Pointers = &'static [(Field, &'static [&'static str])];

const SEGMENT: Pointers = &[
    (Field::ID, &["/messageId"]),
    (Field::TYPE, &["/event", "/type"]),
    (Field::TIME, &["/timestamp"]),
    (Field::SENT_AT, &["/sentAt"]),
    (Field::USER, &["/userId"]),
    (Field::VISITOR, &["/anonymousId"]),
    (Field::IP, &["/context/ip"]),
    (Field::USER_AGENT, &["/context/userAgent"]),
    (Field::URL, &["/context/page/url"]),
    (Field::REFERRER, &["/context/page/referrer"]),
    (Field::CAMPAIGN, &["/context/campaign"]),
];

const OUZEL: Pointers = &[
    (Field::ID, &["/id"]),
    (Field::TYPE, &["/type"]),
    (Field::TIME, &["/time"]),
    (Field::SENT_AT, &["/sent_at"]),
    (Field::USER, &["/user"]),
    (Field::VISITOR, &["/visitor"]),
    (Field::IP, &["/ip"]),
    (Field::USER_AGENT, &["/user_agent"]),
    (Field::URL, &["/url"]),
    (Field::REFERRER, &["/referrer"]),
    (Field::CAMPAIGN, &["/campaign"]),
    (Field::SESSION, &["/session"]),
];

/// The type is the constant `request`.
const ACCESS_LOG_FIELDS: Pointers = &[
    (Field::TIME, &["/time"]),
    (Field::USER, &["/user"]),
    (Field::IP, &["/ip"]),
    (Field::USER_AGENT, &["/user_agent"]),
    (Field::URL, &["/url"]),
    (Field::REFERRER, &["/referrer"]),
];

const CSV: Pointers = &[
    (Field::ID, &["/event_id", "/message_id", "/messageId", "/id"]),
    (Field::TYPE, &["/event", "/event_type", "/event_name", "/type"]),
    (Field::TIME, &["/timestamp", "/time", "/event_time", "/created_at", "/datetime", "/date"]),
    (Field::SENT_AT, &["/sent_at", "/sentAt"]),
    (Field::USER, &["/user_id", "/userId", "/user", "/customer_id"]),
    (Field::VISITOR, &["/visitor_id", "/visitor", "/anonymous_id", "/anonymousId", "/client_id"]),
    (Field::IP, &["/ip", "/ip_address", "/client_ip"]),
    (Field::USER_AGENT, &["/user_agent", "/userAgent", "/useragent"]),
    (Field::URL, &["/url", "/page_url", "/page"]),
    (Field::REFERRER, &["/referrer", "/referer"]),
    (Field::CAMPAIGN, &["/campaign", "/utm_campaign"]),
    (Field::SESSION, &["/session_id", "/sessionId", "/session"]),
];

/// One field of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub field: Field,
    /// In configuration.
    pub name: String,
    pub entry: MapEntry,
}

/// Where each field is, in the order of the fields' numbers.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldMap {
    fields: Vec<Mapped>,
}

impl FieldMap {
    pub fn preset(preset: Preset) -> FieldMap {
        let mut map = FieldMap::default();
        for (field, pointers) in preset.pointers() {
            map.insert(*field, field.name(), MapEntry::pointers(pointers));
        }
        if preset == Preset::AccessLog {
            map.insert(Field::TYPE, "type", MapEntry::Constant("request".into()));
            let format = Some(TimeFormat::Strftime(ACCESS_LOG.into()));
            let time = MapEntry::Pointer { pointers: vec!["/time".into()], format, zone: None };
            map.insert(Field::TIME, "time", time);
        }
        map
    }

    /// Overrides or adds one field. A name that the envelope does not have (`plan`) becomes a field of the user's own.
    ///
    /// # Errors
    /// A name that cannot be one or is a slip of one of the envelope's, a pointer that is none, a constant for a field
    /// that must differ between events, a format on what is no time.
    pub fn set(&mut self, name: &str, entry: MapEntry) -> Result<(), MapError> {
        let error = |message: String| Err(MapError::new(name, message));
        let field = match Field::named(name) {
            Some(Field::SOURCE) => {
                return error(
                    "the source is the name of the `[[source]]` that received the event; it is never mapped".into(),
                );
            }
            Some(field) => field,
            None => self.custom(name)?,
        };
        let is_time = field == Field::TIME || field == Field::SENT_AT;
        let entry = match entry {
            MapEntry::Constant(value) => {
                match field {
                    Field::TIME | Field::SENT_AT => {
                        return error(format!("a time cannot be the same for all: write /{value}"));
                    }
                    Field::ID if value != "hash" => {
                        return error(format!("an id cannot be the same for all: write /{value}, or `hash`"));
                    }
                    _ => {}
                }
                MapEntry::Constant(value)
            }
            MapEntry::Pointer { mut pointers, format, zone } => {
                if let Some(p) = pointers.iter().find_map(|p| pointer::names(p).err()) {
                    return error(p.message);
                }
                if !is_time && (format.is_some() || zone.is_some()) {
                    return error("`format` and `zone` are for times".into());
                }
                let before = self.fields.iter().find(|m| m.field == field).map(|m| &m.entry);
                if let (true, Some(MapEntry::Pointer { pointers: before, .. })) = (pointers.is_empty(), before) {
                    pointers = before.clone();
                }
                if pointers.is_empty() {
                    return error("a pointer is missing, like /timestamp".into());
                }
                MapEntry::Pointer { pointers, format, zone }
            }
        };
        self.insert(field, name, entry);
        Ok(())
    }

    /// The field a name of the user's own gets: the one it has, or the next free.
    fn custom(&self, name: &str) -> Result<Field, MapError> {
        if let Some(known) = self.fields.iter().find(|m| m.name == name) {
            return Ok(known.field);
        }
        let is_name = |n: &str| {
            n.starts_with(|c: char| c.is_ascii_lowercase())
                && n.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
                && n.len() <= 64
        };
        if !is_name(name) {
            return Err(MapError::new(name, "a field's name is made of a-z, 0-9 and _, and begins with a letter"));
        }
        if let Some((_, meant)) = Field::NAMED.iter().find(|(_, n)| one_slip_apart(n, name)) {
            return Err(MapError::new(name, format!("there is no such field; did you mean `{meant}`?")));
        }
        let taken = self.fields.iter().map(|m| m.field.0 + 1).max().unwrap_or(0);
        let next = taken.max(Field::FIRST_CUSTOM);
        if next as usize >= Field::MAX {
            let most = Field::MAX - Field::FIRST_CUSTOM as usize;
            return Err(MapError::new(name, format!("at most {most} fields can be added to the envelope's")));
        }
        Ok(Field(next))
    }

    /// Gives each field of the user's own the number of its name's place in `names`, so that a number means the same in the
    /// maps of several sources. Names that are not among them keep no number, and are left out.
    pub fn number(&mut self, names: &[&str]) {
        self.fields.retain_mut(|mapped| {
            if mapped.field.0 < Field::FIRST_CUSTOM {
                return true;
            }
            let place = names.iter().position(|name| *name == mapped.name);
            let number = place.and_then(|p| u8::try_from(p + Field::FIRST_CUSTOM as usize).ok());
            number.inspect(|number| mapped.field = Field(*number)).is_some()
        });
        self.fields.sort_by_key(|mapped| mapped.field);
    }

    /// Adds a field that has no name but its pointer, under a number that no other field has.
    ///
    /// # Errors
    /// A pointer that is none.
    pub fn add_pointer(&mut self, field: Field, pointer: &str) -> Result<(), MapError> {
        pointer::names(pointer).map_err(|e| MapError::new(pointer, e.message))?;
        self.insert(field, pointer, MapEntry::pointers(&[pointer]));
        Ok(())
    }

    fn insert(&mut self, field: Field, name: &str, entry: MapEntry) {
        match self.fields.binary_search_by_key(&field, |m| m.field) {
            Ok(at) => self.fields[at].entry = entry,
            Err(at) => self.fields.insert(at, Mapped { field, name: name.into(), entry }),
        }
    }

    /// All fields, in the order of their numbers.
    pub fn fields(&self) -> &[Mapped] {
        &self.fields
    }
}

/// Whether one letter put in, left out or changed, or two neighbours swapped, makes `b` of `a`.
fn one_slip_apart(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[front..], &b[front..]);
    let back = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - back], &b[..b.len() - back]);
    matches!((a, b), ([_], []) | ([], [_]) | ([_], [_])) || matches!((a, b), ([p, q], [r, s]) if p == s && q == r)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_a_table_says() {
        let entry = |pointers: &[&str], format: Option<&str>, zone: Option<&str>| MapEntry::Pointer {
            pointers: pointers.iter().map(|p| p.to_string()).collect(),
            format: format.and_then(TimeFormat::named),
            zone: zone.map(str::to_string),
        };
        for (text, expected) in [
            ("/user/id", Some(entry(&["/user/id"], None, None))),
            ("/a,/b", Some(entry(&["/a", "/b"], None, None))),
            ("/timestamp,zone=UTC", Some(entry(&["/timestamp"], None, Some("UTC")))),
            ("zone=UTC", Some(entry(&[], None, Some("UTC")))),
            ("/t,format=epoch_ms", Some(entry(&["/t"], Some("epoch_ms"), None))),
            ("/t,format=%b %d, %Y %T,zone=UTC", Some(entry(&["/t"], Some("%b %d, %Y %T"), Some("UTC")))),
            ("request", Some(MapEntry::Constant("request".into()))),
            ("page, viewed", Some(MapEntry::Constant("page, viewed".into()))),
            ("value=/x", Some(MapEntry::Constant("/x".into()))),
            ("", None),
            ("timestamp,zone=UTC", None),
            ("/t,format=millis", None),
            ("/t,x", None),
        ] {
            assert_eq!(MapEntry::parse_cli(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_map_that_cannot_be_meant_is_refused() {
        for (name, entry, says) in [
            ("source", "/source", "never mapped"),
            ("tiem", "/time", "did you mean `time`"),
            ("vistor", "/v", "did you mean `visitor`"),
            ("types", "/t", "did you mean `type`"),
            ("User", "/user", "a-z"),
            ("time", "timestamp", "write /timestamp"),
            ("id", "messageId", "write /messageId"),
            ("user", "/u,zone=UTC", "for times"),
            ("user", "/u~2", "~0"),
        ] {
            let mut map = FieldMap::preset(Preset::Segment);
            let error = map.set(name, MapEntry::parse_cli(entry).expect("an entry")).expect_err(name);
            assert!(error.message.contains(says), "{name}: {error}");
            assert_eq!(map, FieldMap::preset(Preset::Segment), "nothing is changed by an error");
        }
    }

    #[test]
    fn overrides_keep_what_they_do_not_name() {
        let mut map = FieldMap::preset(Preset::Csv);
        map.set("time", MapEntry::parse_cli("zone=UTC").expect("an entry")).expect("a zone");
        let time = &map.fields().iter().find(|m| m.field == Field::TIME).expect("time").entry;
        assert!(matches!(time, MapEntry::Pointer { pointers, zone: Some(_), .. } if pointers.len() == 6));
        map.set("plan", MapEntry::pointers(&["/plan"])).expect("a field of one's own");
        map.set("cohort", MapEntry::pointers(&["/user_cohort"])).expect("another");
        map.set("plan", MapEntry::pointers(&["/account/plan"])).expect("the first again");
        let own: Vec<_> =
            map.fields().iter().filter(|m| m.field.0 >= 16).map(|m| (m.field.0, m.name.as_str())).collect();
        assert_eq!(own, [(16, "plan"), (17, "cohort")]);
        for n in 2..16 {
            map.set(&format!("own{n}"), MapEntry::pointers(&["/x"])).expect("there is room for sixteen");
        }
        assert!(map.set("own16", MapEntry::pointers(&["/x"])).is_err());
    }

    #[test]
    fn a_number_means_the_same_in_all_maps() {
        let map = |names: &[&str]| {
            let mut map = FieldMap::preset(Preset::Segment);
            names.iter().for_each(|n| map.set(n, MapEntry::pointers(&["/x"])).expect("a field"));
            map.number(&["plan", "cohort", "shop"]);
            map.add_pointer(Field(31), "/properties/id").expect("a pointer");
            assert!(map.fields().is_sorted_by_key(|m| m.field));
            let own = map.fields().iter().filter(|m| m.field.0 >= 16);
            own.map(|m| (m.field.0, m.name.clone())).collect::<Vec<_>>()
        };
        let own = |fields: &[(u8, &str)]| fields.iter().map(|(n, name)| (*n, name.to_string())).collect::<Vec<_>>();
        assert_eq!(map(&["shop", "plan"]), own(&[(16, "plan"), (18, "shop"), (31, "/properties/id")]));
        assert_eq!(map(&["cohort"]), own(&[(17, "cohort"), (31, "/properties/id")]));
        assert_eq!(map(&[]), own(&[(31, "/properties/id")]));
    }

    #[test]
    fn presets_have_names() {
        for (name, preset) in Preset::NAMES {
            assert_eq!((Preset::named(name), preset.name()), (Some(preset), name));
        }
        assert_eq!(Preset::named("Segment"), None);
    }
}
