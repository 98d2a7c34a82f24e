//! Pages as they stand in events: paths, addresses, titles.

use crate::id::hex;
use crate::rng::{mix2, pick};
use crate::session::{Happening, Page};
use crate::world::entry::{CAMPAIGNS, ENTRIES, TERMS};
use crate::world::{CATEGORIES, Catalogue, goods};

pub(super) const SITE: &[u8] = b"https://www.market.example";

/// Where a happening's page is, written once and put in several places.
#[derive(Default)]
pub(super) struct Written {
    /// Path and query.
    pub text: Vec<u8>,
    /// Where the query begins, with its question mark.
    pub query: usize,
}

impl Written {
    pub fn path(&self) -> &[u8] {
        &self.text[..self.query]
    }

    pub fn search(&self) -> &[u8] {
        &self.text[self.query..]
    }

    /// The page of a happening, with the campaign that led to it.
    pub fn of(&mut self, h: &Happening, catalogue: &Catalogue) {
        self.text.clear();
        write_path(h.page, h.listing, h, catalogue, &mut self.text);
        self.query = self.text.len();
        write_query(h.page, h, &mut self.text);
        if let Some(entry) = h.entry {
            let entry = &ENTRIES[usize::from(entry)];
            if entry.has_campaign() {
                self.text.push(if self.text.len() == self.query { b'?' } else { b'&' });
                write_campaign(entry, h, &mut self.text);
            }
        }
    }
}

/// Appends the page that was seen before the happening's, as a browser says it: another site's, or ours in full.
pub(super) fn write_referrer(h: &Happening, catalogue: &Catalogue, out: &mut Vec<u8>) {
    match h.entry {
        _ if h.client.role == crate::person::Role::Crawler => {}
        Some(entry) => out.extend_from_slice(ENTRIES[usize::from(entry)].referrer.as_bytes()),
        None => {
            out.extend_from_slice(SITE);
            write_path(h.before.0, h.before.1, h, catalogue, out);
            write_query(h.before.0, h, out);
        }
    }
}

/// Which campaign, of those of an entry.
pub(super) fn campaign(h: &Happening) -> &'static str {
    pick(CAMPAIGNS, mix2(h.session, 1))
}

pub(super) fn term(h: &Happening) -> &'static str {
    pick(TERMS, mix2(h.session, 2))
}

fn write_campaign(entry: &crate::world::entry::Entry, h: &Happening, out: &mut Vec<u8>) {
    for part in ["utm_source=", entry.source, "&utm_medium=", entry.medium, "&utm_campaign=", campaign(h)] {
        out.extend_from_slice(part.as_bytes());
    }
    if entry.medium == "cpc" {
        out.extend_from_slice(b"&utm_term=");
        out.extend_from_slice(term(h).as_bytes());
    }
    if !entry.click_id.is_empty() {
        out.push(b'&');
        out.extend_from_slice(entry.click_id.as_bytes());
        out.push(b'=');
        let mut id = [0; 44];
        id[..6].copy_from_slice(b"EAIaIQ");
        hex(mix2(h.session, 3), &mut id[6..22]);
        hex(mix2(h.session, 4), &mut id[22..38]);
        id[38..].copy_from_slice(b"D_BwE_");
        out.extend_from_slice(&id);
    }
}

fn write_path(page: Page, listing: u64, h: &Happening, catalogue: &Catalogue, out: &mut Vec<u8>) {
    let plain: &[u8] = match page {
        Page::Home => b"/",
        Page::Search => b"/search",
        Page::Cart => b"/cart",
        Page::Checkout => b"/checkout/payment",
        Page::Thanks => b"/checkout/thanks",
        Page::Account => b"/account",
        Page::Inbox => b"/inbox",
        Page::SignIn => b"/sign-in",
        Page::SignUp => b"/sign-up",
        Page::Dashboard => b"/seller",
        Page::Sell => b"/sell/new",
        Page::Payouts => b"/seller/payouts",
        Page::Category => {
            out.extend_from_slice(b"/c/");
            CATEGORIES[usize::from(h.category)].slug.as_bytes()
        }
        Page::Listing => return catalogue.listing(listing).write_path(out),
        Page::Edit => {
            catalogue.listing(listing).write_path(out);
            b"/edit"
        }
    };
    out.extend_from_slice(plain);
}

fn write_query(page: Page, h: &Happening, out: &mut Vec<u8>) {
    if page != Page::Search {
        return;
    }
    out.extend_from_slice(b"?q=");
    let from = out.len();
    goods::write_query(h.category, h.query, out);
    if out[from..].iter().any(|b| !b.is_ascii_alphanumeric()) {
        let raw = out.split_off(from);
        raw.into_iter().for_each(|b| goods::write_encoded(b, out));
    }
    out.extend_from_slice(b"&category=");
    out.extend_from_slice(CATEGORIES[usize::from(h.category)].slug.as_bytes());
}

/// Appends the page's title.
pub(super) fn write_title(h: &Happening, catalogue: &Catalogue, out: &mut Vec<u8>) {
    match h.page {
        Page::Listing | Page::Edit => catalogue.listing(h.listing).write_title(out),
        Page::Search => {
            out.extend_from_slice(b"Results for ");
            goods::write_query(h.category, h.query, out);
        }
        Page::Category => out.extend_from_slice(CATEGORIES[usize::from(h.category)].slug.as_bytes()),
        page => out.extend_from_slice(page.name().as_bytes()),
    }
    out.extend_from_slice(" · Market".as_bytes());
}
