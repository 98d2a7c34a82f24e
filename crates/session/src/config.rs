//! The rules, as they are configured and as they are used.

use event::Micros;
use event::key::hash64;
use memchr::memmem::Finder;

use crate::facets::FacetKind;
use crate::facts::Marks;
use crate::stage::Sessions;
use crate::zone::Zone;

pub mod kinds;

pub use kinds::{ItemRule, TypeRules, ValueRule};

/// A set of rules that people know from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preset {
    /// The gap alone, as in Google Analytics 4.
    #[default]
    Ga4,
    /// The gap, midnight and campaigns, as in Universal Analytics; midnight in UTC until a zone is configured.
    UniversalAnalytics,
    /// A change of the client's session id, and the gap, as in Snowplow.
    Snowplow,
}

impl Preset {
    /// By its name in configuration.
    pub fn named(name: &str) -> Option<Preset> {
        match name {
            "ga4" => Some(Preset::Ga4),
            "universal-analytics" => Some(Preset::UniversalAnalytics),
            "snowplow" => Some(Preset::Snowplow),
            _ => None,
        }
    }
}

/// Durations are microseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionsConfig {
    /// Two events further apart than this are in two sessions; exactly this far still in one.
    pub gap_us: i64,
    /// An event later than this after the session's start opens a new one; exactly this late still joins.
    pub max_length_us: Option<i64>,
    /// A session is closed by its event of this number.
    pub max_events: Option<u32>,
    /// An IANA zone, in which no session outlives a day.
    pub midnight: Option<String>,
    /// An event with another campaign than the session's, none included, opens a new one.
    pub campaign_change: bool,
    /// Types that open a session before themselves.
    pub start_events: Vec<String>,
    /// Types that close their session after themselves.
    pub end_events: Vec<String>,
    /// An event of another user than the session's opens a new one. Signing in is no change, nor is an event without a
    /// user.
    pub split_on_user_change: bool,
    /// An event with another session id of the client's opens a new one. An event without one is judged by the gap.
    pub client_session: bool,
    /// How long after its final a session takes late events.
    pub allowed_lateness_us: i64,
    /// Log time between two updates of a visitor, at least.
    pub update_every_us: i64,
    /// Events of a visitor that wait for the watermark, at most.
    pub buffer: usize,
    /// How long after a visitor's last event its count of sessions is kept.
    pub remember_us: i64,
    /// The member that enrich adds.
    pub member: String,
    pub types: TypeRules,
}

impl Default for SessionsConfig {
    fn default() -> SessionsConfig {
        SessionsConfig {
            gap_us: 30 * 60 * Micros::SECOND,
            max_length_us: None,
            max_events: None,
            midnight: None,
            campaign_change: false,
            start_events: Vec::new(),
            end_events: Vec::new(),
            split_on_user_change: false,
            client_session: false,
            allowed_lateness_us: 10 * 60 * Micros::SECOND,
            update_every_us: 10 * Micros::SECOND,
            buffer: 1_000,
            remember_us: 7 * 86_400 * Micros::SECOND,
            member: "enriched".into(),
            types: TypeRules::default(),
        }
    }
}

/// A configuration that makes no rules.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("`{key}` must be more than 0 and at most 10 years")]
    Duration { key: &'static str },
    #[error("`{key}` must be at least 1")]
    Zero { key: &'static str },
    #[error("`midnight`: the zone database has no `{zone}`; write an IANA name like `Europe/Berlin`, or `UTC`")]
    Zone { zone: String },
    #[error("`{pointer}` is no pointer; write one like `/properties/product_id`, with `*` for every element of a list")]
    Pointer { pointer: String },
}

/// So that times of events plus a few durations stay within 64 bits.
const DURATION_MAX_US: i64 = 3_660 * 86_400 * Micros::SECOND;

impl SessionsConfig {
    pub fn preset(preset: Preset) -> SessionsConfig {
        let ga4 = SessionsConfig::default();
        match preset {
            Preset::Ga4 => ga4,
            Preset::UniversalAnalytics => SessionsConfig { midnight: Some("UTC".into()), campaign_change: true, ..ga4 },
            Preset::Snowplow => SessionsConfig { client_session: true, ..ga4 },
        }
    }

    /// # Errors
    /// A duration or count out of range, an unknown zone, a pointer that is none.
    pub fn build(&self) -> Result<Sessions, ConfigError> {
        for (key, us, least) in [
            ("gap", self.gap_us, 1),
            ("max_length", self.max_length_us.unwrap_or(1), 1),
            ("allowed_lateness", self.allowed_lateness_us, 0),
            ("update_every", self.update_every_us, 0),
            ("remember", self.remember_us, 0),
        ] {
            if !(least..=DURATION_MAX_US).contains(&us) {
                return Err(ConfigError::Duration { key });
            }
        }
        for (key, n) in [("max_events", self.max_events.unwrap_or(1) as usize), ("buffer", self.buffer)] {
            if n == 0 {
                return Err(ConfigError::Zero { key });
            }
        }
        let zone = match &self.midnight {
            None => None,
            Some(zone) => Some(Zone::named(zone).ok_or_else(|| ConfigError::Zone { zone: zone.clone() })?),
        };
        let mut types = kinds::Types::compile(&self.types)?;
        for (names, mark) in [(&self.start_events, Marks::STARTS), (&self.end_events, Marks::ENDS)] {
            names.iter().for_each(|name| types.mark(hash64(name.as_bytes()), mark));
        }
        let ordered = self.max_length_us.is_some()
            || self.max_events.is_some()
            || zone.is_some()
            || self.campaign_change
            || !self.start_events.is_empty()
            || !self.end_events.is_empty()
            || self.split_on_user_change
            || self.client_session;
        let opening = format!("\"{}\":{{", self.member);
        Ok(Sessions {
            config: self.clone(),
            ordered,
            zone,
            types,
            opening: Finder::new(&opening).into_owned(),
            keeps_both: false,
        })
    }
}

/// Why a session was closed. Numbers are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Reason {
    MaxLength = 1,
    MaxEvents = 2,
    Midnight = 3,
    Campaign = 4,
    StartEvent = 5,
    EndEvent = 6,
    User = 7,
    ClientSession = 8,
}

impl Reason {
    const ALL: [Reason; 8] = [
        Reason::MaxLength,
        Reason::MaxEvents,
        Reason::Midnight,
        Reason::Campaign,
        Reason::StartEvent,
        Reason::EndEvent,
        Reason::User,
        Reason::ClientSession,
    ];

    pub fn of(number: u8) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| *r as u8 == number)
    }

    /// In `closed_by` of a final; the key of the rule in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Reason::MaxLength => "max_length",
            Reason::MaxEvents => "max_events",
            Reason::Midnight => "midnight",
            Reason::Campaign => "campaign_change",
            Reason::StartEvent => "start_event",
            Reason::EndEvent => "end_event",
            Reason::User => "user_change",
            Reason::ClientSession => "client_session",
        }
    }
}

/// What was done with an item. Numbers are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ItemKind {
    Viewed = 0,
    Liked = 1,
    Carted = 2,
    Bought = 3,
}

impl ItemKind {
    pub(crate) fn of(number: u8) -> Option<ItemKind> {
        [ItemKind::Viewed, ItemKind::Liked, ItemKind::Carted, ItemKind::Bought].get(usize::from(number)).copied()
    }

    pub(crate) fn facet(self) -> FacetKind {
        match self {
            ItemKind::Viewed => FacetKind::Viewed,
            ItemKind::Liked => FacetKind::Liked,
            ItemKind::Carted => FacetKind::Carted,
            ItemKind::Bought => FacetKind::Bought,
        }
    }
}
