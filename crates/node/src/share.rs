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

#[cfg(test)]
mod tests {
    use event::topic::RAW;
    use log::Generation;

    use super::*;

    struct Told(VecDeque<Vec<Assignment>>);

    impl Membership for Told {
        fn poll(&mut self) -> Vec<Assignment> {
            self.0.pop_front().unwrap_or_default()
        }
    }

    #[test]
    fn each_worker_hears_of_its_share_whoever_asks_first() {
        let all = |of: [u32; 4]| of.map(|p| RAW.partition(p)).to_vec();
        let generation = Generation(7);
        let granted = |partitions| Assignment::Granted { partitions, generation };
        let news = vec![granted(all([0, 1, 2, 3])), Assignment::Revoked { partitions: all([0, 1, 2, 3]) }];
        let mut workers = share(Box::new(Told([news].into())), 2);
        let half = |first: u32| vec![RAW.partition(first), RAW.partition(first + 2)];
        for (worker, first) in [(1, 1), (0, 0)] {
            let expected = vec![granted(half(first)), Assignment::Revoked { partitions: half(first) }];
            assert_eq!(workers[worker].poll(), expected);
            assert_eq!(workers[worker].poll(), []);
        }
    }
}
