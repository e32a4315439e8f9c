//! How a task's frames are cut into jobs.

/// A stretch of frames, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub start_frame: i64,
    pub stop_frame: i64,
}

/// How a task is cut, after its size is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub segment_size: i64,
    pub overlap: i64,
    pub segments: Vec<Segment>,
}

/// Frames that neighbours share in a video, where nobody says otherwise: a track goes on across them.
const VIDEO_OVERLAP: i64 = 5;

/// Jobs that a task is cut into at most: all are made in one transaction, which others wait for.
pub const JOBS_MAX: i64 = 5_000;

/// Cuts `size` frames. A `segment_size` of 0, or beyond all frames, means one segment; neighbours share at most
/// half of one. What would make more than [`JOBS_MAX`] segments is made longer ones; the task shows how long.
pub fn cut(size: i64, segment_size: i64, overlap: Option<i64>, mode: &str) -> Cut {
    let segment_size = if segment_size <= 0 || segment_size > size { size } else { segment_size };
    let wanted = overlap.unwrap_or(if mode == "interpolation" { VIDEO_OVERLAP } else { 0 });
    let overlap = wanted.clamp(0, segment_size.max(0) / 2);
    let step_min = (size.max(0) + JOBS_MAX - 1) / JOBS_MAX;
    let segment_size = segment_size.max((step_min + overlap).min(size));
    let step = usize::try_from(segment_size - overlap).unwrap_or(0).max(1);
    let segments = (0..size - overlap)
        .step_by(step)
        .map(|start_frame| Segment { start_frame, stop_frame: (start_frame + segment_size).min(size) - 1 })
        .collect();
    Cut { segment_size, overlap, segments }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(cut: &Cut) -> Vec<(i64, i64)> {
        cut.segments.iter().map(|segment| (segment.start_frame, segment.stop_frame)).collect()
    }

    #[test]
    fn cvats_own_examples() {
        assert_eq!(ends(&cut(10, 0, None, "annotation")), [(0, 9)]);
        assert_eq!(ends(&cut(10, 4, None, "annotation")), [(0, 3), (4, 7), (8, 9)]);
        assert_eq!(ends(&cut(10, 4, Some(1), "annotation")), [(0, 3), (3, 6), (6, 9)]);
        assert_eq!(ends(&cut(11, 4, Some(1), "annotation")), [(0, 3), (3, 6), (6, 9), (9, 10)]);
        // An overlap beyond half a segment is cut down to that.
        assert_eq!(cut(10, 4, Some(9), "annotation").overlap, 2);
        assert_eq!(cut(100, 20, None, "interpolation").overlap, 5);
        assert_eq!(cut(100, 6, None, "interpolation").overlap, 3);
        assert_eq!(cut(3, 100, Some(0), "annotation").segment_size, 3);
        assert_eq!(ends(&cut(1, 1, Some(1), "annotation")), [(0, 0)]);
    }

    #[test]
    fn however_many_frames_there_are_the_jobs_stay_countable() {
        for (size, overlap) in [(200_000, None), (200_000, Some(1)), (5_001, None), (4_999, Some(1))] {
            let cut = cut(size, 2, overlap, "annotation");
            let (segments, count) = (&cut.segments, i64::try_from(cut.segments.len()).unwrap());
            assert!(count <= JOBS_MAX, "{size} {overlap:?}: {count}");
            assert_eq!((segments[0].start_frame, segments[segments.len() - 1].stop_frame), (0, size - 1));
        }
        assert_eq!(cut(5_000, 1, None, "annotation").segments.len(), 5_000);
        assert_eq!(cut(5_000, 1, None, "annotation").segment_size, 1);
    }

    proptest! {
        #[test]
        fn segments_cover_all_frames_and_share_what_they_should(
            size in 1..3_000_i64,
            segment_size in 0..400_i64,
            overlap in proptest::option::of(0..400_i64),
            video in any::<bool>(),
        ) {
            let cut = cut(size, segment_size, overlap, if video { "interpolation" } else { "annotation" });
            prop_assert!(cut.overlap * 2 <= cut.segment_size && cut.segment_size <= size);
            if let Some(overlap) = overlap {
                prop_assert!(cut.overlap <= overlap);
            }
            let segments = &cut.segments;
            prop_assert_eq!(segments[0].start_frame, 0);
            prop_assert_eq!(segments[segments.len() - 1].stop_frame, size - 1);
            for pair in segments.windows(2) {
                prop_assert_eq!(pair[0].stop_frame - pair[0].start_frame + 1, cut.segment_size);
                prop_assert_eq!(pair[0].stop_frame - pair[1].start_frame + 1, cut.overlap);
                prop_assert!(pair[0].stop_frame < pair[1].stop_frame, "no segment lies inside another");
            }
        }

        #[test]
        fn no_numbers_make_it_fail(size in -5..50_i64, segment_size in -5..60_i64, overlap in -5..60_i64) {
            let cut = cut(size, segment_size, Some(overlap), "annotation");
            prop_assert_eq!(cut.segments.is_empty(), size <= 0);
        }
    }
}
