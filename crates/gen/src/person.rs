//! People, each known from a number: nothing about anybody is kept.
//!
//! A person's past is known from the number of visits so far (`visit`, from 0): when an account was opened, and on which
//! visit each device was first signed in on.

use event::Micros;

use crate::curve;
use crate::id::Visitor;
use crate::rng::{Draws, mix2, scale};
use crate::world::{Address, COUNTRIES, NetworkKind, Platform, World, crawler::CRAWLERS};
use crate::zipf;

/// What somebody is in the marketplace. Attackers will be roles of their own, with cells in the population and a script
/// beside the others in `session`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// Says so in its agent.
    Crawler,
    /// Does not say so: a browser's agent on a machine in a data centre, and a clock's regularity.
    Scraper,
    /// Sells, and buys too.
    Seller,
    Shopper,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Crawler, Role::Scraper, Role::Seller, Role::Shopper];

    pub fn name(self) -> &'static str {
        match self {
            Role::Crawler => "crawler",
            Role::Scraper => "scraper",
            Role::Seller => "seller",
            Role::Shopper => "shopper",
        }
    }

    pub fn is_bot(self) -> bool {
        matches!(self, Role::Crawler | Role::Scraper)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person {
    pub number: u64,
    pub role: Role,
    pub country: u8,
    seed: u64,
    hash: u64,
}

/// A browser on a machine, with the identity it keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    pub visitor: Visitor,
    pub platform: Platform,
    /// Of [`World::agents`].
    pub agent: u16,
    /// Of the platform's screens.
    pub screen: u8,
    /// Set to English, whatever is spoken around it.
    pub english: bool,
    hash: u64,
}

/// Where somebody is online.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Home,
    Work,
    Mobile,
    Vpn,
    /// In a data centre.
    Hosting,
}

impl Place {
    pub fn name(self) -> &'static str {
        match self {
            Place::Home => "home",
            Place::Work => "work",
            Place::Mobile => "mobile",
            Place::Vpn => "vpn",
            Place::Hosting => "hosting",
        }
    }
}

/// The most devices a person has.
pub const DEVICES_MAX: u8 = 3;
/// People an office has, in the mean.
const OFFICE: u64 = 60;
/// Of a thousand people who are no members yet, this many join on each visit.
const JOIN_PER_MILLE: u64 = 60;

// Salts: what is derived from one number must not hang together.
const PERSON: u64 = 0x0000_7065_7273_6f6e;
const USER: u64 = 0x0000_7573_6572;
const DEVICE: u64 = 0x6465_7669_6365;
const LINE: u64 = 0x6c69_6e65;
const WORK: u64 = 0x776f_726b;

impl Person {
    pub fn new(seed: u64, number: u64, role: Role, country: u8) -> Person {
        Person { number, role, country, seed, hash: mix2(seed ^ PERSON, number) }
    }

    /// The account this person has, or will have; machines have none.
    pub fn user(&self) -> Option<Visitor> {
        (!self.role.is_bot()).then(|| user_of(self.seed, self.number))
    }

    /// The visit on which the account is opened; `None`: it was there before the first.
    pub fn joins(&self) -> Option<u64> {
        if self.role == Role::Seller || self.hash % 100 < 62 {
            return None;
        }
        // A thousandth at a time, so that on every visit the same share of those who are left join.
        let mut left = scale(self.hash.rotate_left(7), 1000);
        let mut visit = 0;
        while left >= JOIN_PER_MILLE {
            left = (left - JOIN_PER_MILLE) * 1000 / (1000 - JOIN_PER_MILLE);
            visit += 1;
        }
        Some(visit)
    }

    pub fn devices(&self) -> u8 {
        match (self.role, self.hash >> 8 & 15) {
            (Role::Crawler | Role::Scraper, _) => 1,
            (_, 0..7) => 1,
            (_, 7..13) => 2,
            _ => DEVICES_MAX,
        }
    }

    /// Machines keep no cookies: each visit of one is on a new device.
    pub fn keeps_devices(&self) -> bool {
        !self.role.is_bot()
    }

    /// A device, from 0 to [`Person::devices`].
    pub fn device(&self, world: &World, device: u8, visit: u64) -> Device {
        let hash = mix2(self.hash ^ DEVICE, u64::from(device));
        let platform = self.platform(device, hash);
        let own = if self.keeps_devices() { hash } else { mix2(hash, visit) };
        let agent = match self.role {
            Role::Crawler => {
                let crawler = self.crawler();
                let before: usize = CRAWLERS[..usize::from(crawler)].iter().map(|c| c.agents.len()).sum();
                let own = scale(hash, CRAWLERS[usize::from(crawler)].agents.len() as u64) as usize;
                (world.agents.of(Platform::Crawler).start + before + own) as u16
            }
            _ => world.agents.draw(platform, hash),
        };
        Device {
            visitor: Visitor::device(mix2(own, self.seed)),
            platform,
            agent,
            screen: (hash >> 40) as u8 % platform.screens().len() as u8,
            english: self.role.is_bot() || hash >> 48 & 15 == 0,
            hash,
        }
    }

    fn platform(&self, device: u8, hash: u64) -> Platform {
        match self.role {
            Role::Crawler => return Platform::Crawler,
            Role::Scraper if hash & 3 > 0 => return Platform::Headless,
            Role::Scraper => return Platform::Windows,
            Role::Seller | Role::Shopper => {}
        }
        let phone_first = self.hash >> 12 & 7 < 5;
        let iphone = hash >> 32 & 127 < COUNTRIES[usize::from(self.country)].iphones * 127 / 100;
        match (device, phone_first) {
            (0, true) | (1, false) => {
                if iphone {
                    Platform::Iphone
                } else {
                    Platform::Android
                }
            }
            (2, _) if hash & 1 == 0 => Platform::Tablet,
            _ => match hash >> 16 & 31 {
                0..20 => Platform::Windows,
                20..29 => Platform::Mac,
                _ => Platform::Linux,
            },
        }
    }

    /// The visit on which a device is first signed in on; `None`: it has been for long.
    pub fn links(&self, device: u8) -> Option<u64> {
        let hash = mix2(self.hash ^ 0x6c69_6e6b, u64::from(device));
        let later = device > 0 && hash % 100 < 35;
        match (self.joins(), later) {
            (None, false) => None,
            (None, true) => Some(1 + hash % 12),
            (Some(joins), _) => Some(joins + u64::from(device) * (1 + hash % 4)),
        }
    }

    /// Which of the devices a visit is on: mostly the first.
    pub fn device_of_visit(&self, visit: u64) -> u8 {
        let of_100 = scale(mix2(self.hash ^ 0x0075_7365, visit), 100);
        match (self.devices(), of_100) {
            (1, _) | (_, 0..66) => 0,
            (2, _) | (_, 66..86) => 1,
            _ => 2,
        }
    }

    /// Where this person is on a visit.
    pub fn place(&self, platform: Platform, visit: u64, time: Micros) -> Place {
        match self.role {
            Role::Crawler => return Place::Hosting,
            Role::Scraper => return if self.has_vpn() { Place::Vpn } else { Place::Hosting },
            Role::Seller | Role::Shopper => {}
        }
        let of_100 = scale(mix2(self.hash ^ LINE, visit), 100);
        let (_, works_now) = curve::local_hour(time, COUNTRIES[usize::from(self.country)].offset_min);
        if self.has_vpn() && of_100 < 60 {
            Place::Vpn
        } else if platform.is_phone() && of_100 >= 62 {
            Place::Mobile
        } else if !platform.is_phone() && platform != Platform::Tablet && works_now && self.has_office() {
            Place::Work
        } else {
            Place::Home
        }
    }

    pub fn has_vpn(&self) -> bool {
        match self.role {
            Role::Crawler => false,
            Role::Scraper => self.hash >> 20 & 3 == 0,
            Role::Seller | Role::Shopper => self.hash >> 24 & 31 == 0,
        }
    }

    pub fn has_office(&self) -> bool {
        !self.role.is_bot() && self.hash >> 29 & 15 < 7
    }

    pub fn network<'w>(&self, world: &'w World, place: Place) -> Option<&'w crate::world::Network> {
        let kind = match place {
            Place::Home => NetworkKind::Fixed,
            Place::Mobile => NetworkKind::Mobile,
            Place::Vpn => NetworkKind::Vpn,
            Place::Hosting if self.role == Role::Crawler => return None,
            Place::Hosting => NetworkKind::Hosting,
            Place::Work => {
                return Some(world.network(self.country, NetworkKind::Fixed, mix2(self.company(), WORK)));
            }
        };
        Some(world.network(self.country, kind, self.hash.rotate_left(17)))
    }

    /// The address of a visit. Homes and machines keep theirs, colleagues share one, mobile networks and VPNs give another
    /// on each visit, one that others have too.
    pub fn address(&self, world: &World, device: &Device, place: Place, visit: u64) -> Address {
        let line = match place {
            Place::Home | Place::Hosting => mix2(self.hash, LINE),
            Place::Mobile | Place::Vpn => mix2(self.hash ^ LINE, visit),
            Place::Work => self.company(),
        };
        match self.network(world, place) {
            // Behind an office's router there is one address for all.
            Some(network) if place == Place::Work => network.v4[0].address(line),
            Some(network) => network.address(line, mix2(device.hash, 6)),
            None => {
                let ranges = world.crawler_ranges(self.crawler());
                ranges[scale(self.hash << 16, ranges.len() as u64) as usize].address(line)
            }
        }
    }

    /// A number that colleagues share.
    fn company(&self) -> u64 {
        // Numbers of one country stand together, so that colleagues mostly live in one; the country makes it sure.
        mix2(self.seed ^ WORK, self.number / OFFICE * 64 + u64::from(self.country))
    }

    /// Of [`CRAWLERS`].
    pub fn crawler(&self) -> u8 {
        zipf::rank(CRAWLERS.len() as u64, 2, &mut Draws::new(self.hash)) as u8
    }

    /// A hash for what belongs to this person and to nothing else here.
    pub fn own(&self, salt: u64) -> u64 {
        mix2(self.hash, salt)
    }
}

impl Device {
    /// How far this device's clock is off, when `per_million` of all are: up to four minutes either way, in
    /// microseconds. More would make its events `future` where clocks are not corrected.
    pub fn skew_us(&self, per_million: u32) -> i64 {
        let mut draws = Draws::new(self.hash ^ 0x736b_6577);
        if draws.below(1_000_000) >= u64::from(per_million) {
            return 0;
        }
        let micros = draws.spread(Micros::SECOND as u64, 8).min(240 * Micros::SECOND as u64) as i64;
        if draws.below(2) == 0 { micros } else { -micros }
    }
}

/// The account of the person with that number.
pub fn user_of(seed: u64, number: u64) -> Visitor {
    Visitor::user(mix2(seed ^ USER, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_joins_is_the_same_on_every_visit() {
        let mut joined = [0u32; 40];
        let mut members = 0;
        for number in 0..40_000 {
            match Person::new(1, number, Role::Shopper, 0).joins() {
                None => members += 1,
                Some(visit) if visit < 40 => joined[visit as usize] += 1,
                Some(_) => {}
            }
        }
        assert!((24_000..25_600).contains(&members), "{members}");
        let mut left = 40_000 - members;
        for (visit, n) in joined.into_iter().enumerate().take(20) {
            let share = f64::from(n) / f64::from(left);
            assert!((0.04..0.085).contains(&share), "visit {visit}: {share}");
            left -= n;
        }
    }

    #[test]
    fn a_device_is_signed_in_on_after_the_account_is_opened() {
        for number in 0..10_000 {
            let person = Person::new(1, number, Role::Shopper, 0);
            for device in 0..person.devices() {
                if let (Some(joins), Some(links)) = (person.joins(), person.links(device)) {
                    assert!(links >= joins && (device > 0 || links == joins));
                }
            }
        }
    }

    #[test]
    fn people_are_where_they_say() {
        let world = World::new();
        // 2026-11-24T10:00:00Z, a Tuesday.
        let tuesday = Micros(1_795_514_400 * Micros::SECOND);
        let mut places = [0u32; 5];
        for number in 0..20_000 {
            let person = Person::new(1, number, Role::Shopper, (number % COUNTRIES.len() as u64) as u8);
            let device = person.device(&world, 0, 3);
            let place = person.place(device.platform, 3, tuesday);
            places[place as usize] += 1;
            let address = person.address(&world, &device, place, 3);
            let network = person.network(&world, place).expect("people have networks");
            assert!(
                address.is_v6() == network.v6.is_some() && address.is_v6()
                    || network.v4.iter().any(|r| r.contains(address))
            );
            assert_eq!(address, person.address(&world, &device, place, 3));
        }
        assert!(places[..4].iter().all(|n| *n > 300), "{places:?}");
    }

    #[test]
    fn clocks_are_off_by_at_most_four_minutes() {
        let world = World::new();
        let mut off = 0;
        for number in 0..20_000 {
            let device = Person::new(1, number, Role::Shopper, 0).device(&world, 0, 0);
            assert_eq!(device.skew_us(0), 0);
            let skew = device.skew_us(20_000);
            assert!(skew.abs() <= 240 * Micros::SECOND && (skew == 0 || skew.abs() >= Micros::SECOND));
            off += u32::from(skew != 0);
        }
        assert!((320..480).contains(&off), "{off} of 20,000 clocks");
    }
}
