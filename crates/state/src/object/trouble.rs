//! What went wrong between us and the bucket. Nothing of it holds more of an answer than its code and its sentence: S3 repeats
//! signed headers in what it refuses, and the session's token is one of them.

use std::error::Error;
use std::io;
use std::time::Duration;

/// Of somebody else's sentence.
const SENTENCE_MAX: usize = 300;

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nothing was sent.
    #[error("there is no connection to {to}: {why}")]
    NoConnection { to: String, why: String },
    /// The service has a certificate that is not trusted, or speaks no TLS.
    #[error("there is no TLS with {to}: {why}")]
    NoTls { to: String, why: String },
    /// The connection ended before the answer did.
    #[error("the connection was lost before the answer: {why}")]
    Lost { why: String },
    #[error("the service has not answered")]
    Silent,
    #[error("the service answered {status}{}{code}{}{sentence}", if code.is_empty() { "" } else { " " }, if sentence.is_empty() { "" } else { ": " })]
    Refused {
        status: u16,
        /// S3's word for it; empty if there is none.
        code: String,
        sentence: String,
        /// Where the bucket is, if it is elsewhere.
        region: Option<String>,
    },
    /// The answer was good, and is not one of S3's.
    #[error("the answer is not what S3 says: {what}")]
    Unusable { what: String },
    /// The bytes are not those that were written.
    #[error("its checksum is wrong")]
    Damaged,
    #[error("there are no credentials: {why}")]
    Credentials { why: String },
}

impl Trouble {
    /// What the store's library makes of it: ours, if we said it, with whatever is around it left out.
    pub(super) fn of(e: &object_store::Error) -> Trouble {
        let mut source: Option<&(dyn Error + 'static)> = Some(e);
        while let Some(e) = source {
            if let Some(trouble) = e.downcast_ref::<Trouble>() {
                return trouble.clone();
            }
            source = e.source();
        }
        Trouble::Unusable { what: sentence(&e.to_string()) }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Trouble::NoTls { .. } => false,
            // 409: two conditional puts at once, of which this one is to be repeated.
            Trouble::Refused { status, code, .. } => match status {
                408 | 409 | 429 | 500 | 502..=599 => true,
                _ => matches!(
                    code.as_str(),
                    "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout" | "OperationAborted"
                ),
            },
            _ => true,
        }
    }

    /// Whether the request may have been carried out.
    pub(super) fn may_have_happened(&self) -> bool {
        !matches!(self, Trouble::NoConnection { .. } | Trouble::NoTls { .. } | Trouble::Credentials { .. })
    }

    pub(super) fn error(&self, endpoint: &str, object: &str, tries: u32) -> io::Error {
        let tried = if tries > 1 { format!(" at the {}", nth(tries)) } else { String::new() };
        let what = format!("{object} at {endpoint}: {self}{tried}; {}", self.help());
        match self {
            // Its length was right, and it was read again: it is what the bucket has.
            Trouble::Damaged => io::Error::new(io::ErrorKind::InvalidData, what),
            _ => io::Error::other(what),
        }
    }

    pub(super) fn deadline(&self, endpoint: &str, object: &str, tries: u32, deadline: Duration) -> io::Error {
        let tried = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
        let what = format!(
            "{object} at {endpoint}: given up after {} s, tried {tried}: {self}; {}",
            deadline.as_secs_f64(),
            self.help()
        );
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    fn help(&self) -> String {
        let text = match self {
            Trouble::NoConnection { .. } => "check the endpoint, the region and the network",
            Trouble::NoTls { .. } => {
                "check the endpoint, and that its certificate's authority is one that is trusted here"
            }
            Trouble::Lost { .. } | Trouble::Silent => "check that the service is well, and the network to it",
            Trouble::Unusable { .. } => "check that the endpoint is that of an S3 service",
            Trouble::Damaged => "the object is damaged where it lies",
            Trouble::Credentials { .. } => {
                "give a key id and its secret, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
            }
            Trouble::Refused { region: Some(region), .. } => {
                return format!("the bucket is in region {region}: name it");
            }
            Trouble::Refused { status, code, .. } => refused(*status, code),
        };
        text.to_owned()
    }
}

fn refused(status: u16, code: &str) -> &'static str {
    match (status, code) {
        (_, "NoSuchBucket") => "make the bucket, or check its name, the endpoint and the region",
        (
            _,
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired",
        ) => "check the credentials: key id, secret, and the session's token if there is one",
        (_, "RequestTimeTooSkewed") => "set this machine's clock",
        (_, "NotImplemented") => "the service must know If-None-Match: * in puts, so that nothing is overwritten",
        (
            _,
            "AuthorizationHeaderMalformed"
            | "PermanentRedirect"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException",
        )
        | (300..=399, _) => "check the region and the endpoint",
        (401 | 403, _) => {
            "check the credentials, and that they may s3:ListBucket the bucket, and s3:GetObject, s3:PutObject and \
             s3:DeleteObject what is in it"
        }
        (404, _) => "check that the endpoint is that of an S3 service",
        (429 | 500..=599, _) => "check that the service is well",
        _ => "check the endpoint, the region and the bucket's name",
    }
}

/// All that an error says, outermost first.
pub(super) fn chain(e: &dyn Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(e) = source {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = e.source();
    }
    sentence(&text)
}

/// Somebody else's words in one line, shortened.
pub(super) fn sentence(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SENTENCE_MAX).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

fn nth(n: u32) -> String {
    match n {
        2 => "second try".to_owned(),
        3 => "third try".to_owned(),
        _ => format!("{n}th try"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str) -> Trouble {
        Trouble::Refused { status, code: code.to_owned(), sentence: String::new(), region: None }
    }

    #[test]
    fn what_passes() {
        for (status, code, passes) in [
            (500, "InternalError", true),
            (503, "SlowDown", true),
            (503, "", true),
            (429, "", true),
            (408, "", true),
            (409, "ConditionalRequestConflict", true),
            (400, "RequestTimeout", true),
            (200, "InternalError", true),
            (200, "AccessDenied", false),
            (501, "NotImplemented", false),
            (403, "AccessDenied", false),
            (404, "NoSuchBucket", false),
            (301, "PermanentRedirect", false),
        ] {
            assert_eq!(refused(status, code).passes(), passes, "{status} {code}");
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let said = refused(404, "NoSuchBucket").error("http://there", "s3://b/k", 1).to_string();
        assert_eq!(
            said,
            "s3://b/k at http://there: the service answered 404 NoSuchBucket; make the bucket, or check its name, the \
             endpoint and the region"
        );
        let said = Trouble::Silent.deadline("http://there", "s3://b/k", 2, Duration::from_millis(1500));
        assert_eq!(said.kind(), io::ErrorKind::TimedOut);
        assert!(said.to_string().contains("given up after 1.5 s, tried 2 times"), "{said}");
        assert_eq!(Trouble::Damaged.error("", "", 3).kind(), io::ErrorKind::InvalidData);
        assert_eq!(sentence("a \n b.\u{1b}"), "a b");
    }
}
