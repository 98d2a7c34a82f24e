//! User agents: the families that people have in 2026, the newest versions first, and the long tail of browsers inside
//! apps, whose agents name the phone.

use std::collections::BTreeSet;

use crate::rng::{Draws, Rng};
use crate::zipf;

/// What a device is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Platform {
    Windows,
    Mac,
    Linux,
    Iphone,
    Android,
    Tablet,
    Crawler,
    /// A browser without a screen, on a machine in a data centre.
    Headless,
}

impl Platform {
    pub const ALL: [Platform; 8] = [
        Platform::Windows,
        Platform::Mac,
        Platform::Linux,
        Platform::Iphone,
        Platform::Android,
        Platform::Tablet,
        Platform::Crawler,
        Platform::Headless,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Platform::Windows => "windows",
            Platform::Mac => "mac",
            Platform::Linux => "linux",
            Platform::Iphone => "iphone",
            Platform::Android => "android",
            Platform::Tablet => "tablet",
            Platform::Crawler => "crawler",
            Platform::Headless => "headless",
        }
    }

    pub fn is_phone(self) -> bool {
        matches!(self, Platform::Iphone | Platform::Android)
    }

    /// As client hints name it. Scrapers that pretend to be on Windows forget these.
    fn hint(self) -> &'static str {
        match self {
            Platform::Windows => "Windows",
            Platform::Mac | Platform::Iphone => "macOS",
            Platform::Android | Platform::Tablet => "Android",
            _ => "Linux",
        }
    }

    /// (width, height, density) of the screens it has.
    pub fn screens(self) -> &'static [(u16, u16, u8)] {
        match self {
            Platform::Windows | Platform::Linux => {
                &[(1920, 1080, 1), (1536, 864, 1), (2560, 1440, 1), (1366, 768, 1), (1280, 720, 2), (3440, 1440, 1)]
            }
            Platform::Mac => &[(1440, 900, 2), (1512, 982, 2), (1728, 1117, 2), (1680, 1050, 2), (2560, 1440, 2)],
            Platform::Iphone => &[(390, 844, 3), (393, 852, 3), (430, 932, 3), (375, 812, 3), (414, 896, 2)],
            Platform::Android => &[(412, 915, 3), (360, 800, 3), (384, 854, 3), (393, 873, 3), (360, 780, 4)],
            Platform::Tablet => &[(810, 1080, 2), (820, 1180, 2), (1024, 1366, 2), (800, 1280, 2)],
            Platform::Crawler => &[(411, 731, 3), (1024, 1024, 1)],
            Platform::Headless => &[(800, 600, 1), (1280, 720, 1), (1920, 1080, 1)],
        }
    }
}

/// An agent as it is sent.
pub struct Agent {
    pub text: String,
    /// The JSON of `context.userAgentData`, which browsers made of Chromium send; empty for others.
    pub hints: String,
}

/// All agents, by platform.
pub struct Agents {
    agents: Vec<Agent>,
    /// Where each platform's begin, the common ones first.
    begins: [usize; Platform::ALL.len() + 1],
}

/// Agents of a platform are about equally common up to this rank: there is no one browser.
const FLAT: u64 = 12;

impl Agents {
    pub(super) fn new() -> Agents {
        let mut agents = Vec::with_capacity(10_000);
        let mut begins = [0; Platform::ALL.len() + 1];
        for (i, platform) in Platform::ALL.into_iter().enumerate() {
            let mut seen = BTreeSet::new();
            for text in texts(platform) {
                if seen.insert(text.clone()) {
                    agents.push(Agent { hints: hints(platform, &text), text });
                }
            }
            begins[i + 1] = agents.len();
        }
        Agents { agents, begins }
    }

    /// The agent of a device, from its hash.
    pub fn draw(&self, platform: Platform, hash: u64) -> u16 {
        let of = self.of(platform);
        let rank = zipf::rank(of.len() as u64, FLAT, &mut Draws::new(hash));
        (of.start + rank as usize) as u16
    }

    pub fn of(&self, platform: Platform) -> std::ops::Range<usize> {
        self.begins[platform as usize]..self.begins[platform as usize + 1]
    }

    pub fn agent(&self, index: u16) -> &Agent {
        &self.agents[usize::from(index)]
    }

    pub fn len(&self) -> usize {
        self.agents.len()
    }

    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }
}

const CHROME: std::ops::RangeInclusive<u32> = 116..=143;
const FIREFOX: [u32; 16] = [145, 144, 140, 143, 142, 128, 115, 141, 139, 138, 137, 136, 135, 134, 133, 132];
const SAFARI: [&str; 20] = [
    "26.1", "26.0", "18.6", "18.5", "17.6", "18.4", "18.3", "16.6", "18.2", "18.1", "17.5", "18.0", "17.4", "15.6",
    "17.3", "17.2", "17.1", "16.5", "16.3", "15.5",
];
/// Versions of iOS, the common ones first.
const IOS: [&str; 24] = [
    "18_7", "18_6", "18_5", "26_1", "18_6_2", "17_7", "18_4", "18_3_2", "17_6_1", "16_7", "18_2", "18_1_1", "17_5_1",
    "15_8", "26_0_1", "18_0_1", "17_4_1", "17_3", "16_6", "16_3_1", "17_1_2", "16_1", "15_7", "15_4_1",
];
/// Phones with what is in their agents: name, the build of the system.
const PHONES: [(&str, &str); 40] = [
    ("SM-S918B", "UP1A.231005.007"),
    ("SM-A536B", "UP1A.231005.007"),
    ("SM-S928B", "AP3A.240905.015.A2"),
    ("SM-A546B", "AP3A.240905.015.A2"),
    ("SM-G991B", "TP1A.220624.014"),
    ("SM-A145R", "UP1A.231005.007"),
    ("SM-A256B", "AP3A.240905.015.A2"),
    ("SM-S931B", "BP2A.250605.031.A3"),
    ("SM-S911B", "UP1A.231005.007"),
    ("SM-A346B", "AP3A.240905.015.A2"),
    ("SM-G781B", "TP1A.220624.014"),
    ("SM-A528B", "UP1A.231005.007"),
    ("SM-F946B", "AP3A.240905.015.A2"),
    ("SM-A055F", "UP1A.231005.007"),
    ("SM-G990B", "UP1A.231005.007"),
    ("Pixel 9", "BP3A.250905.014"),
    ("Pixel 8", "BP2A.250805.005"),
    ("Pixel 8a", "BP1A.250505.005"),
    ("Pixel 7a", "AP4A.250205.002"),
    ("Pixel 7 Pro", "AP4A.250205.002"),
    ("Pixel 6", "AP4A.250205.002"),
    ("2201117TY", "SP1A.210812.016"),
    ("23021RAAEG", "TKQ1.221114.001"),
    ("23129RA5FL", "UKQ1.230804.001"),
    ("2312DRA50G", "UKQ1.231003.002"),
    ("24069PC21G", "UKQ1.240116.001"),
    ("M2101K6G", "TKQ1.221013.002"),
    ("Redmi Note 8 Pro", "RP1A.200720.011"),
    ("M2007J20CG", "SKQ1.211019.001"),
    ("CPH2591", "UKQ1.230924.001"),
    ("CPH2449", "UKQ1.230924.001"),
    ("CPH2371", "TP1A.220905.001"),
    ("RMX3630", "TP1A.220905.001"),
    ("RMX3760", "TP1A.220624.014"),
    ("V2207", "UP1A.231005.007"),
    ("moto g54 5G", "U1TDS34.94-12"),
    ("moto g24", "UHAS34.29-27"),
    ("VOG-L29", "HUAWEIVOG-L29"),
    ("ELE-L29", "HUAWEIELE-L29"),
    ("HONOR X8", "HONORTFY-L31"),
];
const IPHONES: [&str; 16] = [
    "iPhone15,2",
    "iPhone14,5",
    "iPhone16,2",
    "iPhone17,1",
    "iPhone12,1",
    "iPhone15,4",
    "iPhone14,7",
    "iPhone13,2",
    "iPhone17,3",
    "iPhone16,1",
    "iPhone12,8",
    "iPhone14,6",
    "iPhone11,8",
    "iPhone15,3",
    "iPhone18,1",
    "iPhone13,4",
];
const LANGUAGES: [&str; 8] = ["de_DE", "fr_FR", "en_GB", "es_ES", "it_IT", "pl_PL", "nl_NL", "en_US"];
/// The tails: so many agents of browsers inside apps.
const IN_APPS_IPHONE: usize = 3_400;
const IN_APPS_ANDROID: usize = 4_400;

/// The agents of a platform, the common ones first; some twice.
fn texts(platform: Platform) -> Vec<String> {
    const KHTML: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
    let chromium = |system: &str, more: &str| -> Vec<String> {
        CHROME
            .rev()
            .map(|v| format!("Mozilla/5.0 ({system}) {KHTML} Chrome/{v}.0.0.0 {more}").replace("%", &v.to_string()))
            .collect()
    };
    let firefox = |system: &str| -> Vec<String> {
        FIREFOX.iter().map(|v| format!("Mozilla/5.0 ({system}; rv:{v}.0) Gecko/20100101 Firefox/{v}.0")).collect()
    };
    const WINDOWS: &str = "Windows NT 10.0; Win64; x64";
    const MAC: &str = "Macintosh; Intel Mac OS X 10_15_7";
    match platform {
        Platform::Windows => mixed([
            chromium(WINDOWS, "Safari/537.36"),
            chromium(WINDOWS, "Safari/537.36 Edg/%.0.0.0"),
            firefox(WINDOWS),
            (112..=126).rev().zip(CHROME.rev()).map(|(opera, v)| format!("Mozilla/5.0 ({WINDOWS}) {KHTML} Chrome/{v}.0.0.0 Safari/537.36 OPR/{opera}.0.0.0")).collect(),
            vec![
                format!("Mozilla/5.0 ({WINDOWS}) {KHTML} Chrome/138.0.0.0 YaBrowser/25.8.0.0 Safari/537.36"),
                format!("Mozilla/5.0 (Windows NT 6.1; Win64; x64) {KHTML} Chrome/109.0.0.0 Safari/537.36"),
                "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko".to_owned(),
            ],
        ]),
        Platform::Mac => mixed([
            SAFARI.iter().map(|v| format!("Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{v} Safari/605.1.15")).collect(),
            chromium(MAC, "Safari/537.36"),
            firefox("Macintosh; Intel Mac OS X 10.15"),
            chromium(MAC, "Safari/537.36 Edg/%.0.0.0"),
        ]),
        Platform::Linux => mixed([
            chromium("X11; Linux x86_64", "Safari/537.36"),
            firefox("X11; Linux x86_64"),
            firefox("X11; Ubuntu; Linux x86_64"),
            chromium("X11; CrOS x86_64 14541.0.0", "Safari/537.36"),
        ]),
        Platform::Iphone => iphone(),
        Platform::Android => android(),
        Platform::Tablet => mixed([
            SAFARI.iter().map(|v| format!("Mozilla/5.0 ({MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{v} Safari/605.1.15")).collect(),
            chromium("Linux; Android 10; K", "Safari/537.36"),
            IOS.iter().map(|ios| format!("Mozilla/5.0 (iPad; CPU OS {ios} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1")).collect(),
            ["SM-X200", "SM-X210", "SM-T500", "Lenovo TB-X606F", "KFTRWI"].iter().map(|m| format!("Mozilla/5.0 (Linux; Android 13; {m}) {KHTML} Chrome/139.0.0.0 Safari/537.36")).collect(),
        ]),
        Platform::Crawler => super::crawler::CRAWLERS.iter().flat_map(|c| c.agents).map(|a| (*a).to_owned()).collect(),
        Platform::Headless => mixed([
            chromium("X11; Linux x86_64", "Safari/537.36"),
            chromium(WINDOWS, "Safari/537.36"),
            CHROME.rev().map(|v| format!("Mozilla/5.0 (X11; Linux x86_64) {KHTML} HeadlessChrome/{v}.0.0.0 Safari/537.36")).collect(),
        ]),
    }
}

fn iphone() -> Vec<String> {
    const KIT: &str = "AppleWebKit/605.1.15 (KHTML, like Gecko)";
    let head = |ios: &str| format!("Mozilla/5.0 (iPhone; CPU iPhone OS {ios} like Mac OS X) {KIT}");
    let mut common = mixed([
        // From version 26 on Safari does not say which iOS it is on.
        SAFARI
            .iter()
            .map(|v| {
                format!(
                    "{} Version/{v} Mobile/15E148 Safari/604.1",
                    head(&if v.starts_with("26") { "18_6".to_owned() } else { v.replace('.', "_") })
                )
            })
            .collect(),
        IOS.iter()
            .zip((120..=142).rev())
            .map(|(ios, v)| format!("{} CriOS/{v}.0.7{}.{} Mobile/15E148 Safari/604.1", head(ios), v * 3, v))
            .collect(),
        IOS.iter()
            .zip((320..=392).rev().step_by(3))
            .map(|(ios, v)| format!("{} GSA/{v}.0.813277 Mobile/15E148 Safari/604.1", head(ios)))
            .collect(),
        IOS[..12]
            .iter()
            .zip(FIREFOX)
            .map(|(ios, v)| format!("{} FxiOS/{v}.0 Mobile/15E148 Safari/605.1.15", head(ios)))
            .collect(),
    ]);
    let mut rng = Rng::new(0x6950);
    for _ in 0..IN_APPS_IPHONE {
        let (ios, phone) = (rng.pick(&IOS), rng.pick(&IPHONES));
        let (lang, build) = (rng.pick(&LANGUAGES), rng.between(700_000_000, 800_000_000));
        common.push(if rng.per_mille(550) {
            format!(
                "{} Mobile/15E148 Instagram {}.0.0.{}.{} ({phone}; iOS {ios}; {lang}; {}; scale=3.00; 1179x2556; {build})",
                head(ios), rng.between(370, 405), rng.between(10, 60), rng.between(60, 110), &lang[..2]
            )
        } else {
            format!(
                "{} Mobile/15E148 [FBAN/FBIOS;FBAV/{}.0.0.{}.{};FBBV/{build};FBDV/{phone};FBMD/iPhone;FBSN/iOS;FBSV/{};FBSS/3;FBLC/{lang};FBOP/5]",
                head(ios), rng.between(500, 536), rng.between(10, 60), rng.between(60, 110), ios.replace('_', ".")
            )
        });
    }
    common
}

fn android() -> Vec<String> {
    const KHTML: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
    // Chrome names neither phone nor system any more: Android 10 and K stand for all.
    const REDUCED: &str = "Linux; Android 10; K";
    let mut common = mixed([
        CHROME.rev().map(|v| format!("Mozilla/5.0 ({REDUCED}) {KHTML} Chrome/{v}.0.0.0 Mobile Safari/537.36")).collect(),
        (20..=29).rev().map(|v| format!("Mozilla/5.0 ({REDUCED}) {KHTML} SamsungBrowser/{v}.0 Chrome/{}.0.0.0 Mobile Safari/537.36", v * 3 + 52)).collect(),
        FIREFOX.iter().map(|v| format!("Mozilla/5.0 (Android 15; Mobile; rv:{v}.0) Gecko/{v}.0 Firefox/{v}.0")).collect(),
        (88..=92).rev().map(|v| format!("Mozilla/5.0 ({REDUCED}) {KHTML} Chrome/{}.0.0.0 Mobile Safari/537.36 OPR/{v}.0.0.0", v + 48)).collect(),
        (40..=44).rev().map(|v| format!("Mozilla/5.0 (Linux; U; Android 13; en-us; 23129RA5FL Build/TKQ1.221114.001) {KHTML} Version/4.0 Chrome/112.0.5615.136 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.{v}.0-gn")).collect(),
    ]);
    let mut rng = Rng::new(0x416e);
    for _ in 0..IN_APPS_ANDROID {
        let (model, build) = PHONES[rng.below(PHONES.len() as u64) as usize];
        let chrome = rng.between(124, 143);
        let system = format!("Linux; Android {}; {model} Build/{build}; wv", rng.between(11, 17));
        let view = format!(
            "Mozilla/5.0 ({system}) {KHTML} Version/4.0 Chrome/{chrome}.0.{}.{} Mobile Safari/537.36",
            chrome * 52 + 50,
            rng.between(30, 200)
        );
        common.push(match rng.below(100) {
            0..45 => format!(
                "{view} [FB_IAB/FB4A;FBAV/{}.0.0.{}.{};]",
                rng.between(500, 536),
                rng.between(20, 60),
                rng.between(50, 110)
            ),
            45..80 => format!(
                "{view} Instagram {}.0.0.{}.{} Android",
                rng.between(370, 405),
                rng.between(20, 60),
                rng.between(50, 110)
            ),
            80..90 => format!("{view} GSA/16.{}.{}.sa.arm64", rng.between(30, 46), rng.between(10, 60)),
            _ => view,
        });
    }
    common
}

/// The first of each list, then the second of each, and so on: versions of several browsers by how common they are.
fn mixed<const N: usize>(lists: [Vec<String>; N]) -> Vec<String> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|i| lists.iter().filter_map(move |l| l.get(i).cloned())).collect()
}

/// Low-entropy client hints, which analytics SDKs send along. Browsers on iOS have none, whatever their name.
fn hints(platform: Platform, text: &str) -> String {
    let Some(version) = text.split_once(" Chrome/").and_then(|(_, rest)| rest.split_once('.')).map(|(v, _)| v) else {
        return String::new();
    };
    if text.contains("; wv)") || text.contains("compatible") {
        return String::new();
    }
    let brand = ["Edg/", "OPR/", "SamsungBrowser/"].into_iter().position(|mark| text.contains(mark));
    let brand = brand.map_or("Google Chrome", |at| ["Microsoft Edge", "Opera", "Samsung Internet"][at]);
    format!(
        r#"{{"brands":[{{"brand":"{brand}","version":"{version}"}},{{"brand":"Chromium","version":"{version}"}},{{"brand":"Not=A?Brand","version":"24"}}],"mobile":{},"platform":"{}"}}"#,
        platform == Platform::Android,
        platform.hint()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_enough_agents_and_none_needs_escaping() {
        let agents = Agents::new();
        assert!(agents.len() >= 5_000, "{}", agents.len());
        for agent in &agents.agents {
            assert!(agent.text.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"' && b != b'\\'), "{}", agent.text);
            assert!(agent.text.len() < 400 && !agent.text.contains('%'), "{}", agent.text);
        }
        for platform in Platform::ALL {
            assert!(!agents.of(platform).is_empty(), "{platform:?}");
        }
    }

    #[test]
    fn common_agents_come_first_and_the_tail_is_long() {
        let agents = Agents::new();
        let mut seen = vec![0u32; agents.len()];
        for n in 0..100_000u64 {
            seen[usize::from(agents.draw(Platform::Android, n))] += 1;
        }
        let of = agents.of(Platform::Android);
        let used = seen[of.clone()].iter().filter(|n| **n > 0).count();
        assert!(used > of.len() * 9 / 10, "{used} of {}", of.len());
        let head: u32 = seen[of.start..of.start + 50].iter().sum();
        assert!((20_000..50_000).contains(&head), "the first 50 have {head} of 100,000");
    }
}
