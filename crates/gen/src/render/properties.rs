//! What is said about each action: the members of `properties`, or of `traits`.

use event::json::write_number;

use super::{Renderer, put};
use crate::id::{hex, write_listing};
use crate::person::user_of;
use crate::rng::{Draws, mix2, pick};
use crate::session::{Action, Happening, Page, SHIPPING_CENTS, protection_cents};
use crate::world::{CATEGORIES, goods, names};

const METHODS: &[&str] = &["card", "card", "card", "paypal", "applepay", "googlepay", "ideal", "klarna", "blik"];
const CARDS: &[&str] = &["visa", "mastercard", "visa", "mastercard", "amex", "cartes_bancaires"];
const SIGN_IN: &[&str] = &["password", "password", "password", "google", "apple", "passkey"];
const FILTERS: &[&str] = &["price", "condition", "distance", "shipping", "brand", "colour", "size", "new_only"];
const SORTS: &[&str] = &["relevance", "relevance", "newest", "price_asc", "price_desc", "distance"];
const FROM: &[&str] = &["search", "category", "related", "home", "saved"];

/// Appends the members of `properties` (of `traits`, for `identify`), without the braces.
pub(super) fn write(r: &Renderer<'_>, h: &Happening, out: &mut Vec<u8>) {
    let mut draws = Draws::new(mix2(h.salt, 0x7072_6f70));
    match h.action {
        Action::Viewed => viewed(r, h, out),
        Action::Identified => traits(h, out),
        Action::SearchPerformed => search(h, &mut draws, out),
        Action::ListingsShown => shown(r, h, &mut draws, out),
        Action::ListingViewed | Action::ListingSaved => {
            listing(r, h, h.listing, out);
            put(out, b",\"position\":");
            write_number(draws.below(60), out);
            text(out, b",\"from\":\"", pick(FROM, draws.next_u64()));
            if h.action == Action::ListingViewed {
                put(out, b",\"saved_by\":");
                write_number(draws.below(40) * draws.below(20), out);
                put(out, b",\"description\":\"");
                words(12 + draws.below(108) as usize, &mut draws, out);
                out.push(b'"');
            }
        }
        Action::CartUpdated => {
            text(out, b"\"change\":\"", if h.worked { "added" } else { "removed" });
            put(out, b",");
            listing(r, h, h.listing, out);
            cart(r, h, out);
        }
        Action::CheckoutStarted => {
            money(h, out);
            put(out, b",\"step\":1");
            cart(r, h, out);
        }
        Action::OfferMade | Action::OfferRecorded => {
            money(h, out);
            put(out, b",");
            listing(r, h, h.listing, out);
        }
        Action::MessageSent => {
            thread(r, h, out);
            put(out, b",\"text\":\"");
            let length = draws.between(12, 140) as usize;
            words(length, &mut draws, out);
            put(out, b"\",\"links\":0,\"photos\":");
            write_number(draws.below(16) / 14, out);
        }
        Action::MessageDelivered => {
            thread(r, h, out);
            put(out, b",\"spam_score\":");
            write_number(draws.below(30), out);
        }
        Action::ListingCreated | Action::ListingEdited | Action::ListingPublished => edited(r, h, &mut draws, out),
        Action::SignIn => sign_in(h, &mut draws, out),
        Action::SignUp => {
            text(out, b"\"method\":\"", "password");
            success(h, "email_taken", out);
            put(out, b",\"traits\":{");
            names::write_traits(mix2(h.client.user.0, 1), h.client.country().code, out);
            out.push(b'}');
        }
        Action::PaymentAuthorized | Action::PaymentDeclined => payment(h, &mut draws, out),
        Action::OrderCompleted => order(r, h, out),
        Action::PayoutRequested | Action::PayoutSent => payout(h, out),
    }
}

fn viewed(r: &Renderer<'_>, h: &Happening, out: &mut Vec<u8>) {
    text(out, b"\"name\":\"", h.page.name());
    if matches!(h.page, Page::Listing | Page::Category | Page::Search) {
        text(out, b",\"category\":\"", CATEGORIES[usize::from(h.category)].slug);
    }
    if matches!(h.page, Page::Listing | Page::Edit) {
        put(out, b",\"listing_id\":\"");
        write_listing(h.listing, out);
        out.push(b'"');
    }
    put(out, b",\"path\":\"");
    put(out, r.page.path());
    put(out, b"\",\"title\":\"");
    super::page::write_title(h, r.catalogue, out);
    put(out, b"\",\"load_ms\":");
    write_number(180 + h.salt % 2400, out);
}

fn traits(h: &Happening, out: &mut Vec<u8>) {
    let own = mix2(h.client.user.0, 1);
    names::write_traits(own, h.client.country().code, out);
    put(out, b",\"seller\":");
    boolean(h.client.role == crate::person::Role::Seller, out);
    put(out, b",\"orders\":");
    write_number(own % 60 * (own >> 8) % 7, out);
}

fn search(h: &Happening, draws: &mut Draws, out: &mut Vec<u8>) {
    put(out, b"\"query\":\"");
    goods::write_query(h.category, h.query, out);
    text(out, b"\",\"category\":\"", CATEGORIES[usize::from(h.category)].slug);
    text(out, b",\"sort\":\"", pick(SORTS, draws.next_u64()));
    put(out, b",\"filters\":[");
    let first = draws.below(FILTERS.len() as u64);
    for n in 0..draws.below(4) {
        if n > 0 {
            out.push(b',');
        }
        text(out, b"\"", pick(FILTERS, first + n));
    }
    put(out, b"],\"price\":{\"min\":0,\"max\":");
    write_number(h.client.country().money(100 * draws.between(10, 500)), out);
    text(out, b",\"currency\":\"", h.client.country().currency);
    put(out, b"},\"results\":");
    // One search in eight finds nothing.
    write_number(if draws.below(8) == 0 { 0 } else { draws.spread(4, 9) }, out);
    put(out, b",\"page\":");
    write_number(1 + draws.below(3) * draws.below(2), out);
    put(out, b",\"took_ms\":");
    write_number(draws.spread(12, 5), out);
}

fn shown(r: &Renderer<'_>, h: &Happening, draws: &mut Draws, out: &mut Vec<u8>) {
    text(out, b"\"list\":\"", if h.page == Page::Search { "search" } else { "category" });
    text(out, b",\"category\":\"", CATEGORIES[usize::from(h.category)].slug);
    put(out, b",\"listings\":[");
    for n in 0..draws.between(4, 9) {
        if n > 0 {
            out.push(b',');
        }
        put(out, b"{\"id\":\"");
        let shown = r.catalogue.listing(r.catalogue.draw(h.category, None, draws));
        write_listing(shown.number, out);
        put(out, b"\",\"price\":");
        write_number(h.client.country().money(shown.cents()), out);
        out.push(b'}');
    }
    text(out, b"],\"currency\":\"", h.client.country().currency);
}

fn thread(r: &Renderer<'_>, h: &Happening, out: &mut Vec<u8>) {
    put(out, b"\"thread\":\"t-");
    digest(mix2(h.client.user.0, h.listing), out);
    put(out, b"\",\"to\":\"");
    user_of(r.seed, r.population.seller(h.listing)).write(out);
    put(out, b"\",\"listing_id\":\"");
    write_listing(h.listing, out);
    out.push(b'"');
}

fn edited(r: &Renderer<'_>, h: &Happening, draws: &mut Draws, out: &mut Vec<u8>) {
    money(h, out);
    put(out, b",");
    let l = r.catalogue.listing(h.listing);
    put(out, b"\"listing\":{\"id\":\"");
    write_listing(h.listing, out);
    put(out, b"\",\"title\":\"");
    l.write_title(out);
    text(out, b"\",\"category\":\"", l.category().slug);
    text(out, b",\"condition\":\"", l.condition());
    put(out, b",\"photos\":");
    write_number(l.photos(), out);
    if !h.action.is_server() {
        put(out, b",\"description\":\"");
        let length = draws.between(40, 260) as usize;
        words(length, draws, out);
        out.push(b'"');
    }
    out.push(b'}');
}

fn sign_in(h: &Happening, draws: &mut Draws, out: &mut Vec<u8>) {
    // A person signs in the same way every time.
    text(out, b"\"method\":\"", pick(SIGN_IN, mix2(h.client.user.0, 2)));
    success(h, if draws.below(9) == 0 { "code_expired" } else { "wrong_password" }, out);
    put(out, b",\"attempt\":");
    write_number(u64::from(h.attempt), out);
    put(out, b",\"second_factor\":");
    boolean(mix2(h.client.user.0, 3) & 7 == 0, out);
}

fn success(h: &Happening, reason: &str, out: &mut Vec<u8>) {
    put(out, b",\"success\":");
    boolean(h.worked, out);
    if h.worked {
        put(out, b",\"reason\":null");
    } else {
        text(out, b",\"reason\":\"", reason);
    }
}

fn payment(h: &Happening, draws: &mut Draws, out: &mut Vec<u8>) {
    money(h, out);
    put(out, b",");
    order_id(h, out);
    let own = mix2(h.client.user.0, 4);
    let method = pick(METHODS, own);
    text(out, b",\"method\":\"", method);
    if method == "card" {
        text(out, b",\"card\":{\"brand\":\"", pick(CARDS, own >> 8));
        put(out, b",\"last4\":\"");
        write_number(1000 + (own >> 16) % 9000, out);
        text(out, b"\",\"country\":\"", h.client.country().code);
        put(out, b"}");
    }
    put(out, b",\"authorization\":\"");
    digest(h.salt, out);
    put(out, b"\",\"three_ds\":\"");
    put(out, if draws.below(3) == 0 { b"challenge\"" } else { b"frictionless\"" });
    if h.action == Action::PaymentDeclined {
        text(out, b",\"reason\":\"", ["insufficient_funds", "do_not_honor", "expired_card"][draws.below(3) as usize]);
    }
}

fn order(r: &Renderer<'_>, h: &Happening, out: &mut Vec<u8>) {
    money(h, out);
    put(out, b",");
    order_id(h, out);
    put(out, b",\"items\":[");
    let mut goods = 0;
    for (n, number) in h.cart.listings().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        goods += r.catalogue.listing(number).cents();
        out.push(b'{');
        listing(r, h, number, out);
        put(out, b",\"quantity\":1}");
    }
    put(out, b"],\"protection\":");
    write_number(h.client.country().money(protection_cents(goods)), out);
    put(out, b",\"shipping\":{\"price\":");
    write_number(h.client.country().money(SHIPPING_CENTS), out);
    text(out, b",\"method\":\"", if h.salt & 1 == 0 { "pick_up_point" } else { "home" });
    text(out, b",\"country\":\"", h.client.country().code);
    put(out, b"}");
}

fn payout(h: &Happening, out: &mut Vec<u8>) {
    money(h, out);
    put(out, b",\"payout\":{\"id\":\"po-");
    digest(mix2(h.session, 0x0070_6179), out);
    put(out, b"\",\"bank\":{\"last4\":\"");
    write_number(1000 + mix2(h.client.user.0, 5) % 9000, out);
    text(out, b"\",\"country\":\"", h.client.country().code);
    put(out, b"},\"method\":\"sepa\"}");
}

/// `"listing":{...}`.
fn listing(r: &Renderer<'_>, h: &Happening, number: u64, out: &mut Vec<u8>) {
    let l = r.catalogue.listing(number);
    put(out, b"\"listing\":{\"id\":\"");
    write_listing(number, out);
    put(out, b"\",\"title\":\"");
    l.write_title(out);
    text(out, b"\",\"category\":\"", l.category().slug);
    text(out, b",\"condition\":\"", l.condition());
    put(out, b",\"price\":{\"amount\":");
    write_number(h.client.country().money(l.cents()), out);
    text(out, b",\"currency\":\"", h.client.country().currency);
    put(out, b"},\"seller\":\"");
    user_of(r.seed, r.population.seller(number)).write(out);
    put(out, b"\",\"photos\":");
    write_number(l.photos(), out);
    out.push(b'}');
}

/// `,"cart":{...}`.
fn cart(r: &Renderer<'_>, h: &Happening, out: &mut Vec<u8>) {
    put(out, b",\"cart\":{\"items\":[");
    let mut cents = 0;
    for (n, number) in h.cart.listings().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.push(b'"');
        write_listing(number, out);
        out.push(b'"');
        cents += r.catalogue.listing(number).cents();
    }
    put(out, b"],\"value\":");
    write_number(if cents == 0 { 0 } else { h.client.country().money(cents) }, out);
    out.push(b'}');
}

/// `"amount":...,"currency":"..."`.
fn money(h: &Happening, out: &mut Vec<u8>) {
    put(out, b"\"amount\":");
    write_number(h.amount.unwrap_or(0), out);
    text(out, b",\"currency\":\"", h.client.country().currency);
}

fn order_id(h: &Happening, out: &mut Vec<u8>) {
    put(out, b"\"order_id\":\"o-");
    digest(mix2(h.session, h.cart.listings().fold(0, |a, l| a << 8 ^ l)), out);
    out.push(b'"');
}

fn digest(hash: u64, out: &mut Vec<u8>) {
    let mut text = [0; 12];
    hex(hash, &mut text);
    out.extend_from_slice(&text);
}

fn boolean(yes: bool, out: &mut Vec<u8>) {
    put(out, if yes { b"true" } else { b"false" });
}

/// A label up to an opening quote, a text that needs no escaping, a closing quote.
fn text(out: &mut Vec<u8>, label: &[u8], text: &str) {
    put(out, label);
    put(out, text.as_bytes());
    out.push(b'"');
}

/// Appends words up to `bytes`, ending within one word of it.
fn words(bytes: usize, draws: &mut Draws, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    let mut bits = 0u64;
    while out.len() < end {
        if bits < 1 << 16 {
            bits = draws.next_u64() | 1 << 63;
        }
        put(out, pick(goods::WORDS, bits & 0xffff).as_bytes());
        bits >>= 16;
        out.push(b' ');
    }
}
