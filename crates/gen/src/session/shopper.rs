//! Looks around, saves, asks, sometimes buys.

use super::{Action, Done, Live, Page, Plan, Shop, Todo};
use crate::rng::Draws;
use crate::world::Catalogue;
use crate::world::entry::{ENTRIES, Landing};

/// Measured; see [`super::mean_events`].
pub(super) const MEAN_EVENTS: f64 = 25.4;

/// A quarter leaves almost at once.
pub(super) fn length(draws: &mut Draws) -> u16 {
    let n = match draws.below(100) {
        0..25 => draws.between(2, 6),
        25..70 => draws.spread(8, 2),
        _ => draws.spread(24, 2),
    };
    n as u16
}

pub(super) fn next(live: &mut Live, shop: &Shop<'_>) -> Done {
    if live.step == 0 {
        return land(live, shop);
    }
    if live.plan == Plan::SignIn && live.step >= 2 && live.draws.per_mille(200) {
        return sign_in(live);
    }
    if live.plan == Plan::SignUp && live.step >= 4 && live.draws.per_mille(200) {
        live.push(Todo::SubmitSignUp);
        return live.show(Page::SignUp);
    }
    browse(live, shop)
}

pub(super) fn sign_in(live: &mut Live) -> Done {
    live.push(Todo::SubmitSignIn);
    live.show(Page::SignIn)
}

/// Shared with sellers, who look around too.
pub(super) fn browse(live: &mut Live, shop: &Shop<'_>) -> Done {
    let of_1000 = live.draws.below(1000);
    match live.page {
        Page::Listing => match of_1000 {
            0..80 => (Action::ListingSaved, None, true),
            80..160 => add_to_cart(live, shop),
            160..190 => with_account(live, shop, Action::MessageSent),
            190..210 => with_account(live, shop, Action::OfferMade),
            210..600 => open_listing(live, shop, true),
            600..780 => search(live),
            780..850 => category(live),
            850..930 => cart(live, shop),
            930..960 => live.show(Page::Home),
            _ => aside(live, shop),
        },
        Page::Search | Page::Category => match of_1000 {
            0..600 => open_listing(live, shop, false),
            600..790 => search(live),
            790..880 => category(live),
            880..940 => {
                live.listing = shop.catalogue.draw(live.category, None, &mut live.draws);
                (Action::ListingSaved, None, true)
            }
            _ => live.show(Page::Home),
        },
        Page::Cart if !live.cart.is_empty() => match of_1000 {
            0..520 => checkout(live, shop),
            520..640 => {
                live.cart.pop();
                (Action::CartUpdated, None, false)
            }
            _ => open_listing(live, shop, true),
        },
        Page::Home => match of_1000 {
            0..400 => search(live),
            400..700 => category(live),
            700..920 => open_listing(live, shop, false),
            _ => aside(live, shop),
        },
        _ => match of_1000 {
            0..450 => search(live),
            450..750 => open_listing(live, shop, false),
            750..850 => cart(live, shop),
            _ => live.show(Page::Home),
        },
    }
}

fn land(live: &mut Live, shop: &Shop<'_>) -> Done {
    match ENTRIES[usize::from(live.entry)].landing {
        Landing::Inbox if live.signed_in => live.show(Page::Inbox),
        Landing::Home | Landing::Inbox => live.show(Page::Home),
        Landing::Category => category(live),
        Landing::Listing => open_listing(live, shop, false),
    }
}

pub(super) fn search(live: &mut Live) -> Done {
    // Half of the time somebody looks for the same in other words, or at the next page.
    if live.draws.per_mille(500) {
        live.query = live.draws.next_u64() as u32;
    }
    if live.draws.per_mille(120) {
        live.category = Catalogue::draw_category(&mut live.draws);
    }
    live.push(Todo::Now(Action::SearchPerformed));
    if live.draws.per_mille(700) {
        live.push(Todo::Now(Action::ListingsShown));
    }
    live.show(Page::Search)
}

pub(super) fn category(live: &mut Live) -> Done {
    if live.draws.per_mille(250) {
        live.category = Catalogue::draw_category(&mut live.draws);
    }
    live.push(Todo::Now(Action::ListingsShown));
    live.show(Page::Category)
}

pub(super) fn open_listing(live: &mut Live, shop: &Shop<'_>, related: bool) -> Done {
    let near = (related && live.step > 0 && live.draws.per_mille(650)).then_some(live.listing);
    live.listing = shop.catalogue.draw(live.category, near, &mut live.draws);
    live.push(Todo::Now(Action::ListingViewed));
    live.show(Page::Listing)
}

fn add_to_cart(live: &mut Live, shop: &Shop<'_>) -> Done {
    if live.cart.push(live.listing) { (Action::CartUpdated, None, true) } else { open_listing(live, shop, true) }
}

fn cart(live: &mut Live, shop: &Shop<'_>) -> Done {
    if live.cart.is_empty() { open_listing(live, shop, true) } else { live.show(Page::Cart) }
}

fn checkout(live: &mut Live, shop: &Shop<'_>) -> Done {
    if !live.signed_in {
        return match live.plan {
            Plan::SignIn => sign_in(live),
            _ => open_listing(live, shop, true),
        };
    }
    live.push(Todo::Now(Action::CheckoutStarted));
    live.push(Todo::Pay);
    live.show(Page::Checkout)
}

/// What only members can do, on a listing.
fn with_account(live: &mut Live, shop: &Shop<'_>, action: Action) -> Done {
    if !live.signed_in {
        return open_listing(live, shop, true);
    }
    live.send(action, shop)
}

fn aside(live: &mut Live, shop: &Shop<'_>) -> Done {
    if !live.signed_in {
        return open_listing(live, shop, false);
    }
    if live.draws.per_mille(400) {
        return live.show(Page::Account);
    }
    if live.draws.per_mille(400) {
        live.push(Todo::Form(Action::MessageSent));
    }
    live.show(Page::Inbox)
}
