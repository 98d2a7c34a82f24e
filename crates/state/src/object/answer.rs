//! What an answer says, and whether it is S3's. A good status alone says nothing: a page of some proxy in between, read as a
//! list, would be a list of nothing, and a store that is empty makes a stage begin at the beginning.

use hyper::header::HeaderMap;
use hyper::{Method, Request, StatusCode};

use super::trouble::{Trouble, sentence};

/// What was asked, as far as the answer's form goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Get,
    Put,
    List,
    Delete,
    /// Something that is not the bucket: where credentials come from.
    Other,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Asked {
        let query = request.uri().query().unwrap_or_default();
        let is_signed = request.headers().contains_key(hyper::header::AUTHORIZATION);
        match *request.method() {
            _ if !is_signed => Asked::Other,
            Method::PUT => Asked::Put,
            Method::POST => Asked::Delete,
            _ if query.contains("list-type=") => Asked::List,
            _ => Asked::Get,
        }
    }
}

/// `Ok`: what the library reads as S3's answer.
pub(super) fn check(asked: Asked, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), Trouble> {
    if asked == Asked::Other {
        return Ok(());
    }
    let text = String::from_utf8_lossy(body);
    if !status.is_success() {
        let is_known = match status.as_u16() {
            // Without that word it is some other server's.
            404 => asked == Asked::Get && member(&text, "Code") == Some("NoSuchKey"),
            304 | 412 => asked == Asked::Put,
            _ => false,
        };
        return if is_known { Ok(()) } else { Err(refused(status, headers, &text)) };
    }
    match asked {
        Asked::List => {
            whole(&text, "ListBucketResult")?;
            let is_cut = member(&text, "IsTruncated") == Some("true");
            if is_cut && member(&text, "NextContinuationToken").is_none_or(str::is_empty) {
                return Err(Trouble::Unusable {
                    what: "a page of a list does not say where the next one begins".into(),
                });
            }
            Ok(())
        }
        Asked::Delete => {
            whole(&text, "DeleteResult")?;
            // Some of them were deleted; the next try finds those gone.
            if text.contains("<Error>") { Err(refused(status, headers, &text)) } else { Ok(()) }
        }
        Asked::Get | Asked::Put | Asked::Other => Ok(()),
    }
}

/// A document of that name from its beginning to its end.
fn whole(text: &str, name: &str) -> Result<(), Trouble> {
    let text = text.trim();
    let begins = text.contains(&format!("<{name}"));
    let ends = text.ends_with(&format!("</{name}>")) || text.ends_with("/>");
    if begins && ends {
        return Ok(());
    }
    let what = if begins { "it is cut off" } else { "it is another document" };
    Err(Trouble::Unusable { what: format!("no {name}: {what}") })
}

fn refused(status: StatusCode, headers: &HeaderMap, text: &str) -> Trouble {
    let code = member(text, "Code").map(sentence).unwrap_or_default();
    let elsewhere = status.is_redirection() || code == "AuthorizationHeaderMalformed";
    let header = headers.get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    let region = header.or_else(|| member(text, "Region")).filter(|_| elsewhere).map(sentence);
    let sentence = member(text, "Message").map(sentence).unwrap_or_default();
    Trouble::Refused { status: status.as_u16(), code, sentence, region }
}

/// The text of the first element of that name, as it is written.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once("</")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(asked: Asked, status: u16, body: &str) -> Result<(), String> {
        let status = StatusCode::from_u16(status).expect("a status");
        check(asked, status, &HeaderMap::new(), body.as_bytes()).map_err(|t| t.to_string())
    }

    #[test]
    fn answers() {
        let list = "<?xml version=\"1.0\"?>\n<ListBucketResult><Name>b</Name><IsTruncated>true</IsTruncated>\
                    <NextContinuationToken>x</NextContinuationToken></ListBucketResult>\n";
        assert_eq!(said(Asked::List, 200, list), Ok(()));
        for (asked, status, body, expected) in [
            (Asked::List, 200, "<html><body>Log in, please</body></html>", "it is another document"),
            (Asked::List, 200, "", "it is another document"),
            (Asked::List, 200, &list[..list.len() - 10], "it is cut off"),
            (Asked::List, 200, &list.replace("NextC", "C"), "where the next one begins"),
            (Asked::Delete, 200, "<html/>", "it is another document"),
            (Asked::Get, 404, "<html>not found</html>", "answered 404"),
            (Asked::Get, 404, "<Error><Code>NoSuchBucket</Code></Error>", "404 NoSuchBucket"),
            (Asked::Get, 412, "", "answered 412"),
            (Asked::Put, 409, "<Error><Code>OperationAborted</Code></Error>", "409 OperationAborted"),
            (Asked::Put, 403, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>", "403 AccessDenied: No"),
            (
                Asked::Delete,
                200,
                "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code></Error></DeleteResult>",
                "200 AccessDenied",
            ),
        ] {
            let why = said(asked, status, body).expect_err("it is no answer of S3's");
            assert!(why.contains(expected), "{why}");
        }
        for (asked, status, body) in [
            (Asked::Get, 200, "anything"),
            (Asked::Get, 404, "<Error><Code>NoSuchKey</Code></Error>"),
            (Asked::Put, 412, ""),
            (Asked::Delete, 200, "<DeleteResult><Deleted><Key>k</Key></Deleted></DeleteResult>"),
            (Asked::Delete, 200, "<DeleteResult xmlns=\"x\"/>"),
            (Asked::Other, 500, ""),
        ] {
            assert_eq!(said(asked, status, body), Ok(()), "{asked:?} {status} {body}");
        }
    }

    #[test]
    fn nothing_of_what_was_signed_is_repeated() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>\
                    <CanonicalRequest>x-amz-security-token:secret</CanonicalRequest></Error>";
        let why = said(Asked::Put, 403, body).expect_err("refused");
        assert_eq!(why, "the service answered 403 SignatureDoesNotMatch: no");
    }
}
