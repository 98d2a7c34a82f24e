//! What there is to draw from: addresses, agents, languages, screens, goods, words.

use crate::rng::{Rng, mix2};

/// Addresses in the world. Far more than any cache of an enricher is tempted to keep.
pub const ADDRESSES: u64 = 65_536;
/// Agents in the world.
pub const AGENTS: u32 = 6_000;

/// First octets given to registries and providers all over the world and routed for decades; no private, shared,
/// multicast or documentation range begins with one of them.
const OCTETS: &[u8] = &[
    2, 5, 12, 14, 24, 27, 31, 36, 37, 41, 46, 49, 58, 59, 60, 61, 62, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76,
    77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 101, 103, 105, 109,
    110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 151, 154, 173, 174, 175, 176, 177,
    178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 193, 194, 195, 196, 197, 200, 201, 202, 210,
    211, 212, 213, 216, 217, 218, 219, 220, 221, 222,
];

/// Appends the text of address `n`: one in sixteen is IPv6, of the ranges European and American providers hold.
pub fn address(seed: u64, n: u64, out: &mut Vec<u8>) {
    let h = mix2(seed ^ 0x0061_6464_7265_7373, n % ADDRESSES);
    let b = h.to_le_bytes();
    if b[7] & 15 == 0 {
        let prefix = if b[6] & 1 == 0 { "2a02" } else { "2601" };
        let part = |i: usize| u16::from_le_bytes([b[i], b[i + 1]]) | 1;
        put(out, format_args!("{prefix}:{:x}:{:x}:{:x}::{:x}", part(0), part(2), part(4), n % ADDRESSES));
    } else {
        let first = OCTETS[usize::from(u16::from_le_bytes([b[0], b[1]])) % OCTETS.len()];
        for (i, octet) in [first, b[2], b[3], b[4] % 254 + 1].into_iter().enumerate() {
            if i > 0 {
                out.push(b'.');
            }
            event::json::write_number(u64::from(octet), out);
        }
    }
}

/// Every agent, the common kinds first.
pub fn agents(seed: u64) -> Vec<String> {
    let mut rng = Rng::new(seed ^ 0x0061_6765_6e74);
    let mut seen = std::collections::BTreeSet::new();
    let mut agents = Vec::with_capacity(AGENTS as usize);
    while agents.len() < AGENTS as usize {
        let agent = agent(&mut rng);
        if seen.insert(agent.clone()) {
            agents.push(agent);
        }
    }
    agents
}

fn agent(rng: &mut Rng) -> String {
    let chrome = rng.between(88, 142);
    let build = rng.between(0, 240);
    let (ios, minor) = (rng.between(13, 19), rng.between(0, 7));
    match rng.below(100) {
        0..28 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.{}.{build} Safari/537.36",
            chrome * 50 - 400
        ),
        28..42 => format!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.{}.{build} Safari/537.36",
            chrome * 50 - 400
        ),
        42..62 => format!(
            "Mozilla/5.0 (Linux; Android {}; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.{}.{build} Mobile Safari/537.36",
            rng.between(8, 16),
            rng.pick(PHONES),
            chrome * 50 - 400
        ),
        62..80 => format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS {ios}_{minor} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{ios}.{minor} Mobile/15E{} Safari/604.1",
            rng.between(100, 360)
        ),
        80..88 => format!(
            "Mozilla/5.0 ({}; rv:{v}.0) Gecko/20100101 Firefox/{v}.0",
            rng.pick(&["Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X 10.15"]),
            v = rng.between(78, 140)
        ),
        88..94 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36 Edg/{chrome}.0.{}.{build}",
            rng.between(700, 3100)
        ),
        94..98 => format!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_{}_{}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{ios}.{minor} Safari/605.1.15",
            rng.between(12, 16),
            rng.between(0, 8)
        ),
        _ => format!(
            "Mozilla/5.0 (compatible; {}/{}.{}; +http://www.example.com/bot.html)",
            rng.pick(&["Googlebot", "bingbot", "AhrefsBot", "YandexBot", "SemrushBot"]),
            rng.between(1, 8),
            rng.between(0, 10)
        ),
    }
}

const PHONES: &[&str] = &[
    "SM-G991B",
    "SM-G998U",
    "SM-A515F",
    "SM-A127F",
    "SM-S918B",
    "SM-S921U",
    "Pixel 5",
    "Pixel 6a",
    "Pixel 7",
    "Pixel 8 Pro",
    "M2101K6G",
    "M2007J20CG",
    "Redmi Note 8",
    "Redmi Note 11",
    "CPH2219",
    "CPH2385",
    "moto g(60)",
    "moto e20",
    "ONEPLUS A6013",
    "LM-Q720",
    "VOG-L29",
    "ELE-L29",
    "V2043",
    "RMX3085",
];

pub const LOCALES: &[&str] =
    &["en-US", "en-GB", "de-DE", "fr-FR", "es-ES", "es-MX", "pt-BR", "it-IT", "nl-NL", "pl-PL", "ja-JP", "zh-CN"];
pub const ZONES: &[&str] = &[
    "America/Los_Angeles",
    "America/New_York",
    "Europe/Berlin",
    "Europe/Paris",
    "Europe/London",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "Asia/Shanghai",
];
pub const SCREENS: &[(u16, u16, u8)] =
    &[(1920, 1080, 1), (1536, 864, 1), (2560, 1440, 2), (1440, 900, 2), (390, 844, 3), (412, 915, 3), (360, 800, 3)];
pub const REFERRERS: &[&str] = &[
    "",
    "",
    "https://www.google.com/",
    "https://www.bing.com/search?q=second+hand+bicycle",
    "https://duckduckgo.com/",
    "https://www.facebook.com/",
    "https://t.co/Zx81kQpLm2",
    "https://mail.google.com/",
    "https://www.reddit.com/r/BuyItForLife/",
    "https://blog.example.org/ten-things-worth-repairing",
];
/// Type and name of what a visitor does, in the order of how common it is.
pub const ACTIONS: &[(&str, &str)] = &[
    ("track", "Listing Viewed"),
    ("page", "Listing"),
    ("track", "Search Performed"),
    ("track", "Listing Saved"),
    ("track", "Cart Updated"),
    ("track", "Message Sent"),
    ("track", "Checkout Started"),
    ("track", "Order Completed"),
    ("track", "Signed In"),
];
pub const CATEGORIES: &[&str] =
    &["bicycles", "cameras", "furniture", "books", "garden", "instruments", "toys", "tools"];
pub const CURRENCIES: &[&str] = &["EUR", "USD", "GBP", "BRL", "JPY", "PLN"];
pub const CAMPAIGNS: &[&str] = &["spring_sale", "newsletter-48", "brand", "retargeting_de", "app_install"];
pub const WORDS: &[&str] = &[
    "solid",
    "oak",
    "table",
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
    "vintage",
    "lens",
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
    "caf\u{e9}",
    "racer",
    "na\u{ef}ve",
    "34\u{20ac}",
    "frame",
    "size",
];

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    use std::fmt::Write;
    let mut s = String::with_capacity(40);
    let _ = s.write_fmt(text);
    out.extend_from_slice(s.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_enough_addresses_and_agents_and_all_are_public() {
        let mut seen = BTreeSet::new();
        for n in 0..ADDRESSES {
            let mut text = Vec::new();
            address(9, n, &mut text);
            let ip: std::net::IpAddr = String::from_utf8(text).expect("text").parse().expect("an address");
            if let std::net::IpAddr::V4(v4) = ip {
                assert!(!v4.is_private() && !v4.is_documentation() && !v4.is_multicast() && !v4.is_loopback(), "{v4}");
            }
            seen.insert(ip);
        }
        assert!(seen.len() >= 50_000, "{}", seen.len());
        assert!(agents(9).len() >= 5_000);
    }
}
