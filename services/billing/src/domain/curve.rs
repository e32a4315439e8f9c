//! The sum of a series' levels over time, from its quarters of an hour: its integral and its peaks in windows.
//!
//! A step of `d` with `r` microseconds left of its quarter adds `d × r` to the quarter's integral, whatever else
//! happens in it: that is the quarter's *moment*. Moments and differences only add up, so the order in which events
//! arrive cannot matter, and a late one changes one row.

use chrono::{DateTime, Utc};

use super::level::Step;
use super::quarter::{QUARTER_US, micros_between, quarter_of};

/// How the sum changed in a quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quarter {
    pub begin: DateTime<Utc>,
    pub delta: i128,
    pub moment: i128,
    /// Highest level in it, relative to the level before it.
    pub rise: i128,
}

/// A series' sum up to now.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its level before the first quarter.
    pub before: i128,
    /// In order, only those in which something changed.
    pub quarters: Vec<Quarter>,
    /// The steps of the quarter that is not over yet, in order.
    pub running: Vec<Step>,
    pub now: DateTime<Utc>,
}

/// A stretch of time: half-open, on quarters of an hour.
pub type Window = (DateTime<Utc>, DateTime<Utc>);

impl Curve {
    /// Level times microseconds in each window, as far as it has passed.
    pub fn integrals(&self, windows: &[Window]) -> Vec<i128> {
        self.walk(windows).into_iter().map(|passed| passed.integral).collect()
    }

    /// The highest level in each window, as far as it has passed.
    pub fn peaks(&self, windows: &[Window]) -> Vec<i128> {
        self.walk(windows).into_iter().map(|passed| passed.peak).collect()
    }

    fn walk(&self, windows: &[Window]) -> Vec<Passed> {
        let (mut level, mut next) = (self.before, 0);
        windows.iter().map(|window| self.pass(window, &mut level, &mut next)).collect()
    }

    /// Goes through one window; `level` is the one before quarter number `next`.
    fn pass(&self, &(begin, end): &Window, level: &mut i128, next: &mut usize) -> Passed {
        let present = quarter_of(self.now);
        let mut passed = Passed { integral: 0, peak: 0, until: begin };
        while let Some(quarter) = self.quarters.get(*next).filter(|quarter| quarter.begin < end.min(present))
        {
            if quarter.begin >= begin {
                passed.stay(*level, quarter.begin);
                passed.peak = passed.peak.max(*level + quarter.rise);
                passed.integral += *level * i128::from(QUARTER_US) + quarter.moment;
                passed.until = quarter.begin + chrono::TimeDelta::microseconds(QUARTER_US);
            }
            *level += quarter.delta;
            *next += 1;
        }
        passed.stay(*level, end.min(present));
        if begin <= present && present < end {
            let mut running = *level;
            for step in self.running.iter().filter(|step| step.at < self.now) {
                passed.stay(running, step.at);
                running += step.delta;
            }
            passed.stay(running, self.now);
        }
        passed
    }
}

/// What a window comes to so far.
struct Passed {
    integral: i128,
    peak: i128,
    until: DateTime<Utc>,
}

impl Passed {
    /// Stays at a level to an instant.
    fn stay(&mut self, level: i128, to: DateTime<Utc>) {
        if to > self.until {
            self.integral += level * micros_between(self.until, to);
            self.peak = self.peak.max(level);
            self.until = to;
        }
    }
}

/// The quarters of steps, as the database keeps them; the order of the steps does not matter.
pub fn quarters(steps: &[Step]) -> Vec<Quarter> {
    let mut sorted = steps.to_vec();
    sorted.sort_by_key(|step| step.at);
    let mut quarters: Vec<Quarter> = vec![];
    for together in sorted.chunk_by(|one, two| quarter_of(one.at) == quarter_of(two.at)) {
        let begin = quarter_of(together[0].at);
        let mut quarter = Quarter { begin, delta: 0, moment: 0, rise: i128::MIN };
        if together[0].at > begin {
            quarter.rise = 0;
        }
        for at_once in together.chunk_by(|one, two| one.at == two.at) {
            for step in at_once {
                quarter.delta += step.delta;
                quarter.moment += step.delta * i128::from(super::quarter::left_of_quarter(step.at));
            }
            quarter.rise = quarter.rise.max(quarter.delta);
        }
        quarters.push(quarter);
    }
    quarters
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_767_225_600;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(START + second, 0).unwrap()
    }

    fn curve(steps: &[Step], now: DateTime<Utc>) -> Curve {
        let mut running: Vec<Step> =
            steps.iter().copied().filter(|step| step.at >= quarter_of(now)).collect();
        running.sort_by_key(|step| step.at);
        Curve { before: 0, quarters: quarters(steps), running, now }
    }

    /// Second by second, as a child would do it; the steps are on whole seconds.
    fn naive(steps: &[Step], &(begin, end): &Window, now: DateTime<Utc>) -> (i128, i128) {
        let (mut integral, mut peak) = (0, 0);
        let mut second = begin;
        while second < end.min(now) {
            let level: i128 = steps.iter().filter(|step| step.at <= second).map(|step| step.delta).sum();
            integral += level * 1_000_000;
            peak = peak.max(level);
            second += TimeDelta::seconds(1);
        }
        (integral, peak)
    }

    #[test]
    fn a_step_on_a_boundary_belongs_to_what_comes_after() {
        let curve = curve(&[Step { at: at(0), delta: 3 }, Step { at: at(900), delta: -3 }], at(9_000));
        let windows = [(at(0), at(900)), (at(900), at(1_800))];
        assert_eq!(curve.integrals(&windows), [3 * 900_000_000, 0]);
        assert_eq!(curve.peaks(&windows), [3, 0], "who left at the first instant was not there");
    }

    #[test]
    fn what_has_not_passed_counts_nothing() {
        let curve = curve(&[Step { at: at(100), delta: 2 }], at(1_000));
        let windows = [(at(0), at(900)), (at(900), at(1_800)), (at(1_800), at(2_700))];
        assert_eq!(curve.integrals(&windows), [1_600_000_000, 200_000_000, 0]);
        assert_eq!(curve.peaks(&windows), [2, 2, 0]);
    }

    #[test]
    fn a_seat_from_the_eleventh_day_is_twenty_one_of_thirty_one() {
        // One seat all January, one more from the 11th on: 1 + 21/31 seats on average.
        let day = 86_400;
        let steps = [Step { at: at(-day), delta: 1 }, Step { at: at(10 * day), delta: 1 }];
        let month = [(at(0), at(31 * day))];
        let curve = curve(&steps, at(40 * day));
        let average =
            super::super::amount::quotient(curve.integrals(&month)[0], i128::from(31 * day) * 1_000_000);
        assert_eq!(average, "1.677419354839");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn windows_are_what_seconds_add_up_to(
            raw in prop::collection::vec((0_i64..3_600, -3_i128..6), 0..12),
            now in 0_i64..4_000,
        ) {
            // Rounded so that boundaries are hit often.
            let steps: Vec<Step> =
                raw.iter().map(|(second, delta)| Step { at: at(second / 150 * 150), delta: *delta }).collect();
            let now = at(now / 75 * 75);
            let steps: Vec<Step> = steps.into_iter().filter(|step| step.at < now).collect();
            let windows = [(at(0), at(900)), (at(900), at(2_700)), (at(2_700), at(3_600))];
            let curve = curve(&steps, now);
            let naive: Vec<(i128, i128)> = windows.iter().map(|window| naive(&steps, window, now)).collect();
            prop_assert_eq!(curve.integrals(&windows), naive.iter().map(|(sum, _)| *sum).collect::<Vec<_>>());
            prop_assert_eq!(curve.peaks(&windows), naive.iter().map(|(_, peak)| *peak).collect::<Vec<_>>());
            let whole = curve.integrals(&[(at(0), at(3_600))])[0];
            prop_assert_eq!(whole, naive.iter().map(|(sum, _)| sum).sum::<i128>(), "slices add up to the whole");
        }
    }
}
