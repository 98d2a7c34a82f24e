//! Where a day ends. Zones come from the database bundled with the program, so that the same events are cut at the same
//! midnights on every machine.

use event::Micros;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// An IANA zone.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// `None`: the database has no zone of that name.
    pub fn named(name: &str) -> Option<Zone> {
        TimeZoneDatabase::bundled().get(name).ok().map(Zone)
    }

    /// The first instant of the day after the one that `time` is in. Where a clock is set forward at midnight that is
    /// 01:00; a day may have 23 or 25 hours. [`Micros::LATEST`] for times that no event has.
    pub fn day_end(&self, time: Micros) -> Micros {
        let next = || {
            let day = Timestamp::from_microsecond(time.0).ok()?.to_zoned(self.0.clone()).tomorrow().ok()?;
            Some(Micros(day.start_of_day().ok()?.timestamp().as_microsecond()))
        };
        next().unwrap_or(Micros::LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_end_at_the_zones_midnight_across_daylight_saving() {
        for (zone, time, end) in [
            ("UTC", "2026-11-22T23:59:59.999999Z", "2026-11-23T00:00:00Z"),
            ("UTC", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            // Berlin goes to summer time at 02:00 on the 29th: a day of 23 hours.
            ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z"),
            // And back at 03:00 on the 25th: a day of 25 hours.
            ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Sao Paulo's clocks once went from 00:00 to 01:00: the day began at 01:00.
            ("America/Sao_Paulo", "2018-11-04T02:59:59Z", "2018-11-04T03:00:00Z"),
            ("America/Sao_Paulo", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
            // And from 00:00 back to 23:00: that hour was there twice, and the day ended with the second.
            ("America/Sao_Paulo", "2018-02-18T01:59:59Z", "2018-02-18T03:00:00Z"),
            ("America/Sao_Paulo", "2018-02-18T02:30:00Z", "2018-02-18T03:00:00Z"),
            ("Asia/Kathmandu", "2026-11-22T18:14:59Z", "2026-11-22T18:15:00Z"),
        ] {
            let parse = |t: &str| Micros::parse_rfc3339(t.as_bytes()).expect("a time");
            let got = Zone::named(zone).expect("a zone").day_end(parse(time));
            assert_eq!(got, parse(end), "{zone} {time}: {got}");
        }
        assert!(Zone::named("Mars/Olympus").is_none());
    }
}
