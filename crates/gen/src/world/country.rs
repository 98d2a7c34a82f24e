//! Countries: how many people of each, their clocks, money and languages.

use super::ranges::{self, Row};

pub struct Country {
    pub code: &'static str,
    /// People, in thousandths of the population.
    pub share: u32,
    pub locale: &'static str,
    /// The zone most of its people live in, and its offset from UTC in winter. Summer time is left out: it would only
    /// move the day curve by an hour.
    pub zone: &'static str,
    pub offset_min: i32,
    pub currency: &'static str,
    /// Minor units of the currency for a thousand cents of the euro, as of 2026, rounded.
    pub per_1000_cents: u64,
    /// How many of a hundred phones are iPhones.
    pub iphones: u64,
    pub(super) networks: &'static [Row],
}

/// The marketplace is European with a foot in America: that gives the day a peak of its own.
pub const COUNTRIES: &[Country] = &[
    country("DE", 170, "de-DE", "Europe/Berlin", 60, "EUR", 1_000, 36, ranges::DE),
    country("FR", 150, "fr-FR", "Europe/Paris", 60, "EUR", 1_000, 35, ranges::FR),
    country("GB", 95, "en-GB", "Europe/London", 0, "GBP", 870, 52, ranges::GB),
    country("US", 110, "en-US", "America/New_York", -300, "USD", 1_160, 58, ranges::US),
    country("ES", 70, "es-ES", "Europe/Madrid", 60, "EUR", 1_000, 26, ranges::ES),
    country("IT", 65, "it-IT", "Europe/Rome", 60, "EUR", 1_000, 31, ranges::IT),
    country("PL", 60, "pl-PL", "Europe/Warsaw", 60, "PLN", 4_260, 16, ranges::PL),
    country("NL", 50, "nl-NL", "Europe/Amsterdam", 60, "EUR", 1_000, 43, ranges::NL),
    country("BE", 30, "nl-BE", "Europe/Brussels", 60, "EUR", 1_000, 42, ranges::BE),
    country("CZ", 25, "cs-CZ", "Europe/Prague", 60, "CZK", 24_300, 26, ranges::CZ),
    country("AT", 22, "de-AT", "Europe/Vienna", 60, "EUR", 1_000, 38, ranges::AT),
    country("SE", 22, "sv-SE", "Europe/Stockholm", 60, "SEK", 11_000, 57, ranges::SE),
    country("CH", 20, "de-CH", "Europe/Zurich", 60, "CHF", 930, 54, ranges::CH),
    country("LT", 16, "lt-LT", "Europe/Vilnius", 120, "EUR", 1_000, 25, ranges::LT),
    country("CA", 18, "en-CA", "America/Toronto", -300, "CAD", 1_620, 60, ranges::CA),
    country("BR", 25, "pt-BR", "America/Sao_Paulo", -180, "BRL", 6_200, 18, ranges::BR),
    country("MX", 10, "es-MX", "America/Mexico_City", -360, "MXN", 21_400, 24, ranges::MX),
    country("AR", 6, "es-AR", "America/Argentina/Buenos_Aires", -180, "ARS", 1_650_000, 12, ranges::AR),
    country("TR", 8, "tr-TR", "Europe/Istanbul", 180, "TRY", 48_000, 18, ranges::TR),
    country("ZA", 5, "en-ZA", "Africa/Johannesburg", 120, "ZAR", 20_000, 16, ranges::ZA),
    country("IN", 6, "en-IN", "Asia/Kolkata", 330, "INR", 102_000, 5, ranges::IN),
    country("ID", 3, "id-ID", "Asia/Jakarta", 420, "IDR", 19_400_000, 11, ranges::ID),
    country("VN", 2, "vi-VN", "Asia/Ho_Chi_Minh", 420, "VND", 305_000, 27, ranges::VN),
    country("JP", 4, "ja-JP", "Asia/Tokyo", 540, "JPY", 1_750, 60, ranges::JP),
    country("KR", 2, "ko-KR", "Asia/Seoul", 540, "KRW", 17_000, 24, ranges::KR),
    country("AU", 6, "en-AU", "Australia/Sydney", 600, "AUD", 1_770, 59, ranges::AU),
];

#[allow(clippy::too_many_arguments)] // a row of a table
const fn country(
    code: &'static str,
    share: u32,
    locale: &'static str,
    zone: &'static str,
    offset_min: i32,
    currency: &'static str,
    per_1000_cents: u64,
    iphones: u64,
    networks: &'static [Row],
) -> Country {
    Country { code, share, locale, zone, offset_min, currency, per_1000_cents, iphones, networks }
}

impl Country {
    /// Minor units of the country's currency for cents of the euro, in steps that a price has.
    pub fn money(&self, cents: u64) -> u64 {
        (cents * self.per_1000_cents / 1000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_a_thousand() {
        assert_eq!(COUNTRIES.iter().map(|c| c.share).sum::<u32>(), 1000);
    }
}
