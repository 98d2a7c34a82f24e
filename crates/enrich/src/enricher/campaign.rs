//! Which campaign brought a visit: parameters of the page's URL, then what the event itself says (`/context/campaign`).

use std::borrow::Cow;
use std::cell::RefCell;

use event::Field;
use event::json::write_string;
use flow::Status;
use wire::json::{Kind, Limits, MAX_DEPTH, Pointers, Scratch};

use super::{CampaignMap, Enricher, View};
use crate::url::{self, Url};

/// The members that parameters give, in the order they are written, and where they are in the event's own campaign.
const MEMBERS: [(&str, &str); 5] =
    [("source", "/source"), ("medium", "/medium"), ("name", "/name"), ("term", "/term"), ("content", "/content")];
/// The place of `name` in [`MEMBERS`].
const NAME: usize = 2;

/// The event was within its limits when it came in, so all of it is.
const NO_LIMITS: Limits = Limits { event: usize::MAX, depth: MAX_DEPTH, members: usize::MAX };

thread_local! {
    /// Where members of an event's own campaign are: one per thread, reused.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub struct Campaign {
    parameters: Parameters,
    /// Where each of [`MEMBERS`] is in an event's own campaign, and the slot it has there.
    own: (Pointers, Vec<usize>),
}

impl Campaign {
    pub fn new(map: &CampaignMap) -> Campaign {
        let own = Pointers::compile(&MEMBERS.map(|(_, pointer)| pointer)).expect("five good pointers");
        Campaign { parameters: Parameters::new(map), own }
    }

    /// Appends the campaign of a visit, or nothing where none is told. `url` is the page's; `own` is the JSON of what the
    /// event says itself, which stands in for members that the URL does not give: an object of them, or a text, which is
    /// the name.
    pub fn write(&self, url: &[u8], own: Option<&[u8]>, out: &mut Vec<u8>) {
        let found = self.parameters.find(Url::parse(url).query);
        let start = out.len();
        if let Some(own) = own {
            SCRATCH.with_borrow_mut(|scratch| self.write_members(&found, own, scratch, out));
        } else {
            for ((member, _), value) in MEMBERS.iter().zip(&found.members).filter(|(_, value)| value.is_there()) {
                label(member, start, out);
                url::write_decoded(value.raw, out);
            }
        }
        if found.click.is_there() {
            let (parameter, network) = &self.parameters.click_ids[usize::from(found.click.rank)];
            label("network", start, out);
            write_string(network.as_bytes(), out);
            label("click_id", start, out);
            out.push(b'{');
            write_string(parameter.as_bytes(), out);
            out.push(b':');
            url::write_decoded(found.click.raw, out);
            out.push(b'}');
        }
        if out.len() > start {
            out.push(b'}');
        }
    }

    fn write_members(&self, found: &Found<'_>, own: &[u8], scratch: &mut Scratch, out: &mut Vec<u8>) {
        let start = out.len();
        let (pointers, slots) = &self.own;
        let is_object =
            wire::json::kind(own) == Kind::Object && wire::json::pass(own, pointers, &NO_LIMITS, scratch).is_ok();
        for (n, (member, _)) in MEMBERS.iter().enumerate() {
            if found.members[n].is_there() {
                label(member, start, out);
                url::write_decoded(found.members[n].raw, out);
                continue;
            }
            let json = match is_object {
                true => &own[scratch.found(slots[n]).range()],
                false if n == NAME => own,
                false => continue,
            };
            match wire::json::kind(json) {
                Kind::String if json != b"\"\"" => {
                    label(member, start, out);
                    out.extend_from_slice(json);
                }
                Kind::Number => {
                    label(member, start, out);
                    write_string(json, out);
                }
                _ => {}
            }
        }
    }
}

impl Enricher for Campaign {
    fn name(&self) -> &str {
        "campaign"
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::URL, Field::CAMPAIGN]
    }

    fn asks(&self) -> bool {
        false
    }

    /// An event without a campaign is nothing to speak of: `Ok`, and nothing is written.
    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let url = view.event.text(Field::URL);
        let own = view.event.json(Field::CAMPAIGN).map(Cow::Borrowed);
        // A constant of the field map is a text. It is rare, so it may cost a copy.
        let constant = || view.event.header.inherited_value(Field::CAMPAIGN).map(|text| json(text).into());
        let own: Option<Cow<'_, [u8]>> = own.or_else(constant);
        self.write(url.as_deref().unwrap_or_default(), own.as_deref(), out);
        Status::Ok
    }
}

fn json(text: &[u8]) -> Vec<u8> {
    let mut json = Vec::new();
    write_string(text, &mut json);
    json
}

/// A member's name with what stands before it.
fn label(member: &str, start: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(if out.len() == start { b"{\"" } else { b",\"" });
    out.extend_from_slice(member.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The parameters of a [`CampaignMap`], by their names.
struct Parameters {
    /// Sorted by name; what each gives.
    names: Vec<(Vec<u8>, Vec<Gives>)>,
    /// A bit for each length (63: longer) of a name: most pairs of a query are turned down by it.
    lengths: u64,
    click_ids: Vec<(String, String)>,
}

/// What a parameter gives, and how many of the map's others come before it.
#[derive(Clone, Copy)]
struct Gives {
    /// A place in [`MEMBERS`], or [`CLICK`].
    what: usize,
    rank: u16,
}

const CLICK: usize = MEMBERS.len();

/// What a query gives.
#[derive(Default)]
struct Found<'q> {
    members: [Best<'q>; MEMBERS.len()],
    click: Best<'q>,
}

/// The value of the parameter that comes first in the map, of those that were seen.
#[derive(Clone, Copy)]
struct Best<'q> {
    rank: u16,
    /// As it stands in the query; not empty, if there is one.
    raw: &'q [u8],
}

impl Default for Best<'_> {
    fn default() -> Self {
        Best { rank: u16::MAX, raw: &[] }
    }
}

impl Best<'_> {
    fn is_there(&self) -> bool {
        !self.raw.is_empty()
    }
}

impl Parameters {
    fn new(map: &CampaignMap) -> Parameters {
        let members = [&map.source, &map.medium, &map.name, &map.term, &map.content];
        let mut names: Vec<(Vec<u8>, Vec<Gives>)> = Vec::new();
        let mut lengths = 0;
        let mut add = |name: &str, what, rank: usize| {
            // More than 65,534 names for one member are not told apart.
            let gives = Gives { what, rank: u16::try_from(rank).unwrap_or(u16::MAX - 1) };
            lengths |= length_bit(name.as_bytes());
            match names.binary_search_by(|(known, _)| known.as_slice().cmp(name.as_bytes())) {
                Ok(at) => names[at].1.push(gives),
                Err(at) => names.insert(at, (name.into(), vec![gives])),
            }
        };
        for (what, list) in members.into_iter().enumerate() {
            list.iter().enumerate().for_each(|(rank, name)| add(name, what, rank));
        }
        map.click_ids.iter().enumerate().for_each(|(rank, (name, _))| add(name, CLICK, rank));
        Parameters { names, lengths, click_ids: map.click_ids.clone() }
    }

    /// The first value that is not empty, by the order of the map; of one parameter that is there twice, the first that is
    /// not empty.
    fn find<'q>(&self, query: &'q [u8]) -> Found<'q> {
        let mut found = Found::default();
        for pair in url::pairs(query).filter(|pair| !pair.value.is_empty()) {
            let name = url::decode(pair.name);
            if self.lengths & length_bit(&name) == 0 {
                continue;
            }
            let Ok(at) = self.names.binary_search_by(|(known, _)| known.as_slice().cmp(&name)) else { continue };
            for gives in &self.names[at].1 {
                let best = if gives.what == CLICK { &mut found.click } else { &mut found.members[gives.what] };
                if gives.rank < best.rank {
                    *best = Best { rank: gives.rank, raw: pair.value };
                }
            }
        }
        found
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn map() -> CampaignMap {
        CampaignMap {
            source: list(&["utm_source", "mkt_source"]),
            medium: list(&["utm_medium", "mkt_medium"]),
            name: list(&["utm_campaign", "mkt_campaign"]),
            term: list(&["utm_term", "mkt_term"]),
            content: list(&["utm_content", "mkt_content"]),
            click_ids: [("gclid", "Google"), ("msclkid", "Microsoft"), ("we\"ird", "O\"ne")]
                .map(|(p, n)| (p.to_owned(), n.to_owned()))
                .to_vec(),
        }
    }

    fn campaign(map: &CampaignMap, url: &str, own: Option<&str>) -> String {
        let mut out = b",".to_vec();
        Campaign::new(map).write(url.as_bytes(), own.map(str::as_bytes), &mut out);
        String::from_utf8(out.split_off(1)).expect("UTF-8")
    }

    #[test]
    fn campaigns_of_urls() {
        for (url, want) in [
            ("https://example.com/", ""),
            ("https://example.com/?a=b&utm=1&utm_sourc=x", ""),
            ("", ""),
            ("https://example.com/?utm_source=google&utm_medium=cpc", r#"{"source":"google","medium":"cpc"}"#),
            ("/x?utm_source=mail", r#"{"source":"mail"}"#),
            ("/x?utm_source=&mkt_source=b", r#"{"source":"b"}"#),
            ("/x?mkt_source=b&utm_source=a", r#"{"source":"a"}"#),
            ("/x?utm_source=&utm_source=c&utm_source=d", r#"{"source":"c"}"#),
            ("/x?utm_source=a#&utm_medium=late", r#"{"source":"a"}"#),
            ("/x?utm%5Fsource=a+b%20c%22", r#"{"source":"a b c\""}"#),
            ("/x?utm_campaign=%FF&utm_content=%", "{\"name\":\"\u{fffd}\",\"content\":\"%\"}"),
            ("/x?gclid=abc&utm_term=t", r#"{"term":"t","network":"Google","click_id":{"gclid":"abc"}}"#),
            ("/x?msclkid=m&gclid=g", r#"{"network":"Google","click_id":{"gclid":"g"}}"#),
            ("/x?msclkid=m&gclid=", r#"{"network":"Microsoft","click_id":{"msclkid":"m"}}"#),
            ("/x?we%22ird=1", r#"{"network":"O\"ne","click_id":{"we\"ird":"1"}}"#),
            ("/x?UTM_SOURCE=a", ""),
        ] {
            assert_eq!(campaign(&map(), url, None), want, "{url}");
        }
    }

    #[test]
    fn the_event_says_what_the_url_does_not() {
        let own = r#"{"source":"news\"letter","medium": "email","name":"","term":7,"content":{"x":1},"other":"o"}"#;
        for (url, own, want) in [
            ("/x", own, r#"{"source":"news\"letter","medium":"email","term":"7"}"#),
            ("/x?utm_source=u&utm_campaign=c", own, r#"{"source":"u","medium":"email","name":"c","term":"7"}"#),
            ("", r#"{"source":null}"#, ""),
            ("", "{}", ""),
            ("/x?gclid=g", r#"{"name":"n"}"#, r#"{"name":"n","network":"Google","click_id":{"gclid":"g"}}"#),
            // What a CSV column or a field map gives.
            ("", r#""summer""#, r#"{"name":"summer"}"#),
            ("/x?utm_campaign=u", r#""summer""#, r#"{"name":"u"}"#),
            ("", r#""""#, ""),
            ("", "[1]", ""),
            ("", "null", ""),
            ("", "{broken", ""),
        ] {
            assert_eq!(campaign(&map(), url, Some(own)), want, "{url} and {own}");
        }
    }

    #[test]
    fn one_parameter_may_give_two_members() {
        let map = CampaignMap { source: list(&["from"]), name: list(&["cid", "from"]), ..CampaignMap::default() };
        assert_eq!(campaign(&map, "/?from=a", None), r#"{"source":"a","name":"a"}"#);
        assert_eq!(campaign(&map, "/?from=a&cid=c", None), r#"{"source":"a","name":"c"}"#);
        assert_eq!(campaign(&CampaignMap::default(), "/?from=a&utm_source=b", None), "");
    }
}
