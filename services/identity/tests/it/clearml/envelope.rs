//! How calls are written, and the shape of every answer.

use serde_json::json;

use super::{company, mesh, operator, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn any_method_any_body_any_of_the_paths() {
    let mesh = mesh().await;
    let operator = operator(&mesh);
    for path in
        ["/auth.login", "/v2.23/auth.login", "/v999.0/auth.login", "/api/auth.login", "/api/v2.5/auth.login/"]
    {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = operator.send(method, path, None).await.expect(200);
            assert!(answer["data"]["token"].is_string(), "{method} {path}");
        }
    }
    operator.send("OPTIONS", "/auth.login", None).await.expect(200);
    // What the SDK sends: a GET with a body.
    let body = json!({ "method": "get", "expiration_sec": 60, "nobody_knows": { "this": [1] } });
    operator.send("GET", "/v2.23/auth.login", Some(body.to_string())).await.expect(200);
    let by_query = operator.get("/system.get_companies?name=default&only[]=x&a.b=1").await.expect(200);
    assert_eq!(by_query["data"]["companies"].as_array().unwrap().len(), 1);
    let form = operator.with("content-type", "application/x-www-form-urlencoded");
    let answer = form.send("POST", "/system.create_company", Some("{\"name\":\"Formed\"}".into())).await;
    answer.expect(200);
    operator.with("content-encoding", "gzip").get("/auth.login").await.expect(415);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_comes_in_the_same_envelope() {
    let mesh = mesh().await;
    let operator = operator(&mesh);
    let named = operator.with("x-clearml-trx", "mine").get("/v2.23/users.get_current_user").await;
    assert_eq!(named.headers["content-type"], "application/json");
    assert_eq!(named.headers["cache-control"], "no-store");
    let mut answer = named.expect(200);
    let id = answer["meta"]["id"].take();
    assert_eq!(id.as_str().map(str::len), Some(32));
    let meta = json!({
        "id": null, "trx": "mine",
        "endpoint": { "name": "users.get_current_user", "requested_version": "2.23", "actual_version": "2.1" },
        "result_code": 200, "result_subcode": 0, "result_msg": "OK", "error_stack": null, "error_data": {},
    });
    assert_eq!(answer["meta"], meta);
    let old = operator.get("/v2.0/nothing.here").await;
    assert_eq!(old.headers["content-type"], "application/json");
    let old = old.expect(404);
    assert_eq!(
        old["meta"]["endpoint"],
        json!({
            "name": "nothing.here", "requested_version": 2.0, "actual_version": null,
        })
    );
    assert_eq!(old["meta"]["result_msg"], "Unable to find endpoint for name nothing.here and version 2.0");
    assert_eq!((&old["meta"]["trx"], &old["data"]), (&old["meta"]["id"], &json!({})));
    // The mirror under /api answers alike, and CVAT's own paths stay what they are.
    assert_eq!(operator.get("/api/nothing.here").await.headers["content-type"], "application/json");
    let cvat = operator.get("/api/users/nothing.here").await;
    assert_eq!(cvat.headers["content-type"], "application/vnd.cvat+json");
    let huge = "x".repeat(3 * 1024 * 1024);
    let refused = operator.post("/auth.login", json!({ "x": huge })).await.expect(413);
    assert_eq!(refused["meta"]["result_code"], 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_its_row_in_the_table_of_errors() {
    let mesh = mesh().await;
    let operator = operator(&mesh);
    let nobody = mesh.anonymous();
    let acme = company(&mesh, "Acme").await;
    let bearer = nobody.with("authorization", "Bearer made.up.token");
    let wrong = nobody.basic("OPERATORSKEY", "not the secret at all");
    let token = nobody.with("authorization", "Token 0123456789");
    let broken = nobody.with("authorization", "Basic !!!");
    let id = "0".repeat(32);
    let user =
        |email: &str, role: &str| json!({ "name": "X", "company": acme.id, "email": email, "role": role });
    for (client, endpoint, body, code, subcode, message) in [
        (&nobody, "auth.login", json!({}), 401, 20, "Unauthorized (missing credentials)"),
        (
            &wrong,
            "auth.login",
            json!({}),
            401,
            22,
            "Unauthorized (invalid credentials) (failed to locate provided credentials)",
        ),
        (&bearer, "auth.login", json!({}), 401, 30, "Unauthorized (invalid token)"),
        (&token, "auth.login", json!({}), 401, 10, "Unauthorized (neither Basic nor Bearer)"),
        (&broken, "auth.login", json!({}), 401, 21, "Unauthorized (malformed credentials)"),
        (
            &operator,
            "auth.login",
            json!({ "expiration_sec": "soon" }),
            400,
            20,
            "A field has the wrong type (a whole number is wanted): field=expiration_sec",
        ),
        (
            &operator,
            "auth.login",
            json!({ "expiration_sec": -1 }),
            400,
            12,
            "Validation error (a positive number is wanted): field=expiration_sec",
        ),
        (&operator, "auth.login", json!([]), 400, 12, "Validation error (the body must be a JSON object)"),
        (&operator, "system.create_company", json!({}), 400, 11, "Missing required fields: field=name"),
        (
            &operator,
            "system.create_company",
            json!({ "name": "ab" }),
            400,
            12,
            "Validation error (name: A company's name has 3 to 150 characters.)",
        ),
        (
            &operator,
            "system.create_company",
            json!({ "name": "Abc", "defaults": { "allowed_users": "0" } }),
            400,
            12,
            "Validation error (allowed_users: allowed_users must be a positive number.)",
        ),
        (
            &operator,
            "system.company_info",
            json!({ "company": id }),
            400,
            10,
            "Invalid object id (no such company): company=00000000000000000000000000000000",
        ),
        (
            &operator,
            "system.get_companies",
            json!({ "name_pattern": "(" }),
            400,
            21,
            "Not a regular expression: name_pattern=(",
        ),
        (
            &operator,
            "auth.create_user",
            user("no address", "user"),
            400,
            22,
            "Invalid email address: email=no address",
        ),
        (
            &operator,
            "auth.create_user",
            user("a@b.example", "system"),
            400,
            12,
            "Validation error (there is no such role to give): role=system",
        ),
        (
            &operator,
            "auth.edit_user",
            json!({ "user": id, "role": "user" }),
            400,
            301,
            "Invalid user id: id=00000000000000000000000000000000",
        ),
        (
            &acme.admin,
            "system.get_companies",
            json!({}),
            403,
            20,
            "Forbidden (not allowed for role): role=admin",
        ),
        (
            &acme.admin,
            "auth.edit_credentials",
            json!({ "access_key": "X", "label": "x" }),
            400,
            75,
            "No such access key (no such key)",
        ),
        (
            &acme.admin,
            "auth.revoke_credentials",
            json!({ "key_id": "X" }),
            400,
            300,
            "Invalid user (no such key)",
        ),
        (
            &acme.admin,
            "queues.create",
            json!({ "name": "default" }),
            404,
            0,
            "Unable to find endpoint for name queues.create and version 2.34",
        ),
    ] {
        let refused = refusal(client, endpoint, body.clone()).await;
        assert_eq!(refused, (code, subcode, message.to_owned()), "{endpoint} {body}");
    }
    // The seed's own text, taken literally.
    let literal = format!("{{\"company\": \"{}\", \"features\": [\"sso_management\", ...]}}", acme.id);
    let refused = operator.send("POST", "/system.update_company_settings", Some(literal)).await.expect(400);
    assert!(refused["meta"]["result_msg"].as_str().unwrap().starts_with("Bad request (the body is not JSON"));
}
