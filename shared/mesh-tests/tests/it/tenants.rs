//! Two companies on one mesh, made by the very commands of ClearML's guide, run by a shell with a real curl.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use test_kit::{Client, TestMesh, eventually};
use tokio::process::Command;

use crate::support::{root, services};

/// The guide's commands as it prints them, those flattened into a line with two backslashes included.
const CURLS: &str = include_str!("tenants/curls.txt");

const KEY: &str = "OPERATORSKEY";
const SECRET: &str = "operators-secret-of-the-tests";

async fn mesh() -> TestMesh {
    let name = |what: &str| format!("CLEARML__secure__credentials__supervisor__user_{what}");
    let settings = vec![(name("key"), KEY.to_owned()), (name("secret"), SECRET.to_owned())];
    TestMesh::start_with(services(), settings).await
}

fn operator(mesh: &TestMesh) -> Client {
    mesh.anonymous().basic(KEY, SECRET)
}

async fn call(client: &Client, endpoint: &str, body: Value) -> Value {
    client.post(&format!("/{endpoint}"), body).await.expect(200)["data"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The guide's command that calls an endpoint; of several the one that says `with`.
fn command(endpoint: &str, with: &str) -> String {
    let wanted = format!("$APISERVER_URL/{endpoint}");
    let mut commands = CURLS.split("\n\n").map(str::trim_end);
    let found = commands.find(|command| command.contains(&wanted) && command.contains(with)).unwrap();
    // What a documentation generator made of a continued line.
    found.replace("\\\\ ", " ")
}

/// Runs a command of the guide with its placeholders filled in; returns its answer.
async fn run(mesh: &TestMesh, command: String, fillings: &[(&str, &str)]) -> Value {
    let filled = fillings.iter().fold(command, |text, (place, filling)| text.replace(place, filling));
    let script = format!("curl() {{ command curl -sS --max-time 30 \"$@\"; }}\n{filled}\n");
    let output = Command::new("sh")
        .args(["-eu", "-c", &script])
        .env("APISERVER_URL", &mesh.url)
        .env("APISERVER_KEY", KEY)
        .env("APISERVER_SECRET", SECRET)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{filled}\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{filled}\n{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// The guide's steps for a new tenant; returns its id, its admin's id, and the admin with their key.
async fn by_the_guide(mesh: &TestMesh, name: &str, domain: &str) -> (String, String, (String, String)) {
    let made = run(
        mesh,
        command("system.create_company", "'{\"name\":\"<TENANT_NAME>\"}'"),
        &[("<TENANT_NAME>", name)],
    )
    .await;
    assert_eq!(made["meta"]["result_code"], 200);
    let company = text(&made["data"]["id"]);
    let listed = run(mesh, command("system.get_companies", ""), &[]).await;
    let known = listed["data"]["companies"].as_array().unwrap();
    assert!(known.iter().any(|known| known["id"] == company && known["name"] == name), "{listed}");
    let email = format!("boss@{domain}");
    let fillings =
        [("<ADMIN_USER_NAME>", "The Boss"), ("<COMPANY_ID>", &company), ("<ADMIN_USER_EMAIL>", &email)];
    let user = text(&run(mesh, command("auth.create_user", ""), &fillings).await["data"]["id"]);
    let user_id = [("<USER_ID>", user.as_str()), ("<USERS_EMAIL_DOMAIN>", domain)];
    let made =
        run(mesh, command("auth.create_credentials", ""), &user_id).await["data"]["credentials"].clone();
    let domains = run(mesh, command("login.set_domains", ""), &user_id).await;
    assert_eq!((&domains["meta"]["result_code"], &domains["data"]), (&json!(200), &json!({})));
    (company, user, (text(&made["access_key"]), text(&made["secret_key"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_commands_make_two_companies_that_never_meet() {
    let mesh = mesh().await;
    let (acme, boss, (key, secret)) = by_the_guide(&mesh, "Acme Robotics", "acme.example").await;
    let (beta, _, beta_key) = by_the_guide(&mesh, "Beta Maps", "beta.example").await;
    assert_ne!(acme, beta);

    let with_options = command("system.create_company", "allowed_users");
    let gamma = run(&mesh, with_options, &[("<TENANT_NAME>", "Gamma")]).await["data"]["id"].clone();
    let literal = command("system.update_company_settings", "");
    let refused = run(&mesh, literal.clone(), &[("<company_id>", gamma.as_str().unwrap())]).await;
    assert_eq!(refused["meta"]["result_code"], 400, "three dots are no JSON: {refused}");
    let fillings = [("<company_id>", gamma.as_str().unwrap()), (", ...", "")];
    let updated = run(&mesh, literal, &fillings).await;
    assert_eq!(updated["data"]["updated"], 1, "{updated}");
    let info = call(&operator(&mesh), "system.company_info", json!({ "company": gamma })).await;
    assert_eq!(
        info["defaults"],
        json!({
            "allowed_users": 10,
            "features": ["sso_management", "user_management_advanced"],
            "exclude_features": ["app_management", "applications", "user_management"],
        })
    );
    // Queues are not there yet: refused in ClearML's own shape.
    let fillings = [("75557e2ab172405bbe153705e91d1782", boss.as_str())];
    assert_eq!(run(&mesh, command("queues.create", ""), &fillings).await["meta"]["result_code"], 404);

    // Side by side with CVAT's clients: key and secret are name and password.
    let signed_in = mesh.anonymous().sign_in(&key, &secret).await;
    let other = mesh.anonymous().sign_in(&beta_key.0, &beta_key.1).await;
    let project = signed_in.post("/api/projects", json!({ "name": "secret" })).await.expect(201);
    other.post("/api/projects", json!({ "name": "another" })).await.expect(201);
    for (client, name) in [(&signed_in, "secret"), (&other, "another")] {
        let projects = client.get("/api/projects").await.expect(200);
        assert_eq!((&projects["count"], &projects["results"][0]["name"]), (&json!(1), &json!(name)));
        assert_eq!(client.get("/api/users").await.expect(200)["count"], 1);
    }
    let real = other.get(&format!("/api/projects/{}", project["id"])).await;
    let none = other.get("/api/projects/987654321").await;
    assert_eq!((real.status, real.text), (none.status, none.text));
    // The token of ClearML's sign-in is good with every service.
    let token = call(&mesh.anonymous().basic(&key, &secret), "auth.login", json!({})).await["token"].clone();
    let bearer = mesh.anonymous().with("authorization", &format!("Bearer {}", token.as_str().unwrap()));
    assert_eq!(bearer.get("/api/projects").await.expect(200)["count"], 1);
    mesh.running.stop().await;
}

/// The document that the commands come from, where it is at hand.
#[test]
fn the_commands_are_the_guides() {
    let seed = root().join("../shared/seeds/004-clearml-multi-tenant.txt");
    let Ok(guide) = std::fs::read_to_string(seed) else { return };
    for command in CURLS.split("\n\n") {
        assert!(guide.contains(command.trim_end()), "{command}");
    }
}

/// A company with so many seats and an admin, who takes one of them.
async fn capped(mesh: &TestMesh, seats: &str) -> (String, Client) {
    let defaults = json!({ "allowed_users": seats });
    let body = json!({ "name": "Small & Co", "defaults": defaults });
    let company = text(&call(&operator(mesh), "system.create_company", body).await["id"]);
    // Billing, asked about a company that it has not heard of yet, waits for the news.
    mesh.admin().get(&format!("/v1/usage?meter=seats&tenant={company}")).await.expect(200);
    let admin = json!({ "name": "Boss", "company": company, "email": "boss@small.example", "role": "admin" });
    let admin = text(&call(&operator(mesh), "auth.create_user", admin).await["id"]);
    let as_admin = operator(mesh).with("X-Clearml-Impersonate-As", &admin);
    let key = call(&as_admin, "auth.create_credentials", json!({})).await["credentials"].clone();
    (company, mesh.anonymous().basic(&text(&key["access_key"]), &text(&key["secret_key"])))
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_racers_take_exactly_the_seats_that_there_are() {
    let mesh = mesh().await;
    let (company, admin) = capped(&mesh, "3").await;
    let create = async |number: usize| {
        let email = format!("racer{number}@small.example");
        let body = json!({ "name": "Racer", "company": company, "email": email });
        // A machine that is too busy says so, and nothing was done: try again, as ClearML's client does.
        for _ in 0..20 {
            let answer = admin.post("/auth.create_user", body.clone()).await;
            if answer.status != 503 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("nobody could say whether there is a seat");
    };
    let answers = join_all((0..50).map(create)).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    let users = call(&admin, "users.get_all", json!({})).await["users"].as_array().unwrap().len();
    assert_eq!((made.len(), users), (2, 3));
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        let meta = &refused.json()["meta"];
        assert_eq!((refused.status, &meta["result_subcode"]), (403, &json!(21)), "{}", refused.text);
        assert!(
            meta["result_msg"].as_str().unwrap().contains("allowed_users exceeded): allowed=3"),
            "{meta}"
        );
    }
    // CVAT's door is closed at a company's host.
    let password = "correct horse battery";
    let fourth = json!({
        "username": "fourth", "email": "fourth@small.example", "password1": password, "password2": password,
    });
    let at_host = mesh.anonymous().with("host", "small-co.example.com");
    let refused = at_host.post("/api/auth/register", fourth).await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("made by its administrators"), "{refused}");
    // Who leaves makes room.
    let gone = made[0].json()["data"]["id"].clone();
    call(&admin, "auth.delete_user", json!({ "user": gone })).await;
    eventually("a seat that was left is free", Duration::from_secs(30), async || {
        (create(98).await.status == 200).then_some(())
    })
    .await;
    // Another cap holds at once, whether it is raised or lowered.
    let change = async |allowed: i64| {
        let changed = json!({ "company": company, "allowed_users": allowed });
        call(&operator(&mesh), "system.update_company_settings", changed).await;
    };
    for number in 0..4 {
        change(4 + number).await;
        assert_eq!(create(100 + number as usize).await.status, 200, "raised to {}", 4 + number);
    }
    change(9).await;
    change(7).await;
    let refused = create(200).await;
    assert!(refused.status == 403 && refused.text.contains("allowed=7"), "{}", refused.text);
    // An operator's limit counts more than the tenant's own, and is the one that is named.
    let body = json!({ "limit": 5 }).to_string();
    let path = format!("/v1/limits/seats?tenant={company}");
    mesh.admin().send("PUT", &path, Some(body)).await.expect(200);
    let refused = create(201).await;
    assert!(refused.status == 403 && refused.text.contains("allowed=5"), "{}", refused.text);
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_needs_a_seat() {
    let mesh = mesh().await;
    let (company, admin) = capped(&mesh, "3").await;
    let create = async |name: &str| {
        let body = json!({ "name": name, "company": company, "email": format!("{name}@small.example") });
        eventually(&format!("{name} has a seat"), Duration::from_secs(30), async || {
            (admin.post("/auth.create_user", body.clone()).await.status == 200).then_some(())
        })
        .await;
        let found = admin.get(&format!("/api/users?search={name}")).await.expect(200);
        format!("/api/users/{}", found["results"][0]["id"])
    };
    let set = async |path: &str, active: bool| admin.patch(path, json!({ "is_active": active })).await;
    let first = [create("anna").await, create("bert").await];
    for path in &first {
        set(path, false).await.expect(200);
    }
    let second = [create("cora").await, create("dirk").await];
    for path in &first {
        let refused = set(path, true).await;
        assert!(refused.status == 403 && refused.text.contains("allowed=3"), "{}", refused.text);
        assert_eq!(admin.get(path).await.expect(200)["is_active"], false);
    }
    // Who is active already needs none.
    set(&second[0], true).await.expect(200);
    // A seat that comes free is theirs, and taken then.
    set(&second[1], false).await.expect(200);
    eventually("anna has a seat again", Duration::from_secs(30), async || {
        (set(&first[0], true).await.status == 200).then_some(())
    })
    .await;
    let settled = async || {
        let limits = mesh.admin().get(&format!("/v1/limits?tenant={company}")).await.expect(200);
        let seats = &limits["items"][0];
        (seats["used"] == "3" && seats["reserved"] == "0").then_some(())
    };
    eventually("the promised seat is the taken one", Duration::from_secs(30), settled).await;
    assert_eq!(set(&first[1], true).await.status, 403);
    mesh.running.stop().await;
}

/// ClearML's own client, where `TEST_CLEARML_PYTHON` names a Python that has it.
#[tokio::test(flavor = "multi_thread")]
async fn clearmls_own_client_signs_in() {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
    let Ok(python) = std::env::var("TEST_CLEARML_PYTHON") else { return };
    let mesh = mesh().await;
    let (company, _, (key, secret)) = by_the_guide(&mesh, "Acme", "acme.example").await;
    let script = root().join("shared/mesh-tests/tests/it/tenants/clearml_client.py");
    let output = Command::new(python)
        .arg(script)
        .env("CLEARML_API_HOST", &mesh.url)
        .env("CLEARML_WEB_HOST", &mesh.url)
        .env("CLEARML_FILES_HOST", &mesh.url)
        .env("CLEARML_API_ACCESS_KEY", key)
        .env("CLEARML_API_SECRET_KEY", secret)
        .env("COMPANY", company)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all is well"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    mesh.running.stop().await;
}
