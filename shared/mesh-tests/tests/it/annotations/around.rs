//! What stands around a job's annotations: the job itself, its task, its project and their labels.

use futures::future::join_all;
use serde_json::{Value, json};

use super::bench::{Bench, path};
use super::ids;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_touches_the_job_and_what_it_is_part_of() {
    let bench = Bench::start().await;
    let cut = bench.task(10, 5, 0).await;
    let places = [
        format!("/api/jobs/{}", cut.jobs[0]),
        format!("/api/tasks/{}", cut.task),
        format!("/api/projects/{}", bench.project),
    ];
    let dates = async || {
        let mut dates = vec![];
        for place in &places {
            let date = bench.client.get(place).await.expect(200)["updated_date"].as_str().unwrap().to_owned();
            dates.push(date);
        }
        dates
    };
    let before = dates().await;
    bench.patch(cut.jobs[0], "create", json!({ "shapes": [bench.rectangle(0, 1.0)] })).await;
    let after = dates().await;
    for (before, after) in before.iter().zip(&after) {
        assert!(before < after, "{before} {after}");
    }
    bench.patch(cut.jobs[0], "create", json!({})).await;
    assert_eq!(dates().await, after, "nothing changed");
    let job = bench.client.get(&places[0]).await.expect(200);
    assert_eq!(job["state"], "new");
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_shows_and_takes_what_its_jobs_have() {
    let bench = Bench::start().await;
    // Frames 0 to 4, 3 to 7, 6 to 9.
    let cut = bench.task(10, 5, 2).await;
    assert_eq!(cut.jobs.len(), 3);
    let target = format!("/api/tasks/{}/annotations/", cut.task);
    let keyframe = |frame: i64, left: f64| json!({ "type": "rectangle", "frame": frame, "points": [left, 0.0, left, 9.0] });
    let track =
        json!({ "frame": 0, "label_id": bench.tree, "shapes": [keyframe(0, 0.0), keyframe(5, 50.0)] });
    let shapes: Vec<Value> = (0..10).map(|frame| bench.rectangle(frame, 1.0)).collect();
    let body = json!({ "shapes": shapes, "tracks": [track] }).to_string();
    let put = bench.client.send("PUT", &target, Some(body)).await.expect(200);
    assert_eq!(ids(&put, "shapes").len(), 10, "what two jobs have is shown once");
    let got = bench.client.get(&target).await.expect(200);
    assert_eq!(got["shapes"], put["shapes"]);
    assert_eq!(got["version"], put["version"]);
    let frames = |data: &Value| -> Vec<i64> {
        data["shapes"].as_array().unwrap().iter().map(|shape| shape["frame"].as_i64().unwrap()).collect()
    };
    assert_eq!(frames(&bench.get(cut.jobs[0]).await), [0, 1, 2, 3, 4]);
    assert_eq!(frames(&bench.get(cut.jobs[1]).await), [3, 4, 5, 6, 7]);
    let lefts = |data: &Value| -> Vec<(i64, f64)> {
        let keyframes = data["tracks"][0]["shapes"].as_array().unwrap();
        keyframes.iter().map(|k| (k["frame"].as_i64().unwrap(), k["points"][0].as_f64().unwrap())).collect()
    };
    assert_eq!(lefts(&bench.get(cut.jobs[0]).await), [(0, 0.0), (4, 40.0)]);
    assert_eq!(lefts(&bench.get(cut.jobs[1]).await), [(3, 30.0), (5, 50.0)]);
    assert_eq!(lefts(&bench.get(cut.jobs[2]).await), [(6, 50.0)]);

    // What is on a shared frame changes, and goes, in both jobs.
    let mut fourth = got["shapes"][3].clone();
    fourth["points"] = json!([5, 5, 6, 6]);
    let patch = |action: &str| format!("{target}?action={action}");
    let updated = bench.client.patch(&patch("update"), json!({ "shapes": [fourth] })).await.expect(200);
    assert_eq!(ids(&updated, "shapes").len(), 1);
    assert_eq!(frames(&bench.get(cut.jobs[1]).await), [3, 4, 5, 6, 7]);
    bench.client.patch(&patch("delete"), updated).await.expect(200);
    assert_eq!(frames(&bench.get(cut.jobs[0]).await), [0, 1, 2, 4]);
    assert_eq!(frames(&bench.get(cut.jobs[1]).await), [4, 5, 6, 7]);
    // What one job has of its own on a shared frame is shown beside the other's.
    bench.patch(cut.jobs[1], "create", json!({ "shapes": [bench.rectangle(4, 33.0)] })).await;
    assert_eq!(frames(&bench.client.get(&target).await.expect(200)), [0, 1, 2, 4, 4, 5, 6, 7, 8, 9]);

    let outside = json!({ "shapes": [bench.rectangle(10, 1.0)] });
    bench.client.patch(&patch("create"), outside).await.expect(400);
    bench.client.delete(&target).await.expect(204);
    for job in cut.jobs {
        assert_eq!(frames(&bench.get(job).await), [] as [i64; 0]);
    }
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_data_takes_no_annotations_and_a_deleted_one_has_none() {
    let bench = Bench::start().await;
    let body = json!({ "name": "empty", "project_id": bench.project });
    let task = bench.client.post("/api/tasks", body).await.expect(201)["id"].as_i64().unwrap();
    let target = format!("/api/tasks/{task}/annotations/");
    assert_eq!(ids(&bench.client.get(&target).await.expect(200), "shapes"), [] as [i64; 0]);
    let shapes = json!({ "shapes": [bench.rectangle(0, 1.0)] });
    bench.client.send("PUT", &target, Some(shapes.to_string())).await.expect(400);

    let cut = bench.task(10, 5, 0).await;
    bench.patch(cut.jobs[0], "create", shapes.clone()).await;
    bench.client.delete(&format!("/api/tasks/{}", cut.task)).await.expect(204);
    bench.client.get(&path(cut.jobs[0])).await.expect(404);
    bench.client.patch(&format!("{}?action=create", path(cut.jobs[0])), shapes).await.expect(404);
    let state =
        bench.store().load::<projects::domain::annotations::Annotations>(bench.tenant, cut.jobs[0]).await;
    assert!(state.unwrap().unwrap().forgotten);
    bench.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_takes_its_annotations_along() {
    let bench = Bench::start().await;
    let jobs = [bench.job(10).await, bench.job(10).await];
    let tag = json!({ "frame": 1, "label_id": bench.car });
    for job in jobs {
        let body = json!({ "shapes": [bench.rectangle(0, 1.0)], "tags": [tag] });
        bench.patch(job, "create", body).await;
    }
    bench.client.delete(&format!("/api/labels/{}", bench.tree)).await.expect(204);
    for job in jobs {
        let now = bench.get(job).await;
        assert_eq!((ids(&now, "shapes").len(), ids(&now, "tags").len()), (0, 1));
        assert_eq!(now["version"], 2);
        assert_eq!(bench.told(job).await[1].deleted.shapes, 1);
        let then = bench.client.get(&format!("{}?version=1", path(job))).await.expect(200);
        assert_eq!(ids(&then, "shapes").len(), 1);
    }
    // Whoever annotates while the label goes either comes too late or sees it go.
    let target = format!("/api/labels/{}", bench.car);
    let writes = (0..12).map(async |n| {
        let place = format!("{}?action=create", path(jobs[n % 2]));
        bench.client.patch(&place, json!({ "tags": [tag] })).await.status
    });
    let (statuses, gone) = futures::join!(join_all(writes), bench.client.delete(&target));
    gone.expect(204);
    assert!(statuses.iter().all(|status| [200, 400].contains(status)), "{statuses:?}");
    for job in jobs {
        assert_eq!(ids(&bench.get(job).await, "tags"), [] as [i64; 0]);
    }
    bench.mesh.running.stop().await;
}
