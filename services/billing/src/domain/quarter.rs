//! Quarters of an hour of UTC: what usage is summed by.
//!
//! Every offset from UTC that is in use is a multiple of a quarter of an hour (Kathmandu is at +5:45, Eucla at
//! +8:45), so the hours, days and months of every time zone are whole numbers of quarters, on the days when clocks
//! change too. That makes sums exact in any zone that a reader names, without fixing one when an event is taken in.

use chrono::{DateTime, TimeDelta, Utc};

/// Microseconds of a quarter of an hour.
pub const QUARTER_US: i64 = 900_000_000;

/// The beginning of the quarter that an instant is in.
pub fn quarter_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::microseconds(into_quarter(at)) - TimeDelta::nanoseconds(sub_micro(at))
}

/// Microseconds from an instant to the end of its quarter: all 900,000,000 of them at its beginning.
pub fn left_of_quarter(at: DateTime<Utc>) -> i64 {
    QUARTER_US - into_quarter(at)
}

/// Microseconds between two instants.
pub fn micros_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i128 {
    i128::from(to.timestamp_micros()) - i128::from(from.timestamp_micros())
}

fn into_quarter(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros().rem_euclid(QUARTER_US)
}

fn sub_micro(at: DateTime<Utc>) -> i64 {
    i64::from(at.timestamp_subsec_nanos() % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_begins_at_its_first_instant() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let begin = at("2026-11-21T10:15:00Z");
        assert_eq!(quarter_of(begin), begin);
        assert_eq!(quarter_of(at("2026-11-21T10:29:59.999999Z")), begin);
        assert_eq!(quarter_of(at("2026-11-21T10:30:00Z")), at("2026-11-21T10:30:00Z"));
        assert_eq!(quarter_of(at("1969-12-31T23:59:59Z")), at("1969-12-31T23:45:00Z"));
        assert_eq!(left_of_quarter(begin), QUARTER_US);
        assert_eq!(left_of_quarter(at("2026-11-21T10:29:59.999999Z")), 1);
    }
}
