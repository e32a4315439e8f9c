//! `GET /v1/events`.

use serde_json::{Value, json};
use test_kit::fake;

use crate::story::{caller, mesh, organization, page_of, positions, project, publish};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_there_once_in_the_order_of_arrival() {
    let mesh = mesh().await;
    let admin = caller(&mesh, "1.admin");
    let events: Vec<Value> = (1..=7).map(|position| project(position, 7, None)).collect();
    publish(&mesh, "projects", &events[..3]).await;
    page_of(&admin, "/v1/events", 3).await;
    publish(&mesh, "projects", &events).await;
    let all = page_of(&admin, "/v1/events", 7).await;
    assert_eq!(all["next"], Value::Null);
    let mut read = vec![];
    let mut after = 0;
    loop {
        let page = admin.get(&format!("/v1/events?limit=2&after={after}")).await.expect(200);
        read.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(json!(read), all["items"]);
    for (event, item) in events.iter().zip(&read) {
        for (name, value) in event.as_object().unwrap() {
            assert_eq!(&item[name], value, "{name}");
        }
        assert!(item["cursor"].is_i64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_nonsense_is_refused() {
    let mesh = mesh().await;
    let admin = caller(&mesh, "1.admin");
    publish(&mesh, "identity", &organization(&[(7, "owner")])).await;
    publish(&mesh, "projects", &[project(1, 7, Some(3)), project(2, 7, None)]).await;
    page_of(&admin, "/v1/events", 4).await;
    let projects = page_of(&admin, "/v1/events?type=projects.project_created.v1", 2).await;
    assert_eq!(projects["reached"], 4, "what did not match was looked at too");
    let first = admin.get("/v1/events?type=projects.project_created.v1&limit=1").await.expect(200);
    assert_eq!(
        (&first["next"], &first["reached"]),
        (&first["items"][0]["cursor"], &first["items"][0]["cursor"])
    );
    page_of(&admin, "/v1/events?type=projects.project_created.v1,identity.organization_created.v1", 3).await;
    assert_eq!(positions(&page_of(&admin, "/v1/events?subject=project/2", 1).await), [2]);
    page_of(&admin, "/v1/events?org=wonderland", 3).await;
    page_of(&admin, "/v1/events?org=", 1).await;
    for bad in ["limit=0", "after=-1", "type=nothing", "subject=2", "tpye=x", "org=a&org_id=3"] {
        let problem = admin.get(&format!("/v1/events?{bad}")).await;
        assert_eq!(problem.headers["content-type"], "application/problem+json", "{bad}");
        assert_eq!(problem.expect(400)["code"], "invalid");
    }
    admin.get("/v1/events?org=nowhere").await.expect(404);
    mesh.anonymous().get("/v1/events").await.expect(401);
    admin.post("/v1/events", json!({})).await.expect(405);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_events_do_not_exist() {
    let mesh = mesh().await;
    let mut foreign = project(1, 7, None);
    foreign["tenantid"] = json!(fake::tenant(2));
    publish(&mesh, "projects", &[foreign, project(2, 7, None)]).await;
    assert_eq!(positions(&page_of(&caller(&mesh, "1.admin"), "/v1/events", 1).await), [2]);
    assert_eq!(positions(&page_of(&caller(&mesh, "1.admin.2"), "/v1/events", 1).await), [1]);
    page_of(&caller(&mesh, "7.user.3"), "/v1/events", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_again_adds_nothing() {
    let mesh = mesh().await;
    let admin = caller(&mesh, "1.admin");
    let kit = mesh.running.kit("analytics").unwrap();
    let first = project(1, 7, None);
    publish(&mesh, "projects", std::slice::from_ref(&first)).await;
    page_of(&admin, "/v1/events", 1).await;
    // As a later revision of the consumer would, which begins at the beginning with an inbox of its own.
    let service = analytics::service();
    let consumer = service.consumers().iter().find(|consumer| consumer.name() == "events").unwrap();
    let envelope: contracts::Envelope = serde_json::from_str(&first.to_string()).unwrap();
    let taken =
        event_store::inbox::take(&kit.store, "analytics.events@2", &consumer.handler(), &[envelope], &[])
            .await;
    assert_eq!(taken.unwrap().handled, 1);
    publish(&mesh, "projects", &[first, project(2, 7, None)]).await;
    assert_eq!(positions(&page_of(&admin, "/v1/events", 2).await), [1, 2]);
}
