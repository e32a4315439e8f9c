//! When a failed delivery is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// CVAT's pauses between attempts, in seconds: eight retries in some four days.
const PAUSES_S: [u64; 8] = [5, 300, 1_800, 10_800, 86_400, 86_400, 86_400, 86_400];
/// How much a pause may be longer or shorter, so that what failed together does not come back together.
const JITTER: f64 = 0.2;
/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);
/// The shortest one: zero would be a loop.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// Whether a receiver that answers this may have changed its mind later.
pub const fn is_worth_retrying(status: u16) -> bool {
    status >= 500 || matches!(status, 408 | 429)
}

/// The pause after failed attempt number `attempt` (from 1) of a message; `None` when it was the last. What
/// the receiver asked for counts more than the schedule.
pub fn pause(message_id: i64, attempt: i32, asked: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
    let scheduled = Duration::from_secs(*PAUSES_S.get(index)?);
    Some(match asked {
        Some(asked) => asked.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX),
        None => scheduled.mul_f64(1.0 + JITTER * spread(message_id, attempt)),
    })
}

/// A number from -1 to 1 that looks random and is always the same for one attempt.
fn spread(message_id: i64, attempt: i32) -> f64 {
    // The finalizer of SplitMix64.
    let mut bits =
        message_id.cast_unsigned().wrapping_mul(31).wrapping_add(u64::from(attempt.unsigned_abs()));
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Reads a `Retry-After` header: seconds or a date.
pub fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(header).ok()?.to_utc();
    Some((date - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [500, 502, 504, 599, 408, 429] {
            assert!(is_worth_retrying(status), "{status}");
        }
        for status in [200, 204, 301, 400, 401, 404, 410, 422] {
            assert!(!is_worth_retrying(status), "{status}");
        }
    }

    #[test]
    fn pauses_follow_the_schedule_within_a_fifth() {
        for (index, scheduled) in PAUSES_S.iter().enumerate() {
            for message in 0..200 {
                let pause = pause(message, index as i32 + 1, None).unwrap().as_secs_f64();
                let ratio = pause / *scheduled as f64;
                assert!((0.8..=1.2).contains(&ratio), "{ratio}");
            }
        }
        assert_eq!(pause(1, 9, None), None, "the ninth attempt is the last");
        assert_eq!(pause(1, 0, None), None);
    }

    #[test]
    fn pauses_of_messages_that_failed_together_differ() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|message| pause(message, 2, None)).collect();
        assert!(pauses.len() > 95);
        let spreads: Vec<f64> = (0..1_000).map(|message| spread(message, 1)).collect();
        assert!(spreads.iter().any(|s| *s > 0.9) && spreads.iter().any(|s| *s < -0.9));
    }

    #[test]
    fn a_receiver_may_ask_for_a_pause_of_up_to_a_day() {
        let asked = |seconds| pause(1, 1, Some(Duration::from_secs(seconds))).unwrap().as_secs();
        assert_eq!((asked(0), asked(120), asked(1_000_000)), (1, 120, 86_400));
        assert_eq!(pause(1, 9, Some(Duration::from_secs(1))), None, "even then there is a last attempt");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = DateTime::parse_from_rfc3339("1994-11-06T08:49:07Z").unwrap().to_utc();
        assert_eq!(retry_after(" 7 ", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
