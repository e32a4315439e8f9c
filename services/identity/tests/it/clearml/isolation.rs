//! Two companies side by side: whatever an admin asks about another's things is answered as if there were none.

use serde_json::{Value, json};

use super::{company, mesh, user};

/// The answer without what differs by chance and without the id that was asked about.
fn told(answer: test_kit::Response, id: &str) -> (u16, String) {
    let mut body = answer.json();
    for name in ["id", "trx"] {
        body["meta"][name] = Value::Null;
    }
    (answer.status, body.to_string().replace(id, "<id>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_ids_are_answered_as_unknown_ones() {
    let mesh = mesh().await;
    let (acme, beta) = (company(&mesh, "Acme").await, company(&mesh, "Beta").await);
    let bob = user(&beta.admin, &beta.id, "bob", "user").await;
    let unknown = "0123456789abcdef0123456789abcdef";
    let calls = |id: &str, kind: &str| -> Vec<(&'static str, Value)> {
        match kind {
            "user" => vec![
                ("auth.edit_user", json!({ "user": id, "role": "admin" })),
                ("auth.delete_user", json!({ "user": id })),
                ("users.get_by_id", json!({ "user": id })),
                ("users.get_all", json!({ "id": [id] })),
            ],
            "company" => vec![
                ("auth.create_user", json!({ "name": "X", "company": id, "email": "x@mail.example" })),
                ("system.company_info", json!({ "company": id })),
                ("system.update_company_settings", json!({ "company": id, "features": [] })),
            ],
            _ => vec![
                ("auth.revoke_credentials", json!({ "access_key": id })),
                ("auth.edit_credentials", json!({ "access_key": id, "label": "x" })),
            ],
        }
    };
    for (kind, theirs) in [("user", &bob), ("company", &beta.id), ("key", &beta.key)] {
        for ((endpoint, real), (_, none)) in calls(theirs, kind).into_iter().zip(calls(unknown, kind)) {
            let real = told(acme.admin.post(&format!("/{endpoint}"), real).await, theirs);
            let none = told(acme.admin.post(&format!("/{endpoint}"), none).await, unknown);
            assert_eq!(real, none, "{endpoint}");
        }
    }
    for header in ["X-Clearml-Impersonate-As", "X-Clearml-Act-As"] {
        let ask = async |id: &str| {
            told(acme.admin.with(header, id).post("/users.get_current_user", json!({})).await, id)
        };
        let real = ask(&bob).await;
        assert_eq!(real, ask(unknown).await);
        assert_eq!(real.0, 400);
    }
    // Nothing of what was asked for has happened, and each sees their own only.
    for (mine, count) in [(&acme.admin, 1), (&beta.admin, 2)] {
        let users = super::call(mine, "users.get_all", json!({})).await;
        assert_eq!(users["users"].as_array().unwrap().len(), count);
    }
    assert_eq!(acme.admin.get("/api/users").await.expect(200)["count"], 1);
    let companies = super::call(&acme.admin, "organization.get_user_companies", json!({})).await;
    assert_eq!(companies["companies"].as_array().unwrap().len(), 1);
}
