//! Notices a client library that has stopped fetching without a word: it has happened.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::link::Part;

/// How often partitions are compared with the cluster. One that stands at the same offset twice, both times
/// short of its topic's end, is stuck: no message for at least this long.
const PAUSE: Duration = Duration::from_secs(30);

/// Where partitions stood when they were last looked at.
pub(super) struct Watch {
    looked: Instant,
    /// Offset, and whether the topic went on behind it.
    stood: HashMap<Part, (i64, bool)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now(), stood: HashMap::new() }
    }

    pub(super) fn is_due(&self) -> bool {
        self.looked.elapsed() >= PAUSE
    }

    /// Compares where partitions stand with where their topics end; returns one that is stuck, with both.
    pub(super) fn compare<E>(
        &mut self,
        standing: &[(Part, i64)],
        end: impl Fn(Part) -> Result<i64, E>,
    ) -> Option<(Part, i64, i64)> {
        self.looked = Instant::now();
        let before = std::mem::take(&mut self.stood);
        for (part, at) in standing {
            // When Kafka does not answer, that is no fault of the fetching.
            let end = end(*part).ok()?;
            if end != *at && before.get(part) == Some(&(*at, true)) {
                return Some((*part, *at, end));
            }
            self.stood.insert(*part, (*at, end != *at));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_partition_that_stands_still_short_of_the_end_is_stuck() {
        let mut watch = Watch::new();
        let end = |_| Ok::<_, ()>(9);
        assert_eq!(watch.compare(&[((0, 1), 5), ((0, 2), 9)], end), None);
        assert_eq!(watch.compare(&[((0, 1), 6), ((0, 2), 9)], end), None, "it moved");
        assert_eq!(watch.compare(&[((0, 1), 6), ((0, 2), 9)], end), Some(((0, 1), 6, 9)));
    }

    #[test]
    fn a_cluster_that_does_not_answer_proves_nothing() {
        let mut watch = Watch::new();
        assert_eq!(watch.compare(&[((0, 1), 5)], |_| Ok::<_, ()>(9)), None);
        assert_eq!(watch.compare(&[((0, 1), 5)], |_| Err(())), None);
        assert_eq!(watch.compare(&[((0, 1), 5)], |_| Ok::<_, ()>(9)), None, "it is looked at anew");
    }
}
