//! A crawler: page after page, in no hurry, without an account.

use super::{Done, Live, Page, Shop};
use crate::rng::Draws;
use crate::world::Catalogue;

/// Measured; see [`super::mean_events`].
pub(super) const MEAN_EVENTS: f64 = 136.0;

pub(super) fn length(draws: &mut Draws) -> u16 {
    draws.spread(24, 4) as u16
}

pub(super) fn next(live: &mut Live, shop: &Shop<'_>) -> Done {
    match live.draws.below(100) {
        0..70 => {
            live.listing = live.draws.below(shop.catalogue.listings);
            live.category = shop.catalogue.listing(live.listing).category;
            live.show(Page::Listing)
        }
        70..95 => {
            live.category = Catalogue::draw_category(&mut live.draws);
            live.show(Page::Category)
        }
        _ => live.show(Page::Home),
    }
}

pub(super) fn gap_us(draws: &mut Draws) -> u64 {
    draws.between(1_000_000, 7_000_000)
}
