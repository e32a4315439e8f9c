//! Times as people write them in a query.

use actix_web::http::StatusCode;
use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;
use service_kit::Refusal;

use crate::domain::windows::start_of_day;

/// Years that a question may be about; sums beyond them mean nothing.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2200;

/// Reads an instant (`2026-11-21T10:00:00Z`), or a date or time of day on the clocks of `zone`.
///
/// # Errors
/// 400 that names the field.
pub fn instant(field: &str, text: &str, zone: Tz) -> Result<DateTime<Utc>, Refusal> {
    use chrono::Datelike;
    // A plus sign that was not escaped arrives as a space.
    let text = text.trim().replace(' ', if text.contains('T') { "+" } else { "T" });
    let local = |clock: NaiveDateTime| zone.from_local_datetime(&clock).earliest().map(|at| at.to_utc());
    let found = DateTime::parse_from_rfc3339(&text)
        .map(|at| at.to_utc())
        .ok()
        .or_else(|| text.parse::<NaiveDate>().ok().map(|date| start_of_day(date, zone)))
        .or_else(|| text.parse::<NaiveDateTime>().ok().and_then(local));
    found.filter(|at| YEARS.contains(&at.year())).ok_or_else(|| {
        let detail = format!("{field}: a date, or a time like 2026-11-21T10:00:00Z, is needed.");
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_time", detail)
    })
}

/// Reads the name of a time zone; UTC when there is none.
///
/// # Errors
/// 400 for a name that nobody knows.
pub fn zone(text: Option<&str>) -> Result<Tz, Refusal> {
    text.unwrap_or("UTC").trim().parse().map_err(|_| {
        let detail = "time_zone: the name of a time zone, like Europe/Berlin, is needed.";
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_time_zone", detail)
    })
}

/// An instant as the clocks of a zone show it.
pub fn shown(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_dates_and_local_times_are_understood() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        let read = |text: &str| instant("from", text, berlin).ok().map(|at| at.to_rfc3339());
        let midnight = Some("2026-11-20T23:00:00+00:00".to_owned());
        for text in [
            "2026-11-21",
            "2026-11-21T00:00:00",
            "2026-11-21 00:00:00",
            "2026-11-20T23:00:00Z",
            "2026-11-21T00:00:00+01:00",
            "2026-11-21T00:00:00 01:00",
        ] {
            assert_eq!(read(text), midnight, "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "1999-01-01", "9999-01-01", "262143-01-01T00:00:00Z"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_shown_by_the_clocks_of_the_zone() {
        let at = "2026-11-20T23:00:00Z".parse().unwrap();
        assert_eq!(shown(at, "Europe/Berlin".parse().unwrap()), "2026-11-21T00:00:00+01:00");
        assert_eq!(shown(at, Tz::UTC), "2026-11-20T23:00:00Z");
        assert!(zone(Some("Mars/Olympus")).is_err());
    }
}
