//! A scraper: searches and listings by the dozen, as regular as a clock.

use super::{Done, Live, Shop, shopper};
use crate::rng::Draws;

/// Measured; see [`super::mean_events`].
pub(super) const MEAN_EVENTS: f64 = 140.0;

pub(super) fn length(draws: &mut Draws) -> u16 {
    draws.spread(40, 3) as u16
}

pub(super) fn next(live: &mut Live, shop: &Shop<'_>) -> Done {
    if live.draws.per_mille(120) { shopper::search(live) } else { shopper::open_listing(live, shop, false) }
}

/// The period, a hundredth more or less.
pub(super) fn gap_us(draws: &mut Draws, period_us: u32) -> u64 {
    let period = u64::from(period_us);
    period - period / 100 + draws.below(period / 50)
}
