//! What stands at a level: how one key's changes become segments, and steps of the sum over all keys.

use chrono::{DateTime, Utc};

/// One key is at a level from now on, says an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub at: DateTime<Utc>,
    pub level: i128,
    /// Contract version of the event's stream, which is the key's alone.
    pub version: i64,
}

/// A time during which a key stood at one level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    pub since: DateTime<Utc>,
    /// `None` while it lasts.
    pub until: Option<DateTime<Utc>>,
    pub level: i128,
    pub version: i64,
}

/// A change of the sum over all keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    pub at: DateTime<Utc>,
    pub delta: i128,
}

/// Follows one key from its open segment, if it has one, through changes in the order of their stream. Returns the
/// segments that are new or different, the open one last, and the steps.
///
/// A stream's order is the truth, not its clocks: a change that says an earlier time than the one before it counts
/// from that one on. So the outcome depends on nothing but the stream.
pub fn follow(open: Option<Segment>, changes: &[Change]) -> (Vec<Segment>, Vec<Step>) {
    let (mut current, mut closed, mut steps) = (open, vec![], vec![]);
    for change in changes {
        let Some(open) = &mut current else {
            current =
                Some(Segment { since: change.at, until: None, level: change.level, version: change.version });
            step(&mut steps, change.at, change.level);
            continue;
        };
        if change.version <= open.version {
            continue;
        }
        let at = change.at.max(open.since);
        step(&mut steps, at, change.level - open.level);
        if change.level != open.level && at > open.since {
            closed.push(Segment { until: Some(at), ..*open });
            open.since = at;
        }
        (open.level, open.version) = (change.level, change.version);
    }
    if current != open {
        closed.extend(current);
    }
    (closed, steps)
}

fn step(steps: &mut Vec<Step>, at: DateTime<Utc>, delta: i128) {
    if delta != 0 {
        steps.push(Step { at, delta });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
    }

    fn change(second: i64, level: i128, version: i64) -> Change {
        Change { at: at(second), level, version }
    }

    fn segment(since: i64, until: Option<i64>, level: i128, version: i64) -> Segment {
        Segment { since: at(since), until: until.map(at), level, version }
    }

    #[test]
    fn changes_become_segments_without_holes() {
        let (segments, steps) = follow(None, &[change(0, 5, 1), change(10, 7, 2), change(20, 0, 3)]);
        assert_eq!(
            segments,
            [segment(0, Some(10), 5, 1), segment(10, Some(20), 7, 2), segment(20, None, 0, 3)]
        );
        assert_eq!(steps.iter().map(|step| step.delta).collect::<Vec<_>>(), [5, 2, -7]);
    }

    #[test]
    fn it_goes_on_where_it_stood_in_pieces_as_at_once() {
        let changes =
            [change(0, 5, 1), change(10, 7, 2), change(20, 0, 3), change(20, 1, 4), change(30, 2, 5)];
        let (whole, all_steps) = follow(None, &changes);
        let (mut pieces, mut steps, mut open) = (vec![], vec![], None::<Segment>);
        for change in changes {
            let (segments, more) = follow(open, &[change]);
            open = segments.last().copied().or(open);
            pieces.retain(|known: &Segment| segments.iter().all(|new| new.since != known.since));
            pieces.extend(segments);
            steps.extend(more);
        }
        assert_eq!((pieces, steps), (whole, all_steps));
    }

    #[test]
    fn the_streams_order_counts_and_not_its_clock() {
        let (segments, _) = follow(Some(segment(10, None, 5, 1)), &[change(3, 7, 2), change(12, 8, 3)]);
        assert_eq!(segments, [segment(10, Some(12), 7, 2), segment(12, None, 8, 3)]);
    }

    #[test]
    fn what_was_taken_in_before_changes_nothing() {
        let open = segment(10, None, 5, 4);
        assert_eq!(follow(Some(open), &[change(20, 9, 4), change(30, 1, 2)]), (vec![], vec![]));
    }

    #[test]
    fn the_same_level_again_is_the_same_segment() {
        let (segments, steps) = follow(Some(segment(10, None, 5, 1)), &[change(20, 5, 2)]);
        assert_eq!((segments, steps), (vec![segment(10, None, 5, 2)], vec![]));
    }
}
