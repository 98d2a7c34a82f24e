//! Clients, the network and the doors.

use super::*;

impl World {
    pub(super) fn send(&mut self, client: usize) {
        if self.clients[client].is_done() {
            return;
        }
        let who = format!("client-{client}");
        let n = self.rng.between(4, 30) as usize;
        let n = n.min(self.clients[client].left.max(1));
        let now = self.clock.now();
        let body = self.clients[client].body(n, now).expect("in memory");
        let attempt = self.clients[client].attempt;
        let network = self.scenario.network;
        self.note(&who, format_args!("sends {} bytes, attempt {attempt}", body.bytes.len()));
        self.plan(CLIENT_TIMEOUT, Event::Timeout { client, attempt });
        if self.rng.per_mille(network.request_lost) {
            return self.fault("network", "net.request_lost", format_args!("loses a request of {who}"));
        }
        let after = self.latency();
        self.plan(after, Event::Arrive { client, attempt, body: body.clone() });
        if self.rng.per_mille(network.twice) {
            self.fault("network", "net.twice", format_args!("delivers a request of {who} twice"));
            // The ledger knows how often it was sent.
            let _ = self.clients[client].producer.next(n, now);
            let after = self.latency();
            self.plan(after, Event::Arrive { client, attempt, body });
        }
    }

    pub(super) fn latency(&mut self) -> Duration {
        if self.rng.per_mille(self.scenario.network.slow) {
            self.trace.fired("net.slow");
            return self.between(200, 3000);
        }
        self.between(1, 30)
    }

    pub(super) fn arrive(&mut self, client: usize, attempt: u64, body: Body) {
        let now = self.clock.elapsed();
        let embedded = self.is_embedded();
        if embedded && self.machines[0].is_up() && self.machines[0].paused_until > now {
            let after = self.machines[0].paused_until - now;
            self.plan(after, Event::Arrive { client, attempt, body });
            return;
        }
        let log = self.broker.clone().filter(|_| if embedded { self.machines[0].is_up() } else { self.doors_up });
        let Some(log) = log else {
            self.note("network", format_args!("nobody listens to client-{client}"));
            return self.answer(client, attempt, None);
        };
        let mut fresh = [0; 16];
        fresh[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let now = self.clock.now();
        let taken = guarded(|| Door::new(Arc::new(log)).take(client, attempt, &body, now, u128::from_le_bytes(fresh)));
        match taken {
            Ok(request) => {
                let Answer { accepted, refused, .. } = &request.answer;
                self.note("door", format_args!("takes {accepted} events of client-{client}, refuses {refused}"));
                self.requests.push(request);
            }
            Err(End::Killed) if !embedded => self.doors_die(),
            Err(end) => self.ended(0, end),
        }
    }

    /// Answers those whose batches are decided.
    pub(super) fn answer_decided(&mut self) {
        let mut n = 0;
        while n < self.requests.len() {
            let Some(outcome) = self.requests[n].ticket.try_take() else {
                n += 1;
                continue;
            };
            let request = self.requests.remove(n);
            let answer = matches!(outcome, Outcome::Committed(_)).then_some(request.answer);
            self.answer(request.client, request.attempt, answer);
        }
    }

    pub(super) fn answer(&mut self, client: usize, attempt: u64, answer: Option<Answer>) {
        if self.rng.per_mille(self.scenario.network.answer_lost) {
            return self.fault("network", "net.answer_lost", format_args!("loses an answer to client-{client}"));
        }
        let after = self.latency();
        self.plan(after, Event::Answered { client, attempt, answer });
    }

    pub(super) fn answered(&mut self, client: usize, attempt: u64, answer: Option<Answer>) {
        if self.clients[client].attempt != attempt || !self.clients[client].producer.has_pending() {
            return;
        }
        let who = format!("client-{client}");
        // Whatever it was, it is answered: an answer that comes later means nothing.
        self.clients[client].attempt += 1;
        let pause = match answer {
            Some(answer) => {
                self.note(&who, format_args!("is told {} accepted, {} refused", answer.accepted, answer.refused));
                let verdict = self.clients[client].producer.acknowledge(&answer).expect("in memory");
                if let Err(why) = verdict {
                    self.found(laws::conduct(format!("a wrong answer: {why}"), "the door"));
                }
                self.between(20, 500)
            }
            None => {
                self.note(&who, format_args!("is told to come again"));
                self.between(100, 600)
            }
        };
        self.plan(pause, Event::Send(client));
    }

    pub(super) fn doors_die(&mut self) {
        self.fault("doors", "door.dies", format_args!("die, with {} requests not answered", self.requests.len()));
        self.requests.clear();
        self.doors_up = false;
        let after = self.between(50, 800);
        self.plan(after, Event::Doors);
    }
}
