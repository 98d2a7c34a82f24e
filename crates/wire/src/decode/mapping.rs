//! What a field may be, and where it is looked for.

use event::{Code, Failure, Field};

use super::KEY_BYTES;
use crate::json::{Kind, kind};
use crate::map::{MapEntry, MapError, Mapped};
use crate::time::TimeReader;

#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The slots of the pass, the first that has something wins, with their pointers.
    pub(super) places: Vec<(usize, String)>,
    pub(super) constant: Option<String>,
    pub(super) takes: Takes,
}

/// The kinds of values a field can have.
#[derive(Clone, Debug)]
pub(super) enum Takes {
    /// Strings and numbers of at most [`KEY_BYTES`], as text. An empty string counts as absent.
    Key,
    /// Strings and numbers, as text. An empty string counts as absent.
    Text,
    /// Strings and numbers; read by the reader. An empty string counts as absent.
    Time(TimeReader),
    /// Objects (of `source`, `medium`, `name` ...) and strings. An empty string counts as absent.
    Campaign,
    /// A field of the user's own: whatever there is, but null.
    Anything,
}

impl Mapping {
    pub(super) fn build(
        mapped: &Mapped,
        places: &mut impl Iterator<Item = (usize, String)>,
    ) -> Result<Mapping, MapError> {
        let (own_places, constant, time) = match &mapped.entry {
            MapEntry::Pointer { pointers, format, zone } => {
                (places.take(pointers.len()).collect(), None, Some((format.as_ref(), zone.as_deref())))
            }
            MapEntry::Constant(value) => (Vec::new(), Some(value.clone()), None),
        };
        if constant.as_ref().is_some_and(|c| c.is_empty() || c.len() > KEY_BYTES) {
            return Err(MapError::new(&mapped.name, format!("a constant has 1 to {KEY_BYTES} bytes")));
        }
        let takes = match mapped.field {
            Field::ID | Field::TYPE | Field::USER | Field::VISITOR | Field::SESSION => Takes::Key,
            Field::TIME | Field::SENT_AT => {
                let (format, zone) = time.unwrap_or_default();
                Takes::Time(TimeReader::build(format, zone).map_err(|e| MapError::new(&mapped.name, e))?)
            }
            Field::IP | Field::USER_AGENT | Field::URL | Field::REFERRER => Takes::Text,
            Field::CAMPAIGN => Takes::Campaign,
            _ => Takes::Anything,
        };
        Ok(Mapping { places: own_places, constant, takes })
    }

    #[inline]
    pub(super) fn counts_as_absent(&self, json: &[u8]) -> bool {
        json == b"null" || (json == b"\"\"" && !matches!(self.takes, Takes::Anything))
    }

    #[inline]
    pub(super) fn check_kind(&self, json: &[u8], pointer: &str) -> Result<(), Failure> {
        let fits = match (&self.takes, kind(json)) {
            (Takes::Anything, _) | (_, Kind::String) => true,
            (Takes::Campaign, k) => k == Kind::Object,
            (Takes::Key | Takes::Text | Takes::Time(_), k) => k == Kind::Number,
        };
        if fits { Ok(()) } else { Err(self.wrong_kind(kind(json), pointer)) }
    }

    #[cold]
    fn wrong_kind(&self, found: Kind, pointer: &str) -> Failure {
        let found = match found {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        };
        let wanted = match self.takes {
            Takes::Campaign => "an object or a string",
            _ => "a string or a number",
        };
        Failure::new(Code::BadField, pointer, format!("{wanted} was expected, not {found}"))
    }
}
