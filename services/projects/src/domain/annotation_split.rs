//! A task's annotations cut into what each of its jobs gets. Jobs may overlap: what is on a frame of several
//! is in each of them. A track that crosses jobs becomes one track in each, with a keyframe where it was cut.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::annotation_data::{AttributeValue, LabeledData, Track, TrackedShape};

/// The frames of the jobs that tracks were in already, by the tracks' ids.
pub type Homes = HashMap<i64, RangeInclusive<i64>>;

/// What the job with these frames gets; keyframes are in order. A track that is some job's already was cut at that
/// job's ends, and goes on in its neighbours as tracks of their own: another job only gets what it says beyond.
pub fn part(data: &LabeledData, frames: &RangeInclusive<i64>, homes: &Homes) -> LabeledData {
    LabeledData {
        version: 0,
        tags: data.tags.iter().filter(|tag| frames.contains(&tag.frame)).cloned().collect(),
        shapes: data.shapes.iter().filter(|shape| frames.contains(&shape.frame)).cloned().collect(),
        tracks: data
            .tracks
            .iter()
            .filter(|track| belongs(track, frames, homes))
            .filter_map(|track| part_of_track(track, frames))
            .collect(),
        intervals: vec![],
    }
}

fn belongs(track: &Track, frames: &RangeInclusive<i64>, homes: &Homes) -> bool {
    match track.id.and_then(|id| homes.get(&id)) {
        Some(home) if home != frames => {
            let mut keyframes = track.shapes.iter().map(|shape| shape.frame);
            keyframes.any(|frame| frames.contains(&frame) && !home.contains(&frame))
        }
        _ => true,
    }
}

fn part_of_track(track: &Track, frames: &RangeInclusive<i64>) -> Option<Track> {
    let all = &track.shapes;
    let mut shapes: Vec<TrackedShape> =
        all.iter().filter(|shape| frames.contains(&shape.frame)).cloned().collect();
    for end in [*frames.start(), *frames.end()] {
        if let Some(cut) = cut(all, end)
            // Where nothing comes after the last frame, nothing is cut.
            && (end == *frames.start() || all.iter().any(|shape| shape.frame > end))
        {
            shapes.push(cut);
        }
    }
    shapes.sort_by_key(|shape| shape.frame);
    shapes.dedup_by_key(|shape| shape.frame);
    let first = shapes.first_mut()?;
    first.attributes = attributes_at(all, first.frame);
    Some(Track { frame: first.frame, shapes, ..track.clone() })
}

/// The keyframe to put where a track is cut; none where it has one already or is out of sight.
fn cut(shapes: &[TrackedShape], frame: i64) -> Option<TrackedShape> {
    let before = shapes.iter().rfind(|shape| shape.frame <= frame)?;
    if before.frame == frame || before.outside {
        return None;
    }
    let mut cut =
        TrackedShape { id: None, frame, attributes: attributes_at(shapes, frame), ..before.clone() };
    let after = shapes.iter().find(|shape| shape.frame > frame);
    // Forms with different numbers of points have no middle: the earlier one holds until the later one.
    if let Some(after) = after
        && after.shape_type == before.shape_type
        && after.points.len() == before.points.len()
    {
        let share = (frame - before.frame) as f64 / (after.frame - before.frame) as f64;
        for (point, later) in cut.points.iter_mut().zip(&after.points) {
            *point += (later - *point) * share;
        }
        let turn = (after.rotation - before.rotation + 180.0).rem_euclid(360.0) - 180.0;
        cut.rotation = (before.rotation + turn * share).rem_euclid(360.0);
    }
    Some(cut)
}

/// The values that the mutable attributes have on a frame: those that were named last.
fn attributes_at(shapes: &[TrackedShape], frame: i64) -> Vec<AttributeValue> {
    let mut values: Vec<AttributeValue> = vec![];
    for named in shapes.iter().filter(|shape| shape.frame <= frame).flat_map(|shape| &shape.attributes) {
        match values.iter_mut().find(|value| value.spec_id == named.spec_id) {
            Some(value) => value.clone_from(named),
            None => values.push(named.clone()),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keyframe(frame: i64, left: f64, outside: bool) -> Value {
        let points = json!([left, 0.0, left + 10.0, 10.0]);
        json!({ "type": "rectangle", "frame": frame, "points": points, "outside": outside })
    }

    fn data(shapes: Value) -> LabeledData {
        serde_json::from_value(json!({
            "tags": [{ "frame": 4, "label_id": 1 }, { "frame": 9, "label_id": 1 }],
            "tracks": [{ "frame": 0, "label_id": 1, "shapes": shapes }],
        }))
        .unwrap()
    }

    fn part_of(data: &LabeledData, frames: &RangeInclusive<i64>) -> LabeledData {
        part(data, frames, &Homes::new())
    }

    #[test]
    fn what_was_cut_before_is_not_cut_into_its_neighbours_again() {
        let mut data = data(json!([keyframe(0, 0.0, false), keyframe(4, 40.0, false)]));
        data.tracks[0].id = Some(7);
        let homes = Homes::from([(7, 0..=4)]);
        assert_eq!(keyframes(&part(&data, &(0..=4), &homes)), [(0, 0.0, false), (4, 40.0, false)]);
        assert!(part(&data, &(5..=9), &homes).tracks.is_empty());
        assert!(part(&data, &(4..=8), &homes).tracks.is_empty(), "a frame that both have is no news");
        // What is said of frames beyond is.
        let mut longer = keyframe(7, 70.0, false);
        longer["id"] = json!(9);
        data.tracks[0].shapes.push(serde_json::from_value(longer).unwrap());
        assert_eq!(keyframes(&part(&data, &(5..=9), &homes)), [(5, 50.0, false), (7, 70.0, false)]);
    }

    /// Frame, left and whether it is out of sight, of each keyframe.
    fn keyframes(part: &LabeledData) -> Vec<(i64, f64, bool)> {
        let shapes = part.tracks.iter().flat_map(|track| &track.shapes);
        shapes.map(|shape| (shape.frame, shape.points[0], shape.outside)).collect()
    }

    #[test]
    fn what_is_on_a_shared_frame_is_in_both_jobs() {
        let data = data(json!([keyframe(0, 0.0, false)]));
        assert_eq!(part_of(&data, &(0..=5)).tags.len(), 1);
        assert_eq!(part_of(&data, &(4..=9)).tags.len(), 2);
        assert_eq!(part_of(&data, &(5..=8)).tags.len(), 0);
    }

    #[test]
    fn a_track_is_cut_where_it_stands() {
        let data =
            data(json!([keyframe(0, 0.0, false), keyframe(10, 100.0, false), keyframe(12, 0.0, true)]));
        assert_eq!(keyframes(&part_of(&data, &(0..=4))), [(0, 0.0, false), (4, 40.0, false)]);
        assert_eq!(keyframes(&part_of(&data, &(5..=9))), [(5, 50.0, false), (9, 90.0, false)]);
        assert_eq!(keyframes(&part_of(&data, &(10..=14))), [(10, 100.0, false), (12, 0.0, true)]);
        assert!(part_of(&data, &(15..=19)).tracks.is_empty(), "it went out of sight before");
        assert_eq!(part_of(&data, &(5..=9)).tracks[0].frame, 5);
    }

    #[test]
    fn a_track_that_never_ends_goes_on_in_each_job() {
        let data = data(json!([keyframe(2, 7.0, false)]));
        assert_eq!(keyframes(&part_of(&data, &(0..=4))), [(2, 7.0, false)]);
        assert_eq!(keyframes(&part_of(&data, &(5..=9))), [(5, 7.0, false)]);
    }

    #[test]
    fn attributes_and_rotation_are_carried_over() {
        let mut first = keyframe(0, 0.0, false);
        first["attributes"] = json!([{ "spec_id": 1, "value": "a" }, { "spec_id": 2, "value": "b" }]);
        first["rotation"] = json!(350);
        let mut second = keyframe(2, 0.0, true);
        second["attributes"] = json!([{ "spec_id": 2, "value": "c" }]);
        second["rotation"] = json!(10);
        let data = data(json!([first, second, keyframe(7, 0.0, false)]));
        let later = part_of(&data, &(5..=9)).tracks.remove(0);
        let values: Vec<&str> = later.shapes[0].attributes.iter().map(|value| value.value.as_str()).collect();
        assert_eq!((later.frame, values), (7, vec!["a", "c"]));
        assert_eq!(part_of(&data, &(0..=1)).tracks[0].shapes[1].rotation.to_bits(), 0_f64.to_bits());
    }
}
