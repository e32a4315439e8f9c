//! Hours, days and months of a time zone, also where clocks change.

use chrono::{DateTime, Datelike, Days, Duration, Months, NaiveDate, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::curve::Window;

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    Hour,
    Day,
    Month,
}

impl Span {
    /// As it is called in questions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// Windows that one answer may have.
pub const WINDOWS_MAX: usize = 10_000;

/// The windows that hold some of the time from `from` to before `to`, whole ones, in order; `None` when there are
/// more than [`WINDOWS_MAX`].
pub fn windows(from: DateTime<Utc>, to: DateTime<Utc>, span: Span, zone: Tz) -> Option<Vec<Window>> {
    let mut windows = vec![];
    let mut begin = beginning(from, span, zone);
    while begin < to {
        if windows.len() == WINDOWS_MAX {
            return None;
        }
        let end = next(begin, span, zone);
        windows.push((begin, end));
        begin = end;
    }
    Some(windows)
}

/// The first instant of a date, which is not midnight where clocks are put forward at midnight.
pub fn start_of_day(date: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let mut clock = date.and_time(NaiveTime::MIN);
    loop {
        match zone.from_local_datetime(&clock).earliest() {
            Some(first) => return first.to_utc(),
            // No clock showed this time; gaps end on a quarter of an hour.
            None => clock += Duration::minutes(15),
        }
    }
}

fn beginning(at: DateTime<Utc>, span: Span, zone: Tz) -> DateTime<Utc> {
    let local = at.with_timezone(&zone);
    match span {
        Span::Hour => {
            let past = Duration::minutes(i64::from(local.minute()))
                + Duration::seconds(i64::from(local.second()))
                + Duration::nanoseconds(i64::from(local.nanosecond()));
            at - past
        }
        Span::Day => start_of_day(local.date_naive(), zone),
        Span::Month => start_of_day(first_of_month(local.date_naive()), zone),
    }
}

fn next(begin: DateTime<Utc>, span: Span, zone: Tz) -> DateTime<Utc> {
    let date = begin.with_timezone(&zone).date_naive();
    let later = match span {
        // Where clocks are put back by half an hour, an hour may begin again after half of one.
        Span::Hour => beginning(begin + Duration::hours(1), span, zone),
        Span::Day => after(date, |date| date.checked_add_days(Days::new(1)), zone),
        Span::Month => after(first_of_month(date), |date| date.checked_add_months(Months::new(1)), zone),
    };
    if later > begin { later } else { begin + Duration::hours(1) }
}

/// The start of the next day or month; a zone may have left out a whole day when it crossed the date line.
fn after(date: NaiveDate, step: impl Fn(NaiveDate) -> Option<NaiveDate>, zone: Tz) -> DateTime<Utc> {
    let next = step(date).unwrap_or(NaiveDate::MAX);
    start_of_day(next, zone)
}

fn first_of_month(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::quarter::quarter_of;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn hours(windows: &[Window]) -> Vec<i64> {
        windows.iter().map(|(begin, end)| (*end - *begin).num_hours()).collect()
    }

    fn zone(name: &str) -> Tz {
        name.parse().unwrap()
    }

    #[test]
    fn days_are_as_long_as_the_clocks_say() {
        let los_angeles = zone("America/Los_Angeles");
        let spring = windows(at("2025-03-08T08:00:00Z"), at("2025-03-11T07:00:00Z"), Span::Day, los_angeles);
        assert_eq!(hours(&spring.unwrap()), [24, 23, 24]);
        let autumn = windows(at("2025-11-01T07:00:00Z"), at("2025-11-04T08:00:00Z"), Span::Day, los_angeles);
        assert_eq!(hours(&autumn.unwrap()), [24, 25, 24]);
    }

    #[test]
    fn hours_and_days_of_half_hour_zones_begin_at_their_own_time() {
        let kolkata = zone("Asia/Kolkata");
        let day =
            windows(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:01Z"), Span::Day, kolkata).unwrap();
        assert_eq!(day, [(at("2025-12-31T18:30:00Z"), at("2026-01-01T18:30:00Z"))]);
        let hour =
            windows(at("2026-01-01T00:10:00Z"), at("2026-01-01T00:31:00Z"), Span::Hour, kolkata).unwrap();
        assert_eq!(hour[0], (at("2025-12-31T23:30:00Z"), at("2026-01-01T00:30:00Z")));
        assert_eq!(hour.len(), 2);
        let kathmandu = windows(
            at("2026-01-01T00:00:00Z"),
            at("2026-01-01T00:01:00Z"),
            Span::Day,
            zone("Asia/Kathmandu"),
        );
        assert_eq!(kathmandu.unwrap()[0].0, at("2025-12-31T18:15:00Z"));
    }

    #[test]
    fn months_are_whole() {
        let berlin = zone("Europe/Berlin");
        let months =
            windows(at("2026-02-10T00:00:00Z"), at("2026-04-01T00:00:00Z"), Span::Month, berlin).unwrap();
        assert_eq!(
            months,
            [
                (at("2026-01-31T23:00:00Z"), at("2026-02-28T23:00:00Z")),
                (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")),
                (at("2026-03-31T22:00:00Z"), at("2026-04-30T22:00:00Z")),
            ]
        );
    }

    #[test]
    fn an_end_on_a_boundary_opens_no_window() {
        let days =
            windows(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"), Span::Day, Tz::UTC).unwrap();
        assert_eq!(days.len(), 1);
        assert!(
            windows(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), Span::Day, Tz::UTC)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_day_that_begins_after_midnight_and_one_that_was_left_out() {
        // Clocks were put forward at midnight.
        let beirut =
            windows(at("2025-03-29T12:00:00Z"), at("2025-03-31T12:00:00Z"), Span::Day, zone("Asia/Beirut"));
        assert_eq!(hours(&beirut.unwrap()), [24, 23, 24]);
        // 30 December 2011 never was.
        let apia =
            windows(at("2011-12-29T12:00:00Z"), at("2011-12-31T12:00:00Z"), Span::Day, zone("Pacific/Apia"));
        assert!(apia.unwrap().windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].0 < pair[0].1));
    }

    #[test]
    fn too_many_windows_are_none() {
        assert_eq!(
            windows(at("2000-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"), Span::Hour, Tz::UTC),
            None
        );
    }

    proptest! {
        #[test]
        fn windows_touch_and_lie_on_quarters_in_every_zone(
            zone in 0..TZ_VARIANTS.len(), second in 0_i64..300_000_000, days in 1_i64..40,
            span in prop::sample::select(vec![Span::Hour, Span::Day, Span::Month]),
        ) {
            let zone = TZ_VARIANTS[zone];
            let from = DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
            let to = from + Duration::days(days);
            let windows = windows(from, to, span, zone).unwrap();
            prop_assert!(windows[0].0 <= from && windows.last().unwrap().1 >= to, "{zone} {windows:?}");
            for (begin, end) in &windows {
                prop_assert!(begin < end);
                prop_assert_eq!(quarter_of(*begin), *begin, "{}", zone);
            }
            prop_assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0));
        }
    }
}
