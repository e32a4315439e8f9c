//! One company's pictures and another's admin: whatever is asked of media, with whatever headers, the answer is the one
//! about what does not exist. Methods and paths are read from media's OpenAPI document.

use std::collections::BTreeMap;

use image::ImageFormat;
use serde_json::json;
use test_kit::Client;

use crate::isolation::other_tenant;
use crate::media::{Person, picture};
use crate::support::{mesh, unique};

const NOBODYS: i64 = 987_654_321;
const NO_FILE: &str = "0198c0de-0000-7000-8000-000000000000";
const TUS: &str = "application/offset+octet-stream";

/// Ids by which a company's things are asked for.
struct Ids {
    project: i64,
    /// With frames.
    task: i64,
    job: i64,
    /// With a file on its way.
    receiving: i64,
    file: String,
}

/// Makes things: a project, a task without data, and one with a file on its way.
async fn company(client: &Client) -> Ids {
    let project = json!({ "name": unique("p"), "labels": [{ "name": "car" }] });
    let project = client.post("/api/projects", project).await.expect(201)["id"].as_i64().unwrap();
    let task = async || {
        let task = json!({ "name": unique("t"), "project_id": project });
        client.post("/api/tasks", task).await.expect(201)["id"].as_i64().unwrap()
    };
    let (filled, receiving) = (task().await, task().await);
    let path = format!("/api/tasks/{receiving}/data");
    let begun = client.with("upload-length", "5000").with("upload-metadata", "filename YS5qcGc=");
    let begun = begun.send("POST", &path, None).await;
    assert_eq!(begun.status, 201, "{}", begun.text);
    let location = begun.headers["location"].to_str().unwrap();
    let file = location.rsplit('/').next().unwrap().to_owned();
    Ids { project, task: filled, job: NOBODYS, receiving, file }
}

/// What is asked of a path besides: queries, and headers.
fn variants(method: &str, path: &str) -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    match (method, path) {
        ("get", path) if path.ends_with("/data") => {
            let queries = [
                "type=frame&number=0&quality=original",
                "type=frame&number=0",
                "type=frame&number=77",
                "type=chunk&number=0&quality=original",
                "type=chunk&number=0",
                "type=preview",
            ];
            let mut all: Vec<_> = queries.into_iter().map(|query| (query, vec![])).collect();
            all.push((queries[0], vec![("range", "bytes=0-3")]));
            all.push((queries[0], vec![("range", "bytes=99999999-")]));
            all.push((queries[3], vec![("range", "bytes=0-3"), ("if-range", "\"x\"")]));
            all.push((queries[0], vec![("if-none-match", "*")]));
            if path.starts_with("/api/jobs") {
                all.push(("type=chunk&index=0", vec![]));
            }
            all
        }
        ("get", _) => {
            vec![("", vec![]), ("", vec![("if-none-match", "*")]), ("", vec![("range", "bytes=0-0")])]
        }
        ("post", _) => vec![
            ("", vec![("upload-start", "")]),
            ("", vec![("upload-length", "5"), ("upload-metadata", "filename YS5qcGc=")]),
            ("", vec![("upload-multiple", ""), ("content-type", "multipart/form-data; boundary=x")]),
            ("", vec![("upload-finish", ""), ("content-type", "application/json")]),
            ("", vec![("content-type", "multipart/form-data; boundary=x")]),
        ],
        ("patch", path) if path.contains("{file}") => vec![
            ("", vec![("upload-offset", "0"), ("content-type", TUS)]),
            ("", vec![("upload-offset", "77"), ("content-type", TUS)]),
            ("", vec![("upload-offset", "0")]),
        ],
        _ => vec![("", vec![])],
    }
}

/// An answer, as far as it is about what was asked for.
async fn answer(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String, BTreeMap<String, String>) {
    let client = headers.iter().fold(client.clone(), |client, (name, value)| client.with(name, value));
    let response = client.send(&method.to_uppercase(), path, None).await;
    let own = ["date", "x-request-id", "traceparent", "x-trace-id"];
    let headers = response.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (response.status, response.text, headers.collect())
}

fn filled(path: &str, ids: &Ids) -> String {
    let task = if path.contains("{file}") { ids.receiving } else { ids.task };
    let id = match path {
        path if path.starts_with("/api/projects/") => ids.project,
        path if path.starts_with("/api/jobs/") => ids.job,
        path if path.starts_with("/api/tasks/") => task,
        other => panic!("say in media_isolation whose id is in {other}"),
    };
    path.replace("{id}", &id.to_string()).replace("{file}", &ids.file)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_companys_pictures_look_like_nothing() {
    let mesh = mesh().await;
    let alice = mesh.admin();
    let person = Person::new(&mesh);
    let mut theirs = company(&alice).await;
    let files = [("a.png", picture(ImageFormat::Png, 1)), ("b.jpg", picture(ImageFormat::Jpeg, 2))];
    let request = person.upload(theirs.task, &files).await;
    assert_eq!(person.ended(&request).await["status"], "finished");
    let jobs = person.get(&format!("/api/jobs?task_id={}", theirs.task)).await;
    theirs.job = jobs["results"][0]["id"].as_i64().unwrap();
    let mallory = other_tenant(&mesh).await;
    let own = company(&mallory).await;
    let nobodys =
        Ids { project: NOBODYS, task: NOBODYS, job: NOBODYS, receiving: NOBODYS, file: NO_FILE.to_owned() };

    let (document, mut compared, mut seen) = (media::service().openapi(), 0, 0);
    let document = serde_json::to_value(document).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            for (query, headers) in variants(method, path) {
                let of = |ids: &Ids| format!("{}?{query}", filled(path, ids));
                let place = format!("{method} {path}?{query} {headers:?}");
                let real = answer(&mallory, method, &of(&theirs), &headers).await;
                let none = answer(&mallory, method, &of(&nobodys), &headers).await;
                assert_eq!(real, none, "{place}");
                if method == "options" {
                    // What the server can do is nobody's secret.
                    assert_eq!(real.0, 204, "{place}");
                } else {
                    assert_eq!(real.0, 404, "{place}: {}", real.1);
                }
                // As Allow says, HEAD is answered wherever GET is.
                if method == "get" {
                    let real = answer(&mallory, "head", &of(&theirs), &headers).await;
                    let none = answer(&mallory, "head", &of(&nobodys), &headers).await;
                    assert_eq!((real.0, &real), (404, &none), "head of {place}");
                    // Whoever may see it does see something: else nothing was compared.
                    let status = answer(&alice, "get", &of(&theirs), &headers).await.0;
                    let beyond =
                        query.contains("77") || headers.iter().any(|(_, value)| value.contains("999"));
                    let wanted: &[u16] = if beyond { &[400, 416] } else { &[200, 206, 304] };
                    assert!(wanted.contains(&status), "{place}: the owner is told {status}");
                    seen += 1;
                }
                compared += 1;
            }
        }
    }
    assert!(
        compared >= 35 && seen >= 20,
        "only {compared} requests were compared, {seen} of them seen by their owner"
    );

    // By one's own task, another's file.
    for method in ["head", "patch"] {
        let path = |file: &str| format!("/api/tasks/{}/data/{file}", own.receiving);
        let headers = [("upload-offset", "0"), ("content-type", TUS)];
        let real = answer(&mallory, method, &path(&theirs.file), &headers).await;
        let none = answer(&mallory, method, &path(NO_FILE), &headers).await;
        assert_eq!((real.0, &real), (404, &none), "{method} of another's file");
        let found = answer(&mallory, "head", &path(&own.file), &[]).await;
        assert_eq!(found.0, 200);
    }
    // Nothing of it was touched.
    let still =
        alice.send("HEAD", &format!("/api/tasks/{}/data/{}", theirs.receiving, theirs.file), None).await;
    assert_eq!((still.status, &still.headers["upload-offset"]), (200, &"0".parse().unwrap()));
    mesh.running.stop().await;
}
