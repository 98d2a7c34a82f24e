//! What a client answers, in the desk's words.

use ask::{Answer, Code, Failure, FailureKind, Key};

use super::key;
use crate::remote::{self, Found, Kind, Remote};

/// What came of an attempt.
pub type Reply = Result<Vec<(Key, Answer)>, Failure>;

/// Asks the source for these keys once. `failed` hears what its client says of a failure, for people.
pub async fn call(
    remote: &dyn Remote,
    keys: Vec<Key>,
    give_up_after: std::time::Duration,
    failed: impl Fn(&str),
) -> Reply {
    let mut answers = Vec::with_capacity(keys.len());
    let (mut asked, mut wanted) = (Vec::new(), Vec::new());
    for key in keys {
        match key::read(&key) {
            Some(read) => {
                wanted.push(read);
                asked.push(key);
            }
            None => answers.push((key, Answer::Bad(Code::BadKey))),
        }
    }
    if !wanted.is_empty() {
        let found = remote.call(&wanted, give_up_after).await.map_err(|failure| of(&failure, &failed))?;
        for (key, found) in asked.into_iter().zip(found) {
            let answer = match found {
                Found::Value(json) => Answer::Value(json.into()),
                Found::NotFound => Answer::NotFound,
                Found::Bad(word) => Answer::Bad(bad(word)),
                Found::Failed(failure) => Answer::Failed(of(&failure, &failed)),
            };
            answers.push((key, answer));
        }
    }
    Ok(answers)
}

fn of(failure: &remote::Failure, failed: &impl Fn(&str)) -> Failure {
    failed(&failure.message);
    let kind = match failure.kind {
        Kind::Timeout => FailureKind::Timeout,
        // A server that shows the wrong certificate is to be left alone for a while, as one that is not there.
        Kind::Connection | Kind::Tls => FailureKind::Connection,
        Kind::Status(status) => FailureKind::Status(status),
        Kind::TooLarge => FailureKind::TooLarge,
        Kind::Malformed => FailureKind::Malformed,
        // It would be refused again, in whatever parts.
        Kind::Forbidden | Kind::Query => FailureKind::Status(403),
    };
    let retry_after_us = failure.retry_after.map(|after| u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    Failure { kind, retry_after_us }
}

fn bad(word: &str) -> Code {
    match word {
        "unsafe_key" => Code::BadKey,
        "too_large" => Code::TooLarge,
        "many_rows" => Code::ManyRows,
        _ => Code::BadValue,
    }
}
