//! When to kill: at every named point once, then at moments and points by chance.

use std::collections::VecDeque;

use ouzel_gen::Rng;

/// What ends the next life of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// kill -9 from outside.
    Moment,
    /// It dies by itself when it passes this point the `count`-th time.
    Point { name: String, count: u64 },
}

impl Aim {
    pub fn point(&self) -> Option<&str> {
        match self {
            Aim::Moment => None,
            Aim::Point { name, .. } => Some(name),
        }
    }

    pub fn env(&self) -> Vec<(String, String)> {
        match self {
            Aim::Moment => Vec::new(),
            Aim::Point { name, count } => vec![("OUZEL_KILL_AT".to_owned(), format!("{name}:{count}"))],
        }
    }
}

/// Tries for one point before it is given up.
const TRIES_MAX: u32 = 9;
/// A point passed once per group commit is passed this often in about a thousand events.
const FIRST_COUNT: u64 = 25;

struct Open {
    name: String,
    count: u64,
    tries: u32,
}

pub struct Aims {
    open: VecDeque<Open>,
    /// Points that were hit with the load the loop asks for, with the count that did it.
    hit: Vec<(String, u64)>,
    missed: Vec<String>,
}

impl Aims {
    pub fn new(points: &[String], min_acks: u64) -> Aims {
        let count = FIRST_COUNT.max(min_acks / 40);
        let open = points.iter().map(|name| Open { name: name.clone(), count, tries: 0 }).collect();
        Aims { open, hit: Vec::new(), missed: Vec::new() }
    }

    /// Whether there are points that were not hit yet and not given up.
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Points that were never hit with the load the loop asks for.
    pub fn missed(&self) -> Vec<String> {
        self.missed.iter().cloned().chain(self.open.iter().map(|o| o.name.clone())).collect()
    }

    pub fn next(&mut self, rng: &mut Rng) -> Aim {
        if let Some(open) = self.open.front_mut() {
            open.tries += 1;
            return Aim::Point { name: open.name.clone(), count: open.count };
        }
        if self.hit.is_empty() || rng.below(2) == 0 {
            return Aim::Moment;
        }
        let (name, count) = &self.hit[rng.below(self.hit.len() as u64) as usize];
        Aim::Point { name: name.clone(), count: count + rng.below(*count + 1) }
    }

    /// It died at the point with the load the loop asks for.
    pub fn hit(&mut self, aim: &Aim) {
        if let Aim::Point { name, count } = aim
            && self.is_front(aim)
        {
            self.hit.push((name.clone(), *count));
            self.open.pop_front();
        }
    }

    /// It died at the point before there was load.
    pub fn died_early(&mut self, aim: &Aim) {
        self.change(aim, |count| count * 3 + 1);
    }

    /// It did not come to the point that often.
    pub fn outlived(&mut self, aim: &Aim) {
        self.change(aim, |count| (count / 7).max(1));
    }

    fn change(&mut self, aim: &Aim, count: impl Fn(u64) -> u64) {
        if !self.is_front(aim) {
            return;
        }
        // To the end of the line: the others may come first.
        if let Some(mut open) = self.open.pop_front() {
            let next = count(open.count);
            if open.tries >= TRIES_MAX || next == open.count {
                self.missed.push(open.name);
            } else {
                open.count = next;
                self.open.push_back(open);
            }
        }
    }

    fn is_front(&self, aim: &Aim) -> bool {
        matches!((self.open.front(), aim.point()), (Some(open), Some(name)) if open.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_tried_with_other_counts_until_it_is_hit_or_given_up() {
        let mut aims = Aims::new(&["a".to_owned(), "b".to_owned()], 1000);
        let mut rng = Rng::new(1);
        let mut tries_of_b = 0;
        let mut counts_of_a = Vec::new();
        while aims.is_open() {
            match aims.next(&mut rng) {
                aim @ Aim::Point { .. } if aim.point() == Some("a") => {
                    let Aim::Point { count, .. } = aim else { unreachable!("matched above") };
                    counts_of_a.push(count);
                    if counts_of_a.len() == 3 { aims.hit(&aim) } else { aims.died_early(&aim) }
                }
                aim => {
                    tries_of_b += 1;
                    aims.outlived(&aim);
                }
            }
        }
        assert_eq!(counts_of_a, [25, 76, 229]);
        assert!(tries_of_b < 6, "{tries_of_b}");
        assert_eq!(aims.missed(), ["b"]);
    }
}
