//! Lists, edits, answers, is paid; and looks around like everybody else.

use super::{Action, Done, Live, Page, Plan, Shop, Todo, shopper};
use crate::rng::Draws;

/// Measured; see [`super::mean_events`].
pub(super) const MEAN_EVENTS: f64 = 28.3;

pub(super) fn length(draws: &mut Draws) -> u16 {
    draws.spread(8, 3) as u16
}

pub(super) fn next(live: &mut Live, shop: &Shop<'_>) -> Done {
    if live.plan == Plan::SignIn && live.draws.per_mille(600) {
        return shopper::sign_in(live);
    }
    if !live.signed_in {
        return shopper::browse(live, shop);
    }
    if live.step == 0 {
        return live.show(Page::Dashboard);
    }
    match live.draws.below(1000) {
        0..170 => {
            live.push(Todo::Form(Action::MessageSent));
            live.show(Page::Inbox)
        }
        170..300 => {
            // A number of its own beyond the catalogue.
            live.listing = shop.catalogue.listings + live.draws.below(shop.catalogue.listings);
            live.push(Todo::Form(Action::ListingCreated));
            live.show(Page::Sell)
        }
        300..410 => {
            let (seller, listings) = (live.client.person, shop.catalogue.listings);
            live.listing = shop.population.own_listing(seller, listings, &mut live.draws);
            live.push(Todo::Form(Action::ListingEdited));
            live.show(Page::Edit)
        }
        410..440 => {
            live.push(Todo::Form(Action::PayoutRequested));
            live.show(Page::Payouts)
        }
        440..600 => live.show(Page::Dashboard),
        _ => shopper::browse(live, shop),
    }
}
