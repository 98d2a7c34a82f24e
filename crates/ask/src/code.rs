//! The words for what went wrong, as they stand in `enriched.status`, with the numbers under which they are stored.

/// Why a key has no value. A number is given out once and never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Code {
    /// The key is longer than any source is asked for.
    KeyTooLong = 1,
    /// Too many asks wait already.
    Overloaded = 2,
    /// The source did not answer in time.
    Timeout = 3,
    /// The source could not be reached, or went away.
    Connection = 4,
    /// The source wants to be asked less.
    RateLimited = 5,
    /// The source said that the fault is its own (5xx).
    Unavailable = 6,
    /// The source refused to be asked (4xx).
    Refused = 7,
    /// The answer is larger than is read.
    TooLarge = 8,
    /// The answer is not what its source's format says.
    Malformed = 9,
    /// The answer says nothing of this key.
    Unanswered = 10,
    /// The source cannot look up such a key.
    BadKey = 11,
    /// The value under this key cannot be told as JSON.
    BadValue = 12,
    /// Several rows stand under the key, and one was asked for.
    ManyRows = 13,
}

impl Code {
    pub const ALL: [Code; 13] = [
        Code::KeyTooLong,
        Code::Overloaded,
        Code::Timeout,
        Code::Connection,
        Code::RateLimited,
        Code::Unavailable,
        Code::Refused,
        Code::TooLarge,
        Code::Malformed,
        Code::Unanswered,
        Code::BadKey,
        Code::BadValue,
        Code::ManyRows,
    ];

    pub fn of(number: u8) -> Option<Code> {
        Code::ALL.into_iter().find(|code| *code as u8 == number)
    }

    pub fn word(self) -> &'static str {
        match self {
            Code::KeyTooLong => "key_too_long",
            Code::Overloaded => "overloaded",
            Code::Timeout => "timeout",
            Code::Connection => "connection",
            Code::RateLimited => "rate_limited",
            Code::Unavailable => "unavailable",
            Code::Refused => "refused",
            Code::TooLarge => "too_large",
            Code::Malformed => "malformed",
            Code::Unanswered => "unanswered",
            Code::BadKey => "bad_key",
            Code::BadValue => "bad_value",
            Code::ManyRows => "many_rows",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words_are_each_given_once() {
        for (n, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, n + 1, "{code:?}");
            assert_eq!(Code::of(code as u8), Some(code));
            assert!(Code::ALL[..n].iter().all(|other| other.word() != code.word()), "{code:?}");
        }
        assert_eq!(Code::of(0), None);
    }
}
