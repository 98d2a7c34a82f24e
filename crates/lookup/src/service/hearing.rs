//! Who hears how an ask ended.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flow::Status;
use tokio::sync::mpsc::UnboundedSender;

use super::clerk::Message;
use crate::asked::{Hear, Told};

const TIMEOUT: Told<'static> = Told { status: Status::Timeout, json: &[], origin: None };

/// Keys that were asked for together.
pub(super) struct Hearing {
    len: usize,
    /// Keys of which nothing was said yet.
    left: AtomicUsize,
    /// Asks of the whole service that are open.
    open: Arc<AtomicUsize>,
    hear: Hear,
}

impl Hearing {
    pub fn new(len: usize, open: Arc<AtomicUsize>, hear: Hear) -> Arc<Hearing> {
        Arc::new(Hearing { len, left: AtomicUsize::new(len), open, hear })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Once for each place.
    pub fn promise(self: &Arc<Hearing>, place: usize) -> Promise {
        self.open.fetch_add(1, Ordering::Relaxed);
        Promise { hearing: Some(Arc::clone(self)), place }
    }
}

/// That one of the keys is settled. Whoever drops it settles it as a timeout: nobody is left who could do better.
pub(super) struct Promise {
    /// There until it is kept.
    hearing: Option<Arc<Hearing>>,
    place: usize,
}

impl Promise {
    pub fn settle(mut self, told: Told<'_>) {
        self.keep(Some(told));
    }

    /// The asker has gone.
    pub fn forget(mut self) {
        self.keep(None);
    }

    fn keep(&mut self, told: Option<Told<'_>>) {
        let Some(hearing) = self.hearing.take() else { return };
        hearing.open.fetch_sub(1, Ordering::Relaxed);
        hearing.left.fetch_sub(1, Ordering::Relaxed);
        if let Some(told) = told {
            (hearing.hear)(self.place, told);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(Some(TIMEOUT));
    }
}

/// Keys that were asked for; dropping it cancels those that are not settled.
pub(super) struct Asking {
    ids: Range<u64>,
    hearing: Arc<Hearing>,
    messages: UnboundedSender<Message>,
}

impl Asking {
    pub fn new(ids: Range<u64>, hearing: Arc<Hearing>, messages: UnboundedSender<Message>) -> Asking {
        Asking { ids, hearing, messages }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.hearing.left.load(Ordering::Relaxed) > 0 {
            // A service that has stopped has settled them.
            let _ = self.messages.send(Message::Cancel(self.ids.clone()));
        }
    }
}
