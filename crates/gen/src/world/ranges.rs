//! Networks that people, offices and machines are in: real ones, with ranges that are theirs.
//!
//! Which range is announced by whom is of June 2026, from the ASN table of ip-location-db (CC BY 4.0, from RouteViews and
//! DB-IP); that the ranges of a country's providers are in it was checked against its country table (public domain).

/// What a network is to the people in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkKind {
    /// Lines into homes and offices.
    Fixed,
    Mobile,
    Hosting,
    /// Hosting that people reach others through.
    Vpn,
}

/// A row of the tables: organisation, kind, IPv4 ranges, and the first 32 bits of an IPv6 range, or nothing.
pub(super) type Row = (&'static str, NetworkKind, &'static str, &'static str);

const fn fixed(org: &'static str, v4: &'static str, v6: &'static str) -> Row {
    (org, NetworkKind::Fixed, v4, v6)
}

const fn mobile(org: &'static str, v4: &'static str, v6: &'static str) -> Row {
    (org, NetworkKind::Mobile, v4, v6)
}

const fn hosting(org: &'static str, v4: &'static str) -> Row {
    (org, NetworkKind::Hosting, v4, "")
}

const fn vpn(org: &'static str, v4: &'static str) -> Row {
    (org, NetworkKind::Vpn, v4, "")
}

pub(super) const US: &[Row] = &[
    fixed("Comcast", "50.176.0.0/12 73.64.0.0/12 174.48.0.0/12", "2601:646"),
    fixed("AT&T", "99.48.0.0/12 108.208.0.0/12 12.80.0.0/12", "2600:1700"),
    fixed("Verizon", "71.112.0.0/12 63.0.0.0/12 152.208.0.0/13", "2600:4040"),
    fixed("Charter", "72.176.0.0/13 174.80.0.0/13 70.112.0.0/13", "2603:6000"),
    fixed("Cox", "68.0.0.0/12 70.160.0.0/14 24.252.0.0/14", "2600:8800"),
    mobile("T-Mobile USA", "100.204.0.0/14 172.44.0.0/14 162.176.0.0/14", "2607:fb90"),
    mobile("Verizon Wireless", "97.200.0.0/14 75.244.0.0/14 166.148.0.0/14", "2600:1010"),
    mobile("AT&T Mobility", "166.212.0.0/14 107.106.0.0/15 12.72.0.0/16", ""),
];

pub(super) const CA: &[Row] = &[
    fixed("Bell Canada", "70.48.0.0/13 142.180.0.0/14 174.92.0.0/14", ""),
    fixed("Shaw", "70.64.0.0/12 174.0.0.0/13 68.144.0.0/13", "2604:3d08"),
    fixed("Videotron", "184.160.0.0/14 70.80.0.0/14 173.176.0.0/14", ""),
    mobile("Rogers", "99.244.0.0/14 174.112.0.0/14 173.32.0.0/14", "2607:fea8"),
];

pub(super) const GB: &[Row] = &[
    fixed("BT", "86.176.0.0/12 81.128.0.0/12 109.144.0.0/12", "2a00:23c4"),
    fixed("Virgin Media", "86.16.0.0/12 82.0.0.0/12 81.96.0.0/12", ""),
    fixed("Sky UK", "90.192.0.0/12 94.0.0.0/12 5.64.0.0/13", "2a02:c7f"),
    fixed("TalkTalk", "92.16.0.0/12 80.40.0.0/13 78.144.0.0/13", ""),
    mobile("EE", "213.120.0.0/14 86.168.0.0/14", "2a01:4c8"),
    mobile("O2 UK", "93.97.0.0/16 87.194.0.0/16 158.230.0.0/17", ""),
    mobile("Three UK", "188.28.0.0/14 94.196.0.0/15 92.40.0.0/15", ""),
    mobile("Vodafone UK", "90.248.0.0/14 84.64.0.0/14 83.104.0.0/14", ""),
];

pub(super) const DE: &[Row] = &[
    fixed("Deutsche Telekom", "37.80.0.0/12 91.32.0.0/12 217.80.0.0/12", "2003:ea"),
    fixed("Vodafone DE", "188.96.0.0/12 88.64.0.0/12 178.0.0.0/12", "2a02:8108"),
    fixed("O2 DE", "77.0.0.0/12 217.184.0.0/13 93.128.0.0/13", "2a02:3100"),
    fixed("1&1", "92.116.0.0/15 89.244.0.0/15 46.142.0.0/16", "2001:16b8"),
    mobile("Telekom mobil", "31.228.0.0/14 87.172.0.0/14 91.56.0.0/14", ""),
    mobile("O2 DE mobil", "176.0.0.0/14 77.184.0.0/14 2.212.0.0/14", "2a02:3030"),
];

pub(super) const FR: &[Row] = &[
    fixed("Orange", "86.192.0.0/12 90.48.0.0/12 109.208.0.0/12", "2a01:cb04"),
    fixed("Free", "78.240.0.0/12 88.160.0.0/12 82.224.0.0/12", ""),
    fixed("SFR", "78.112.0.0/12 77.144.0.0/12 109.16.0.0/12", "2a02:8440"),
    mobile("Bouygues", "176.144.0.0/14 31.32.0.0/14 89.80.0.0/14", "2001:861"),
    mobile("Free Mobile", "37.172.0.0/14", "2a0d:e487"),
];

pub(super) const ES: &[Row] = &[
    fixed("Telefonica", "83.32.0.0/12 79.144.0.0/12 88.0.0.0/12", "2a02:9130"),
    fixed("Orange ES", "90.160.0.0/12 85.48.0.0/12 87.216.0.0/13", ""),
    mobile("Vodafone ES", "77.208.0.0/14 47.60.0.0/14 95.60.0.0/14", ""),
];

pub(super) const IT: &[Row] = &[
    fixed("TIM", "79.16.0.0/12 88.48.0.0/12 87.0.0.0/12", ""),
    fixed("Fastweb", "2.224.0.0/12 93.32.0.0/12 89.96.0.0/15", "2001:b07"),
    fixed("WindTre", "151.64.0.0/12 94.160.0.0/13 37.100.0.0/14", "2a02:b120"),
    mobile("Vodafone IT", "109.116.0.0/14 93.68.0.0/14 37.180.0.0/14", "2a01:827"),
];

pub(super) const NL: &[Row] = &[
    fixed("KPN", "77.160.0.0/12 188.200.0.0/13 86.80.0.0/13", "2a02:a440"),
    fixed("Ziggo", "94.208.0.0/13 83.80.0.0/13 109.32.0.0/13", "2001:1c04"),
    mobile("Odido", "188.88.0.0/14 95.98.0.0/15 143.178.0.0/15", "2a02:4240"),
    mobile("KPN mobiel", "84.84.0.0/14 77.60.0.0/14 92.64.0.0/14", ""),
];

pub(super) const PL: &[Row] = &[
    fixed("Orange PL", "83.16.0.0/12 79.184.0.0/13 31.60.0.0/14", "2a00:f41"),
    fixed("Netia", "78.10.0.0/15 83.238.0.0/16 77.252.0.0/16", ""),
    mobile("Play", "31.174.0.0/15 46.112.0.0/15 164.126.0.0/15", "2a02:a310"),
    mobile("Plus", "46.76.0.0/15 37.109.0.0/16 31.0.0.0/16", ""),
];

pub(super) const BE: &[Row] = &[
    fixed("Proximus", "109.128.0.0/12 81.240.0.0/13 91.176.0.0/13", "2a02:a03f"),
    fixed("Telenet", "84.192.0.0/13 94.224.0.0/14 178.116.0.0/14", "2a02:1811"),
    mobile("Proximus mobile", "87.64.0.0/14", ""),
];

pub(super) const AT: &[Row] = &[
    fixed("A1", "91.112.0.0/14 178.188.0.0/14 46.74.0.0/15", "2001:871"),
    mobile("A1 mobil", "93.82.0.0/15", ""),
    fixed("Magenta", "84.112.0.0/14 85.124.0.0/14 80.108.0.0/15", "2a02:8388"),
];

pub(super) const CH: &[Row] = &[
    fixed("Swisscom", "178.192.0.0/13 85.0.0.0/13 188.60.0.0/14", "2a02:1210"),
    fixed("Sunrise", "77.56.0.0/14 80.218.0.0/15 46.126.0.0/15", ""),
    mobile("Swisscom mobile", "83.76.0.0/14 92.104.0.0/14", ""),
];

pub(super) const SE: &[Row] = &[
    fixed("Telia", "78.64.0.0/12 90.224.0.0/12 81.224.0.0/12", "2001:2042"),
    fixed("Bredband2", "88.129.0.0/16 31.208.0.0/16 77.53.0.0/16", ""),
    mobile("Tele2 SE", "109.56.0.0/14 2.68.0.0/14 37.250.0.0/16", ""),
];

pub(super) const LT: &[Row] = &[
    fixed("Telia Lietuva", "78.56.0.0/13 188.69.0.0/16 88.119.0.0/17", ""),
    mobile("Bite", "84.15.0.0/16 213.226.128.0/18", ""),
];

pub(super) const CZ: &[Row] = &[
    fixed("O2 CZ", "88.100.0.0/14 90.180.0.0/14 85.160.0.0/15", "2a00:1028"),
    mobile("T-Mobile CZ", "193.86.0.0/16 109.183.0.0/16 194.212.0.0/16", ""),
];

pub(super) const BR: &[Row] = &[
    fixed("Claro", "179.136.0.0/13 191.176.0.0/13 186.204.0.0/14", ""),
    fixed("Vivo", "179.176.0.0/13 177.40.0.0/14 186.212.0.0/14", "2804:7f0"),
    mobile("Vivo movel", "177.172.0.0/14 179.228.0.0/14 152.244.0.0/14", ""),
    mobile("TIM", "177.216.0.0/14 179.248.0.0/14 186.252.0.0/14", "2804:214"),
];

pub(super) const MX: &[Row] = &[
    fixed("Telmex", "189.224.0.0/13 187.136.0.0/14 201.120.0.0/14", ""),
    fixed("Megacable", "177.226.0.0/15 187.240.0.0/16 200.92.0.0/17", ""),
    mobile("Telcel", "187.132.0.0/14 189.152.0.0/14 201.100.0.0/14", ""),
];

pub(super) const AR: &[Row] = &[
    fixed("Telecom Argentina", "186.136.0.0/14 181.96.0.0/14 190.16.0.0/14", "2800:2130"),
    mobile("Movistar AR", "190.172.0.0/14 181.24.0.0/14 186.140.0.0/14", ""),
];

pub(super) const JP: &[Row] = &[
    fixed("NTT", "153.208.0.0/12 114.160.0.0/12 180.48.0.0/12", "2400:4050"),
    fixed("SoftBank", "126.80.0.0/12 221.16.0.0/12 218.128.0.0/12", "2400:2410"),
    mobile("KDDI", "106.132.0.0/14 222.12.0.0/14 124.212.0.0/14", "240b:10"),
    mobile("docomo", "27.228.0.0/15 183.72.0.0/16 148.68.0.0/16", ""),
];

pub(super) const KR: &[Row] = &[
    fixed("Korea Telecom", "175.224.0.0/12 39.16.0.0/12 115.0.0.0/12", ""),
    fixed("SK Broadband", "180.68.0.0/14 1.250.0.0/15 61.98.0.0/15", ""),
    mobile("SK Telecom", "42.36.0.0/14 223.48.0.0/14 27.160.0.0/14", "2001:2d8"),
];

pub(super) const IN: &[Row] = &[
    fixed("BSNL", "117.192.0.0/12 59.88.0.0/13 61.0.0.0/14", ""),
    fixed("Airtel", "136.185.0.0/16 122.163.0.0/16 182.70.0.0/17", ""),
    mobile("Jio", "115.244.0.0/14 157.44.0.0/14 49.36.0.0/14", "2409:4040"),
    mobile("Airtel mobile", "106.220.0.0/15 223.231.0.0/16 27.59.0.0/16", ""),
];

pub(super) const ID: &[Row] = &[
    fixed("Telkom", "36.80.0.0/12 125.160.0.0/13 110.136.0.0/14", ""),
    mobile("Telkomsel", "114.120.0.0/14 182.4.0.0/14", ""),
];

pub(super) const VN: &[Row] = &[
    fixed("VNPT", "113.176.0.0/12 14.240.0.0/12 123.16.0.0/13", "2001:ee0"),
    mobile("Viettel", "171.228.0.0/14 27.64.0.0/14 115.76.0.0/14", "2402:800"),
];

pub(super) const AU: &[Row] = &[
    fixed("Telstra", "58.160.0.0/12 1.128.0.0/12 124.176.0.0/12", "2001:8003"),
    fixed("TPG", "115.128.0.0/14 14.200.0.0/14 27.32.0.0/15", ""),
    mobile("Optus", "122.108.0.0/14 114.72.0.0/14 1.40.0.0/14", ""),
];

pub(super) const TR: &[Row] = &[
    fixed("Turk Telekom", "85.96.0.0/12 95.0.0.0/12 88.248.0.0/13", ""),
    mobile("Vodafone TR", "46.154.0.0/15 176.54.0.0/15 188.38.0.0/16", ""),
];

pub(super) const ZA: &[Row] = &[
    fixed("Telkom SA", "105.184.0.0/14 197.229.0.0/16 41.145.0.0/16", ""),
    mobile("Vodacom", "105.248.0.0/14 41.28.0.0/14", ""),
];

pub(super) const HOSTING: &[Row] = &[
    hosting("Hetzner", "46.224.0.0/15 78.46.0.0/15"),
    hosting("Amazon", "34.204.0.0/14 52.200.0.0/14"),
    hosting("Amazon EU", "56.60.0.0/14 3.136.0.0/14"),
    hosting("Google Cloud", "136.116.0.0/14 34.124.0.0/14"),
    hosting("Microsoft Azure", "48.252.0.0/14 13.64.0.0/14"),
    hosting("DigitalOcean", "161.35.0.0/16 45.55.0.0/16"),
    hosting("OVH", "57.128.0.0/14 54.36.0.0/14"),
    hosting("Vultr", "45.76.0.0/15 44.33.0.0/16"),
    hosting("Linode", "172.236.0.0/14 143.42.0.0/16"),
    hosting("Contabo", "173.212.192.0/18 13.140.128.0/18"),
    hosting("Scaleway", "51.158.0.0/15 163.172.0.0/16"),
    hosting("Alibaba Cloud", "43.104.0.0/14 47.80.0.0/14"),
    vpn("M247", "106.49.128.0/17 58.68.128.0/18"),
    vpn("Datacamp", "79.127.128.0/17 169.150.192.0/18"),
    vpn("Clouvider", "154.195.128.0/18"),
];
