//! Groups: who may commit positions of a topic. In one process a group needs one member, which gets all partitions; a
//! second one takes them over, so that code written for Kafka meets revocation here too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use event::TopicId;

use super::Shared;
use crate::contract::{Assignment, Commit, Generation, Input, Membership};

type Member = u64;

#[derive(Default)]
pub(super) struct Groups {
    /// Grows over all groups, so that a generation belongs to one of them only.
    last_generation: u64,
    last_member: Member,
    groups: HashMap<(Arc<str>, TopicId), Group>,
    /// What each member has not polled yet, with the batch after which it may see it.
    news: HashMap<Member, VecDeque<(u64, Assignment)>>,
    /// Batches the writer has begun, and those it is done with.
    taken: u64,
    settled: u64,
}

#[derive(Default)]
struct Group {
    /// In the order they joined; the last one has the partitions.
    members: Vec<Member>,
    generation: u64,
}

impl Groups {
    /// The writer begins a batch: from here to [`Groups::settle`] no new owner is told that it is one, because what it
    /// would read as committed may be about to change.
    pub fn take(&mut self) {
        self.taken += 1;
    }

    pub fn settle(&mut self) {
        self.settled = self.taken;
    }

    /// Whether the positions of `commit` may be committed now.
    pub fn allows(&self, commit: &Commit) -> bool {
        commit.positions.iter().all(|p| {
            let Input::Topic(tp) = p.input else { return true };
            match (self.groups.get(&(p.group.clone(), tp.topic)), commit.generation) {
                (Some(g), Some(Generation(n))) => g.generation == n && !g.members.is_empty(),
                (Some(g), None) => g.members.is_empty(),
                (None, Some(_)) => false,
                (None, None) => true,
            }
        })
    }

    /// Groups with a member on `topic`: what they have not read yet is not removed, whether they committed or not.
    pub fn on(&self, topic: TopicId) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self
            .groups
            .iter()
            .filter(|((_, t), g)| *t == topic && !g.members.is_empty())
            .map(|((n, _), _)| n.clone())
            .collect();
        names.sort();
        names
    }

    fn tell(&mut self, member: Member, news: Assignment) {
        // A revocation is known at once; a grant when what was taken under the generation before is settled.
        let after = match news {
            Assignment::Granted { .. } => self.taken,
            Assignment::Revoked { .. } => 0,
        };
        self.news.entry(member).or_default().push_back((after, news));
    }

    fn grant_to_last(&mut self, key: &(Arc<str>, TopicId), partitions: u32) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let Some(group) = self.groups.get_mut(key) else { return };
        group.generation = generation;
        let Some(&member) = group.members.last() else { return };
        let partitions = (0..partitions).map(|p| key.1.partition(p)).collect();
        self.tell(member, Assignment::Granted { partitions, generation: Generation(generation) });
    }
}

pub(super) fn join(shared: &Arc<Shared>, group: &str, topic: TopicId) -> Box<dyn Membership> {
    let mut groups = shared.groups.lock().expect("groups");
    let key = (Arc::from(group), topic);
    groups.last_member += 1;
    let member = groups.last_member;
    let before = groups.groups.entry(key.clone()).or_default().members.last().copied();
    let partitions = shared.config.partitions;
    if let Some(before) = before {
        let partitions = (0..partitions).map(|p| topic.partition(p)).collect();
        groups.tell(before, Assignment::Revoked { partitions });
    }
    groups.groups.get_mut(&key).expect("made above").members.push(member);
    groups.news.insert(member, VecDeque::new());
    groups.grant_to_last(&key, partitions);
    drop(groups);
    shared.bump();
    Box::new(Seat { shared: shared.clone(), key, member })
}

struct Seat {
    shared: Arc<Shared>,
    key: (Arc<str>, TopicId),
    member: Member,
}

impl Membership for Seat {
    fn poll(&mut self) -> Vec<Assignment> {
        let mut groups = self.shared.groups.lock().expect("groups");
        let settled = groups.settled;
        let Some(news) = groups.news.get_mut(&self.member) else { return Vec::new() };
        let mut out = Vec::new();
        while let Some((_, news)) = news.pop_front_if(|(after, _)| *after <= settled) {
            out.push(news);
        }
        out
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut groups = self.shared.groups.lock().expect("groups");
        groups.news.remove(&self.member);
        let Some(group) = groups.groups.get_mut(&self.key) else { return };
        let owned = group.members.last() == Some(&self.member);
        group.members.retain(|m| *m != self.member);
        if owned {
            groups.grant_to_last(&self.key, self.shared.config.partitions);
            drop(groups);
            self.shared.bump();
        }
    }
}
