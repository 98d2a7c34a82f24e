//! A circuit breaker: a source that fails or dawdles is left alone for a while, then tried by a few.
//!
//! ```text
//! Closed --too many bad or slow among the last calls--> Open --after open_us--> HalfOpen --all probes good--> Closed
//!                                                        ^                         |
//!                                                        +-------one is bad--------+
//! ```

/// All rates are over the last `window` calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerConfig {
    /// How many of the last calls are looked at: 1 to 1024.
    pub window: u16,
    /// It does not open before so many calls were seen.
    pub calls_min: u16,
    /// Opens at this share of bad calls, in percent.
    pub bad_percent: u8,
    /// A call that takes longer is slow, in microseconds.
    pub slow_us: u64,
    /// Opens at this share of slow calls, in percent; over 100: never.
    pub slow_percent: u8,
    /// How long it stays open, in microseconds.
    pub open_us: u64,
    /// How many calls must be good, one after another or at once, before it closes.
    pub probes: u16,
}

impl Default for BreakerConfig {
    fn default() -> BreakerConfig {
        BreakerConfig {
            window: 100,
            calls_min: 20,
            bad_percent: 50,
            slow_us: 1_000_000,
            slow_percent: 80,
            open_us: 5_000_000,
            probes: 3,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Closed,
    Open,
    HalfOpen,
}

/// Leave to make one call. It must be handed back with how the call went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Pass {
    /// The state's turn in which it was given: what began before the breaker opened says nothing about now.
    turn: u32,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    config: BreakerConfig,
    state: State,
    turn: u32,
    open_until: u64,
    /// Ring of the last calls, newest at `next - 1`.
    window: Vec<Went>,
    next: usize,
    bad: usize,
    slow: usize,
    /// When half open: probes that may still be sent, and good ones that are still to come.
    probes_left: u16,
    good_missing: u16,
    opened: u64,
}

#[derive(Clone, Copy, Debug)]
struct Went {
    bad: bool,
    slow: bool,
}

impl Breaker {
    pub fn new(config: BreakerConfig) -> Breaker {
        let window = Vec::with_capacity(usize::from(config.window));
        Breaker {
            config,
            state: State::Closed,
            turn: 0,
            open_until: 0,
            window,
            next: 0,
            bad: 0,
            slow: 0,
            probes_left: 0,
            good_missing: 0,
            opened: 0,
        }
    }

    pub fn state(&self, now: u64) -> State {
        if self.state == State::Open && now >= self.open_until { State::HalfOpen } else { self.state }
    }

    /// Whether [`Breaker::enter`] would give leave.
    pub fn admits(&self, now: u64) -> bool {
        match self.state {
            State::Closed => true,
            State::Open => now >= self.open_until,
            State::HalfOpen => self.probes_left > 0,
        }
    }

    /// Leave to make one call, unless the source is left alone.
    pub fn enter(&mut self, now: u64) -> Option<Pass> {
        if !self.admits(now) {
            return None;
        }
        if self.state == State::Open {
            self.turn_to(State::HalfOpen);
            self.probes_left = self.config.probes.max(1);
            self.good_missing = self.probes_left;
        }
        if self.state == State::HalfOpen {
            self.probes_left -= 1;
        }
        Some(Pass { turn: self.turn })
    }

    /// How a call went that took so many microseconds.
    pub fn leave(&mut self, now: u64, pass: Pass, good: bool, took_us: u64) {
        if pass.turn != self.turn {
            return;
        }
        let slow = took_us > self.config.slow_us;
        match self.state {
            State::Closed => self.count(now, Went { bad: !good, slow }),
            State::HalfOpen if good && !slow => {
                self.good_missing -= 1;
                if self.good_missing == 0 {
                    self.turn_to(State::Closed);
                }
            }
            State::HalfOpen => self.open(now),
            State::Open => {}
        }
    }

    /// Nobody will know how the call went.
    pub fn give_back(&mut self, pass: Pass) {
        if pass.turn == self.turn && self.state == State::HalfOpen {
            self.probes_left += 1;
        }
    }

    /// How often it opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    fn count(&mut self, now: u64, went: Went) {
        let size = usize::from(self.config.window).clamp(1, 1024);
        if self.window.len() < size {
            self.window.push(went);
        } else {
            let old = std::mem::replace(&mut self.window[self.next], went);
            self.bad -= usize::from(old.bad);
            self.slow -= usize::from(old.slow);
            self.next = (self.next + 1) % size;
        }
        self.bad += usize::from(went.bad);
        self.slow += usize::from(went.slow);
        let calls = self.window.len();
        let too_many = |count: usize, percent: u8| count > 0 && count * 100 >= usize::from(percent) * calls;
        let enough = calls >= usize::from(self.config.calls_min).min(size);
        if enough && (too_many(self.bad, self.config.bad_percent) || too_many(self.slow, self.config.slow_percent)) {
            self.open(now);
        }
    }

    fn open(&mut self, now: u64) {
        self.turn_to(State::Open);
        self.open_until = now + self.config.open_us;
        self.opened += 1;
    }

    fn turn_to(&mut self, state: State) {
        self.state = state;
        self.turn = self.turn.wrapping_add(1);
        self.window.clear();
        (self.next, self.bad, self.slow) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        window: 10,
        calls_min: 4,
        bad_percent: 50,
        slow_us: 100,
        slow_percent: 80,
        open_us: 1_000,
        probes: 2,
    };

    /// Calls one after another, one each microsecond: `.` good, `x` bad, `s` slow.
    fn after(calls: &str) -> Breaker {
        let mut breaker = Breaker::new(CONFIG);
        for (now, call) in calls.chars().enumerate() {
            let pass = breaker.enter(now as u64).expect("closed");
            breaker.leave(now as u64, pass, call != 'x', if call == 's' { 101 } else { 100 });
        }
        breaker
    }

    #[test]
    fn it_opens_by_the_share_of_the_last_calls() {
        let cases = [
            ("xxx", State::Closed),
            ("xx..", State::Open),
            ("x...x.x.", State::Closed),
            ("..........xxxx", State::Closed),
            ("..........xxxxx", State::Open),
            ("...x..x.x..........x..x.x.x", State::Closed),
            ("ssss", State::Open),
            ("sss..", State::Closed),
        ];
        for (calls, state) in cases {
            assert_eq!(after(calls).state(calls.len() as u64), state, "{calls}");
        }
    }

    #[test]
    fn a_few_try_it_and_close_it_again() {
        let mut breaker = after("xxxx");
        assert!(!breaker.admits(1_002) && breaker.enter(1_002).is_none());
        assert_eq!(breaker.state(1_003), State::HalfOpen);
        let (a, b) = (breaker.enter(1_003).expect("a probe"), breaker.enter(1_003).expect("a probe"));
        assert!(breaker.enter(1_003).is_none(), "two probes, no more");
        breaker.leave(1_010, a, true, 7);
        assert_eq!(breaker.state(1_010), State::HalfOpen);
        breaker.leave(1_010, b, true, 7);
        assert_eq!((breaker.state(1_010), breaker.opened()), (State::Closed, 1));
    }

    #[test]
    fn one_bad_or_slow_probe_opens_it_again_and_the_other_says_nothing() {
        for (good, took) in [(false, 1), (true, 101)] {
            let mut breaker = after("xxxx");
            let (a, b) = (breaker.enter(1_003).expect("a probe"), breaker.enter(1_003).expect("a probe"));
            breaker.leave(1_010, a, good, took);
            breaker.leave(1_011, b, true, 1);
            assert_eq!((breaker.state(2_009), breaker.opened()), (State::Open, 2));
            assert_eq!(breaker.state(2_010), State::HalfOpen);
        }
    }

    #[test]
    fn a_probe_that_nobody_followed_is_sent_again() {
        let mut breaker = after("xxxx");
        let probes = [breaker.enter(1_003), breaker.enter(1_003)].map(|pass| pass.expect("a probe"));
        assert!(!breaker.admits(1_003));
        breaker.give_back(probes[0]);
        assert!(breaker.admits(1_003));
    }

    #[test]
    fn calls_of_before_it_opened_do_not_close_it() {
        let mut breaker = Breaker::new(CONFIG);
        let passes: Vec<Pass> = (0..8).map(|_| breaker.enter(0).expect("closed")).collect();
        passes[..4].iter().for_each(|pass| breaker.leave(1, *pass, false, 1));
        let probe = breaker.enter(1_001).expect("half open");
        passes[4..].iter().for_each(|pass| breaker.leave(1_002, *pass, true, 1));
        assert_eq!(breaker.state(1_002), State::HalfOpen);
        breaker.leave(1_003, probe, true, 1);
        assert_eq!(breaker.state(1_003), State::HalfOpen);
    }
}
