//! Names are unique at identity and nowhere else: elsewhere the news of who took one may come before those of who
//! gave it up. Nothing is parked then, and whoever took it has it.

use std::time::Duration;

use chrono::TimeDelta;
use contracts::event::Example;
use contracts::identity::{
    Membership, MembershipCreated, MembershipDeleted, Organization, OrganizationCreated, OrganizationUpdated,
    User, UserRegistered, UserUpdated,
};
use event_store::inbox::{self, Progress};
use serde_json::{Map, Value};
use test_kit::{TestMesh, eventually, fake};

use crate::story::{caller, mesh, page_of, publish};

/// Waits until the directory has taken in these streams of identity, up to these versions; none may be parked.
async fn taken(mesh: &TestMesh, streams: &[(&str, i64, i64)]) {
    let store = &mesh.running.kit("analytics").unwrap().store;
    for (kind, id, version) in streams {
        eventually(&format!("{kind} {id} at version {version}"), Duration::from_secs(30), async || {
            let at = inbox::progress(store, "analytics.directory@1", fake::tenant(1), "identity", kind, *id);
            match at.await.unwrap() {
                Progress::At(at) => (at >= *version).then_some(()),
                Progress::Parked => panic!("{kind} {id} is parked"),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slug_may_be_taken_before_it_is_given_up() {
    let mesh = mesh().await;
    let (first, second) = (Organization::example(), Organization::example());
    let first = Organization { id: 3, slug: "wonderland".into(), ..first };
    let second = Organization { id: 4, slug: "elsewhere".into(), ..second };
    let renamed = |organization: &Organization, slug: &str, hours: i64| OrganizationUpdated {
        organization: Organization {
            slug: slug.into(),
            updated_date: organization.updated_date + TimeDelta::hours(hours),
            ..organization.clone()
        },
        before_update: Map::new(),
    };
    let of = |mut event: Value, organization: i64| {
        event["organizationid"] = organization.into();
        event
    };
    // The first was renamed after one hour and the second after two, but the second's stream is ahead.
    let mut log = vec![
        of(fake::event(1, 3, 1, &OrganizationCreated { organization: first.clone() }), 3),
        of(fake::event(2, 4, 1, &OrganizationCreated { organization: second.clone() }), 4),
        of(fake::event(3, 4, 2, &renamed(&second, "wonderland", 2)), 4),
    ];
    publish(&mesh, "identity", &log).await;
    taken(&mesh, &[("organization", 3, 1), ("organization", 4, 2)]).await;
    let admin = caller(&mesh, "1.admin").organization("wonderland");
    assert_eq!(page_of(&admin, "/v1/events", 2).await["items"][0]["organizationid"], 4);
    log.push(of(fake::event(4, 3, 2, &renamed(&first, "looking-glass", 1)), 3));
    publish(&mesh, "identity", &log).await;
    taken(&mesh, &[("organization", 3, 2)]).await;
    let admin = caller(&mesh, "1.admin").organization("looking-glass");
    assert_eq!(page_of(&admin, "/v1/events", 2).await["items"][0]["organizationid"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_may_be_taken_before_it_is_given_up() {
    let mesh = mesh().await;
    let named = |id: i64, name: &str| User { id, username: name.into(), ..User::example() };
    let renamed =
        |id, name| UserUpdated { user: named(id, name), before_update: Map::new(), reservation_id: None };
    publish(
        &mesh,
        "identity",
        &[
            fake::event(1, 7, 1, &UserRegistered { user: named(7, "alice"), reservation_id: None }),
            fake::event(2, 8, 1, &UserRegistered { user: named(8, "bob"), reservation_id: None }),
            fake::event(3, 8, 2, &renamed(8, "alice")),
            fake::event(4, 7, 2, &renamed(7, "alicia")),
        ],
    )
    .await;
    taken(&mesh, &[("user", 8, 2), ("user", 7, 2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_back_has_the_newer_role() {
    let mesh = mesh().await;
    let membership = |id: i64, role: &str| Membership {
        id,
        organization_id: 3,
        user_id: 7,
        role: role.into(),
        ..Membership::example()
    };
    let mut log = vec![
        fake::event(1, 3, 1, &OrganizationCreated { organization: Organization::example() }),
        fake::event(2, 1, 1, &MembershipCreated { membership: membership(1, "worker") }),
        fake::event(3, 2, 1, &MembershipCreated { membership: membership(2, "maintainer") }),
    ];
    for event in &mut log {
        event["organizationid"] = 3.into();
    }
    publish(&mesh, "identity", &log).await;
    taken(&mesh, &[("membership", 1, 1), ("membership", 2, 1)]).await;
    // A worker sees what they did themselves, which is nothing here; a maintainer sees the organization.
    page_of(&caller(&mesh, "7.user"), "/v1/events", 3).await;
    let mut left = fake::event(4, 1, 2, &MembershipDeleted { membership: membership(1, "worker") });
    left["organizationid"] = 3.into();
    log.push(left);
    publish(&mesh, "identity", &log).await;
    taken(&mesh, &[("membership", 1, 2)]).await;
    page_of(&caller(&mesh, "7.user"), "/v1/events", 4).await;
}
