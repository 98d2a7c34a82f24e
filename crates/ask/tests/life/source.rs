//! The source of a world: slow, failing, lying about order, late, twice, never. A value names its key and when it was made.

use ouzel_ask::{Answer, Code, Failure, FailureKind, Key};

use crate::chance::Chance;
use crate::weather::Weather;

/// What comes back from one attempt, each after so long.
pub type Replies = Vec<(u64, Result<Vec<(Key, Answer)>, Failure>)>;

pub fn replies(chance: &mut Chance, weather: &Weather, now: u64, keys: &[Key]) -> Replies {
    let mut after = chance.between(weather.source_us);
    if chance.percent(weather.late_percent) {
        after *= 10;
    }
    if chance.percent(weather.never_percent) {
        return Vec::new();
    }
    let is_down = (weather.down.0..weather.down.1).contains(&now);
    let reply = if is_down || chance.percent(weather.fail_percent) {
        Err(failure(chance))
    } else {
        Ok(answers(chance, weather, now, keys))
    };
    let mut replies = vec![(after, reply.clone())];
    if chance.percent(weather.twice_percent) {
        replies.push((after + chance.below(30_000), reply));
    }
    replies
}

fn failure(chance: &mut Chance) -> Failure {
    let kind = match chance.below(8) {
        0 => FailureKind::Timeout,
        1 => FailureKind::Connection,
        2 => FailureKind::Status(503),
        3 => FailureKind::Status(429),
        4 => FailureKind::Status(404),
        5 => FailureKind::Status(400),
        6 => FailureKind::TooLarge,
        _ => FailureKind::Malformed,
    };
    Failure { kind, retry_after_us: chance.percent(50).then(|| chance.below(20_000)) }
}

fn answers(chance: &mut Chance, weather: &Weather, now: u64, keys: &[Key]) -> Vec<(Key, Answer)> {
    let mut answer = |key: &Key| match chance.percent(weather.key_fail_percent) {
        true => Answer::Failed(failure(chance)),
        false => answer(key, now),
    };
    let mut answers: Vec<(Key, Answer)> = keys.iter().map(|key| (key.clone(), answer(key))).collect();
    if chance.percent(weather.lie_percent) {
        let turn = chance.below(answers.len() as u64) as usize;
        answers.rotate_left(turn);
        answers.swap(0, turn);
        match chance.below(4) {
            0 => answers.insert(0, ("nobody".as_bytes().into(), Answer::Value(value(b"nobody", now)))),
            1 => answers.push((keys[0].clone(), Answer::NotFound)),
            2 => drop(answers.pop()),
            _ => {}
        }
    }
    answers
}

/// Some keys have no value, always.
fn answer(key: &Key, now: u64) -> Answer {
    match key.last() {
        Some(b'4') => Answer::NotFound,
        Some(b'7') => Answer::Bad(Code::BadKey),
        _ => Answer::Value(value(key, now)),
    }
}

fn value(key: &[u8], now: u64) -> std::sync::Arc<[u8]> {
    [key, b"@", now.to_string().as_bytes()].concat().into()
}

/// The key and the time that a value names.
pub fn origin(value: &[u8]) -> Option<(&[u8], u64)> {
    let at = value.iter().position(|b| *b == b'@')?;
    Some((&value[..at], std::str::from_utf8(&value[at + 1..]).ok()?.parse().ok()?))
}
