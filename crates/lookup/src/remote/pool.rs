//! Connections that are kept. The one that was used last is used next, so that the others can go when they are not needed.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Failure;

/// Makes connections.
pub(super) trait Connect: Send + Sync {
    type Connection: Send;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Failure>> + Send;

    /// It is not known to be lost.
    fn is_open(connection: &Self::Connection) -> bool;
}

pub(super) struct Pool<D: Connect> {
    door: D,
    places: Semaphore,
    idle: Mutex<Vec<D::Connection>>,
}

/// A connection for one call. It is closed when dropped, for nobody knows what is still under way on it, and kept by
/// [`Lent::give_back`].
pub(super) struct Lent<'p, D: Connect> {
    pool: &'p Pool<D>,
    /// There until it is given back.
    connection: Option<D::Connection>,
    /// It had been idle: the other side may have closed it since.
    was_idle: bool,
    _place: SemaphorePermit<'p>,
}

impl<D: Connect> Pool<D> {
    pub(super) fn new(door: D, connections: usize) -> Pool<D> {
        Pool { door, places: Semaphore::new(connections), idle: Mutex::new(Vec::new()) }
    }

    /// Waits for a place, and connects unless a connection is idle.
    pub(super) async fn lend(&self) -> Result<Lent<'_, D>, Failure> {
        let place = self.places.acquire().await.expect("the semaphore is never closed");
        let idle = self.idle();
        let was_idle = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => self.door.connect().await?,
        };
        Ok(Lent { pool: self, connection: Some(connection), was_idle, _place: place })
    }

    fn idle(&self) -> Option<D::Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(D::is_open)
    }
}

impl<D: Connect> Lent<'_, D> {
    /// Replaces a connection that was idle and turned out to be lost; false if it was a new one. What is asked here can be
    /// asked twice.
    pub(super) async fn renew(&mut self) -> Result<bool, Failure> {
        if !std::mem::take(&mut self.was_idle) {
            return Ok(false);
        }
        // IMPORTANT: the lost one goes before the new one is made; the server may count.
        self.connection = None;
        self.connection = Some(self.pool.door.connect().await?);
        Ok(true)
    }

    /// Keeps the connection for another call. Only when this one has been read to its end.
    pub(super) fn give_back(mut self) {
        let connection = self.connection.take().filter(D::is_open);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(connection);
    }
}

impl<D: Connect> Deref for Lent<'_, D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        self.connection.as_ref().expect("it is given back by value")
    }
}

impl<D: Connect> DerefMut for Lent<'_, D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        self.connection.as_mut().expect("it is given back by value")
    }
}
