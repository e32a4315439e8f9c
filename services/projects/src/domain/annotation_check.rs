//! What annotations must be before they are stored: on the frames of their job, with labels and attributes of
//! their task, with coordinates that mean something.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use contracts::projects::{Attribute, Label};

use super::annotation_data::{AttributeValue, LabeledData, ShapeType, TrackedShape};

/// Annotations in one request, keyframes of tracks included.
pub const COUNT_MAX: usize = 250_000;
/// Values of attributes that are filled in in one request.
const FILLED_MAX: usize = 2_000_000;
/// Coordinates in one request.
const POINTS_MAX: usize = 10_000_000;
/// Bytes of one annotation as JSON: a track of some 15,000 keyframes, or a very ragged mask.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of an attribute's value.
const VALUE_CHARS_MAX: usize = 4096;
/// Beyond it a coordinate is a mistake.
const COORDINATE_MAX: f64 = 1e9;

/// What is wrong, and where in the request.
#[derive(Debug, PartialEq)]
pub struct Fault {
    /// `shapes[3].points`
    pub path: String,
    pub text: String,
}

type Checked = Result<(), Fault>;

fn fault<T>(path: &str, text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { path: path.to_owned(), text: text.into() })
}

/// The labels that a job's annotations may have.
pub struct Labels<'a> {
    attributes: HashMap<i64, &'a [Attribute]>,
}

/// Which attributes belong to a thing.
#[derive(Clone, Copy)]
enum Which {
    All,
    Mutable,
    Immutable,
}

impl Which {
    fn takes(self, attribute: &Attribute) -> bool {
        match self {
            Self::All => true,
            Self::Mutable => attribute.mutable,
            Self::Immutable => !attribute.mutable,
        }
    }
}

impl<'a> Labels<'a> {
    pub fn new(labels: &'a [Label]) -> Self {
        Self { attributes: labels.iter().map(|label| (label.id, label.attributes.as_slice())).collect() }
    }

    fn of(&self, path: &str, label_id: i64) -> Result<&'a [Attribute], Fault> {
        match self.attributes.get(&label_id) {
            Some(attributes) => Ok(attributes),
            None => {
                fault(&format!("{path}.label_id"), format!("The task has no label with the id {label_id}."))
            }
        }
    }
}

/// Checks a request that has passed [`check_size`] and completes it: attributes that it leaves out get their default values.
///
/// # Errors
/// With the first fault.
pub fn check(data: &mut LabeledData, frames: &RangeInclusive<i64>, labels: &Labels<'_>) -> Checked {
    check_filled(data, labels)?;
    for (n, tag) in data.tags.iter_mut().enumerate() {
        let path = format!("tags[{n}]");
        check_frame(&path, tag.frame, frames)?;
        check_group(&path, &mut tag.group)?;
        attributes(&path, &mut tag.attributes, labels.of(&path, tag.label_id)?, Which::All)?;
    }
    for (n, shape) in data.shapes.iter_mut().enumerate() {
        let path = format!("shapes[{n}]");
        check_frame(&path, shape.frame, frames)?;
        check_group(&path, &mut shape.group)?;
        check_elements(&path, &shape.elements)?;
        check_form(&path, shape.shape_type, &shape.points, shape.rotation, shape.z_order)?;
        if !(0.0..=1.0).contains(&shape.score) {
            return fault(&format!("{path}.score"), "A score is between 0 and 1.");
        }
        attributes(&path, &mut shape.attributes, labels.of(&path, shape.label_id)?, Which::All)?;
    }
    for (n, track) in data.tracks.iter_mut().enumerate() {
        let path = format!("tracks[{n}]");
        check_frame(&path, track.frame, frames)?;
        check_group(&path, &mut track.group)?;
        check_elements(&path, &track.elements)?;
        let known = labels.of(&path, track.label_id)?;
        attributes(&path, &mut track.attributes, known, Which::Immutable)?;
        check_keyframes(&path, &mut track.shapes, frames, known)?;
    }
    Ok(())
}

/// What a request leaves out is filled in, which must not make it a multiple of what was sent.
fn check_filled(data: &LabeledData, labels: &Labels<'_>) -> Checked {
    let ids = data.tags.iter().map(|tag| tag.label_id);
    let ids = ids.chain(data.shapes.iter().map(|shape| shape.label_id));
    let ids = ids.chain(data.tracks.iter().map(|track| track.label_id));
    let filled: usize = ids.filter_map(|id| labels.attributes.get(&id)).map(|known| known.len()).sum();
    if filled > FILLED_MAX {
        let text =
            format!("At most {FILLED_MAX} values of attributes are taken at once; these are {filled}.");
        return fault("non_field_errors", text);
    }
    Ok(())
}

/// Checks what can be said of a request without its job, and before it is copied.
///
/// # Errors
/// When there is too much of it, or something of a kind that is not available.
pub fn check_size(data: &LabeledData) -> Checked {
    if !data.intervals.is_empty() {
        return fault("intervals", "Intervals are of sounds, which are not available.");
    }
    if data.len() > COUNT_MAX {
        return fault(
            "non_field_errors",
            format!("At most {COUNT_MAX} annotations and keyframes are taken at once."),
        );
    }
    let shapes = data.shapes.iter().map(|shape| shape.points.len());
    let keyframes = data.tracks.iter().flat_map(|track| &track.shapes).map(|shape| shape.points.len());
    if shapes.chain(keyframes).sum::<usize>() > POINTS_MAX {
        return fault("non_field_errors", format!("At most {POINTS_MAX} coordinates are taken at once."));
    }
    Ok(())
}

fn check_keyframes(
    path: &str,
    shapes: &mut [TrackedShape],
    frames: &RangeInclusive<i64>,
    known: &[Attribute],
) -> Checked {
    if shapes.is_empty() {
        return fault(&format!("{path}.shapes"), "A track needs a keyframe.");
    }
    shapes.sort_by_key(|shape| shape.frame);
    for (n, shape) in shapes.iter().enumerate() {
        let path = format!("{path}.shapes[{n}]");
        check_frame(&path, shape.frame, frames)?;
        if shape.shape_type == ShapeType::Mask {
            return fault(&format!("{path}.type"), "A track cannot consist of masks.");
        }
        check_form(&path, shape.shape_type, &shape.points, shape.rotation, shape.z_order)?;
    }
    if let Some(pair) = shapes.windows(2).find(|pair| pair[0].frame == pair[1].frame) {
        return fault(
            &format!("{path}.shapes"),
            format!("A track has one keyframe a frame, not two as on frame {}.", pair[0].frame),
        );
    }
    for shape in shapes {
        // What a keyframe leaves out stays as it was, so nothing is filled in.
        check_attributes(&format!("{path}.shapes"), &shape.attributes, known, Which::Mutable)?;
    }
    Ok(())
}

fn check_frame(path: &str, frame: i64, frames: &RangeInclusive<i64>) -> Checked {
    if frames.contains(&frame) {
        return Ok(());
    }
    let (first, last) = (frames.start(), frames.end());
    fault(&format!("{path}.frame"), format!("The frame number should be in the [{first}, {last}] range."))
}

fn check_group(path: &str, group: &mut Option<i64>) -> Checked {
    let number = group.unwrap_or(0);
    if i32::try_from(number).is_err() || number < 0 {
        return fault(&format!("{path}.group"), "A group is a number from 0 to 2147483647.");
    }
    *group = Some(number);
    Ok(())
}

fn check_elements(path: &str, elements: &[serde_json::Value]) -> Checked {
    if elements.is_empty() {
        return Ok(());
    }
    fault(&format!("{path}.elements"), "Elements belong to skeletons, which are not available yet.")
}

fn attributes(path: &str, values: &mut Vec<AttributeValue>, known: &[Attribute], which: Which) -> Checked {
    check_attributes(path, values, known, which)?;
    for attribute in known.iter().filter(|attribute| which.takes(attribute)) {
        if !values.iter().any(|value| value.spec_id == attribute.id) {
            let value = attribute.default_value.clone();
            values.push(AttributeValue { spec_id: attribute.id, value });
        }
    }
    Ok(())
}

fn check_attributes(path: &str, values: &[AttributeValue], known: &[Attribute], which: Which) -> Checked {
    for (n, value) in values.iter().enumerate() {
        let path = || format!("{path}.attributes[{n}]");
        let id = value.spec_id;
        match known.iter().find(|attribute| attribute.id == id) {
            None => return fault(&path(), format!("The label has no attribute with the id {id}.")),
            Some(attribute) if !which.takes(attribute) => {
                let text = if attribute.mutable {
                    "is mutable: it belongs to the track's keyframes"
                } else {
                    "is not mutable: it belongs to the track itself"
                };
                return fault(&path(), format!("The attribute {id} {text}."));
            }
            Some(_) => {}
        }
        if values[..n].iter().any(|other| other.spec_id == id) {
            return fault(&path(), format!("The attribute {id} is there twice."));
        }
        if value.value.contains('\0') {
            return fault(&path(), "Null characters are not allowed.");
        }
        if value.value.chars().count() > VALUE_CHARS_MAX {
            let text = format!("Ensure this field has no more than {VALUE_CHARS_MAX} characters.");
            return fault(&path(), text);
        }
    }
    Ok(())
}

fn check_form(path: &str, form: ShapeType, points: &[f64], rotation: f64, z_order: i64) -> Checked {
    if !(0.0..=360.0).contains(&rotation) {
        return fault(&format!("{path}.rotation"), "A rotation is between 0 and 360 degrees.");
    }
    if i32::try_from(z_order).is_err() {
        return fault(&format!("{path}.z_order"), "A z-order is a number of 32 bits.");
    }
    let path = format!("{path}.points");
    if let Some(point) = points.iter().find(|point| !point.is_finite() || point.abs() > COORDINATE_MAX) {
        return fault(&path, format!("{point} is no coordinate."));
    }
    let count = points.len();
    let (fine, wanted) = match form {
        ShapeType::Rectangle => (count == 4, "4 numbers: left, top, right and bottom"),
        ShapeType::Ellipse => (count == 4, "4 numbers: the centre, its right and its top"),
        ShapeType::Cuboid => (count == 16, "16 numbers: 8 corners"),
        ShapeType::Polygon => (count >= 6 && count.is_multiple_of(2), "3 or more pairs of numbers"),
        ShapeType::Polyline => (count >= 4 && count.is_multiple_of(2), "2 or more pairs of numbers"),
        ShapeType::Points => (count >= 2 && count.is_multiple_of(2), "1 or more pairs of numbers"),
        ShapeType::Mask => return check_mask(&path, points),
        ShapeType::Skeleton => return fault(&path, "Skeletons are not available yet."),
    };
    if fine { Ok(()) } else { fault(&path, format!("This type takes {wanted}, not {count} numbers.")) }
}

/// A mask is run lengths of what is not and what is covered, in turn, and then the box that they fill.
fn check_mask(path: &str, points: &[f64]) -> Checked {
    if points.iter().any(|point| point.fract() != 0.0 || *point < 0.0) {
        return fault(path, "A mask consists of whole numbers that are not negative.");
    }
    let Some((runs, &[left, top, right, bottom])) = points.split_last_chunk() else {
        return fault(path, "A mask takes run lengths, and then left, top, right and bottom.");
    };
    if left > right || top > bottom {
        return fault(path, "A mask's right and bottom are not less than its left and top.");
    }
    let (width, height) = (right - left + 1.0, bottom - top + 1.0);
    let covered: f64 = runs.iter().sum();
    if runs.is_empty() || covered.to_bits() != (width * height).to_bits() {
        return fault(
            path,
            format!(
                "The run lengths of a mask of {width} by {height} add up to {}, not {covered}.",
                width * height
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
