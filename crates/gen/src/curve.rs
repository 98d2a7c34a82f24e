//! How busy people are, by the hour of their day and the day of their week.

use event::Micros;

use crate::world::{COUNTRIES, Country};

/// Of each hour, beginning at local midnight: quiet until six, a lunch hill, the evening's mountain. Only their ratios
/// count.
const HOURS: [u32; 24] =
    [26, 14, 8, 6, 6, 10, 22, 40, 54, 62, 66, 72, 80, 76, 68, 66, 72, 82, 94, 108, 124, 128, 104, 60];
/// Monday to Sunday.
const DAYS: [u32; 7] = [100, 98, 98, 100, 96, 106, 122];

const SLOT_MIN: i64 = 15;
const SLOTS: usize = (7 * 24 * 60 / SLOT_MIN) as usize;
const MINUTE: i64 = 60 * Micros::SECOND;
/// 1970-01-01 was a Thursday; weeks here begin on Monday.
const MONDAY_MIN: i64 = 3 * 24 * 60;

/// A factor for every quarter of an hour of a local week.
pub struct Curve {
    slots: Vec<f64>,
    /// Sum over a week, in microseconds.
    week: f64,
    pub max: f64,
}

impl Curve {
    /// As busy at four in the morning as at nine in the evening.
    pub fn flat() -> Curve {
        Curve::of(vec![1.0; SLOTS])
    }

    /// The curve of [`COUNTRIES`], scaled so that all of them together come to 1 in their busiest quarter of an hour.
    pub fn daily() -> Curve {
        let raw: Vec<f64> = (0..SLOTS).map(|slot| raw(slot as i64 * SLOT_MIN)).collect();
        let together = |slot: usize| -> f64 {
            let of = |c: &Country| {
                f64::from(c.share) / 1000.0 * raw[slot_of(slot as i64 * SLOT_MIN + i64::from(c.offset_min))]
            };
            COUNTRIES.iter().map(of).sum()
        };
        let peak = (0..SLOTS).map(together).fold(0.0, f64::max);
        Curve::of(raw.iter().map(|f| f / peak).collect())
    }

    fn of(slots: Vec<f64>) -> Curve {
        let week = slots.iter().sum::<f64>() * (SLOT_MIN * MINUTE) as f64;
        let max = slots.iter().copied().fold(0.0, f64::max);
        Curve { slots, week, max }
    }

    /// The factor at a time, `offset_min` minutes east of Greenwich.
    pub fn at(&self, time: Micros, offset_min: i32) -> f64 {
        self.slots[slot_of(minute(time, offset_min))]
    }

    /// When the factor, summed up from `time` on, comes to `need` microseconds.
    pub fn after(&self, time: Micros, offset_min: i32, need: f64) -> Micros {
        let weeks = (need / self.week) as i64;
        let mut need = need - weeks as f64 * self.week;
        let mut at = time.0.saturating_add(weeks.saturating_mul(7 * 24 * 60 * MINUTE));
        // Two weeks at most, whatever the rounding did to the remainder.
        for _ in 0..2 * SLOTS {
            let slot_ends = (at.div_euclid(SLOT_MIN * MINUTE) + 1) * SLOT_MIN * MINUTE;
            let factor = self.at(Micros(at), offset_min);
            let in_slot = (slot_ends - at) as f64 * factor;
            if need < in_slot {
                return Micros(at + (need / factor) as i64);
            }
            need -= in_slot;
            at = slot_ends;
        }
        Micros(at)
    }
}

/// Between the middles of two hours a straight line.
fn raw(local_min: i64) -> f64 {
    let from_middle = local_min - 30;
    let (hour, part) = (from_middle.div_euclid(60), from_middle.rem_euclid(60));
    let of = |hour: i64| f64::from(HOURS[hour.rem_euclid(24) as usize]);
    let day = local_min.div_euclid(24 * 60).rem_euclid(7) as usize;
    (of(hour) * (60 - part) as f64 + of(hour + 1) * part as f64) / 60.0 * f64::from(DAYS[day]) / 100.0
}

fn minute(time: Micros, offset_min: i32) -> i64 {
    time.0.div_euclid(MINUTE) + MONDAY_MIN + i64::from(offset_min)
}

fn slot_of(local_min: i64) -> usize {
    (local_min.rem_euclid(7 * 24 * 60) / SLOT_MIN) as usize
}

/// Hour of the local day, and whether people work then: Monday to Friday, nine to five.
pub fn local_hour(time: Micros, offset_min: i32) -> (u32, bool) {
    let minute = minute(time, offset_min);
    let hour = (minute.rem_euclid(24 * 60) / 60) as u32;
    let day = minute.div_euclid(24 * 60).rem_euclid(7);
    (hour, day < 5 && (9..17).contains(&hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T00:00:00Z, a Sunday.
    const SUNDAY: i64 = 1_795_305_600 * Micros::SECOND;
    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn evenings_are_busy_and_nights_are_not() {
        let curve = Curve::daily();
        let at = |hours: i64| curve.at(Micros(SUNDAY + hours * HOUR), 0);
        assert!(at(21) > 8.0 * at(4), "{} and {}", at(21), at(4));
        assert!(at(21) > 1.1 * at(21 + 48), "Sunday {} and Tuesday {}", at(21), at(21 + 48));
        // The same moment, told by another clock.
        assert_eq!(curve.at(Micros(SUNDAY + 20 * HOUR), 60), at(21));
    }

    #[test]
    fn all_countries_together_come_to_one_at_the_peak() {
        let curve = Curve::daily();
        let together = |time: i64| -> f64 {
            COUNTRIES.iter().map(|c| f64::from(c.share) / 1000.0 * curve.at(Micros(time), c.offset_min)).sum()
        };
        let week: Vec<f64> = (0..SLOTS as i64).map(|s| together(SUNDAY + s * SLOT_MIN * MINUTE)).collect();
        let peak = week.iter().copied().fold(0.0, f64::max);
        assert!((peak - 1.0).abs() < 1e-9, "{peak}");
        let mean = week.iter().sum::<f64>() / week.len() as f64;
        assert!((0.4..0.7).contains(&mean), "the peak is {:.2} times the mean", 1.0 / mean);
    }

    #[test]
    fn what_is_summed_up_comes_to_what_was_needed() {
        let curve = Curve::daily();
        for (from, need) in [(0, 1.0), (7 * HOUR, 3.3e9), (100 * HOUR, 9.7e11), (5, 4.0e12)] {
            let begin = Micros(SUNDAY + from);
            let end = curve.after(begin, 60, need);
            let step = 30 * Micros::SECOND;
            let mut sum = 0.0;
            let mut at = begin.0;
            while at < end.0 {
                sum += curve.at(Micros(at), 60) * step.min(end.0 - at) as f64;
                at += step;
            }
            assert!((sum - need).abs() <= need * 0.01 + 2.0, "{sum} for {need}");
        }
        assert_eq!(Curve::flat().after(Micros(SUNDAY), 0, 1234.0), Micros(SUNDAY + 1234));
    }

    #[test]
    fn people_work_on_weekdays() {
        assert_eq!(local_hour(Micros(SUNDAY + 10 * HOUR), 60), (11, false));
        assert_eq!(local_hour(Micros(SUNDAY + 34 * HOUR), -60), (9, true));
    }
}
