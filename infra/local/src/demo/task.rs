//! The first task: pictures in, jobs, annotations, out; and what billing makes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::pictures::{Picture, draw};
use super::story::{Fact, PATIENCE, Story};
use super::{chapter, done, id, ms, noted, step, text};

/// Pictures of the task.
const PICTURES: usize = 12;
/// Frames of a job, and how many of them it shares with the next.
const SEGMENT: (usize, usize) = (5, 1);
/// How long an import may take.
const IMPORT_LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks at something that is going on.
const GLANCE: Duration = Duration::from_millis(15);

/// What billing is asked about.
const METERS: [&str; 5] = ["tasks", "jobs", "frames", "objects_annotated", "webhook_deliveries"];

/// Brings pictures to annotations.
pub async fn play(story: &mut Story) -> anyhow::Result<()> {
    let used = usage(story).await?;
    story.receiver.counts.clear();
    chapter("The first task: pictures to annotations");
    let began = Instant::now();
    let pictures = draw(PICTURES)?;
    let size: usize = pictures.iter().map(|picture| picture.bytes.len()).sum();
    let what = format!("draw {PICTURES} street scenes, JPEG and PNG, {} kB", size / 1000);
    done(&what, began.elapsed(), "", "")?;

    let labels = json!([
        { "name": "car", "type": "rectangle" },
        { "name": "sun", "type": "ellipse" },
        { "name": "sign", "type": "polygon" },
    ]);
    let (segment_size, overlap) = SEGMENT;
    let body =
        json!({ "name": "streets", "labels": labels, "segment_size": segment_size, "overlap": overlap });
    let change =
        story.change("create a task with three labels", Method::POST, "/api/tasks", Some(body)).await?;
    let task = id(&change.answer)?;
    let fact = Fact::once("projects.task_created.v1", format!("task/{task}"));
    story.arrived(&change, Some(("create:task", task)), fact).await?;

    import(story, task, &pictures).await?;
    let jobs = jobs(story, task).await?;
    frames(story, task, &pictures).await?;
    annotate(story, task, &jobs, &pictures).await?;
    complete(story, task, &jobs).await?;

    let path = format!("/api/tasks/{task}");
    let change = story.change("delete the task, and its pictures", Method::DELETE, &path, None).await?;
    let fact = Fact::once("projects.task_deleted.v1", format!("task/{task}"));
    story.arrived(&change, Some(("delete:task", task)), fact).await?;
    what_came_of_it(story, &used, jobs.len()).await
}

/// Sends the pictures as CVAT's clients do, and polls the request that imports them.
async fn import(story: &mut Story, task: i64, pictures: &[Picture]) -> anyhow::Result<()> {
    let path = format!("/api/tasks/{task}/data/");
    let began = Instant::now();
    story
        .client
        .exchange(Method::POST, &path, &[("upload-start", "")], vec![])
        .await
        .context("Upload-Start")?;
    let files = pictures.iter().map(|picture| (picture.name.as_str(), &picture.bytes[..]));
    story.client.upload(&path, files).await.context("Upload-Multiple")?;
    done("upload them (Upload-Start, Upload-Multiple)", began.elapsed(), "", "")?;
    let body = json!({ "image_quality": 70 });
    let headers = [("upload-finish", ""), ("content-type", "application/json")];
    let began = Instant::now();
    let answer = story.client.exchange(Method::POST, &path, &headers, body.to_string().into()).await;
    let request = text(&serde_json::from_slice(&answer.context("Upload-Finish")?)?, "rq_id")?;
    done("let them be imported (Upload-Finish)", began.elapsed(), "", "")?;
    let mut seen = (String::new(), 0.0);
    while began.elapsed() < IMPORT_LIMIT {
        let answer = story.client.send(Method::GET, &format!("/api/requests/{request}"), None).await?;
        let status = text(&answer, "status")?;
        let now = (status, answer["progress"].as_f64().unwrap_or_default());
        if now != seen {
            noted(&format!("the request is {}, {:.0} %", now.0, now.1 * 100.0), began.elapsed())?;
            seen = now;
        }
        match seen.0.as_str() {
            "finished" => return Ok(()),
            "failed" => bail!("the import failed: {}", text(&answer, "message")?),
            _ => tokio::time::sleep(GLANCE).await,
        }
    }
    bail!("the import is not over after {} s", IMPORT_LIMIT.as_secs())
}

/// A job: its id and its frames, the last one included.
struct Job {
    id: i64,
    frames: (usize, usize),
}

/// The jobs that the task was cut into; the webhook has heard of each.
async fn jobs(story: &mut Story, task: i64) -> anyhow::Result<Vec<Job>> {
    let path = format!("/api/jobs?task_id={task}&sort=id&page_size=100");
    let change = story.change("", Method::GET, &path, None).await?;
    let number = |job: &Value, name: &str| {
        let number = job[name].as_u64().and_then(|number| usize::try_from(number).ok());
        number.with_context(|| format!("a job without {name}: {job}"))
    };
    let mut jobs = vec![];
    for job in change.answer["results"].as_array().into_iter().flatten() {
        jobs.push(Job { id: id(job)?, frames: (number(job, "start_frame")?, number(job, "stop_frame")?) });
    }
    let frames: Vec<String> = jobs.iter().map(|job| format!("{}–{}", job.frames.0, job.frames.1)).collect();
    ensure!(frames == ["0–4", "4–8", "8–11"], "the jobs have other frames than they should: {frames:?}");
    let what = format!("list its {} jobs: frames {}", jobs.len(), frames.join(", "));
    for job in &jobs[..jobs.len() - 1] {
        story.receiver.wait_for("create:job", job.id, PATIENCE).await.context("create:job at the webhook")?;
    }
    let change = change.called(&what);
    let last = jobs[jobs.len() - 1].id;
    let fact = Fact::once("projects.job_created.v1", format!("job/{last}"));
    story.arrived(&change, Some(("create:job", last)), fact).await?;
    Ok(jobs)
}

/// A JPEG and a PNG come back byte for byte.
async fn frames(story: &Story, task: i64, pictures: &[Picture]) -> anyhow::Result<()> {
    let path = format!("/api/tasks/{task}/data/meta");
    let meta = step(&story.client, "see what the frames are called", Method::GET, &path, None).await?;
    for picture in [&pictures[0], &pictures[PICTURES - 1]] {
        let named = |frame: &Value| frame["name"] == picture.name.as_str();
        let number = meta["frames"].as_array().and_then(|frames| frames.iter().position(named));
        let number = number.with_context(|| format!("no frame is called {}", picture.name))?;
        let path = format!("/api/tasks/{task}/data/?type=frame&quality=original&number={number}");
        let began = Instant::now();
        let bytes = story.client.exchange(Method::GET, &path, &[], vec![]).await?;
        ensure!(bytes == picture.bytes, "frame {number} is not what was uploaded as {}", picture.name);
        let what = format!("get {}: the very bytes, {} kB", picture.name, bytes.len() / 1000);
        done(&what, began.elapsed(), "", "")?;
    }
    Ok(())
}

/// Marks in each picture what is drawn there, each picture in one job.
async fn annotate(story: &mut Story, task: i64, jobs: &[Job], pictures: &[Picture]) -> anyhow::Result<()> {
    let path = format!("/api/labels?task_id={task}");
    let answer = story.client.send(Method::GET, &path, None).await.context("the task's labels")?;
    let mut labels = BTreeMap::new();
    for label in answer["results"].as_array().into_iter().flatten() {
        labels.insert(text(label, "name")?, id(label)?);
    }
    let (mut marked, mut next) = (0, 0);
    for (index, job) in jobs.iter().enumerate() {
        let mut shapes = vec![];
        // The next job begins with frames that this one has, too.
        for (frame, picture) in pictures.iter().enumerate().take(job.frames.1 + 1).skip(next) {
            shapes.extend(picture.shapes.iter().map(|shape| {
                json!({
                    "type": shape.kind, "frame": frame, "label_id": labels.get(shape.label), "points": shape.points,
                    "occluded": false, "attributes": [],
                })
            }));
        }
        next = job.frames.1 + 1;
        marked += shapes.len();
        let what = format!("mark {} shapes in job {} of {}", shapes.len(), index + 1, jobs.len());
        let body = json!({ "version": 0, "tags": [], "shapes": shapes, "tracks": [] });
        let path = format!("/api/jobs/{}/annotations/", job.id);
        let change = story.change(&what, Method::PUT, &path, Some(body)).await?;
        let fact = Fact::once("projects.annotations_changed.v1", format!("annotations/{}", job.id));
        // The first mark puts a job in progress, which is what webhooks are told.
        story.arrived(&change, Some(("update:job", job.id)), fact).await?;
    }
    let path = format!("/api/tasks/{task}/annotations/");
    let what = format!("read the task's annotations: {marked} shapes");
    let answer = step(&story.client, &what, Method::GET, &path, None).await?;
    let found = answer["shapes"].as_array().map_or(0, Vec::len);
    ensure!(found == marked, "the task has {found} shapes instead of {marked}");
    Ok(())
}

/// Moves the jobs through acceptance; the task follows.
async fn complete(story: &mut Story, task: i64, jobs: &[Job]) -> anyhow::Result<()> {
    for (index, job) in jobs.iter().enumerate() {
        let what = format!("accept job {} of {}", index + 1, jobs.len());
        let body = json!({ "stage": "acceptance", "state": "completed" });
        let change = story.change(&what, Method::PATCH, &format!("/api/jobs/{}", job.id), Some(body)).await?;
        let fact = Fact { event: "projects.job_updated.v1", subject: format!("job/{}", job.id), times: 2 };
        story.arrived(&change, Some(("update:job", job.id)), fact).await?;
    }
    let path = format!("/api/tasks/{task}");
    let answer = step(&story.client, "see that the task is completed", Method::GET, &path, None).await?;
    ensure!(
        answer["status"] == "completed",
        "the task is {} although its jobs are completed",
        answer["status"]
    );
    Ok(())
}

/// The calls that came, and what billing has counted.
async fn what_came_of_it(story: &Story, before: &[f64], jobs: usize) -> anyhow::Result<()> {
    let counts = story.receiver.counts.iter().map(|(event, count)| format!("{count} {event}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let calls: usize = story.receiver.counts.values().sum();
    println!("\nWhat came of it\n  ✓ webhook    {calls} calls, each signed: {counts}");
    let expected = [1, jobs, PICTURES, 3 * PICTURES, calls];
    let began = Instant::now();
    loop {
        let now = usage(story).await?;
        let grown: Vec<f64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        if grown.iter().zip(expected).all(|(grown, expected)| *grown >= expected as f64) {
            let [tasks, jobs, frames, objects, deliveries] = grown[..] else { bail!("a meter is missing") };
            println!(
                "  ✓ billing    {tasks} task, {jobs} jobs, {frames} frames, {objects} objects annotated, \
                 {deliveries} webhook deliveries: +{}",
                ms(began.elapsed()),
            );
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            bail!("billing has counted {grown:?} of {METERS:?} instead of {expected:?}");
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// What was used so far, meter by meter.
async fn usage(story: &Story) -> anyhow::Result<Vec<f64>> {
    let mut used = vec![];
    for meter in METERS {
        let path = format!("/v1/usage?meter={meter}&window=month");
        let answer = story.client.send(Method::GET, &path, None).await?;
        let values = answer["items"].as_array().into_iter().flatten();
        used.push(values.filter_map(|item| item["value"].as_str()?.parse::<f64>().ok()).sum());
    }
    Ok(used)
}
