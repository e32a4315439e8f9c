//! A webhook's secret signs what is sent and lies nowhere as it was typed: neither in a table of any service,
//! events and logs among them, nor in what services tell one another.

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use event_store::Sql;
use serde_json::{Value, json};
use test_kit::receiver::Mode;
use test_kit::{Client, Receiver, TestMesh, eventually};

use crate::support::{PATIENCE, mesh, unique};

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A connection to a service's database that sees every row of every tenant.
async fn see_all(mesh: &TestMesh, service: &str) -> AsyncPgConnection {
    let owner = &mesh.urls[service].owner;
    let database = owner.rsplit_once('/').unwrap().1;
    let admin = test_kit::database::admin_url().await;
    let url = format!("{}/{database}", admin.rsplit_once('/').unwrap().0);
    AsyncPgConnection::establish(&url).await.unwrap()
}

/// The tables, with their service, in which one of these texts stands.
async fn tables_with(mesh: &TestMesh, texts: &[String]) -> Vec<String> {
    let mut found = vec![];
    for service in mesh.urls.keys() {
        let mut connection = see_all(mesh, service).await;
        let tables: Vec<Name> = Sql::fixed(
            "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables \
             WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')",
        )
        .load(&mut connection)
        .await
        .unwrap();
        assert!(tables.len() > 5, "{service} has {} tables", tables.len());
        for Name { name } in tables {
            let mut sql = Sql::composed("SELECT count(*) AS count FROM ");
            sql.push(&name).push(" AS line WHERE false");
            for text in texts {
                sql.push(" OR strpos(line::text, ").push_text(text.clone()).push(") > 0");
            }
            let Count { count } = sql.get_result(&mut connection).await.unwrap();
            if count > 0 {
                found.push(format!("{service}: {name}"));
            }
        }
    }
    found.sort();
    found
}

/// A text, and how it looks in a column of bytes or as base64.
fn looks(text: &str) -> Vec<String> {
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
    vec![text.to_owned(), hex::encode(text), base64]
}

/// What could be computed from a request by whoever knows all of it but the secret, and guesses that.
fn digest_of(method: &str, path: &str, organization: &str, body: &str) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [method, path, organization, body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// How many private events a webhook has.
async fn events_of(mesh: &TestMesh, webhook: &Value) -> i64 {
    let mut connection = see_all(mesh, "webhooks").await;
    let count: Count =
        Sql::fixed("SELECT count(*) AS count FROM es_event WHERE kind = 'webhook' AND stream_id = $1")
            .bind::<BigInt>(webhook["id"].as_i64().unwrap())
            .get_result(&mut connection)
            .await
            .unwrap();
    count.count
}

/// Waits for a delivery of an event that is signed with the secret.
async fn signed(receiver: &Receiver, event: &str, secret: &str) {
    eventually(event, PATIENCE, async || {
        let received = receiver.received();
        let request = received.iter().find(|request| request.json()["event"] == event)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = format!("sha256={}", hex::encode(hmac::sign(&key, &request.body)));
        assert_eq!(request.header("x-signature-256"), Some(signature.as_str()));
        Some(())
    })
    .await;
}

async fn change(client: &Client, webhook: &Value, changes: Value) -> Value {
    client.patch(&format!("/api/webhooks/{}", webhook["id"]), changes).await.expect(200)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhooks_secret_is_nowhere_to_be_read() {
    let mesh = mesh().await;
    let receiver = Receiver::start(Mode::Ok);
    let alice = mesh.user(&unique("alice")).await;
    let slug = unique("o");
    alice.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = alice.organization(&slug);
    let (first, second) = (unique("hush-hush-"), unique("quiet-now-"));
    let description = unique("not-secret-");
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project", "update:project", "delete:project"], "secret": first,
        "description": description,
    });
    // With a key, so that the answer is kept, and a digest of the request.
    let guessable = digest_of("POST", "/api/webhooks", &slug, &hook.to_string());
    let hook = client.with("idempotency-key", &unique("k")).post("/api/webhooks", hook).await.expect(201);
    assert!(!hook.to_string().contains(&first));
    let project = client.post("/api/projects", json!({ "name": "streets" })).await.expect(201);
    signed(&receiver, "create:project", &first).await;

    change(&client, &hook, json!({ "secret": second })).await;
    let path = format!("/api/projects/{}", project["id"]);
    client.patch(&path, json!({ "name": "roads" })).await.expect(200);
    signed(&receiver, "update:project", &second).await;
    assert_eq!(events_of(&mesh, &hook).await, 2);
    change(&client, &hook, json!({ "secret": second })).await;
    assert_eq!(events_of(&mesh, &hook).await, 2, "the same secret again changes nothing");
    client.post(&format!("/api/webhooks/{}/ping", hook["id"]), json!({})).await.expect(200);
    signed(&receiver, "ping", &second).await;

    let secrets: Vec<String> =
        looks(&first).into_iter().chain(looks(&second)).chain([hex::encode(guessable)]).collect();
    let open = tables_with(&mesh, &looks(&description)).await;
    for table in ["public.es_event", "public.es_contract", "public.es_stream", "public.webhooks"] {
        assert!(open.contains(&format!("webhooks: {table}")), "the search finds nothing: {open:?}");
    }
    assert_eq!(tables_with(&mesh, &secrets).await, Vec::<String>::new(), "the secret can be read there");

    change(&client, &hook, json!({ "secret": "" })).await;
    client.delete(&path).await.expect(204);
    let unsigned = eventually("the last delivery", PATIENCE, async || {
        let received = receiver.received();
        received.into_iter().find(|request| request.json()["event"] == "delete:project")
    })
    .await;
    assert_eq!(unsigned.header("x-signature-256"), None, "an empty secret is none");
    mesh.running.stop().await;
}
