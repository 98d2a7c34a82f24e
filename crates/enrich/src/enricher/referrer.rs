//! Where a visit came from: by the referrer's host, and for search engines the words that were searched for. What is of
//! one's own, and what came directly, is decided here; other hosts are asked for.

use std::borrow::Cow;

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Event, Slot, View};
use crate::url::Url;

pub struct Referrer {
    slot: Slot,
    source: Option<SourceId>,
    internal: Vec<Vec<u8>>,
}

impl Referrer {
    /// `internal`: hosts of one's own beside the page's, their subdomains are too.
    pub fn new(slot: Slot, source: Option<SourceId>, internal: &[String]) -> Referrer {
        Referrer { slot, source, internal: internal.iter().map(|host| bare(host.as_bytes()).to_vec()).collect() }
    }

    fn visit<'a>(&self, event: &Event<'a>) -> Visit<'a> {
        let url = event.text(Field::URL);
        visit(url.as_deref().unwrap_or_default(), event.text(Field::REFERRER), &self.internal)
    }
}

impl Enricher for Referrer {
    fn name(&self) -> &str {
        "referrer"
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::URL, Field::REFERRER]
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        match (self.visit(&view.event), self.source) {
            (Visit::From(referrer), Some(source)) => Ok(asked.ask(source, &referrer)),
            _ => Err(Status::Skipped),
        }
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        if fact.status != Status::Skipped {
            out.extend_from_slice(fact.json);
            return fact.status;
        }
        let medium: &[u8] = match self.visit(&view.event) {
            Visit::Nothing => return Status::Ok,
            Visit::From(_) => return Status::Skipped,
            Visit::Direct => b"direct",
            Visit::Internal => b"internal",
            Visit::Unknown => b"unknown",
        };
        out.extend_from_slice(b"{\"medium\":\"");
        out.extend_from_slice(medium);
        out.extend_from_slice(b"\"}");
        Status::Ok
    }
}

/// How a visit came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Visit<'a> {
    /// The event is of no page and has no referrer: most events of servers.
    Nothing,
    Direct,
    /// From a host of one's own.
    Internal,
    /// There is a referrer, but it has no host.
    Unknown,
    /// From somewhere that is to be asked for: the referrer as it was sent.
    From(Cow<'a, [u8]>),
}

/// Decides by the page's URL and the referrer, both without quotes and escapes. An access log has `-` where there is no
/// referrer, and paths for URLs: then only `internal` says what is of one's own. `www.` makes no difference between hosts.
pub fn visit<'a>(url: &[u8], referrer: Option<Cow<'a, [u8]>>, internal: &[Vec<u8>]) -> Visit<'a> {
    let present = |text: &[u8]| !matches!(text.trim_ascii(), b"" | b"-");
    let Some(referrer) = referrer.filter(|r| present(r)) else {
        return if present(url) { Visit::Direct } else { Visit::Nothing };
    };
    let from = bare(Url::parse(&referrer).host);
    if from.is_empty() {
        return Visit::Unknown;
    }
    let page = bare(Url::parse(url).host);
    if from.eq_ignore_ascii_case(page) || internal.iter().any(|own| is_below(from, own)) {
        return Visit::Internal;
    }
    Visit::From(referrer)
}

/// A host without `www.`.
fn bare(host: &[u8]) -> &[u8] {
    match host.split_first_chunk::<4>() {
        Some((www, rest)) if www.eq_ignore_ascii_case(b"www.") => rest,
        _ => host,
    }
}

/// Whether a host is `own` or a subdomain of it.
fn is_below(host: &[u8], own: &[u8]) -> bool {
    let Some(before) = host.len().checked_sub(own.len()) else { return false };
    let (before, end) = host.split_at(before);
    end.eq_ignore_ascii_case(own) && matches!(before, [] | [.., b'.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_visits_came_about() {
        let own = [b"shop.example".to_vec(), b"localhost".to_vec()];
        let page = "https://www.example.com/p?x=1";
        for (url, referrer, want) in [
            (page, None, Visit::Direct),
            (page, Some(""), Visit::Direct),
            (page, Some(" - "), Visit::Direct),
            ("/path", Some("-"), Visit::Direct),
            ("", None, Visit::Nothing),
            ("", Some("-"), Visit::Nothing),
            (page, Some("https://www.example.com/other"), Visit::Internal),
            (page, Some("http://EXAMPLE.com:8080"), Visit::Internal),
            ("http://example.com/", Some("http://www.example.com/"), Visit::Internal),
            (page, Some("https://SHOP.example/"), Visit::Internal),
            (page, Some("https://WWW.EXAMPLE.com/"), Visit::Internal),
            (page, Some("https://a.b.shop.example/"), Visit::Internal),
            ("", Some("https://shop.example/"), Visit::Internal),
            ("/path", Some("http://localhost:3000/"), Visit::Internal),
            (page, Some("https://workshop.example/"), Visit::From(Cow::Borrowed(b"https://workshop.example/"))),
            (page, Some("https://m.example.com/"), Visit::From(Cow::Borrowed(b"https://m.example.com/"))),
            ("", Some("https://google.com/"), Visit::From(Cow::Borrowed(b"https://google.com/"))),
            (page, Some("/other"), Visit::Unknown),
            (page, Some("https://"), Visit::Unknown),
            (page, Some("junk"), Visit::Unknown),
        ] {
            let got = visit(url.as_bytes(), referrer.map(|r| Cow::Borrowed(r.as_bytes())), &own);
            assert_eq!(got, want, "{url} from {referrer:?}");
        }
        let made = Referrer::new(Slot(0), None, &["www.shop.example".to_owned()]);
        assert_eq!(made.internal, [b"shop.example"], "`www.` makes no difference here either");
    }
}
