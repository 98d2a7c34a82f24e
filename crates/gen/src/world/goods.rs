//! What is sold: listings, each known from its number.

use crate::rng::{Draws, mix2, pick, scale};
use crate::zipf;

pub struct Category {
    pub slug: &'static str,
    /// Things, with what one costs used, in euros.
    pub things: &'static [(&'static str, u64)],
}

/// The popular ones first.
pub const CATEGORIES: &[Category] = &[
    Category {
        slug: "women-clothing",
        things: &[("jacket", 35), ("dress", 25), ("jeans", 20), ("sweater", 18), ("skirt", 14), ("Mantel", 45)],
    },
    Category {
        slug: "shoes",
        things: &[("sneakers", 45), ("boots", 50), ("sandals", 20), ("running shoes", 40), ("loafers", 35)],
    },
    Category {
        slug: "kids",
        things: &[("stroller", 120), ("car seat", 60), ("Kinderwagen", 110), ("pyjamas", 8), ("wooden train", 25)],
    },
    Category {
        slug: "men-clothing",
        things: &[("jacket", 45), ("shirt", 15), ("hoodie", 22), ("jeans", 24), ("suit", 80), ("pull en laine", 28)],
    },
    Category {
        slug: "bags",
        things: &[("backpack", 30), ("handbag", 60), ("suitcase", 45), ("tote bag", 18), ("sac à main", 70)],
    },
    Category {
        slug: "phones",
        things: &[("iPhone 13", 280), ("Galaxy S23", 320), ("Pixel 7", 230), ("phone case", 9), ("charger", 12)],
    },
    Category {
        slug: "games",
        things: &[
            ("PlayStation 5", 360),
            ("Switch console", 190),
            ("board game", 18),
            ("controller", 35),
            ("puzzle", 9),
        ],
    },
    Category {
        slug: "books",
        things: &[("novel", 5), ("cookbook", 9), ("comic", 6), ("atlas", 14), ("Bücherpaket", 20), ("manga set", 40)],
    },
    Category {
        slug: "furniture",
        things: &[("oak table", 220), ("armchair", 90), ("bookshelf", 60), ("Küchentisch", 140), ("sofa", 260)],
    },
    Category {
        slug: "bicycles",
        things: &[("road bike", 420), ("city bike", 180), ("vélo pliant", 240), ("e-bike", 980), ("kids bike", 70)],
    },
    Category {
        slug: "beauty",
        things: &[("perfume", 38), ("palette", 16), ("hair dryer", 30), ("crème", 12), ("nail set", 10)],
    },
    Category {
        slug: "electronics",
        things: &[("headphones", 60), ("monitor", 110), ("keyboard", 45), ("speaker", 55), ("Lautsprecher", 70)],
    },
    Category {
        slug: "cameras",
        things: &[("film camera", 90), ("50 mm lens", 120), ("tripod", 35), ("mirrorless body", 480), ("flash", 50)],
    },
    Category {
        slug: "garden",
        things: &[("lawn mower", 120), ("planter", 15), ("bench", 60), ("Gartenstuhl", 25), ("hose", 14)],
    },
    Category {
        slug: "sports",
        things: &[("skis", 140), ("tent", 80), ("yoga mat", 12), ("tennis racket", 45), ("kettlebell", 20)],
    },
    Category {
        slug: "instruments",
        things: &[("guitar", 160), ("keyboard", 220), ("violin", 190), ("amplifier", 130), ("ukulele", 35)],
    },
    Category {
        slug: "tools",
        things: &[("drill", 55), ("saw", 40), ("toolbox", 30), ("ladder", 45), ("Werkbank", 95)],
    },
    Category {
        slug: "collectibles",
        things: &[("coin", 30), ("stamp album", 45), ("trading cards", 22), ("vinyl record", 15), ("poster", 12)],
    },
    Category {
        slug: "toys",
        things: &[("building bricks", 35), ("doll", 14), ("plush bear", 10), ("race track", 30), ("Puppenhaus", 55)],
    },
    Category {
        slug: "car-parts",
        things: &[("winter tyres", 180), ("roof box", 150), ("rims", 240), ("dash cam", 40), ("jack", 25)],
    },
];

const BRANDS: &[&str] = &[
    "Nordwind",
    "Atelier Lune",
    "Kessel",
    "Brio & Sons",
    "Vantaa",
    "Solstice",
    "Maréchal",
    "Tilde",
    "Okapi",
    "Fjell",
    "Corvina",
    "Habanero",
    "Linden",
    "Pico",
    "Ørsund",
    "Quarry",
    "Rosalind",
    "Stellaria",
    "Umbra",
    "Zephyr",
];
const QUALITIES: &[&str] = &[
    "vintage",
    "like new",
    "barely used",
    "solid",
    "hand-made",
    "original",
    "small",
    "large",
    "refurbished",
    "rare",
    "light",
    "waterproof",
    "naïve-style",
    "limited",
    "second hand",
    "unboxed",
];
/// Words of descriptions and messages. None needs escaping in JSON.
pub const WORDS: &[&str] = &[
    "solid",
    "barely",
    "used",
    "from",
    "smoke-free",
    "home",
    "pick",
    "up",
    "only",
    "original",
    "box",
    "and",
    "papers",
    "included",
    "small",
    "scratch",
    "on",
    "the",
    "left",
    "side",
    "works",
    "like",
    "new",
    "battery",
    "replaced",
    "last",
    "year",
    "with",
    "case",
    "fits",
    "most",
    "models",
    "no",
    "returns",
    "please",
    "ask",
    "before",
    "buying",
    "shipping",
    "extra",
    "café",
    "34€",
    "frame",
    "size",
    "measured",
    "by",
    "hand",
    "très",
    "bon",
    "état",
    "gerne",
    "Abholung",
    "möglich",
    "kein",
    "Versand",
    "bundle",
    "discount",
    "clean",
    "washed",
    "once",
    "gift",
    "never",
    "opened",
];
pub const CONDITIONS: &[&str] = &["new_with_tag", "like_new", "very_good", "good", "good", "satisfactory"];

/// A listing of the marketplace's catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listing {
    pub number: u64,
    pub category: u8,
    hash: u64,
}

impl Listing {
    pub fn of(seed: u64, number: u64) -> Listing {
        let category = (number % CATEGORIES.len() as u64) as u8;
        Listing { number, category, hash: mix2(seed ^ 0x6c69_7374, number) }
    }

    pub fn category(&self) -> &'static Category {
        &CATEGORIES[usize::from(self.category)]
    }

    fn thing(&self) -> (&'static str, u64) {
        pick(self.category().things, self.hash)
    }

    pub fn condition(&self) -> &'static str {
        pick(CONDITIONS, self.hash >> 12)
    }

    /// Cents of the euro: 40 % to 240 % of what such a thing costs, in steps of 50 cents.
    pub fn cents(&self) -> u64 {
        let percent = 40 + scale(self.hash << 24, 200);
        (self.thing().1 * percent).div_ceil(50) * 50
    }

    pub fn photos(&self) -> u64 {
        1 + (self.hash >> 20) % 12
    }

    /// Appends its title.
    pub fn write_title(&self, out: &mut Vec<u8>) {
        for (n, word) in self.title().into_iter().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word.as_bytes());
        }
    }

    /// Appends `/l/17-vintage-road-bike`.
    pub fn write_path(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"/l/");
        event::json::write_number(self.number, out);
        for word in &self.title()[..2] {
            out.push(b'-');
            for b in word.bytes() {
                write_slug(b, out);
            }
        }
    }

    fn title(&self) -> [&'static str; 3] {
        [pick(QUALITIES, self.hash >> 28), self.thing().0, pick(BRANDS, self.hash >> 36)]
    }
}

/// Letters as they are, everything else as a dash or percent-encoded.
fn write_slug(b: u8, out: &mut Vec<u8>) {
    match b {
        b'A'..=b'Z' => out.push(b.to_ascii_lowercase()),
        b' ' => out.push(b'-'),
        _ => write_encoded(b, out),
    }
}

/// Appends a byte of a URL's query, percent-encoded where it must be.
pub fn write_encoded(b: u8, out: &mut Vec<u8>) {
    match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(b),
        b' ' => out.push(b'+'),
        _ => {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
        }
    }
}

/// All listings there are.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue {
    pub seed: u64,
    /// A multiple of the number of categories.
    pub listings: u64,
}

/// The best-sellers of a category are about equally wanted up to this rank.
const FLAT: u64 = 8;
/// Of those who look at a listing, what they look at next is this near in rank.
const NEAR: u64 = 12;

impl Catalogue {
    pub fn new(seed: u64, people: u64) -> Catalogue {
        let per_category = (people * 5 / 2).div_ceil(CATEGORIES.len() as u64).max(100);
        Catalogue { seed, listings: per_category * CATEGORIES.len() as u64 }
    }

    pub fn listing(&self, number: u64) -> Listing {
        Listing::of(self.seed, number)
    }

    /// A category by how popular it is.
    pub fn draw_category(draws: &mut Draws) -> u8 {
        zipf::rank(CATEGORIES.len() as u64, 4, draws) as u8
    }

    /// A listing of a category by how popular it is; with `near`, one that is looked at together with that one.
    pub fn draw(&self, category: u8, near: Option<u64>, draws: &mut Draws) -> u64 {
        let categories = CATEGORIES.len() as u64;
        let ranks = self.listings / categories;
        let rank = match near {
            Some(near) => {
                let rank = near / categories % ranks + draws.below(2 * NEAR + 1);
                rank.saturating_sub(NEAR).min(ranks - 1)
            }
            None => zipf::rank(ranks, FLAT, draws),
        };
        rank * categories + u64::from(category)
    }
}

/// Appends a search: a thing of the category, sometimes with more; `hash` is the query's.
pub fn write_query(category: u8, hash: u32, out: &mut Vec<u8>) {
    let category = &CATEGORIES[usize::from(category)];
    let hash = u64::from(hash);
    let thing = pick(category.things, hash).0;
    match hash >> 8 & 7 {
        0 => {
            out.extend_from_slice(pick(QUALITIES, hash >> 12).as_bytes());
            out.push(b' ');
            out.extend_from_slice(thing.as_bytes());
        }
        1 | 2 => {
            out.extend_from_slice(thing.as_bytes());
            out.push(b' ');
            out.extend_from_slice(pick(BRANDS, hash >> 12).as_bytes());
        }
        _ => out.extend_from_slice(thing.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_tables_needs_escaping() {
        let things =
            CATEGORIES.iter().flat_map(|c| c.things.iter().map(|t| t.0)).chain(CATEGORIES.iter().map(|c| c.slug));
        for text in things.chain(BRANDS.iter().copied()).chain(QUALITIES.iter().copied()).chain(WORDS.iter().copied()) {
            assert!(text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\'), "{text}");
        }
    }

    #[test]
    fn a_listing_is_the_same_whenever_it_is_asked_for() {
        let catalogue = Catalogue::new(4, 10_000);
        let mut draws = Draws::new(1);
        for _ in 0..1000 {
            let category = Catalogue::draw_category(&mut draws);
            let number = catalogue.draw(category, None, &mut draws);
            assert!(number < catalogue.listings);
            let listing = catalogue.listing(number);
            assert_eq!((listing.category, listing), (category, catalogue.listing(number)));
            assert!((50..400_000).contains(&listing.cents()), "{}", listing.cents());
            let near = catalogue.draw(category, Some(number), &mut draws);
            assert!(near.abs_diff(number) <= NEAR * CATEGORIES.len() as u64);
            let mut path = Vec::new();
            listing.write_path(&mut path);
            assert!(path.is_ascii() && !path.contains(&b' '), "{}", String::from_utf8_lossy(&path));
        }
    }
}
