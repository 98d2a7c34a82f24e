//! The kind of a device, by our own judgement of the agent string. Rules for models of phones would fill a file of their
//! own and age within months; the words below are what makers put in to be told apart.

use std::sync::LazyLock;

use crate::words::Edges::{Any, Begins, Both, Ends};
use crate::words::{Edges, Words};

const TV: u64 = 1 << 0;
/// Televisions, but also phones that receive television.
const WEAK_TV: u64 = 1 << 10;
/// With Android: a box beside a television.
const BOX: u64 = 1 << 11;
/// Consoles, watches, cars, speakers, headsets, readers of paper-like screens: none of the kinds there are.
const ODD: u64 = 1 << 1;
const TABLET: u64 = 1 << 2;
const MOBILE: u64 = 1 << 3;
/// It says so itself, which is what tells an Android phone from an Android tablet.
const SAYS_MOBILE: u64 = 1 << 4;
const ANDROID: u64 = 1 << 5;
const DESKTOP: u64 = 1 << 6;
/// Beside words of phones and tablets that come with their system.
const LAPTOP: u64 = 1 << 12;
/// Words with `Tablet` in them that are no tablet.
const TABLET_PC: u64 = 1 << 7;
/// Grammar of browsers, by which an Android that does not say `Mobile` is a tablet. Apps do not say it on phones either.
const BROWSER: u64 = 1 << 8;
/// Beside a phone's or a computer's words it changes nothing; alone it is a phone.
const WEAK_MOBILE: u64 = 1 << 9;

static WORDS: LazyLock<Words> = LazyLock::new(|| Words::of(TABLE));

#[rustfmt::skip]
const TABLE: &[(u64, Edges, &[&str])] = &[
    (TV, Any, &[
        "smarttv", "smart-tv", "smart tv", "appletv", "apple tv", "tvos", "googletv", "google tv", "androidtv", "android tv",
        "crkey", "bravia", "web0s", "webos.tv", "webostv", "hbbtv", "netcast", "nettv", "philipstv", "opera tv",
        "ce-html", "vidaa", "vizio", "netrange", "espial", "inettv", "mibox", "mitv", "firetv", "fire tv", "set-top", "settop",
        "olleh", "tv safari", "tsbnettv", "sonycebrowser", "brightsign", "tivo-", "youview", "(astro;", ",wired)", ", wired)", "hybridcast", "mr-device", "gw-device", "tvbox", "tv box", "tv stick", "tvstick",
        "chromecast", "ottbox", "toshibatv", "panasonic.tv", "skyworth", "aquos-tv", "shield android", "maple2", "maple_2",
        "maple 5", "maple 6", "ekioh", "dlnadoc", "linuxtv",
    ]),
    (TV, Begins, &["roku", "viera"]),
    (TV, Both, &["stb", "netflix tv", "mag200", "mag250", "mag254", "dune hd", "xbmc", "kodi", "ott"]),
    (WEAK_TV, Ends, &["tv", "tv2"]),
    (WEAK_TV, Both, &["maple"]),
    (BOX, Ends, &["box"]),

    (ODD, Any, &["playstation", "nintendo", "xbox", "watchos", "apple watch", "watch4", "watch3", "wear os", "oculus",
        "quest 2", "quest 3", "tesla/", "qtcarbrowser", "alexamediaplayer", "echo show", "aeobc", "aeobp", "aeocw", "homepod", "victorreader",
        "sonos", "vita", "psp (", "dreamcast", "gamecube", "picobrowser", " vr safari", "sony reader", "prs-t", "bolt/"]),
    (ODD, Begins, &["sm-r", "kobo", "echo", "garmin", "bose/", "airplay/", "(ps3)", "watch1", "watch2"]),
    (ODD, Both, &["watch", "zenwatch", "smartwatch"]),

    (TABLET, Any, &["ipad", "playbook", "xoom", "touchpad", "nexus 7", "nexus 9", "nexus 10", "kindle fire", "silk-accelerated",
        "hp-tablet", "mediapad", "lenovo yoga", "transformer", "slider sl101"]),
    (TABLET, Any, &["tablet"]),
    (TABLET, Begins, &["sm-t", "sm-p", "sm-x", "gt-p", "gt-n5", "gt-n8", "sch-i800", "sgh-t849", "kindle", "nook"]),
    (TABLET, Both, &["tab", "pad"]),
    (TABLET_PC, Any, &["tablet pc", "tabletpc"]),

    (SAYS_MOBILE, Begins, &["mobile", "mobi"]),
    (ANDROID, Any, &["android"]),
    (ANDROID, Begins, &["adr "]),
    (MOBILE, Any, &["iphone", "ipod", "windows phone", "windowsphone", "iemobile", "blackberry", "bb10", "symbian", "series60",
        "series 60", "series40", "midp", "j2me", "opera mini", "opera mobi", "ucweb", "kaios", "fennec", "minimo", "up.browser",
        "up.link", "docomo", "kddi-", "j-phone", "softbank", "vodafone", "sonyericsson", "semc-browser", "obigo", "smartphone",
        "zunewp", "windows ce", "windowsce", "dalvik", "meego", "maemo", "blazer", "brew", "polaris", "dolfin", "jasmine", "openwave",
        "nokiabrowser", "s40ovi", "playstation mobile", "palmos", "palmsource", "webos/", "hpwos", "tizen", "teleca",
        "netfront", "cldc", "lumia", "wpdesktop", "dv(iph", "(mobile;", "fban/fb4a", "maui", "officemobile"]),
    (MOBILE, Begins, &["nokia", "lg-", "mot-", "samsung-", "sec-", "sie-", "htc", "bada", "alcatel", "zte", "huawei", "sagem",
        "sanyo", "panasonic-", "sharp-", "micromax", "karbonn", "lava", "spice", "philips-", "motorola"]),
    (MOBILE, Both, &["wap", "wap1", "wap2", "phone"]),
    (WEAK_MOBILE, Both, &["ios", "cfnetwork", "darwin"]),

    (DESKTOP, Any, &["windows", "macintosh", "mac os x", "mac_powerpc", "macos", "win64", "win32", "win98", "win95", "winnt",
        "win 9x", "x11", "freebsd", "openbsd", "netbsd", "dragonfly", "sunos", "os/2", "beos", "haiku", "amigaos", "risc os",
        "linux i", "linux x86", "linux amd64", "linux aarch64", "linux ppc", "ubuntu", "fedora", "x86_64", "irix", "hp-ux", "macbook",
        "imac", "macmini", "macpro", "(i386)", "(win7 ", "(win8 ", "(win10 ", "(win11 ", "os=mac",
        "openvms", "wtos"]),
    (LAPTOP, Any, &["chromebook", "pc; openharmony", "2in1;openharmony"]),
    (DESKTOP, Both, &["cros", "linux", "unix", "bsd", "mac", "wow64", "amiga", "aix"]),

    (BROWSER, Begins, &["mozilla/", "opera/"]),
];

/// Whether the agent names a device or a system at all. What people use does; programs seldom do.
pub(crate) fn is_named(agent: &str) -> bool {
    WORDS.marks(agent) & !(BROWSER | SAYS_MOBILE | TABLET_PC | BOX) != 0 || fire_tv(agent)
}

/// `desktop`, `mobile`, `tablet`, `tv` or `other`.
pub(crate) fn of(agent: &str) -> &'static str {
    let marks = WORDS.marks(agent);
    let has = |mark: u64| marks & mark != 0;
    let says_phone = has(ANDROID) && has(SAYS_MOBILE);
    if has(TV) || has(WEAK_TV) && !says_phone || fire_tv(agent) {
        return "tv";
    }
    if has(ODD) {
        return "other";
    }
    if has(LAPTOP) {
        return "desktop";
    }
    if has(ANDROID) && has(BOX) {
        return "tv";
    }
    if has(TABLET) && !has(TABLET_PC) {
        return "tablet";
    }
    if has(ANDROID) {
        let tablet = has(BROWSER) && !has(SAYS_MOBILE | MOBILE);
        return if tablet { "tablet" } else { "mobile" };
    }
    if has(MOBILE | SAYS_MOBILE) {
        return "mobile";
    }
    if has(DESKTOP) {
        return "desktop";
    }
    if has(WEAK_MOBILE) { "mobile" } else { "other" }
}

/// Amazon's sticks and televisions are `AFT` and a few capitals, by which it asks to tell them.
fn fire_tv(agent: &str) -> bool {
    agent.match_indices("AFT").any(|(at, aft)| {
        let bytes = agent.as_bytes();
        !at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric())
            && bytes.get(at + aft.len()).is_some_and(u8::is_ascii_uppercase)
    })
}
