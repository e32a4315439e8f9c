//! Annotations over HTTP: what is written comes back, now and at every version, and what makes no sense is
//! refused with its place.

mod around;
mod bench;
mod model;

use futures::future::join_all;
use serde_json::{Value, json};

use self::bench::{Bench, path};

pub fn ids(data: &Value, kind: &str) -> Vec<i64> {
    data[kind].as_array().unwrap().iter().map(|thing| thing["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_back_as_it_was_written() {
    let bench = Bench::start().await;
    let job = bench.job(20).await;
    assert_eq!(
        bench.get(job).await,
        json!({ "version": 0, "tags": [], "shapes": [], "tracks": [], "intervals": [] })
    );
    let shape = |form: &str, points: &[f64]| {
        let mut shape = bench.rectangle(3, 0.0);
        shape["type"] = form.into();
        shape["points"] = points.into();
        shape
    };
    let corners: Vec<f64> = (0..16).map(f64::from).collect();
    let shapes = [
        shape("rectangle", &[1.0, 2.25, 30.125, 40.0]),
        shape("polygon", &[1.0, 2.0, 3.0, 4.0, 5.5, 6.0]),
        shape("polyline", &[1.0, 2.0, 3.0, 4.0]),
        shape("points", &[0.1, 1e-7]),
        shape("ellipse", &[10.0, 10.0, 20.0, 5.0]),
        shape("cuboid", &corners),
        shape("mask", &[0.0, 6.0, 5.0, 5.0, 7.0, 6.0]),
    ];
    let keyframe = |frame: i64, outside: bool, speed: &str| {
        json!({
            "type": "rectangle", "frame": frame, "points": [1.0, 2.0, 3.0, 4.0], "outside": outside,
            "occluded": false, "z_order": 1, "rotation": 12.5,
            "attributes": [{ "spec_id": bench.speed, "value": speed }],
        })
    };
    let track = json!({
        "frame": 2, "label_id": bench.car, "group": 3, "source": "semi-auto", "elements": [],
        "attributes": [{ "spec_id": bench.colour, "value": "blau \"ß\" \\ \u{1F697}" }],
        "shapes": [keyframe(2, false, "slow"), keyframe(9, true, "")],
    });
    let tag = json!({ "frame": 19, "label_id": bench.tree, "group": 0, "source": "auto", "attributes": [] });
    let sent = json!({ "tags": [tag], "shapes": shapes, "tracks": [track] });
    let put = bench.put(job, sent.clone()).await;
    assert_eq!(put["version"], 1);
    let got = bench.get(job).await;
    assert_eq!(got, put);
    for kind in ["tags", "shapes", "tracks"] {
        for (got, sent) in got[kind].as_array().unwrap().iter().zip(sent[kind].as_array().unwrap()) {
            let mut got = got.clone();
            assert!(got.as_object_mut().unwrap().remove("id").unwrap().is_i64());
            for shape in got.get_mut("shapes").and_then(Value::as_array_mut).into_iter().flatten() {
                assert!(shape.as_object_mut().unwrap().remove("id").unwrap().is_i64());
            }
            assert_eq!(got, *sent);
        }
        assert_eq!(got[kind].as_array().unwrap().len(), sent[kind].as_array().unwrap().len());
    }
    // The least that a client may say.
    let least =
        json!({ "shapes": [{ "type": "points", "frame": 0, "label_id": bench.car, "points": [1, 2] }] });
    let made = bench.patch(job, "create", least).await["shapes"][0].clone();
    assert_eq!(made["source"], "manual");
    assert_eq!(made["score"], 1.0);
    assert_eq!(made["attributes"].as_array().unwrap().len(), 2, "the label's defaults: {made}");
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_create_update_and_delete_and_each_is_one_version_and_one_fact() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let rectangles: Vec<Value> = (0..3).map(|n| bench.rectangle(n, n as f64)).collect();
    let created = bench.patch(job, "create", json!({ "shapes": rectangles })).await;
    let [first, second, third] = ids(&created, "shapes")[..] else { panic!("{created}") };

    let mut changed = bench.rectangle(5, 77.0);
    changed["id"] = second.into();
    // An id that the job does not have is created all the same, as CVAT does.
    let mut stranger = bench.rectangle(6, 78.0);
    stranger["id"] = 999_999.into();
    let updated = bench.patch(job, "update", json!({ "shapes": [changed, stranger] })).await;
    let [fourth, fifth] = ids(&updated, "shapes")[..] else { panic!("{updated}") };
    assert!(fourth > third && fifth > fourth);
    assert_eq!(ids(&bench.get(job).await, "shapes"), [first, third, fourth, fifth]);

    // A tag with a shape's id, and an id that is gone, delete nothing.
    let delete = |id: i64| json!({ "type": "rectangle", "frame": 0, "label_id": 1, "id": id });
    let body = json!({
        "shapes": [delete(first), delete(second), delete(999_999)],
        "tags": [{ "frame": 0, "label_id": 1, "id": third }],
    });
    let deleted = bench.patch(job, "delete", body.clone()).await;
    assert_eq!((ids(&deleted, "shapes"), ids(&deleted, "tags")), (vec![first], vec![]));
    assert_eq!(deleted["version"], 3);
    // Once more changes nothing, so it is no version.
    assert_eq!(bench.patch(job, "delete", body).await["version"], 3);
    assert_eq!(ids(&bench.get(job).await, "shapes"), [third, fourth, fifth]);

    bench.put(job, json!({ "tags": [{ "frame": 1, "label_id": bench.tree }] })).await;
    bench.client.delete(&path(job)).await.expect(204);
    bench.client.delete(&path(job)).await.expect(204);
    let now = bench.get(job).await;
    assert_eq!(now["version"], 5);
    assert_eq!(ids(&now, "tags"), [] as [i64; 0]);

    let versions =
        bench.client.get(&format!("/v1/jobs/{job}/annotations/versions?limit=3")).await.expect(200);
    let actions: Vec<_> = versions["items"].as_array().unwrap().iter().map(|v| v["action"].clone()).collect();
    assert_eq!(actions, ["create", "update", "delete"]);
    assert_eq!(versions["items"][1]["created"], json!({ "tags": 0, "shapes": 2, "tracks": 0 }));
    assert_eq!(versions["items"][1]["deleted"], json!({ "tags": 0, "shapes": 1, "tracks": 0 }));
    assert!(versions["items"][0]["actor_id"].is_i64());
    assert_eq!(versions["next"], 3);
    let rest = bench.client.get(&format!("/v1/jobs/{job}/annotations/versions?after=3")).await.expect(200);
    let rest: Vec<_> = rest["items"].as_array().unwrap().iter().map(|v| v["action"].clone()).collect();
    assert_eq!(rest, ["replace", "delete"]);

    let at = |version: i64| format!("{}?version={version}", path(job));
    assert_eq!(ids(&bench.client.get(&at(1)).await.expect(200), "shapes"), [first, second, third]);
    assert_eq!(ids(&bench.client.get(&at(3)).await.expect(200), "shapes"), [third, fourth, fifth]);
    assert_eq!(ids(&bench.client.get(&at(0)).await.expect(200), "shapes"), [] as [i64; 0]);
    bench.client.get(&at(6)).await.expect(404);
    bench.client.get(&at(-1)).await.expect(400);

    let told = bench.told(job).await;
    let facts: Vec<_> = told
        .iter()
        .map(|told| (told.action.as_str(), told.created.shapes, told.deleted.shapes, told.total.shapes))
        .collect();
    assert_eq!(
        facts,
        [
            ("create", 3, 0, 3),
            ("update", 2, 1, 4),
            ("delete", 0, 1, 3),
            ("replace", 0, 3, 0),
            ("delete", 0, 0, 0)
        ]
    );
    assert_eq!(told[0].project_id, Some(bench.project));
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_one_event_is_still_one_version() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let mut huge = bench.rectangle(1, 0.0);
    huge["type"] = "polygon".into();
    huge["points"] = (0..60_000).map(|n| f64::from(n) + 0.5).collect();
    let mut shapes: Vec<Value> = (0..3_000).map(|n| bench.rectangle(n % 10, n as f64)).collect();
    shapes.push(huge);
    let sent = json!({ "shapes": shapes });
    assert!(sent.to_string().len() > 1_000_000);
    let put = bench.put(job, sent).await;
    assert_eq!((put["version"].clone(), put["shapes"].as_array().unwrap().len()), (json!(1), 3_001));
    let got = bench.get(job).await;
    let mut wanted = put["shapes"].as_array().unwrap().clone();
    wanted.sort_by_key(|shape| (shape["frame"].as_i64(), shape["id"].as_i64()));
    assert!(got["shapes"].as_array().unwrap() == &wanted, "what was read is not what was written");
    let told = bench.told(job).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].created.shapes, 3_001);

    // Even larger ones are refused, and change nothing.
    let mut absurd = bench.rectangle(1, 0.0);
    absurd["type"] = "polyline".into();
    absurd["points"] = vec![0.123_456_789; 400_000].into();
    let refused =
        bench.client.patch(&format!("{}?action=create", path(job)), json!({ "shapes": [absurd] })).await;
    assert!(refused.expect(400)["shapes[0]"][0].as_str().unwrap().contains("at most"));
    assert_eq!(bench.get(job).await["version"], 1);
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_its_place_and_changes_nothing() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let with = |field: &str, value: Value| {
        let mut shape = bench.rectangle(1, 0.0);
        shape[field] = value;
        json!({ "shapes": [bench.rectangle(0, 0.0), shape] })
    };
    let cases = [
        (with("frame", 10.into()), "shapes[1].frame"),
        (with("frame", (-1).into()), "shapes[1].frame"),
        (with("frame", "x".into()), "shapes[1].frame"),
        (with("label_id", 1_000_000.into()), "shapes[1].label_id"),
        (with("type", "circle".into()), "shapes[1].type"),
        (with("type", "skeleton".into()), "shapes[1].points"),
        (with("points", json!([1, 2, 3])), "shapes[1].points"),
        (with("points", json!([1, 2, 3, "x"])), "shapes[1].points[3]"),
        (with("source", "dream".into()), "shapes[1].source"),
        (with("rotation", 400.into()), "shapes[1].rotation"),
        (with("score", 2.into()), "shapes[1].score"),
        (with("z_order", json!(1_i64 << 40)), "shapes[1].z_order"),
        (with("attributes", json!([{ "spec_id": bench.colour, "value": "x" }])), "shapes[1].attributes[0]"),
        (json!({ "shapes": [{ "frame": 0, "label_id": bench.tree }] }), "shapes[0].type"),
        (json!({ "shapes": null }), "shapes"),
        (json!({ "shapes": [[0, "points", 0, 1]] }), "shapes[0]"),
        (json!({ "tracks": [{ "frame": 0, "label_id": bench.tree, "shapes": [] }] }), "tracks[0].shapes"),
        (json!({ "intervals": [{ "label_id": 1, "start": 0, "stop": 1 }] }), "intervals"),
    ];
    for (body, place) in cases {
        for (method, query) in [("PUT", ""), ("PATCH", "?action=create"), ("PATCH", "?action=update")] {
            let answer =
                bench.client.send(method, &format!("{}{query}", path(job)), Some(body.to_string())).await;
            let answer = answer.expect(400);
            assert!(answer[place][0].is_string(), "{body}: {answer}");
        }
    }
    for (target, body) in [
        (path(job), "{}"),
        (format!("{}?action=destroy", path(job)), "{}"),
        (format!("{}?action=create", path(job)), "{"),
        (format!("{}?action=create", path(job)), "[]"),
        (format!("{}?action=create", path(job)), "[[], []]"),
        (format!("{}?action=create", path(job)), r#"{"shapes":[{"points":[NaN]}]}"#),
        (format!("{}?action=create", path(job)), r#"{"shapes":[{"points":[1e999]}]}"#),
    ] {
        bench.client.send("PATCH", &target, Some(body.to_owned())).await.expect(400);
    }
    bench.client.get(&format!("{}?format=COCO+1.0", path(job))).await.expect(410);
    bench.client.get(&path(1_000_000)).await.expect(404);
    let now = bench.get(job).await;
    assert_eq!((now["version"].clone(), ids(&now, "shapes")), (json!(0), vec![]));
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_all_land_with_ids_of_their_own_and_versions_without_a_gap() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    // From the very first write, when there is no stream to wait for yet.
    let answers = join_all((0..8).map(|n| {
        let shapes: Vec<Value> = (0..20).map(|_| bench.rectangle(n, n as f64)).collect();
        bench.patch(job, "create", json!({ "shapes": shapes }))
    }))
    .await;
    let mut versions: Vec<i64> = answers.iter().map(|answer| answer["version"].as_i64().unwrap()).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
    let mut made: Vec<i64> = answers.iter().flat_map(|answer| ids(answer, "shapes")).collect();
    made.sort_unstable();
    made.dedup();
    let mut found = ids(&bench.get(job).await, "shapes");
    found.sort_unstable();
    assert_eq!((made.len(), &made), (160, &found));
    assert_eq!(bench.told(job).await.last().unwrap().total.shapes, 160);

    // Several delete the same: each goes once.
    let all = bench.get(job).await;
    let answers = join_all((0..4).map(|_| bench.patch(job, "delete", all.clone()))).await;
    let deleted: usize = answers.iter().map(|answer| ids(answer, "shapes").len()).sum();
    assert_eq!(deleted, 160);
    assert_eq!(bench.told(job).await.last().unwrap().total.shapes, 0);
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_is_answered_with_the_same_ids() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let client = bench.client.with("idempotency-key", "once");
    let target = format!("{}?action=create", path(job));
    let body = json!({ "shapes": [bench.rectangle(0, 1.0)] });
    let first = client.patch(&target, body.clone()).await.expect(200);
    assert_eq!(client.patch(&target, body).await.expect(200), first);
    assert_eq!(bench.get(job).await["version"], 1);
    client.patch(&target, json!({})).await.expect(422);
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_large_but_not_endless() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let spaces = |megabytes: usize| format!("{{\"tags\":[]{}}}", " ".repeat(megabytes << 20));
    bench.client.send("PUT", &path(job), Some(spaces(20))).await.expect(200);
    let refused = bench.client.try_send("PUT", &path(job), Some(spaces(65))).await;
    // The connection may be cut before all of it was sent.
    assert!(refused.is_none_or(|answer| answer.status == 413));
    let name = format!("{{\"name\":\"x\"{}}}", " ".repeat(3 << 20));
    let refused = bench.client.try_send("POST", "/api/projects", Some(name)).await;
    assert!(refused.is_none_or(|answer| answer.status == 413));
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_may_not_touch_what_is_not_theirs() {
    let bench = Bench::start().await;
    let job = bench.job(10).await;
    let stranger = bench.mesh.user(&crate::support::unique("bob")).await;
    let body = json!({ "shapes": [bench.rectangle(0, 1.0)] });
    stranger.get(&path(job)).await.expect(403);
    stranger.get(&format!("/v1/jobs/{job}/annotations/versions")).await.expect(403);
    stranger.send("PUT", &path(job), Some(body.to_string())).await.expect(403);
    stranger.patch(&format!("{}?action=create", path(job)), body.clone()).await.expect(403);
    stranger.delete(&path(job)).await.expect(403);
    bench.mesh.anonymous().get(&path(job)).await.expect(401);
    bench.mesh.admin().send("PUT", &path(job), Some(body.to_string())).await.expect(200);
    bench.mesh.running.stop().await;
}
