//! What is stored is capped where it is capped: before a byte of it is kept, exactly, and by nobody's guess; who dies
//! with a place in their hands loses it to nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::sql_types::Text;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use event_store::Sql;
use serde_json::{Value, json};
use test_kit::mesh::ADMIN;
use test_kit::{Client, TestMesh, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fleet::{Fleet, OPERATOR_SETTINGS};
use crate::saga::files;
use crate::sender::{FORM, Sender, begin, data, form, jpeg};
use crate::support::{PATIENCE, mesh, services};

const CAP: usize = 60_000;

async fn cap(operator: &Client, tenant: &str) {
    let body = json!({ "limit": CAP }).to_string();
    let path = format!("/v1/limits/storage_bytes?tenant={tenant}");
    eventually("billing knows the tenant", PATIENCE, async || {
        (operator.try_send("PUT", &path, Some(body.clone())).await?.status == 200).then_some(())
    })
    .await;
}

/// Waits until media knows of the cap: until then nobody is asked.
async fn capped(sender: &Sender) {
    let task = sender.task().await;
    eventually("media knows of the cap", PATIENCE, async || {
        sender.start(task).await;
        let headers = begin("a.jpg", CAP + 1);
        let begun = sender.send("POST", &data(task), &headers.each(), vec![]).await;
        (begun.status == 403).then_some(())
    })
    .await;
    sender.delete(task).await;
}

/// What is used and what is promised.
async fn level(admin: &Sender) -> (usize, usize) {
    let limits = admin.get("/v1/limits").await;
    let mut limits = limits["items"].as_array().unwrap().iter();
    let storage = limits.find(|limit| limit["key"] == "storage_bytes").unwrap();
    let number = |name: &str| storage[name].as_str().unwrap().parse().unwrap();
    (number("used"), number("reserved"))
}

async fn becomes(admin: &Sender, expected: (usize, usize)) {
    eventually(&format!("{expected:?} used and reserved"), PATIENCE, async || {
        (level(admin).await == expected).then_some(())
    })
    .await;
}

/// Everything that media keeps, in its storage and on its way there.
fn kept(data: &Path) -> BTreeSet<PathBuf> {
    files(&data.join("media")).into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_pass_the_cap_is_refused_before_a_byte_of_it_is_kept() {
    let mesh = mesh().await;
    let sender = Sender::new(&mesh.url, ADMIN.0, ADMIN.1);
    cap(&mesh.admin(), "default").await;
    capped(&sender).await;
    becomes(&sender, (0, 0)).await;
    let first = sender.task().await;
    let two = [("a.jpg", jpeg("a", 20_000)), ("b.jpg", jpeg("b", 20_000))];
    let request = sender.import(first, &two).await;
    assert_eq!(sender.ended(first, &request).await["status"], "finished");
    becomes(&sender, (40_000, 0)).await;
    eventually("the pieces are gone", PATIENCE, async || {
        (kept(&mesh.running.config.data).len() == 2).then_some(())
    })
    .await;

    let before = kept(&mesh.running.config.data);
    let task = sender.task().await;
    sender.start(task).await;
    let large = [("c.jpg", jpeg("c", 30_000))];
    let begun = begin("c.jpg", 20_001);
    for (what, headers, body, status) in [
        ("a form", vec![("Upload-Multiple", ""), FORM], form(&large), 403),
        ("all in one request", vec![FORM], form(&large), 403),
        ("a form that finishes", vec![("Upload-Finish", ""), FORM], form(&large), 403),
        ("a file in pieces", begun.each().to_vec(), vec![], 403),
    ] {
        let refused = sender.send("POST", &data(task), &headers, body).await.expect(status).json();
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("The storage limit of 60000 bytes does not allow"), "{what}: {detail}");
        assert_eq!(kept(&mesh.running.config.data), before, "{what} left something");
        assert_eq!(level(&sender).await, (40_000, 0), "{what}");
    }
    before_its_body(&mesh, task).await;
    more_than_announced(&sender, task).await;
    assert_eq!(kept(&mesh.running.config.data), before);
    // What fits exactly fits.
    sender.start(task).await;
    becomes(&sender, (40_000, 0)).await;
    sender.begin_pieces(task, "c.jpg", 20_000).await;
    becomes(&sender, (60_000, 0)).await;
    sender.start(task).await;

    sender.delete(first).await;
    becomes(&sender, (0, 0)).await;
    let request = sender.import(task, &[large[0].clone(), ("d.jpg", jpeg("d", 20_000))]).await;
    assert_eq!(sender.ended(task, &request).await["status"], "finished");
    becomes(&sender, (50_000, 0)).await;
    mesh.running.stop().await;
}

/// A form is refused when its head is here, and one whose length is not told too.
async fn before_its_body(mesh: &TestMesh, task: i64) {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1));
    for (length, status) in [("content-length: 30000", "403"), ("transfer-encoding: chunked", "411")] {
        let address = mesh.running.config.http_address;
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {basic}\r\nupload-multiple: \r\n\
             {}: {}\r\n{length}\r\n\r\n",
            data(task),
            FORM.0,
            FORM.1
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        // Whoever waits for the body is not heard of in time.
        let read = connection.read_exact(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{length}");
    }
}

/// Who announces little and sends much is cut off.
async fn more_than_announced(sender: &Sender, task: i64) {
    let location = sender.begin_pieces(task, "liar.jpg", 10).await;
    let headers = [("Upload-Offset", "0"), ("Content-Type", "application/offset+octet-stream")];
    sender.send("PATCH", &location, &headers, jpeg("liar", 30_000)).await.expect(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_billing_nobody_guesses_and_who_has_no_cap_does_not_ask() {
    let settings = OPERATOR_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mesh = TestMesh::start_with(services(), settings.to_vec()).await;
    cap(&mesh.admin(), "default").await;
    capped(&Sender::new(&mesh.url, ADMIN.0, ADMIN.1)).await;
    let free = company(&mesh.anonymous().basic(OPERATOR_SETTINGS[0].1, OPERATOR_SETTINGS[1].1)).await;
    let without = services().into_iter().filter(|service| service.name() != "billing").collect();
    let mesh = mesh.restart(without).await;

    let capped = Sender::new(&mesh.url, ADMIN.0, ADMIN.1);
    let task = capped.task().await;
    capped.start(task).await;
    let before = kept(&mesh.running.config.data);
    let begun = begin("a.jpg", 10);
    let small = form(&[("a.jpg", jpeg("a", 0))]);
    for (headers, body) in [(vec![("Upload-Multiple", ""), FORM], small), (begun.each().to_vec(), vec![])] {
        let refused = capped.raw("POST", &data(task), &headers, body).await.unwrap().expect(503);
        assert!(refused.headers.contains_key("retry-after"));
        assert!(refused.text().contains("cannot be found out"), "{}", refused.text());
    }
    assert_eq!(kept(&mesh.running.config.data), before);

    let free = Sender::new(&mesh.url, &free.0, &free.1);
    let task = free.task().await;
    let files = [("a.jpg", jpeg("a", 70_000)), ("b.jpg", jpeg("b", 0))];
    let request = free.import(task, &files).await;
    assert_eq!(free.ended(task, &request).await["status"], "finished");
    mesh.running.stop().await;
}

/// A company without a cap: its admin's key and secret.
async fn company(operator: &Client) -> (String, String) {
    let call = async |client: &Client, endpoint: &str, body: Value| {
        client.post(&format!("/{endpoint}"), body).await.expect(200)["data"].clone()
    };
    let company = call(operator, "system.create_company", json!({ "name": "Free" })).await["id"].clone();
    let boss = json!({ "name": "Boss", "company": company, "email": "boss@free.example", "role": "admin" });
    let boss = call(operator, "auth.create_user", boss).await["id"].clone();
    let boss = operator.with("X-Clearml-Impersonate-As", boss.as_str().unwrap());
    let key = call(&boss, "auth.create_credentials", json!({})).await["credentials"].clone();
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    (text("access_key"), text("secret_key"))
}

/// The reserved places' two minutes are over.
async fn two_minutes_pass(fleet: &Fleet) {
    let past = "UPDATE reservation SET expires_at = now() - interval '1 second' WHERE state = 'held'; \
        UPDATE es_job SET due_at = now() WHERE name = 'expire'";
    fleet.database("billing").await.batch_execute(past).await.unwrap();
}

/// What became of the newest reservation.
async fn newest(fleet: &Fleet) -> String {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        state: String,
    }
    let mut database = fleet.database("billing").await;
    let row: Row = Sql::fixed("SELECT state FROM reservation ORDER BY expires_at DESC LIMIT 1")
        .get_result(&mut database)
        .await
        .unwrap();
    row.state
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_killed_between_reserve_and_commit_loses_no_place() {
    let mut fleet = Fleet::start(&["identity", "projects", "media", "billing", "gateway"], vec![]).await;
    let sender = Sender::new(&fleet.url, ADMIN.0, ADMIN.1);
    cap(&fleet.operator(), "default").await;
    capped(&sender).await;
    becomes(&sender, (0, 0)).await;

    // Killed before the commit: the place is nobody's, but only media's log can say so.
    let lost = sender.task().await;
    for death in ["media.keep.declared:1", "media.keep.stored:1"] {
        sender.start(lost).await;
        fleet.restart("media", Some(death));
        fleet.ready().await;
        let body = form(&[("a.jpg", jpeg("a", 50_000))]);
        let length = body.len();
        let headers = [("Upload-Multiple", ""), FORM];
        assert!(sender.attempt("POST", &data(lost), &headers, body).await.is_none());
        fleet.until_dead("media", death).await;
        assert_eq!(level(&sender).await, (0, length), "{death}");
        two_minutes_pass(&fleet).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(level(&sender).await, (0, length), "{death}: freed although media could not be asked");
        fleet.revive("media", None);
        becomes(&sender, (0, 0)).await;
        assert_eq!(newest(&fleet).await, "expired");
    }

    // Killed right after it, before anybody has heard of it: the place is taken.
    let task = sender.task().await;
    sender.start(task).await;
    let death = "es.append.after_commit:1";
    fleet.restart("media", Some(death));
    fleet.ready().await;
    let headers = begin("a.jpg", 40_000);
    assert!(sender.attempt("POST", &data(task), &headers.each(), vec![]).await.is_none());
    fleet.until_dead("media", death).await;
    assert_eq!(level(&sender).await, (0, 40_000));
    two_minutes_pass(&fleet).await;
    fleet.revive("media", None);
    becomes(&sender, (40_000, 0)).await;
    assert_eq!(newest(&fleet).await, "committed");
    let other = sender.task().await;
    sender.start(other).await;
    sender.send("POST", &data(other), &begin("b.jpg", 20_001).each(), vec![]).await.expect(403);
    sender.begin_pieces(other, "b.jpg", 20_000).await;
    becomes(&sender, (60_000, 0)).await;
}
