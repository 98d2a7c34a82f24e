//! What it costs to say where a visit came from, and from which network:
//! `cargo run --release -p ouzel-lookup --example where_from -- [ASN.csv.gz]`

#![allow(clippy::disallowed_methods)] // it measures, and reads the files it is given

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use enrich::enricher::{Campaign, CampaignMap, cross_domain, referrer};
use ouzel_lookup::{ListKind, Network, NetworkPart, Referrers};

/// Many short ones: the machine does other things too.
const ROUNDS: usize = 200;

/// (page, referrer): as web events have them. One in three has a campaign.
const VISITS: [(&str, &str); 6] = [
    (
        "https://www.shop.example/products/blue-suede-shoes?color=blue&size=42",
        "https://www.shop.example/search?q=shoes",
    ),
    (
        "https://www.shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale&utm_term=blue+shoes&gclid=EAIaIQobChMIx",
        "https://www.google.com/",
    ),
    ("https://www.shop.example/cart", ""),
    (
        "https://www.shop.example/blog/how-to-care-for-suede",
        "https://www.bing.com/search?q=how+to+care+for+suede&form=QBLH",
    ),
    (
        "https://www.shop.example/?fbclid=IwAR0abcdefghijklmnopqrstuvwxyz&_sp=4b1f7c2e-9d5a.1426245561368",
        "https://l.facebook.com/",
    ),
    ("https://www.shop.example/products/7?ref=partner&page=2", "https://some.blog.example.net/2026/11/shoes.html"),
];

fn main() {
    visits();
    if let Some(path) = std::env::args().nth(1) {
        networks(&path);
    }
}

fn visits() {
    let texts = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let clicks =
        ["gclid", "wbraid", "gbraid", "dclid", "msclkid", "fbclid", "ttclid", "twclid", "li_fat_id", "yclid", "epik"];
    let map = CampaignMap {
        source: texts(&["utm_source", "mkt_source"]),
        medium: texts(&["utm_medium", "mkt_medium"]),
        name: texts(&["utm_campaign", "mkt_campaign"]),
        term: texts(&["utm_term", "mkt_term"]),
        content: texts(&["utm_content", "mkt_content"]),
        click_ids: clicks.map(|p| (p.to_owned(), "Network".to_owned())).to_vec(),
    };
    let campaign = Campaign::new(&map);
    let internal = [b"other.example".to_vec(), b"localhost".to_vec()];
    let referrers = Referrers::builtin();

    let each = |work: &mut dyn FnMut(&str, &str, &mut Vec<u8>)| {
        let mut out = Vec::with_capacity(1024);
        best(VISITS.len() * 500, || {
            for _ in 0..500 {
                for (page, from) in VISITS {
                    out.clear();
                    work(black_box(page), black_box(from), &mut out);
                    black_box(&out);
                }
            }
        })
    };
    let (c, own) = (
        each(&mut |page, _, out| campaign.write(page.as_bytes(), None, out)),
        Some(&br#"{"source":"newsletter","medium":"email","name":"autumn"}"#[..]),
    );
    let c_own = each(&mut |page, _, out| campaign.write(page.as_bytes(), own, out));
    let x = each(&mut |page, _, out| _ = cross_domain::write(page.as_bytes(), out));
    // What is asked for is decided once, and answered; what is not asked is decided again when it is written.
    let decide = |page: &str, from: &str| {
        let visit = referrer::visit(page.as_bytes(), Some(from.as_bytes().into()), &internal);
        matches!(black_box(visit), referrer::Visit::From(_))
    };
    let r = each(&mut |page, from, out| {
        if decide(page, from) {
            referrers.referrer(from.as_bytes(), out);
        } else {
            decide(page, from);
        }
    });
    println!("campaign {c:.0} ns (with one of the event's own {c_own:.0}), cross-domain {x:.0} ns, referrer {r:.0} ns");
    println!("together {:.0} ns an event", c + x + r);
}

fn networks(path: &str) {
    let bytes = std::fs::read(path).expect("readable");
    let started = Instant::now();
    let part = Arc::new(NetworkPart::asn("asn.csv.gz", bytes).expect("a table"));
    println!("{} ranges in {:.1} MB, read in {:.0?}", part.len(), part.bytes() as f64 / 1e6, started.elapsed());
    let lines: String =
        (0..20_000u32).map(|n| format!("{}/24\n", Ipv4Addr::from_bits(n.wrapping_mul(214_748) & !0xff))).collect();
    let list = NetworkPart::list(ListKind::Proxy, "list.txt", lines.as_bytes()).expect("a list");
    let started = Instant::now();
    let network = Network::of(vec![part, Arc::new(list)]);
    println!("a list of 20,000 joined in {:.1?}", started.elapsed());
    let mut state = 88_172_645_463_325_252u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let v4: Vec<IpAddr> = (0..200_000).map(|_| IpAddr::V4((random() as u32).into())).collect();
    let v6: Vec<IpAddr> =
        (0..200_000).map(|_| IpAddr::V6((0x2600 << 112 | u128::from(random()) << 48).into())).collect();
    let few: Vec<IpAddr> = v4.iter().take(1_000).copied().cycle().take(200_000).collect();
    for (what, ips) in [("IPv4 at random", &v4), ("of 1,000 IPv4", &few), ("IPv6", &v6)] {
        let mut out = Vec::with_capacity(1024);
        let mut rounds = ips.chunks_exact(2_000).cycle();
        let ns = best(2_000, || {
            for ip in rounds.next().expect("a cycle has no end") {
                out.clear();
                black_box(network.network(*ip, &mut out));
            }
        });
        println!("{what}: {ns:.0} ns a lookup");
    }
}

/// Nanoseconds of one in the best of some rounds.
fn best(count: usize, mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let started = Instant::now();
        round();
        started.elapsed().as_nanos() as f64 / count as f64
    });
    times.fold(f64::MAX, f64::min)
}
