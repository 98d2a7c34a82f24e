//! Who hears how an ask ended.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use ask::Outcome;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::clerk::Message;

type Hear = Box<dyn Fn(usize, Outcome) + Send + Sync>;

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
    pub fn new(
        len: usize,
        open: Arc<AtomicUsize>,
        hear: impl Fn(usize, Outcome) + Send + Sync + 'static,
    ) -> Arc<Hearing> {
        Arc::new(Hearing { len, left: AtomicUsize::new(len), open, hear: Box::new(hear) })
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
    pub fn settle(mut self, outcome: Outcome) {
        self.keep(Some(outcome));
    }

    /// The asker has gone.
    pub fn forget(mut self) {
        self.keep(None);
    }

    fn keep(&mut self, outcome: Option<Outcome>) {
        let Some(hearing) = self.hearing.take() else { return };
        hearing.open.fetch_sub(1, Ordering::Relaxed);
        hearing.left.fetch_sub(1, Ordering::Relaxed);
        if let Some(outcome) = outcome {
            (hearing.hear)(self.place, outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(Some(Outcome::Timeout));
    }
}

/// Keys that were asked for; dropping it cancels those that are not settled, of which nothing is heard any more, save what is
/// being said at this moment.
#[must_use = "dropping it cancels what was asked"]
pub struct Asking {
    ids: Range<u64>,
    hearing: Arc<Hearing>,
    messages: UnboundedSender<Message>,
}

impl Asking {
    pub(super) fn new(ids: Range<u64>, hearing: Arc<Hearing>, messages: UnboundedSender<Message>) -> Asking {
        Asking { ids, hearing, messages }
    }

    /// Keys of which nothing was said yet.
    pub fn left(&self) -> usize {
        self.hearing.left.load(Ordering::Relaxed)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.left() > 0 {
            // A service that has stopped has settled them.
            let _ = self.messages.send(Message::Cancel(self.ids.clone()));
        }
    }
}

/// One key's outcome, some time. Dropping it cancels the ask.
#[must_use = "dropping it cancels what was asked"]
pub struct Waiting {
    heard: oneshot::Receiver<Outcome>,
    _asking: Asking,
}

impl Waiting {
    pub(super) fn new(heard: oneshot::Receiver<Outcome>, asking: Asking) -> Waiting {
        Waiting { heard, _asking: asking }
    }
}

impl Future for Waiting {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // The other end says something before it goes: a promise is kept even when it is dropped.
        Pin::new(&mut self.heard).poll(context).map(|heard| heard.unwrap_or(Outcome::Timeout))
    }
}
