//! The commands of a cache that several processes share: entries with a life, and leases that say who fetches.

use std::time::Duration;

use super::resp::{self, Reply};
use super::{Door, Failure, MGET_MAX, Pool, within};

/// Deletes a key while it holds a value, in one step.
const DELETE_IF_EQUAL: &[u8] =
    b"if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// Takes a lease or makes it longer, unless another holder has it, in one step.
const TAKE_OR_EXTEND: &[u8] = b"local by = redis.call('GET', KEYS[1]) \
    if by and by ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    return 1";

/// What a shared cache has under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cached {
    Bytes(Vec<u8>),
    Missing,
    /// Longer than a value may be, or of another type: somebody else's.
    Unusable,
}

/// A Redis as the cache of several processes. Entries are bytes; a life is in whole milliseconds, at least one.
pub struct SharedCache {
    pool: Pool<Door>,
}

impl SharedCache {
    pub(super) fn new(pool: Pool<Door>) -> SharedCache {
        SharedCache { pool }
    }

    /// What is there under these keys, in their order. Does not extend anybody's life.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn read<K: AsRef<[u8]>>(&self, keys: &[K], give_up_after: Duration) -> Result<Vec<Cached>, Failure> {
        let commands: Vec<Vec<&[u8]>> = keys
            .chunks(MGET_MAX)
            .map(|keys| std::iter::once(&b"MGET"[..]).chain(keys.iter().map(AsRef::as_ref)).collect())
            .collect();
        let mut found = Vec::with_capacity(keys.len());
        for reply in within(give_up_after, self.pool.pipeline(&commands)).await? {
            let Reply::Array(values) = known(reply)? else { return Err(resp::malformed()) };
            found.extend(values.into_iter().map(|value| match value {
                Reply::Bulk(bytes) => Cached::Bytes(bytes),
                Reply::Nil => Cached::Missing,
                _ => Cached::Unusable,
            }));
        }
        if found.len() == keys.len() { Ok(found) } else { Err(resp::malformed()) }
    }

    /// Writes entries, each with its life, over what was there.
    ///
    /// # Errors
    /// When the server cannot be asked, or refused one of them; others may have been written.
    pub async fn write(&self, entries: &[(&[u8], &[u8], Duration)], give_up_after: Duration) -> Result<(), Failure> {
        let lives: Vec<String> = entries.iter().map(|(_, _, life)| millis(*life)).collect();
        let commands: Vec<Vec<&[u8]>> = entries
            .iter()
            .zip(&lives)
            .map(|((key, value, _), life)| vec![&b"SET"[..], key, value, b"PX", life.as_bytes()])
            .collect();
        let replies = within(give_up_after, self.pool.pipeline(&commands)).await?;
        replies.into_iter().try_for_each(|reply| known(reply).map(drop))
    }

    /// Takes a lease for `life` from now on, unless another holder has it; true if it is this holder's. Whoever has it
    /// already has it for longer: a connection that is lost after a lease was taken does no harm.
    ///
    /// # Errors
    /// When the server cannot be asked. The lease may have been taken then.
    pub async fn lease(
        &self,
        key: &[u8],
        holder: &[u8],
        life: Duration,
        give_up_after: Duration,
    ) -> Result<bool, Failure> {
        let life = millis(life);
        let commands = [vec![&b"EVAL"[..], TAKE_OR_EXTEND, b"1", key, holder, life.as_bytes()]];
        let reply = within(give_up_after, self.pool.pipeline(&commands)).await?.pop();
        match reply.map(known).transpose()? {
            Some(Reply::Integer(taken)) => Ok(taken > 0),
            _ => Err(resp::malformed()),
        }
    }

    /// Gives a lease back, if this holder still has it; true if it did.
    ///
    /// # Errors
    /// When the server cannot be asked. The lease ends by itself.
    pub async fn release(&self, key: &[u8], holder: &[u8], give_up_after: Duration) -> Result<bool, Failure> {
        let commands = [vec![&b"EVAL"[..], DELETE_IF_EQUAL, b"1", key, holder]];
        let reply = within(give_up_after, self.pool.pipeline(&commands)).await?.pop();
        match reply.map(known).transpose()? {
            Some(Reply::Integer(deleted)) => Ok(deleted > 0),
            _ => Err(resp::malformed()),
        }
    }
}

fn known(reply: Reply) -> Result<Reply, Failure> {
    match reply {
        Reply::Error(error) => Err(error.failure()),
        reply => Ok(reply),
    }
}

fn millis(life: Duration) -> String {
    life.as_millis().max(1).to_string()
}
