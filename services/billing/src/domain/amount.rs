//! Exact numbers: decimals and whole numbers, never floats. Everything that leaves is text.

use rust_decimal::Decimal;

/// Digits after the point of a quotient that does not end.
const PLACES: u32 = 12;

/// How much was used in a window: a decimal, or a whole number that its meter's divisor makes one of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Decimal(Decimal),
    /// Level times microseconds, or a level.
    Whole(i128),
}

impl Amount {
    /// The sum of two amounts of one meter; `None` when it is too large to be told exactly.
    pub fn plus(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Decimal(one), Self::Decimal(two)) => one.checked_add(two).map(Self::Decimal),
            (Self::Whole(one), Self::Whole(two)) => one.checked_add(two).map(Self::Whole),
            _ => None,
        }
    }

    /// As it is shown, in the meter's unit.
    pub fn text(self, divisor: i128) -> String {
        match self {
            Self::Decimal(value) => value.normalize().to_string(),
            Self::Whole(value) => quotient(value, divisor),
        }
    }
}

/// A quotient as a decimal of at most twelve places; what is beyond them is rounded once, half away from zero.
pub fn quotient(numerator: i128, divisor: i128) -> String {
    let scale = 10_i128.pow(PLACES);
    let (mut whole, rest) = (
        numerator.unsigned_abs() / divisor.unsigned_abs(),
        numerator.unsigned_abs() % divisor.unsigned_abs(),
    );
    // A rest is below the divisor, which is at most 3.6e18: no product here comes near the limit of 1.7e38.
    let scaled = rest * scale.unsigned_abs();
    let mut fraction = scaled / divisor.unsigned_abs();
    if (scaled % divisor.unsigned_abs()) * 2 >= divisor.unsigned_abs() {
        fraction += 1;
    }
    if fraction == scale.unsigned_abs() {
        (whole, fraction) = (whole + 1, 0);
    }
    let sign = if numerator < 0 && (whole, fraction) != (0, 0) { "-" } else { "" };
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let digits = format!("{fraction:012}");
    format!("{sign}{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_is_rounded_once_half_away_from_zero() {
        assert_eq!(quotient(0, 7), "0");
        assert_eq!(quotient(7, 7), "1");
        assert_eq!(quotient(5, 4), "1.25");
        assert_eq!(quotient(1, 3), "0.333333333333");
        assert_eq!(quotient(2, 3), "0.666666666667");
        assert_eq!(quotient(-2, 3), "-0.666666666667");
        assert_eq!(quotient(1, 2_000_000_000_000), "0.000000000001");
        assert_eq!(quotient(-1, 3_000_000_000_000), "0");
        assert_eq!(quotient(19_999_999_999_999, 10_000_000_000_000), "2");
    }

    #[test]
    fn a_petabyte_for_a_hundred_years_is_exact() {
        let hours = 100 * 8_766_i128;
        let numerator = 1_000_000_000_000_000 * hours * 3_600_000_000;
        assert_eq!(quotient(numerator, 1_000_000_000 * 3_600_000_000), (1_000_000 * hours).to_string());
    }

    #[test]
    fn amounts_of_one_meter_add_up() {
        let tenth = Amount::Decimal("0.1".parse().unwrap());
        let sum = (0..9).try_fold(tenth, |sum, _| sum.plus(tenth)).unwrap();
        assert_eq!(sum.text(1), "1");
        assert_eq!(Amount::Whole(3).plus(Amount::Whole(4)), Some(Amount::Whole(7)));
        assert_eq!(Amount::Whole(i128::MAX).plus(Amount::Whole(1)), None);
        assert_eq!(tenth.plus(Amount::Whole(1)), None);
    }
}
