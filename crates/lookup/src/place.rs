//! The members of `geo`, read from the three shapes that databases have. Only what is needed is decoded; the rest of a
//! record (names in eight languages, confidence, traits) is skipped.
//!
//! | member | MaxMind | DB-IP (flat) | flat country |
//! |---|---|---|---|
//! | country | country.iso_code | country_code | country_code |
//! | region | subdivisions[0].names.en | state1 | |
//! | city | city.names.en | city | |
//! | postal | postal.code | postcode | |
//! | lat, lon | location.latitude, .longitude | latitude, longitude | |
//! | tz | location.time_zone | timezone | |
//!
//! One pass reads all three: their names do not clash, save `city`, which is a map in one and a text in the other. A
//! member of a type that no shape gives it is left out, as is an empty text.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::json;

/// Where an address is; texts lie in the database.
#[derive(Default, Clone, Copy)]
pub(crate) struct Place<'d> {
    country: Option<&'d str>,
    region: Option<&'d str>,
    city: Option<&'d str>,
    postal: Option<&'d str>,
    lat: Option<Number>,
    lon: Option<Number>,
    tz: Option<&'d str>,
}

#[derive(Clone, Copy)]
enum Number {
    F32(f32),
    F64(f64),
}

impl Place<'_> {
    /// Appends the JSON object; false, and nothing, where no member is known.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let name = |member: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(if out.len() == start { b"{\"" } else { b",\"" });
            out.extend_from_slice(member.as_bytes());
            out.extend_from_slice(b"\":");
        };
        let text = |member: &str, value: Option<&str>, out: &mut Vec<u8>| {
            if let Some(value) = value {
                name(member, out);
                event::json::write_string(value.as_bytes(), out);
            }
        };
        text("country", self.country, out);
        text("region", self.region, out);
        text("city", self.city, out);
        text("postal", self.postal, out);
        for (member, value) in [("lat", self.lat), ("lon", self.lon)] {
            match value {
                Some(Number::F32(v)) => {
                    name(member, out);
                    json::float(v, out);
                }
                Some(Number::F64(v)) => {
                    name(member, out);
                    json::float(v, out);
                }
                None => {}
            }
        }
        text("tz", self.tz, out);
        let known = out.len() > start;
        if known {
            out.push(b'}');
        }
        known
    }

    pub(crate) fn has_postal(&self) -> bool {
        self.postal.is_some()
    }
}

impl<'de> Deserialize<'de> for Place<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Place<'de>, D::Error> {
        let mut place = Place::default();
        from.deserialize_any(Record(&mut place))?;
        Ok(place)
    }
}

/// Any type of value is taken: what a visitor has no use for is passed over.
macro_rules! pass_over {
    ($value:expr; $($visit:ident: $ty:ty),*) => {
        $(fn $visit<E>(self, _: $ty) -> Result<Self::Value, E> {
            Ok($value)
        })*
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
    };
}

/// The first level of a record.
struct Record<'p, 'd>(&'p mut Place<'d>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Country,
    Subdivisions,
    City,
    Postal,
    Location,
    CountryCode,
    State1,
    Postcode,
    Latitude,
    Longitude,
    Timezone,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for Record<'_, 'de> {
    type Value = ();

    pass_over! { (); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_u128: u128, visit_f64: f64, visit_str: &str, visit_bytes: &[u8] }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        const HERE: &[&str] = &[];
        const NAME: &[&str] = &["names", "en"];
        let place = self.0;
        while let Some(member) = map.next_key()? {
            let path = match member {
                Member::Country => &["iso_code"],
                Member::Subdivisions | Member::City => NAME,
                Member::Postal => &["code"],
                Member::Location => {
                    map.next_value_seed(Location(place))?;
                    continue;
                }
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                _ => HERE,
            };
            let found = map.next_value_seed(At { path, or_text: matches!(member, Member::City) })?;
            match member {
                Member::Country | Member::CountryCode => found.text(&mut place.country),
                Member::Subdivisions | Member::State1 => found.text(&mut place.region),
                Member::City => found.text(&mut place.city),
                Member::Postal | Member::Postcode => found.text(&mut place.postal),
                Member::Latitude => found.number(&mut place.lat),
                Member::Longitude => found.number(&mut place.lon),
                Member::Timezone => found.text(&mut place.tz),
                Member::Location | Member::Other => {}
            }
        }
        Ok(())
    }
}

/// MaxMind's `location`.
struct Location<'p, 'd>(&'p mut Place<'d>);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum LocationMember {
    Latitude,
    Longitude,
    TimeZone,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Location<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Location<'_, 'de> {
    type Value = ();

    pass_over! { (); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_u128: u128, visit_f64: f64, visit_str: &str, visit_bytes: &[u8] }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let here = || At { path: &[], or_text: false };
        while let Some(member) = map.next_key()? {
            match member {
                LocationMember::Latitude => map.next_value_seed(here())?.number(&mut self.0.lat),
                LocationMember::Longitude => map.next_value_seed(here())?.number(&mut self.0.lon),
                LocationMember::TimeZone => map.next_value_seed(here())?.text(&mut self.0.tz),
                LocationMember::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The scalar at a path of member names; where an array is on the way, in its first element.
struct At {
    path: &'static [&'static str],
    /// A text that stands where the path would go on is the answer too.
    or_text: bool,
}

enum Found<'d> {
    Nothing,
    Text(&'d str),
    Number(Number),
}

impl<'d> Found<'d> {
    fn text(self, into: &mut Option<&'d str>) {
        if let Found::Text(text) = self
            && !text.is_empty()
        {
            *into = Some(text);
        }
    }

    fn number(self, into: &mut Option<Number>) {
        if let Found::Number(number) = self {
            *into = Some(number);
        }
    }
}

impl<'de> DeserializeSeed<'de> for At {
    type Value = Found<'de>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At {
    type Value = Found<'de>;

    pass_over! { Found::Nothing; visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_u128: u128, visit_bytes: &[u8] }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Found<'de>, E> {
        Ok(if self.path.is_empty() || self.or_text { Found::Text(text) } else { Found::Nothing })
    }

    fn visit_f32<E>(self, value: f32) -> Result<Found<'de>, E> {
        Ok(if self.path.is_empty() && value.is_finite() { Found::Number(Number::F32(value)) } else { Found::Nothing })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Found<'de>, E> {
        Ok(if self.path.is_empty() && value.is_finite() { Found::Number(Number::F64(value)) } else { Found::Nothing })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Found<'de>, A::Error> {
        let found = seq.next_element_seed(At { path: self.path, or_text: false })?;
        // IMPORTANT: to the end, or the decoder goes on in the middle of this array.
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found.unwrap_or(Found::Nothing))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found::Nothing;
        // IMPORTANT: to the end, as above.
        while let Some(wanted) = map.next_key_seed(Is(self.path.first().copied()))? {
            if wanted {
                found = map.next_value_seed(At { path: &self.path[1..], or_text: false })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a member has this name.
struct Is(Option<&'static str>);

impl<'de> DeserializeSeed<'de> for Is {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Is {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(self.0 == Some(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<bool, E> {
        Ok(self.0.is_some_and(|wanted| wanted.as_bytes() == name))
    }
}
