//! How a task's pictures become its frames: their order, and which of them are used.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Frames of a chunk are chosen so that a chunk has about this many pixels.
const CHUNK_PIXELS: u64 = 36 * 1920 * 1080;
const CHUNK_SIZE_MIN: u64 = 2;
const CHUNK_SIZE_MAX: u64 = 72;

/// The most frames that a client may have in a chunk: each is looked at for every request.
pub const CHUNK_FRAMES_MAX: i64 = 1000;

/// The order of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sorting {
    /// By name, by code points.
    #[default]
    Lexicographical,
    /// By name, numbers in it by value.
    Natural,
    /// As the client says, else as they arrived.
    Predefined,
    /// Shuffled, the same way each time for one task.
    Random,
}

/// What the client asked for when it had sent everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// JPEG quality of compressed frames, 1 to 100.
    pub image_quality: i64,
    /// Frames in a chunk; absent for a choice by the size of the pictures.
    pub chunk_size: Option<i64>,
    pub sorting: Sorting,
    /// The first picture that is used, counted after sorting.
    pub start_frame: i64,
    /// The last one; absent for the last there is.
    pub stop_frame: Option<i64>,
    /// Every so many-th is used.
    pub step: i64,
}

impl Options {
    /// `frame_filter` as CVAT shows it.
    pub fn frame_filter(&self) -> String {
        if self.step > 1 { format!("step={}", self.step) } else { String::new() }
    }

    /// The places, among `count` sorted pictures, of those that are used.
    pub fn used(&self, count: usize) -> impl Iterator<Item = usize> + use<> {
        let start = usize::try_from(self.start_frame).unwrap_or(usize::MAX);
        let stop = self.stop_frame.map_or(usize::MAX, |stop| usize::try_from(stop).unwrap_or(usize::MAX));
        let end = count.min(stop.saturating_add(1));
        let step = usize::try_from(self.step).unwrap_or(1).max(1);
        (start.min(end)..end).step_by(step)
    }

    /// Frames in a chunk of pictures of this size, by CVAT's rule.
    pub fn chunk_size_for(&self, width: u32, height: u32) -> i64 {
        self.chunk_size.unwrap_or_else(|| {
            let area = (u64::from(width) * u64::from(height)).max(1);
            i64::try_from((CHUNK_PIXELS / area).clamp(CHUNK_SIZE_MIN, CHUNK_SIZE_MAX)).unwrap_or(36)
        })
    }
}

/// Puts things with names in order. They come in the order of arrival, or in the client's own.
pub fn sort<T>(items: &mut [T], sorting: Sorting, seed: u64, name: impl Fn(&T) -> &str) {
    match sorting {
        Sorting::Predefined => {}
        Sorting::Lexicographical => items.sort_by(|a, b| name(a).cmp(name(b))),
        Sorting::Natural => items.sort_by(|a, b| natural(name(a), name(b))),
        Sorting::Random => {
            // By name first, so that the order of arrival does not matter.
            items.sort_by(|a, b| name(a).cmp(name(b)));
            shuffle(items, seed);
        }
    }
}

/// Compares texts so that `frame 9` comes before `frame 10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        match (left.first(), right.first()) {
            (None, None) => return a.cmp(b),
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (first, rest_left) = number(left);
                let (second, rest_right) = number(right);
                // Without leading zeros the longer one is the larger.
                let order = first.len().cmp(&second.len()).then_with(|| first.cmp(second));
                if order.is_ne() {
                    return order;
                }
                (left, right) = (rest_left, rest_right);
            }
            (Some(x), Some(y)) => {
                if x != y {
                    return x.cmp(y);
                }
                (left, right) = (&left[1..], &right[1..]);
            }
        }
    }
}

/// The digits that a text begins with, without leading zeros, and what follows them.
fn number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

/// Fisher and Yates' shuffle by a small generator (splitmix64): the same seed gives the same order for ever.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for last in (1..items.len()).rev() {
        let chosen = usize::try_from(next() % (last as u64 + 1)).unwrap_or(0);
        items.swap(last, chosen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(start: i64, stop: Option<i64>, step: i64) -> Options {
        Options {
            image_quality: 70,
            chunk_size: None,
            sorting: Sorting::default(),
            start_frame: start,
            stop_frame: stop,
            step,
        }
    }

    fn sorted(names: &[&'static str], sorting: Sorting) -> Vec<&'static str> {
        let mut names = names.to_vec();
        sort(&mut names, sorting, 7, |name| name);
        names
    }

    #[test]
    fn frames_are_chosen_by_start_stop_and_step() {
        let used = |options: Options, count| options.used(count).collect::<Vec<_>>();
        assert_eq!(used(options(0, None, 1), 3), [0, 1, 2]);
        assert_eq!(used(options(1, Some(7), 3), 10), [1, 4, 7]);
        assert_eq!(used(options(1, Some(700), 3), 10), [1, 4, 7]);
        assert!(used(options(10, None, 1), 10).is_empty());
        assert!(used(options(5, Some(4), 1), 10).is_empty());
        assert_eq!(options(0, None, 2).frame_filter(), "step=2");
    }

    #[test]
    fn numbers_in_names_count_only_in_natural_order() {
        let names = ["f10.jpg", "f9.jpg", "f09.jpg", "a.jpg"];
        assert_eq!(sorted(&names, Sorting::Lexicographical), ["a.jpg", "f09.jpg", "f10.jpg", "f9.jpg"]);
        assert_eq!(sorted(&names, Sorting::Natural), ["a.jpg", "f09.jpg", "f9.jpg", "f10.jpg"]);
        assert_eq!(sorted(&names, Sorting::Predefined), names);
    }

    #[test]
    fn a_shuffle_does_not_depend_on_the_order_of_arrival() {
        let one = sorted(&["a", "b", "c", "d", "e", "f"], Sorting::Random);
        let other = sorted(&["f", "c", "b", "e", "d", "a"], Sorting::Random);
        assert_eq!(one, other);
        assert_ne!(one, ["a", "b", "c", "d", "e", "f"]);
    }

    #[test]
    fn large_pictures_make_small_chunks() {
        assert_eq!(options(0, None, 1).chunk_size_for(1920, 1080), 36);
        assert_eq!(options(0, None, 1).chunk_size_for(64, 64), 72);
        assert_eq!(options(0, None, 1).chunk_size_for(20_000, 10_000), 2);
    }
}
