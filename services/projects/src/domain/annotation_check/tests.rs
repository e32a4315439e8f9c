use serde_json::{Value, json};

use super::*;

fn labels() -> Vec<Label> {
    let attribute = |id, mutable, default: &str| Attribute {
        id,
        name: format!("a{id}"),
        mutable,
        input_type: "text".into(),
        default_value: default.into(),
        values: vec![],
    };
    let label = |id, attributes| Label {
        id,
        name: format!("l{id}"),
        color: "#000000".into(),
        label_type: "any".into(),
        attributes,
    };
    vec![label(1, vec![]), label(2, vec![attribute(5, false, "red"), attribute(6, true, "far")])]
}

fn checked(data: Value) -> Result<LabeledData, Fault> {
    let mut data: LabeledData = serde_json::from_value(data).unwrap();
    check_size(&data)?;
    check(&mut data, &(10..=19), &Labels::new(&labels())).map(|()| data)
}

#[track_caller]
fn refused(data: Value, path: &str, words: &str) {
    let fault = checked(data).unwrap_err();
    assert_eq!(fault.path, path, "{}", fault.text);
    assert!(fault.text.contains(words), "{}", fault.text);
}

fn shape(form: &str, points: &[f64]) -> Value {
    json!({ "shapes": [{ "type": form, "frame": 10, "label_id": 1, "points": points }] })
}

#[test]
fn each_type_takes_as_many_points_as_it_needs() {
    let good: &[(&str, usize)] = &[
        ("rectangle", 4),
        ("ellipse", 4),
        ("cuboid", 16),
        ("polygon", 6),
        ("polygon", 1000),
        ("polyline", 4),
        ("points", 2),
    ];
    for (form, count) in good {
        checked(shape(form, &vec![1.5; *count])).unwrap();
    }
    let bad: &[(&str, usize)] = &[
        ("rectangle", 0),
        ("rectangle", 5),
        ("ellipse", 2),
        ("cuboid", 8),
        ("polygon", 4),
        ("polygon", 7),
        ("polyline", 2),
        ("points", 0),
        ("points", 3),
    ];
    for (form, count) in bad {
        refused(shape(form, &vec![1.5; *count]), "shapes[0].points", "numbers");
    }
    refused(shape("skeleton", &[]), "shapes[0].points", "not available");
    refused(shape("rectangle", &[0.0, 0.0, 1.0, 1e12]), "shapes[0].points", "no coordinate");
}

#[test]
fn a_mask_covers_its_box() {
    checked(shape("mask", &[0.0, 6.0, 5.0, 5.0, 7.0, 6.0])).unwrap();
    for (points, words) in [
        (vec![0.0, 5.0, 5.0, 5.0, 7.0, 6.0], "add up to 6, not 5"),
        (vec![5.0, 5.0, 7.0, 6.0], "add up"),
        (vec![5.0, 5.0], "run lengths, and then"),
        (vec![0.5, 5.5, 5.0, 5.0, 7.0, 6.0], "whole numbers"),
        (vec![-1.0, 7.0, 5.0, 5.0, 7.0, 6.0], "whole numbers"),
        (vec![1.0, 7.0, 5.0, 5.0, 6.0], "not less"),
    ] {
        refused(shape("mask", &points), "shapes[0].points", words);
    }
}

#[test]
fn what_names_something_unknown_is_refused() {
    refused(json!({ "tags": [{ "frame": 9, "label_id": 1 }] }), "tags[0].frame", "[10, 19]");
    refused(json!({ "tags": [{ "frame": 20, "label_id": 1 }] }), "tags[0].frame", "[10, 19]");
    refused(json!({ "tags": [{ "frame": 10, "label_id": 3 }] }), "tags[0].label_id", "no label");
    let tag =
        |attributes: Value| json!({ "tags": [{ "frame": 10, "label_id": 2, "attributes": attributes }] });
    refused(tag(json!([{ "spec_id": 7, "value": "" }])), "tags[0].attributes[0]", "no attribute");
    let twice = json!([{ "spec_id": 5, "value": "a" }, { "spec_id": 5, "value": "b" }]);
    refused(tag(twice), "tags[0].attributes[1]", "twice");
    refused(tag(json!([{ "spec_id": 5, "value": "x".repeat(4097) }])), "tags[0].attributes[0]", "4096");
    refused(tag(json!([{ "spec_id": 5, "value": "\0" }])), "tags[0].attributes[0]", "Null");
    refused(json!({ "intervals": [{}] }), "intervals", "sounds");
}

#[test]
fn numbers_stay_in_their_bounds() {
    for (field, value) in [
        ("rotation", json!(360.5)),
        ("rotation", json!(-1)),
        ("score", json!(1.01)),
        ("group", json!(-1)),
        ("group", json!(1_i64 << 31)),
        ("z_order", json!(1_i64 << 31)),
        ("elements", json!([{}])),
    ] {
        let mut data = shape("points", &[1.0, 1.0]);
        data["shapes"][0][field] = value;
        assert_eq!(checked(data).unwrap_err().path, format!("shapes[0].{field}"));
    }
}

#[test]
fn attributes_that_are_left_out_get_their_defaults_and_numbers_become_text() {
    let data = json!({ "tags": [{
        "frame": 10, "label_id": 2, "group": null, "attributes": [{ "spec_id": 6, "value": 3 }],
    }]});
    let data = serde_json::to_value(checked(data).unwrap()).unwrap();
    assert_eq!(
        data["tags"][0]["attributes"],
        json!([{ "spec_id": 6, "value": "3" }, { "spec_id": 5, "value": "red" }])
    );
    assert_eq!(data["tags"][0]["group"], 0);
}

#[test]
fn a_track_has_its_own_rules() {
    let keyframe = |frame: i64| json!({ "type": "rectangle", "frame": frame, "points": [1, 2, 3, 4] });
    let track = |shapes: Value| json!({ "tracks": [{ "frame": 10, "label_id": 2, "shapes": shapes }] });
    let data = checked(track(json!([keyframe(12), keyframe(10)]))).unwrap();
    assert_eq!(data.tracks[0].shapes[0].frame, 10, "keyframes are in order");
    assert_eq!(data.tracks[0].attributes.len(), 1, "the immutable one, by default");
    assert!(data.tracks[0].shapes[0].attributes.is_empty());
    refused(track(json!([])), "tracks[0].shapes", "needs a keyframe");
    refused(track(json!([keyframe(20)])), "tracks[0].shapes[0].frame", "range");
    refused(track(json!([keyframe(11), keyframe(11)])), "tracks[0].shapes", "frame 11");
    let mask = json!({ "type": "mask", "frame": 10, "points": [0, 1, 0, 0, 0, 0] });
    refused(track(json!([mask])), "tracks[0].shapes[0].type", "masks");
    let mut wrong = track(json!([keyframe(10)]));
    wrong["tracks"][0]["attributes"] = json!([{ "spec_id": 6, "value": "x" }]);
    refused(wrong.clone(), "tracks[0].attributes[0]", "keyframes");
    wrong["tracks"][0]["attributes"] = json!([]);
    wrong["tracks"][0]["shapes"][0]["attributes"] = json!([{ "spec_id": 5, "value": "x" }]);
    refused(wrong, "tracks[0].shapes.attributes[0]", "track itself");
}
