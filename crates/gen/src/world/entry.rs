//! How people come: from where, and with which campaign.

/// One way to come.
pub struct Entry {
    /// Of a thousand arrivals.
    pub share: u64,
    /// What the browser says the page before was; empty when there was none.
    pub referrer: &'static str,
    /// `utm_source` and `utm_medium`, both empty when there is no campaign.
    pub source: &'static str,
    pub medium: &'static str,
    /// The parameter that carries the network's click id; empty when it has none.
    pub click_id: &'static str,
    pub landing: Landing,
}

/// Where one lands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Landing {
    Home,
    Category,
    Listing,
    /// The conversation a notification was about.
    Inbox,
}

use Landing::{Category, Home, Inbox, Listing};

pub const ENTRIES: &[Entry] = &[
    plain(250, "", Home),
    plain(40, "", Inbox),
    plain(130, "https://www.google.com/", Listing),
    plain(60, "https://www.google.com/", Category),
    plain(20, "https://www.bing.com/", Listing),
    plain(14, "https://duckduckgo.com/", Listing),
    plain(8, "https://www.ecosia.org/", Category),
    plain(6, "https://search.yahoo.com/", Listing),
    plain(30, "https://l.facebook.com/", Listing),
    plain(26, "https://l.instagram.com/", Listing),
    plain(12, "https://www.pinterest.com/", Listing),
    plain(8, "https://t.co/", Listing),
    plain(8, "https://www.reddit.com/", Listing),
    plain(7, "https://www.youtube.com/", Home),
    plain(12, "https://mail.google.com/", Inbox),
    plain(6, "https://outlook.live.com/", Inbox),
    plain(25, "https://blog.market.example/", Category),
    plain(15, "https://help.market.example/", Home),
    plain(10, "https://partner.example/deals", Listing),
    campaign(90, "https://www.google.com/", "google", "cpc", "gclid", Listing),
    campaign(20, "https://www.google.com/", "google", "shopping", "gbraid", Listing),
    campaign(14, "https://www.bing.com/", "bing", "cpc", "msclkid", Listing),
    campaign(40, "https://l.facebook.com/", "facebook", "paid_social", "fbclid", Category),
    campaign(34, "https://l.instagram.com/", "instagram", "paid_social", "fbclid", Listing),
    campaign(20, "https://www.tiktok.com/", "tiktok", "paid_social", "ttclid", Category),
    campaign(50, "", "newsletter", "email", "", Category),
    campaign(25, "https://mail.google.com/", "alerts", "email", "", Listing),
    campaign(20, "", "app", "push", "", Inbox),
];

pub const CAMPAIGNS: &[&str] = &[
    "winter_wardrobe",
    "brand",
    "retargeting",
    "new_with_tag",
    "free_shipping_week",
    "sell_your_first",
    "black_friday",
];
pub const TERMS: &[&str] = &["second+hand", "vintage+clothes", "used+bikes", "sell+clothes", "cheap+phones"];

const fn plain(share: u64, referrer: &'static str, landing: Landing) -> Entry {
    Entry { share, referrer, source: "", medium: "", click_id: "", landing }
}

const fn campaign(
    share: u64,
    referrer: &'static str,
    source: &'static str,
    medium: &'static str,
    click_id: &'static str,
    landing: Landing,
) -> Entry {
    Entry { share, referrer, source, medium, click_id, landing }
}

impl Entry {
    pub fn has_campaign(&self) -> bool {
        !self.source.is_empty()
    }
}

/// An index into [`ENTRIES`], by their shares; `of_1000` is below 1000.
pub fn draw(of_1000: u64) -> u8 {
    let mut left = of_1000;
    for (i, entry) in ENTRIES.iter().enumerate() {
        match left.checked_sub(entry.share) {
            Some(rest) => left = rest,
            None => return i as u8,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_a_thousand() {
        assert_eq!(ENTRIES.iter().map(|e| e.share).sum::<u64>(), 1000);
        assert_eq!(ENTRIES[usize::from(draw(0))].referrer, "");
        assert_eq!(ENTRIES[usize::from(draw(999))].medium, "push");
    }
}
