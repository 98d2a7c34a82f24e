//! Which visitor of another site came here, and when the link was followed: `_sp=visitor.milliseconds`, which trackers
//! put on links between sites of one owner.

use event::{Field, Micros};
use flow::Status;

use super::{Enricher, View};
use crate::url::{self, Url};

/// The parameter that carries both.
const PARAMETER: &[u8] = b"_sp";

pub struct CrossDomain;

impl Enricher for CrossDomain {
    fn name(&self) -> &str {
        "cross_domain"
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::URL]
    }

    fn asks(&self) -> bool {
        false
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let url = view.event.text(Field::URL);
        write(url.as_deref().unwrap_or_default(), out)
    }
}

/// Appends `{"visitor":"abc","time":"2015-03-13T11:19:21.368000Z"}`; a link without a time gives the visitor only, and one
/// without a visitor nothing. What follows a second dot (session, platform and reason in newer trackers) is passed over.
///
/// # Errors
/// `error:bad_time` for a time that is no count of milliseconds between the years 1970 and 2200.
pub fn write(url: &[u8], out: &mut Vec<u8>) -> Status {
    let link = Url::parse(url).pairs().find(|pair| pair.name == PARAMETER);
    let Some(link) = link.map(|pair| url::decode(pair.value)) else { return Status::Ok };
    let mut parts = link.split(|b| *b == b'.');
    let visitor = parts.next().unwrap_or_default();
    if visitor.is_empty() {
        return Status::Ok;
    }
    let time = match parts.next().filter(|time| !time.is_empty()).map(milliseconds) {
        Some(None) => return Status::Error("bad_time"),
        Some(time) => time,
        None => None,
    };
    out.extend_from_slice(b"{\"visitor\":");
    // It has no escapes any more; this sees to what is not UTF-8.
    event::json::write_string(String::from_utf8_lossy(visitor).as_bytes(), out);
    if let Some(time) = time {
        out.extend_from_slice(b",\"time\":\"");
        time.write_rfc3339(out);
        out.push(b'"');
    }
    out.push(b'}');
    Status::Ok
}

fn milliseconds(digits: &[u8]) -> Option<Micros> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    let time = Micros(text.parse::<i64>().ok()?.checked_mul(1_000)?);
    (Micros::EARLIEST..Micros::LATEST).contains(&time).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_sites() {
        let both = r#"{"visitor":"abc","time":"2015-03-13T11:19:21.368000Z"}"#;
        for (url, want) in [
            ("https://example.com/", Ok("")),
            ("https://example.com/?foo=bar", Ok("")),
            ("https://example.com/?_sp", Ok("")),
            ("https://example.com/?_sp=", Ok("")),
            ("https://example.com/?_sp=.1426245561368", Ok("")),
            ("https://example.com/?_sp=abc", Ok(r#"{"visitor":"abc"}"#)),
            ("https://example.com/?_sp=abc.", Ok(r#"{"visitor":"abc"}"#)),
            ("https://example.com/?_sp=abc.1426245561368", Ok(both)),
            ("/path?a=b&_sp=abc.1426245561368#f", Ok(both)),
            ("/path?_sp=abc.1426245561368.session.user.id.web.reason", Ok(both)),
            ("/path?_sp=abc%2E1426245561368", Ok(both)),
            ("/path?_sp=a%22b%ff", Ok("{\"visitor\":\"a\\\"b\u{fffd}\"}")),
            ("/path?_sp=first&_sp=second", Ok(r#"{"visitor":"first"}"#)),
            ("/path?x_sp=abc", Ok("")),
            ("/path?_sp=abc.0", Ok(r#"{"visitor":"abc","time":"1970-01-01T00:00:00.000000Z"}"#)),
            ("/path?_sp=abc.not-a-timestamp", Err("bad_time")),
            ("/path?_sp=abc.-1", Err("bad_time")),
            ("/path?_sp=abc.+1", Err("bad_time")),
            ("/path?_sp=abc.7258118400000", Err("bad_time")),
            ("/path?_sp=abc.99999999999999999999", Err("bad_time")),
            ("", Ok("")),
        ] {
            let mut out = Vec::new();
            let status = write(url.as_bytes(), &mut out);
            let got = String::from_utf8(out).expect("UTF-8");
            let (want, status_wanted) = match want {
                Ok(json) => (json, Status::Ok),
                Err(code) => ("", Status::Error(code)),
            };
            assert_eq!((got.as_str(), status), (want, status_wanted), "{url}");
        }
    }
}
