//! One member of a group, shared by the workers of a process: each has its share of the partitions. The journal gives a group's
//! partitions to one member.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use event::TopicPartition;
use log::{Assignment, Membership};

/// A place for each of `workers`: the partitions go around. The group is left with the last of them.
pub fn share(member: Box<dyn Membership>, workers: usize) -> Vec<Box<dyn Membership>> {
    let shared = Arc::new(Mutex::new(Shared { member, news: vec![VecDeque::new(); workers] }));
    (0..workers).map(|worker| Box::new(Share { shared: shared.clone(), worker }) as Box<dyn Membership>).collect()
}

struct Shared {
    member: Box<dyn Membership>,
    /// Of each worker, not polled yet.
    news: Vec<VecDeque<Assignment>>,
}

struct Share {
    shared: Arc<Mutex<Shared>>,
    worker: usize,
}

impl Membership for Share {
    fn poll(&mut self) -> Vec<Assignment> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let workers = shared.news.len();
        for news in shared.member.poll() {
            for worker in 0..workers {
                let share = |all: &[TopicPartition]| -> Vec<_> {
                    all.iter().copied().filter(|p| p.partition as usize % workers == worker).collect()
                };
                let share = match &news {
                    Assignment::Granted { partitions, generation } => {
                        Assignment::Granted { partitions: share(partitions), generation: *generation }
                    }
                    Assignment::Revoked { partitions } => Assignment::Revoked { partitions: share(partitions) },
                };
                shared.news[worker].push_back(share);
            }
        }
        let worker = self.worker;
        std::mem::take(&mut shared.news[worker]).into()
    }
}
