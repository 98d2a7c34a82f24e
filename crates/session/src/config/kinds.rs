//! Which types of events mean what, and where in them items and amounts are.

use event::key::hash64;
use wire::json::walk::{Elements, Member, Members};
use wire::json::{Kind, kind};

use super::{ConfigError, ItemKind};
use crate::facts::Marks;

/// Names are compared byte for byte.
#[derive(Clone, PartialEq, Debug)]
pub struct TypeRules {
    /// A page or screen was seen.
    pub views: Vec<String>,
    /// What a site is there for: one of them makes a session engaged.
    pub key_events: Vec<String>,
    pub items: Vec<ItemRule>,
    pub values: Vec<ValueRule>,
}

/// Events of these types are about items.
#[derive(Clone, PartialEq, Debug)]
pub struct ItemRule {
    pub what: ItemKind,
    pub types: Vec<String>,
    /// Where the ids are: the first pointer that leads to any counts. `*` stands for every element of a list.
    pub ids: Vec<String>,
    /// Only events that have this text at this pointer.
    pub only: Option<(String, String)>,
}

/// Events of these types are worth something.
#[derive(Clone, PartialEq, Debug)]
pub struct ValueRule {
    pub types: Vec<String>,
    /// Where the amount is, in the unit in which the event tells it: the first pointer that leads to a number counts.
    pub amounts: Vec<String>,
    pub currency: String,
}

const PRODUCT: &[&str] = &["/properties/product_id", "/properties/listing_id", "/properties/listing/id"];
const GA4_ITEMS: &[&str] = &["/properties/items/*/item_id", "/properties/item_id"];

/// The types of what is seen, with where they are from.
const VIEWS: &[&str] = &[
    // Segment, RudderStack, Jitsu: the type of a page or screen call, and the name that destinations give it.
    "page",
    "screen",
    "Page Viewed",
    "Screen Viewed",
    // Google Analytics 4 and Snowplow.
    "page_view",
    "screen_view",
    // Plausible and PostHog's own names.
    "pageview",
    "$pageview",
    "$screen",
    // The type of every line of an access log.
    "request",
];

const KEY_EVENTS: &[&str] = &[
    // Segment's ecommerce and B2B names; `Sign Up` is also what marketplaces' servers say.
    "Order Completed",
    "Signed Up",
    "Sign Up",
    "Trial Started",
    // Google Analytics 4.
    "purchase",
    "sign_up",
    "generate_lead",
];

/// What is done, by which types, where the ids are.
type ItemRow = (ItemKind, &'static [&'static str], &'static [&'static str], Option<(&'static str, &'static str)>);

const ITEMS: &[ItemRow] = &[
    // Segment's ecommerce names, and a marketplace's, whose products are listings.
    (ItemKind::Viewed, &["Product Viewed", "Listing Viewed"], PRODUCT, None),
    (ItemKind::Liked, &["Product Added to Wishlist", "Listing Saved"], PRODUCT, None),
    (ItemKind::Carted, &["Product Added"], PRODUCT, None),
    // One type for both directions: only what was put in counts.
    (ItemKind::Carted, &["Cart Updated"], PRODUCT, Some(("/properties/change", "added"))),
    (
        ItemKind::Bought,
        &["Order Completed"],
        &["/properties/products/*/product_id", "/properties/items/*/listing/id", "/properties/product_id"],
        None,
    ),
    // Google Analytics 4.
    (ItemKind::Viewed, &["view_item"], GA4_ITEMS, None),
    (ItemKind::Liked, &["add_to_wishlist"], GA4_ITEMS, None),
    (ItemKind::Carted, &["add_to_cart"], GA4_ITEMS, None),
    (ItemKind::Bought, &["purchase"], GA4_ITEMS, None),
];

impl Default for TypeRules {
    fn default() -> TypeRules {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let items = ITEMS.iter().map(|(what, types, ids, only)| ItemRule {
            what: *what,
            types: owned(types),
            ids: owned(ids),
            only: only.map(|(pointer, text)| (pointer.to_owned(), text.to_owned())),
        });
        // Segment: `revenue` is without shipping and tax, so it is asked for first. GA4 says `value`, others `amount`.
        let value = ValueRule {
            types: owned(&["Order Completed", "purchase"]),
            amounts: owned(&["/properties/revenue", "/properties/total", "/properties/value", "/properties/amount"]),
            currency: "/properties/currency".into(),
        };
        TypeRules { views: owned(VIEWS), key_events: owned(KEY_EVENTS), items: items.collect(), values: vec![value] }
    }
}

/// What the stage asks of an event's type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Role {
    type_hash: u64,
    pub marks: u8,
    pub items: Vec<Items>,
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Items {
    pub what: ItemKind,
    pub ids: Vec<Path>,
    pub only: Option<(Path, Vec<u8>)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Value {
    pub amounts: Vec<Path>,
    pub currency: Path,
}

/// Roles by the hash of the type's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types(Vec<Role>);

impl Types {
    pub fn compile(rules: &TypeRules) -> Result<Types, ConfigError> {
        let mut types = Types::default();
        for (names, mark) in [(&rules.views, Marks::VIEW), (&rules.key_events, Marks::KEY)] {
            names.iter().for_each(|name| types.mark(hash64(name.as_bytes()), mark));
        }
        for rule in &rules.items {
            let only = match &rule.only {
                Some((pointer, text)) => Some((Path::parse(pointer)?, text.clone().into_bytes())),
                None => None,
            };
            let items = Items { what: rule.what, ids: paths(&rule.ids)?, only };
            rule.types.iter().for_each(|name| types.role(hash64(name.as_bytes())).items.push(items.clone()));
        }
        for rule in &rules.values {
            let value = Value { amounts: paths(&rule.amounts)?, currency: Path::parse(&rule.currency)? };
            rule.types.iter().for_each(|name| types.role(hash64(name.as_bytes())).value = Some(value.clone()));
        }
        Ok(types)
    }

    pub fn of(&self, type_hash: u64) -> Option<&Role> {
        self.0.binary_search_by_key(&type_hash, |r| r.type_hash).ok().map(|n| &self.0[n])
    }

    pub fn mark(&mut self, type_hash: u64, mark: u8) {
        self.role(type_hash).marks |= mark;
    }

    fn role(&mut self, type_hash: u64) -> &mut Role {
        let n = match self.0.binary_search_by_key(&type_hash, |r| r.type_hash) {
            Ok(n) => n,
            Err(n) => {
                self.0.insert(n, Role { type_hash, ..Role::default() });
                n
            }
        };
        &mut self.0[n]
    }
}

fn paths(pointers: &[String]) -> Result<Vec<Path>, ConfigError> {
    pointers.iter().map(|p| Path::parse(p)).collect()
}

/// A JSON Pointer in which `*` stands for every element of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub fn parse(pointer: &str) -> Result<Path, ConfigError> {
        match pointer.strip_prefix('/') {
            Some(rest) => Ok(Path(rest.split('/').map(|n| n.replace("~1", "/").replace("~0", "~")).collect())),
            None => Err(ConfigError::Pointer { pointer: pointer.to_owned() }),
        }
    }
}

/// An event that paths are followed in. Most of them lead through the same member, so its members are noted.
pub(crate) struct Inside<'j> {
    event: &'j [u8],
    noted: Option<(&'j [u8], Vec<Member<'j>>)>,
}

impl<'j> Inside<'j> {
    pub fn new(event: &'j [u8]) -> Inside<'j> {
        Inside { event, noted: None }
    }

    /// Calls `visit` with every value the path leads to, in their order, until it says to stop with `false`.
    pub fn each(&mut self, path: &Path, visit: &mut impl FnMut(&'j [u8]) -> bool) {
        let [first, second, rest @ ..] = &path.0[..] else {
            each(&path.0, self.event, visit);
            return;
        };
        if self.noted.as_ref().is_none_or(|(name, _)| *name != first.as_bytes()) {
            // The first level has no name twice.
            let Some(member) = Members::of(self.event).find(|m| m.raw_name == first.as_bytes()) else { return };
            if kind(member.value) != Kind::Object {
                each(&path.0[1..], member.value, visit);
                return;
            }
            self.noted = Some((member.raw_name, Members::of(member.value).collect()));
        }
        let (_, members) = self.noted.as_ref().expect("it was noted");
        if let Some(member) = members.iter().find(|m| m.raw_name == second.as_bytes()) {
            each(rest, member.value, visit);
        }
    }

    /// The first value the path leads to.
    pub fn first(&mut self, path: &Path) -> Option<&'j [u8]> {
        let mut first = None;
        self.each(path, &mut |value| {
            first = Some(value);
            false
        });
        first
    }
}

/// `false`: the visitor has enough.
fn each<'j>(path: &[String], json: &'j [u8], visit: &mut impl FnMut(&'j [u8]) -> bool) -> bool {
    let Some((name, rest)) = path.split_first() else { return visit(json) };
    match kind(json) {
        // Of members with equal names nobody could say which one is meant, so any will do, and the first one is found
        // soonest. A name with escapes is none that a pointer here names.
        Kind::Object => match Members::of(json).find(|m| m.raw_name == name.as_bytes()) {
            Some(member) => each(rest, member.value, visit),
            None => true,
        },
        Kind::Array if name == "*" => Elements::of(json).all(|element| each(rest, element, visit)),
        Kind::Array => match name.parse().ok().and_then(|n: usize| Elements::of(json).nth(n)) {
            Some(element) => each(rest, element, visit),
            None => true,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_every_element() {
        let json = br#"{"a":{"items":[{"id":"x"},{"no":1},{"id":2}],"b/c":[true]}}"#;
        for (pointer, want) in [
            ("/a/items/*/id", &["\"x\"", "2"][..]),
            ("/a/items/2/id", &["2"]),
            ("/a/items/9/id", &[]),
            ("/a/b~1c/*", &["true"]),
            ("/a/*/id", &[]),
            ("/b", &[]),
        ] {
            let mut got = Vec::new();
            Inside::new(json).each(&Path::parse(pointer).expect("a pointer"), &mut |v| {
                got.push(String::from_utf8_lossy(v).into_owned());
                true
            });
            assert_eq!(got, want, "{pointer}");
        }
        assert!(Path::parse("a").is_err());
    }
}
