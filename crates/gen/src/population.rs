//! Who there is, how often they come, and who comes next.
//!
//! People stand in **cells**: of one role, one country and one degree of activity, each a run of consecutive numbers. A
//! cell's members come one after another, round after round, so that no two visits of a person are close to each other,
//! and how often somebody has been here is known from a count for the whole cell. What is kept is a few numbers a cell,
//! whatever the population.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use event::Micros;

use crate::curve::Curve;
use crate::person::{Person, Role};
use crate::rng::{Draws, mix2};
use crate::session;
use crate::world::COUNTRIES;

/// All people of one seed.
pub struct Population {
    seed: u64,
    cells: Vec<Cell>,
    people: u64,
    sellers: Vec<usize>,
    n_sellers: u64,
    curve: Curve,
    flat: Curve,
    due: BinaryHeap<Reverse<(Micros, usize)>>,
    draws: Draws,
}

struct Cell {
    role: Role,
    country: u8,
    first: u64,
    members: u64,
    /// Visits of a member in a microsecond in which the curve is at 1.
    per_us: f64,
    /// Members change places within blocks of so many from round to round; a power of two.
    block: u64,
    /// The longest visit: the next one of the same member must not be near.
    longest_us: i64,
    visits: u64,
    /// Of them, those before the mark.
    past: u64,
}

/// Somebody comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    pub at: Micros,
    pub person: Person,
    /// How often this person has been here before.
    pub visit: u64,
    /// How often that was before [`Population::mark`].
    pub past: u64,
    pub longest_us: i64,
}

/// What the marketplace's rate is spread over.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Events a second when the curve is at 1.
    pub per_s: f64,
    /// Whether the time of day counts.
    pub daily: bool,
}

/// More people than this have numbers of listings that do not fit where they are kept.
pub const PEOPLE_MAX: u64 = 1_000_000_000;
/// With fewer some roles would have nobody.
pub const PEOPLE_MIN: u64 = 200;

/// Role, people of a thousand, events of a thousand, degrees of activity. Each degree has twice as many people as the one
/// before, who come half as often: together as many visits, which is Zipf's law.
const ROLES: [(Role, u64, u64, u32); 4] =
    [(Role::Crawler, 5, 15, 1), (Role::Scraper, 15, 15, 1), (Role::Seller, 75, 110, 4), (Role::Shopper, 905, 860, 6)];

/// Between two visits of a person there is more than this: longer than a session's gap, with room for a clock that runs
/// through the schedule a little faster than planned.
const APART_US: i64 = 36 * 60 * Micros::SECOND;
/// A visit may take this long at least, or the rate is too high for so few people.
const LONGEST_MIN_US: i64 = 15 * 60 * Micros::SECOND;
const LONGEST_MAX_US: i64 = 3 * 3600 * Micros::SECOND;
/// Gaps between arrivals of a cell: from 0.85 to 1.15 of their mean.
const GAP_LEAST: f64 = 0.85;
const GAP_SPREAD: f64 = 0.3;
/// A block is at most this share of a cell, so that between two visits there is at least the rest of a round.
const BLOCKS_MIN: u64 = 8;

impl Population {
    /// # Errors
    /// The least number of people that the rate needs.
    pub fn new(seed: u64, people: u64, rate: Rate, begin: Micros) -> Result<Population, u64> {
        let curve = if rate.daily { Curve::daily() } else { Curve::flat() };
        let mut cells = Vec::new();
        let mut filled = 0;
        let mut weight_so_far = 0u128;
        let mut least = 0;
        for (role, of_people, of_events, degrees) in ROLES {
            let countries = if role.is_bot() { &COUNTRIES[..1] } else { COUNTRIES };
            let halves: u64 = (1 << degrees) - 1;
            // A visit of degree d counts 2^-d; that all of the role come to its share of the events:
            let mean_weight = f64::from(degrees) / halves as f64;
            let events = session::mean_events(role) * people as f64 * of_people as f64 / 1000.0 * mean_weight;
            let per_us = rate.per_s / 1e6 * of_events as f64 / 1000.0 / events;
            let busiest = if role.is_bot() { 1.0 } else { curve.max };
            for (number, country) in countries.iter().enumerate().rev() {
                let share = if role.is_bot() { 1000 } else { u128::from(country.share) };
                for degree in 0..degrees {
                    weight_so_far += u128::from(of_people) * share * (1 << degree) * u128::from(UNIT / halves);
                    let upto = people_upto(people, weight_so_far);
                    let per_us = per_us / f64::from(1 << degree);
                    let apart = GAP_LEAST * (1.0 - 1.0 / BLOCKS_MIN as f64) / (per_us * busiest);
                    let longest_us = (apart as i64 - APART_US).min(LONGEST_MAX_US);
                    if longest_us < LONGEST_MIN_US {
                        let needed = (APART_US + LONGEST_MIN_US + 1000) as f64 / apart * people as f64;
                        least = least.max(needed as u64 + 1);
                    }
                    if upto > filled {
                        let members = upto - filled;
                        let block = if members < 2 * BLOCKS_MIN { 1 } else { 1 << (members / BLOCKS_MIN).ilog2() };
                        let country = number as u8;
                        cells.push(Cell {
                            role,
                            country,
                            first: filled,
                            members,
                            per_us,
                            block,
                            longest_us,
                            visits: 0,
                            past: 0,
                        });
                    }
                    filled = upto;
                }
            }
        }
        if least > 0 {
            return Err(least);
        }
        let of_role = |role| cells.iter().enumerate().filter(move |(_, c): &(usize, &Cell)| c.role == role);
        let sellers: Vec<usize> = of_role(Role::Seller).map(|(i, _)| i).collect();
        let n_sellers = of_role(Role::Seller).map(|(_, c)| c.members).sum();
        let mut population = Population {
            seed,
            people,
            sellers,
            n_sellers,
            curve,
            flat: Curve::flat(),
            due: BinaryHeap::with_capacity(cells.len()),
            draws: Draws::new(mix2(seed, 0x0063_656c_6c73)),
            cells,
        };
        for cell in 0..population.cells.len() {
            // Anywhere in the first gap.
            let part = population.draws.below(1 << 20) as f64 / f64::from(1 << 20);
            let at = population.after(cell, begin, part);
            population.due.push(Reverse((at, cell)));
        }
        Ok(population)
    }

    pub fn people(&self) -> u64 {
        self.people
    }

    /// When the next one comes.
    pub fn next_at(&self) -> Micros {
        self.due.peek().map_or(Micros(i64::MAX), |Reverse((at, _))| *at)
    }

    /// The next one, who comes at [`Population::next_at`].
    pub fn arrive(&mut self) -> Arrival {
        let Reverse((at, n)) = *self.due.peek().expect("there are people");
        let cell = &mut self.cells[n];
        let visits = cell.visits;
        cell.visits += 1;
        let member = member(self.seed, cell, visits);
        let arrival = Arrival {
            at,
            person: Person::new(self.seed, cell.first + member, cell.role, cell.country),
            visit: visits / cell.members,
            // The first round is in order, and no mark is so late that somebody came twice before it.
            past: u64::from(member < cell.past),
            longest_us: cell.longest_us,
        };
        let gap = GAP_LEAST + GAP_SPREAD * (self.draws.below(1 << 20) as f64 / f64::from(1 << 20));
        let next = self.after(n, at, gap);
        *self.due.peek_mut().expect("there are people") = Reverse((next, n));
        arrival
    }

    /// Visits so far are of the past. To be called before anybody came twice.
    pub fn mark(&mut self) {
        for cell in &mut self.cells {
            debug_assert!(cell.visits <= cell.members, "somebody came twice");
            cell.past = cell.visits;
        }
    }

    /// `gaps` mean gaps of a cell after a time.
    fn after(&self, cell: usize, time: Micros, gaps: f64) -> Micros {
        let cell = &self.cells[cell];
        let need = gaps / (cell.per_us * cell.members as f64);
        let curve = if cell.role.is_bot() { &self.flat } else { &self.curve };
        curve.after(time, COUNTRIES[usize::from(cell.country)].offset_min, need)
    }

    pub fn person(&self, number: u64) -> Option<Person> {
        let after = self.cells.partition_point(|c| c.first <= number);
        let cell = &self.cells[after.checked_sub(1)?];
        (number < cell.first + cell.members).then(|| Person::new(self.seed, number, cell.role, cell.country))
    }

    /// The number of the seller whose listing this is.
    pub fn seller(&self, listing: u64) -> u64 {
        let mut left = listing % self.n_sellers.max(1);
        for n in &self.sellers {
            let cell = &self.cells[*n];
            if left < cell.members {
                return cell.first + left;
            }
            left -= cell.members;
        }
        0
    }

    /// A listing of this seller's own, of `listings` there are.
    pub fn own_listing(&self, seller: u64, listings: u64, draws: &mut Draws) -> u64 {
        let before = |n: &usize| self.cells[*n].first <= seller;
        let passed: u64 = self.sellers.iter().filter(|n| before(n)).map(|n| self.cells[*n].members).sum();
        let Some(last) = self.sellers.iter().rfind(|n| before(n)) else { return 0 };
        let nth = passed - self.cells[*last].members + (seller - self.cells[*last].first);
        let each = (listings / self.n_sellers).max(1);
        (nth + self.n_sellers * draws.below(each)).min(listings - 1)
    }
}

/// What a country's share of a role is counted in: 1000 x the least common multiple of 1, 15 and 63.
const UNIT: u64 = 315;

/// How many of all people stand up to a sum of weights: rounded down, so that the last cell ends with the last of them.
fn people_upto(people: u64, weight: u128) -> u64 {
    (u128::from(people) * weight / (1000 * 1000 * u128::from(UNIT))) as u64
}

/// Who of a cell comes on its n-th visit: everybody once a round, in the first in order.
fn member(seed: u64, cell: &Cell, visits: u64) -> u64 {
    let (round, place) = (visits / cell.members, visits % cell.members);
    let block = place / cell.block;
    if round == 0 || cell.block == 1 || (block + 1) * cell.block > cell.members {
        return place;
    }
    // x -> a x + c, then x ^ x >> b/2: each undoes nothing of the other and loses none, for odd a.
    let hash = mix2(seed ^ cell.first, mix2(round, block));
    let mask = cell.block - 1;
    let mixed = (place & mask).wrapping_mul(hash | 1).wrapping_add(hash >> 32) & mask;
    let shift = (mask.count_ones() / 2).max(1);
    block * cell.block + ((mixed ^ mixed >> shift) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// 2026-11-22T00:00:00Z.
    const BEGIN: Micros = Micros(1_795_305_600 * Micros::SECOND);

    fn population(people: u64, rate: Rate) -> Population {
        Population::new(5, people, rate, BEGIN).expect("enough people")
    }

    #[test]
    fn everybody_stands_in_one_cell() {
        for people in [PEOPLE_MIN, 1_000, 99_991, 100_000, 80_000_000, PEOPLE_MAX] {
            let p = population(people, Rate { per_s: people as f64 / 2900.0, daily: false });
            assert_eq!(p.cells.iter().map(|c| c.members).sum::<u64>(), people);
            assert!(p.cells.windows(2).all(|w| w[0].first + w[0].members == w[1].first));
            for (role, of_people, ..) in ROLES {
                let n: u64 = p.cells.iter().filter(|c| c.role == role).map(|c| c.members).sum();
                assert!(n.abs_diff(people * of_people / 1000) <= 1, "{n} {role:?} of {people}");
            }
            assert_eq!(p.person(people - 1).map(|p| p.role), Some(Role::Shopper));
            assert_eq!(p.person(people), None);
        }
    }

    #[test]
    fn everybody_comes_once_a_round_and_never_too_soon() {
        let mut p = population(3_000, Rate { per_s: 1.0, daily: true });
        let mut last: BTreeMap<u64, (u64, i64)> = BTreeMap::new();
        let mut again = 0;
        while p.next_at().0 < BEGIN.0 + 20 * 86_400 * Micros::SECOND {
            let a = p.arrive();
            let visits = last.get(&a.person.number).map(|(visit, at)| (visit + 1, *at));
            assert_eq!(a.visit, visits.map_or(0, |v| v.0), "{a:?}");
            if let Some((_, at)) = visits {
                again += 1;
                assert!(a.at.0 - at > a.longest_us + 30 * 60 * Micros::SECOND, "{} s apart", (a.at.0 - at) / 1_000_000);
            }
            last.insert(a.person.number, (a.visit, a.at.0));
        }
        assert!(again > 10_000 && last.len() > 2_800, "{again} came again, {} came", last.len());
    }

    #[test]
    fn the_busy_are_few_and_the_many_come_rarely() {
        let mut p = population(20_000, Rate { per_s: 6.9, daily: false });
        let mut visits: BTreeMap<u64, u32> = BTreeMap::new();
        while p.next_at().0 < BEGIN.0 + 8 * 86_400 * Micros::SECOND {
            let a = p.arrive();
            if a.person.role == Role::Shopper {
                *visits.entry(a.person.number).or_default() += 1;
            }
        }
        let mut counts: Vec<u32> = visits.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let all: u32 = counts.iter().sum();
        let busy: u32 = counts[..counts.len() / 50].iter().sum();
        assert!((13..26).contains(&(busy * 100 / all)), "the busiest 2 % make {} %", busy * 100 / all);
    }

    #[test]
    fn too_high_a_rate_says_how_many_people_it_needs() {
        let rate = Rate { per_s: 10_000.0, daily: false };
        let least = Population::new(5, 100_000, rate, BEGIN).err().expect("too few");
        assert!(least > 1_000_000, "{least}");
        assert!(Population::new(5, least, rate, BEGIN).is_ok());
        assert!(Population::new(5, least * 95 / 100, rate, BEGIN).is_err());
    }

    #[test]
    fn a_listing_has_a_seller_and_a_seller_has_listings() {
        let p = population(50_000, Rate { per_s: 1.0, daily: false });
        let mut draws = Draws::new(1);
        for listing in (0..125_000).step_by(777) {
            let seller = p.seller(listing);
            assert_eq!(p.person(seller).map(|p| p.role), Some(Role::Seller));
            let own = p.own_listing(seller, 125_000, &mut draws);
            assert_eq!(p.seller(own), seller);
        }
    }
}
