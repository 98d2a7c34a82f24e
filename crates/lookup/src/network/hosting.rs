//! Organisations that rent out machines: clouds, hosters, data centres. Our own table, from what they say of themselves.
//!
//! It is here to tell programs from people, so it leaves out networks that people come from:
//! * content networks whose relays carry browsers (Cloudflare WARP, and Cloudflare, Akamai and Fastly for Apple's Private
//!   Relay): AS13335, AS36183, AS54113;
//! * carriers that have hosting beside homes and phones (Telefonica, Bahnhof, Chinanet's data centres);
//! * companies whose machines are their own (Facebook, Salesforce, the Internet Archive).

/// Whether a system is a hoster's: by its number, or by the words its organisation's name begins with.
pub(super) fn is_hosting(asn: u32, organisation: &str) -> bool {
    if NUMBERS.binary_search_by_key(&asn, |(number, _)| *number).is_ok() {
        return true;
    }
    let name = words(organisation);
    // All that could begin it lie together: go back from where the name itself would stand.
    let at = ORGANISATIONS.partition_point(|known| *known <= name.as_str());
    let first_word = name.split(' ').next().unwrap_or_default();
    let candidates = ORGANISATIONS[..at].iter().rev().take_while(|known| known.starts_with(first_word));
    candidates.into_iter().any(|known| begins_with(&name, known))
}

/// Whether `name` begins with all of the words of `known`.
fn begins_with(name: &str, known: &str) -> bool {
    name.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A name's words: letters and digits, in lower case, with one space between.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len());
    for word in name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().flat_map(char::to_lowercase));
    }
    words
}

/// Systems by number, with words of their organisation's name: of companies that do more than hosting, and of the largest
/// hosters whatever a database calls them. Sorted.
#[rustfmt::skip]
const NUMBERS: &[(u32, &str)] = &[
    (2635, "automattic"), (4694, "idc frontier"), (6724, "strato ag"), (7203, "leaseweb"), (7224, "amazon"),
    (7506, "gmo internet"), (7684, "sakura internet"), (7979, "servers com"), (8068, "microsoft"),
    (8069, "microsoft"), (8070, "microsoft"), (8075, "microsoft"), (8100, "quadranet"), (8560, "ionos"),
    (8987, "amazon"), (9009, "m247"), (9370, "sakura internet"), (9371, "sakura internet"), (9597, "kddi web"),
    (12076, "microsoft"), (12200, "rackspace"), (12824, "home pl"), (12876, "scaleway"), (13789, "internap"),
    (14061, "digitalocean"), (14618, "amazon"), (15169, "google"), (15395, "rackspace"),
    (15817, "robert meyer trading as mittwald"), (16276, "ovh"), (16371, "acens technologies"), (16509, "amazon"),
    (19148, "leaseweb"), (19527, "google"), (19994, "rackspace"), (20473, "the constant company"), (20857, "signet"),
    (21859, "zenlayer"), (23005, "switch ltd"), (23588, "kakao enterprise"), (24940, "hetzner"), (26496, "godaddy"),
    (27357, "rackspace"), (28753, "leaseweb"), (29182, "jsc iot"), (29447, "scaleway"), (29550, "team blue"),
    (30633, "leaseweb"), (31034, "aruba s p a"), (31898, "oracle"), (32475, "internap"), (32613, "leaseweb"),
    (32748, "steadfast"), (33070, "rackspace"), (34788, "neue medien muennich"), (35540, "ovh"), (36351, "ibm cloud"),
    (36352, "hostpapa"), (37963, "hangzhou alibaba"), (38365, "beijing baidu"), (39729, "register s p a"),
    (40021, "contabo"), (40509, "fly io"), (40676, "psychz"), (45090, "shenzhen tencent"), (45102, "alibaba"),
    (46606, "unified layer"), (46652, "digitalocean"), (48337, "linode"), (48854, "team blue"),
    (49505, "jsc selectel"), (50340, "jsc selectel"), (51167, "contabo"), (53667, "frantech"), (54290, "hostpapa"),
    (54825, "packet host"), (55990, "huawei"), (58593, "shanghai blue cloud"), (59253, "leaseweb"),
    (60068, "datacamp"), (60781, "leaseweb"), (63949, "akamai"), (132203, "shenzhen tencent"), (133478, "tencent"),
    (134963, "alibaba"), (136907, "huawei"), (139070, "google"), (141995, "contabo"), (150436, "byteplus"),
    (200350, "yandex cloud"), (200517, "microsoft"), (202613, "aruba s p a"), (205544, "leaseweb"),
    (210656, "yandex cloud"), (212238, "datacamp"), (212317, "hetzner"), (212531, "uab interneto vizija"),
    (213230, "hetzner"), (214609, "google"), (214611, "google"), (215013, "yandex cloud"), (215859, "hetzner"),
    (393406, "digitalocean"), (395954, "leaseweb"), (396362, "leaseweb"), (396982, "google"), (398101, "godaddy"),
];

/// Organisations all of whose systems are hosting, by the words their names begin with. Sorted.
#[rustfmt::skip]
const ORGANISATIONS: &[&str] = &[
    "1984 ehf", "20i limited", "a2 hosting", "active 24", "aeza", "akenes", "alexhost", "alibaba cloud", "aliyun",
    "amazon data services", "anexia cloud solutions", "aptum technologies", "arosscloud", "arsys internet",
    "aurologic", "b2 net solutions", "beget", "beijing kingsoft cloud", "bunnyway", "cdn77", "cherry servers",
    "choopa", "cloudie", "cloudsigma", "cloudvsp", "clouvider", "colocation america", "colocrossing", "combahton",
    "contabo", "ctg server", "ctrls", "cyxtera", "d hosting die rackspace", "datacamp", "dedicated com",
    "digital ocean", "digitalocean", "dinahosting", "dmit cloud", "dmit inc", "domain names registrar reg ru",
    "dreamhost", "e2e networks", "edgeuno", "egihosting", "enzu", "eonix", "exabytes network", "exoscale",
    "fasthosts", "fdcservers", "firstcolo", "flexential", "flokinet", "fly io", "frantech solutions", "g core labs",
    "gandi", "ghostnet", "gigabit hosting", "glesys", "godaddy com", "google cloud", "gorillaservers", "gthost",
    "heficed", "heroku", "hetzner", "hivelocity", "home pl s a", "host europe", "host sailor", "hostdime",
    "hostgator", "hosting de", "hosting industry", "hosting solution", "hosting technology", "hosting ukraine",
    "hostinger", "hostkey", "hostopia", "hostpapa", "hostroyale", "hostus", "hostway", "hostwinds", "huawei cloud",
    "hz hosting", "i3d net", "ibm cloud", "idc frontier", "infomaniak", "informacines sistemos ir technologijos",
    "inmotion hosting", "interserver inc", "iomart", "ionos", "ip serverone", "it hostline", "joe s datacenter",
    "jsc timeweb", "kamatera", "kaopu cloud", "kingsoft cloud", "krystal hosting", "leaseweb", "linode", "liquid web",
    "locaweb", "long van", "loopia", "maxihost", "melbikomas", "memset", "mevspace", "micron21", "miss hosting",
    "mivocloud", "mojohost", "multacom", "myloc managed it", "namecheap", "naver cloud", "nazwa pl", "netactuate",
    "netcup", "new dream network", "newfold digital", "nforce entertainment", "nhn cloud", "nhncloud", "nocix",
    "one com", "online s a s", "online sas", "ovh", "packet host", "phoenixnap", "pin hosting", "plusserver",
    "pq hosting", "psychz", "purevoltage", "quadranet", "racknerd", "rackspace", "raiola networks", "rapidswitch",
    "reliablesite", "rocketnode", "routerhosting", "royalehosting", "sakura internet", "scala data centers",
    "scaleway", "secured servers", "selectel", "serverius", "servermania", "servers australia", "servers com",
    "servers tech", "servetheworld", "sharktech", "shinjiru technology", "shock hosting", "siteground", "softlayer",
    "sondercloud", "squarespace", "stark industries", "strato ag", "take 2 hosting", "tencent cloud", "tierpoint",
    "timeweb", "transip", "uab cherry servers", "ucloud", "uk dedicated servers", "ukfast", "unified layer",
    "uniserver internet", "upcloud", "velia net", "vietserver", "virtuozzo", "vodien", "voxility", "vpsquan", "vultr",
    "web werks", "wedos", "wholesale internet", "wisdom cloud", "wix com", "worldstream", "xneelo", "xserver inc",
    "yandex cloud", "yotta network services", "your hosting", "zcolo", "zenlayer",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_written_as_they_are_compared() {
        assert!(NUMBERS.is_sorted_by(|a, b| a.0 < b.0), "sorted, each number once");
        assert!(ORGANISATIONS.is_sorted_by(|a, b| a < b), "sorted, each name once");
        for name in ORGANISATIONS.iter().chain(NUMBERS.iter().map(|(_, name)| name)) {
            assert_eq!(words(name), *name);
        }
    }

    #[test]
    fn names_are_compared_by_words_from_their_beginning() {
        for (asn, name, want) in [
            (16509, "AMAZON-02", true),
            (1, "Hetzner Online GmbH", true),
            (1, "HETZNER-AS", true),
            (1, "OVH SAS", true),
            (1, "ovh", true),
            (1, "OVHcloud lookalike", false),
            (1, "A2 Hosting, Inc.", true),
            (1, "A2", false),
            (1, "Leaseweb USA, Inc.", true),
            (1, "\"Domain names registrar REG.RU\", Ltd", true),
            (1, "Comcast Cable Communications, LLC", false),
            (1, "My Hetzner", false),
            (1, "Zenlayer Inc", true),
            (1, "1984 ehf", true),
            (1, "", false),
            (7922, "", false),
        ] {
            assert_eq!(is_hosting(asn, name), want, "{asn} {name}");
        }
        // Each finds itself, whatever stands beside it in the table.
        assert!(ORGANISATIONS.iter().all(|name| is_hosting(0, &format!("{name} and more"))));
    }
}
