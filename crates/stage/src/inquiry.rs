//! What was asked for and is waited for: whom the answers are for, and the box that they come into.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flow::{Answered, AskId, Asks, Facts, SourceId};
use lookup::{Asked, Asking, Key, Told};
use seam::Clock;

use crate::facts::{Pinned, Sources};

/// Answers that have come and are not read yet. Anybody puts them in; the stage takes them out.
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    bell: Arc<dyn Fn() + Send + Sync>,
    /// Who gets letters is numbered: a partition that comes back gets none of its past.
    addresses: AtomicU64,
}

pub(crate) struct Letter {
    to: u64,
    flight: u64,
    answered: Answered,
}

impl Mailbox {
    pub fn new(bell: Arc<dyn Fn() + Send + Sync>) -> Mailbox {
        Mailbox { letters: Mutex::default(), bell, addresses: AtomicU64::new(0) }
    }

    pub fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, letter: Letter) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push(letter);
        let first = letters.len() == 1;
        drop(letters);
        if first {
            (self.bell)();
        }
    }
}

/// What one partition asks.
pub(crate) struct Inquiries {
    mailbox: Arc<Mailbox>,
    address: u64,
    pinned: Arc<Pinned>,
    /// By the number of the batch, which grows.
    flights: VecDeque<Inquiry>,
}

/// What one batch asks.
struct Inquiry {
    flight: u64,
    pinned: Arc<Pinned>,
    /// Until when all its answers are waited for, in microseconds of the process.
    deadline: u64,
    /// Dropped, they are not waited for any more.
    open: Vec<Asking>,
}

impl Inquiries {
    pub fn new(mailbox: Arc<Mailbox>) -> Inquiries {
        let address = mailbox.addresses.fetch_add(1, Relaxed);
        Inquiries { mailbox, address, pinned: Arc::default(), flights: VecDeque::new() }
    }

    /// Answers asks as far as that can be done at once, and asks for the others. The first asks of a batch pin the versions
    /// from which it is answered, and begin its time.
    pub fn ask(
        &mut self,
        sources: &Sources,
        flight: u64,
        asks: &Asks,
        from: usize,
        clock: &Arc<dyn Clock>,
        budget: Duration,
    ) -> Facts {
        if self.flights.back().is_none_or(|last| last.flight != flight) && from == 0 {
            sources.renew(&mut self.pinned);
            let deadline = micros(clock.elapsed() + budget);
            self.flights.push_back(Inquiry { flight, pinned: self.pinned.clone(), deadline, open: Vec::new() });
        }
        let inquiry = self.flights.iter_mut().rfind(|i| i.flight == flight).expect("its first asks came before");
        let mut wanted: Vec<Wanted<'_>> = Vec::new();
        let pinned = inquiry.pinned.clone();
        let facts = pinned.answer(asks, from, |ask, source, asked, key| {
            let at = wanted.iter().position(|w| w.source == source).unwrap_or_else(|| {
                wanted.push(Wanted { source, asked, asks: Vec::new(), keys: Vec::new() });
                wanted.len() - 1
            });
            wanted[at].asks.push(ask);
            wanted[at].keys.push(key.into());
        });
        let since = micros(clock.elapsed());
        for Wanted { asked, asks, keys, .. } in wanted {
            let (mailbox, to, clock) = (self.mailbox.clone(), self.address, clock.clone());
            let hear = Box::new(move |place: usize, told: Told<'_>| {
                let waited = u32::try_from(micros(clock.elapsed()).saturating_sub(since)).unwrap_or(u32::MAX);
                let answered = Answered { ask: asks[place], status: told.status, json: told.json.to_vec(), waited };
                mailbox.put(Letter { to, flight, answered });
            });
            inquiry.open.push(asked.ask(keys, inquiry.deadline, hear));
        }
        facts
    }

    /// The letters for this partition, by batch.
    pub fn open(&self, letters: &[Letter]) -> Vec<(u64, Vec<Answered>)> {
        let mut of: Vec<(u64, Vec<Answered>)> = Vec::new();
        for letter in letters.iter().filter(|letter| letter.to == self.address) {
            match of.iter_mut().find(|(flight, _)| *flight == letter.flight) {
                Some((_, answers)) => answers.push(letter.answered.clone()),
                None => of.push((letter.flight, vec![letter.answered.clone()])),
            }
        }
        of
    }

    /// Batches with lower numbers are done.
    pub fn forget_below(&mut self, flight: u64) {
        while self.flights.front().is_some_and(|first| first.flight < flight) {
            self.flights.pop_front();
        }
    }

    /// Nothing that was asked is waited for any more.
    pub fn drop_all(&mut self) {
        self.flights.clear();
    }
}

/// What is to be asked of one source.
struct Wanted<'a> {
    source: SourceId,
    asked: &'a Arc<dyn Asked>,
    asks: Vec<AskId>,
    keys: Vec<Key>,
}

fn micros(elapsed: Duration) -> u64 {
    // A process does not run for half a million years.
    elapsed.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use flow::Status;
    use lookup::asked::Tier;
    use lookup::{Hear, Origin};
    use seam::RealClock;

    use super::*;

    /// Keys, the deadline, and who hears.
    type Wait = (Vec<Key>, u64, Hear);

    /// Knows `known`, and tells of other keys when it is told to.
    #[derive(Default)]
    struct Slow {
        asked: Mutex<Vec<Wait>>,
        gone: Arc<AtomicUsize>,
    }

    struct Gone(Arc<AtomicUsize>);

    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Asked for Slow {
        fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)> {
            out.extend_from_slice(b"1");
            (key == b"known").then_some((Status::Ok, Origin { tier: Tier::Local, age_us: 0 }))
        }

        fn ask(&self, keys: Vec<Key>, deadline: u64, hear: Hear) -> Asking {
            self.asked.lock().expect("no panic").push((keys, deadline, hear));
            Box::new(Gone(self.gone.clone()))
        }
    }

    #[test]
    fn answers_reach_the_batch_that_asked_and_nobody_who_has_gone() {
        let (slow, rung) = (Arc::new(Slow::default()), Arc::new(AtomicUsize::new(0)));
        let mut sources = Sources::default();
        let source = sources.add_asked("slow", slow.clone());
        let ring = rung.clone();
        let mailbox = Arc::new(Mailbox::new(Arc::new(move || {
            ring.fetch_add(1, SeqCst);
        })));
        let clock: Arc<dyn Clock> = Arc::new(RealClock::new());
        let mut asks = Asks::default();
        let keys: [&[u8]; 3] = [b"known", b"a", b"b"];
        let ids = keys.map(|key| asks.parts().0.ask(source, key));
        let mut inquiries = Inquiries::new(mailbox.clone());
        let budget = Duration::from_millis(40);
        for flight in [7, 8] {
            let facts = inquiries.ask(&sources, flight, &asks, 0, &clock, budget);
            assert_eq!((facts.len(), facts.pending(), facts.fact(ids[0]).json), (3, 2, &b"1"[..]));
        }
        // A further round of the same batch has the time that is left.
        let late = asks.parts().0.ask(source, b"c");
        inquiries.ask(&sources, 7, &asks, 3, &clock, budget);
        let asked: Vec<_> = std::mem::take(&mut *slow.asked.lock().expect("no panic"));
        let wanted = |n: usize| asked[n].0.iter().map(|key| key.to_vec()).collect::<Vec<_>>();
        assert_eq!((wanted(0), wanted(2)), (vec![b"a".to_vec(), b"b".to_vec()], vec![b"c".to_vec()]));
        assert_eq!(asked[0].1, asked[2].1);
        assert!(asked[1].1 >= asked[0].1);

        let told = |json: &'static [u8]| Told { status: Status::Ok, json, origin: None };
        (asked[0].2)(1, told(b"of b"));
        (asked[2].2)(0, told(b"of c"));
        (asked[1].2)(0, told(b"of a"));
        assert_eq!(rung.load(SeqCst), 1, "once for what nobody has taken yet");
        let letters = mailbox.take();
        let of = inquiries.open(&letters);
        let short: Vec<_> =
            of.iter().map(|(f, all)| (*f, all.iter().map(|a| (a.ask, &a.json[..])).collect::<Vec<_>>())).collect();
        assert_eq!(short, [(7, vec![(ids[2], &b"of b"[..]), (late, b"of c")]), (8, vec![(ids[1], b"of a")])]);

        inquiries.forget_below(8);
        assert_eq!(slow.gone.load(SeqCst), 2, "who has all does not wait");
        inquiries.drop_all();
        assert_eq!(slow.gone.load(SeqCst), 3);
        // What comes for a partition that was taken away is not told to whoever gets it next.
        (asked[1].2)(1, told(b"late"));
        assert!(Inquiries::new(mailbox.clone()).open(&mailbox.take()).is_empty());
    }
}
