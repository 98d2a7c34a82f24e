//! What there is to draw from: tables, and what is made of them once.
//!
//! * [`country`]: countries with their clocks and money
//! * [`network`], `ranges`: real networks, and the address a line in one has
//! * [`agent`], [`crawler`]: user agents, and who crawls with which from where
//! * [`goods`]: categories and listings, each known from its number
//! * [`entry`]: how people come: referrers, campaigns, click ids
//! * [`names`]: what people give when they sign up

pub mod agent;
pub mod country;
pub mod crawler;
pub mod entry;
pub mod goods;
pub mod names;
pub mod network;
mod ranges;

pub use agent::{Agents, Platform};
pub use country::{COUNTRIES, Country};
pub use goods::{CATEGORIES, Catalogue, Listing};
pub use network::{Address, Network, Range};
pub use ranges::NetworkKind;

use crawler::CRAWLERS;

/// The tables, read.
pub struct World {
    pub agents: Agents,
    /// By country, in the order of [`COUNTRIES`].
    networks: Vec<Vec<Network>>,
    hosting: Vec<Network>,
    crawlers: Vec<Vec<Range>>,
}

impl World {
    pub fn new() -> World {
        let ranges = |text: &str| text.split(' ').map(|r| Range::parse(r).expect("a table's range")).collect();
        World {
            agents: Agents::new(),
            networks: COUNTRIES.iter().map(|c| c.networks.iter().map(Network::of).collect()).collect(),
            hosting: ranges::HOSTING.iter().map(Network::of).collect(),
            crawlers: CRAWLERS.iter().map(|c| ranges(c.ranges)).collect(),
        }
    }

    /// A country's network of a kind, from a hash of who is in it. Every country has fixed and mobile ones; hosting and
    /// VPNs are of no country.
    pub fn network(&self, country: u8, kind: NetworkKind, hash: u64) -> &Network {
        let all = match kind {
            NetworkKind::Fixed | NetworkKind::Mobile => &self.networks[usize::from(country)],
            NetworkKind::Hosting | NetworkKind::Vpn => &self.hosting,
        };
        let of_kind = all.iter().filter(|n| n.kind == kind);
        let at = crate::rng::scale(hash, of_kind.clone().count() as u64);
        of_kind.into_iter().nth(at as usize).expect("every kind has a network")
    }

    /// The ranges of a crawler, by its place in [`CRAWLERS`].
    pub fn crawler_ranges(&self, crawler: u8) -> &[Range] {
        &self.crawlers[usize::from(crawler)]
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_homes_and_phones() {
        let world = World::new();
        for country in 0..COUNTRIES.len() as u8 {
            for kind in [NetworkKind::Fixed, NetworkKind::Mobile, NetworkKind::Hosting, NetworkKind::Vpn] {
                for hash in [0, u64::MAX / 2, u64::MAX] {
                    assert_eq!(world.network(country, kind, hash).kind, kind);
                }
            }
        }
    }

    #[test]
    fn crawlers_agents_stand_in_the_order_of_crawlers() {
        let world = World::new();
        let of = world.agents.of(Platform::Crawler);
        let texts: Vec<&str> = of.map(|i| world.agents.agent(i as u16).text.as_str()).collect();
        let table: Vec<&str> = CRAWLERS.iter().flat_map(|c| c.agents.iter().copied()).collect();
        assert_eq!(texts, table);
    }
}
