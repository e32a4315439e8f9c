//! Who sees what.

use crate::story::{caller, mesh, organization, page_of, positions, project, publish};

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_privilege_and_role_allow() {
    let mesh = mesh().await;
    let members = [(7, "owner"), (8, "maintainer"), (9, "supervisor"), (10, "maintainer")];
    publish(&mesh, "identity", &organization(&members)).await;
    let projects =
        [project(1, 7, Some(3)), project(2, 9, Some(3)), project(3, 9, None), project(4, 11, None)];
    publish(&mesh, "projects", &projects).await;
    page_of(&caller(&mesh, "1.admin"), "/v1/events", 9).await;
    let seen = async |name: &str, query: &str, count: usize| {
        let path = format!("/v1/events?type=projects.project_created.v1{query}");
        positions(&page_of(&caller(&mesh, name), &path, count).await)
    };
    assert_eq!(seen("1.admin", "", 4).await, [1, 2, 3, 4]);
    assert_eq!(seen("1.admin", "&org=wonderland", 2).await, [1, 2]);
    assert_eq!(seen("7.user", "", 2).await, [1, 2]);
    assert_eq!(seen("8.user", "&org_id=3", 2).await, [1, 2]);
    assert_eq!(seen("9.user", "", 2).await, [2, 3]);
    assert_eq!(seen("9.user", "&org=wonderland", 1).await, [2]);
    assert_eq!(seen("9.user", "&org=", 1).await, [3]);
    // A maintainer in the organization, but a worker in the tenant.
    assert_eq!(seen("10.worker", "", 0).await, Vec::<i64>::new());
    assert_eq!(seen("11.user", "", 1).await, [4]);
    let outsider = caller(&mesh, "11.user");
    outsider.get("/v1/events?org=wonderland").await.expect(403);
    assert_eq!(caller(&mesh, "12.none").get("/v1/events").await.expect(403)["code"], "permission_denied");
}
