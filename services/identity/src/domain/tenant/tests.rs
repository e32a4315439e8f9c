//! What a tenant may be asked.

use super::*;
use crate::domain::given;

fn create(name: &str) -> TenantCommand {
    TenantCommand::Create {
        name: name.into(),
        display_name: "Acme & Co".into(),
        allowance: Allowance::default(),
    }
}

fn created() -> TenantEvent {
    TenantEvent::Created {
        name: "acme".into(),
        display_name: "Acme & Co".into(),
        allowance: Allowance::default(),
    }
}

fn set_domains(domains: &[&str]) -> TenantCommand {
    TenantCommand::SetDomains { domains: domains.iter().map(|domain| (*domain).to_owned()).collect() }
}

#[test]
fn a_tenant_is_created_once() {
    assert_eq!(Tenant::default().decide(create("acme")), Ok(vec![created()]));
    assert_eq!(given::<Tenant>(&[created()]).decide(create("acme")), Err(TenantError::Exists));
}

#[test]
fn a_name_is_a_label_that_no_host_has_anyway() {
    for name in ["", "Acme", "7up", "127", "a b", "acme-", "localhost", "www", &"a".repeat(64)] {
        assert_eq!(Tenant::default().decide(create(name)), Err(TenantError::InvalidName), "{name}");
    }
    for name in ["ab", " acme", "ac\tme", &"a".repeat(151)] {
        let command = TenantCommand::Create {
            name: "acme".into(),
            display_name: name.into(),
            allowance: Allowance::default(),
        };
        assert_eq!(Tenant::default().decide(command), Err(TenantError::InvalidDisplayName), "{name}");
    }
}

#[test]
fn whatever_people_call_a_tenant_there_is_a_label_for_it() {
    let long = "x".repeat(200);
    for (called, number, label) in [
        ("Acme & Co.", 1, "acme-co"),
        ("Acme & Co.", 3, "acme-co-3"),
        ("7up", 1, "tenant-7up"),
        ("株式会社", 1, "tenant"),
        ("WWW", 1, "tenant-www"),
        ("---", 2, "tenant-2"),
        (&long, 12, &format!("{}-12", "x".repeat(60))),
    ] {
        assert_eq!(Tenant::name_for(called, number), label);
        assert!(is_valid_name(label), "{label}");
    }
}

#[test]
fn an_allowance_changes_where_it_is_told_to() {
    let acme: Tenant = given(&[created()]);
    let change = AllowanceChange { allowed_users: Some(3), ..AllowanceChange::default() };
    let [TenantEvent::Allowed { allowance }] = &acme.decide(TenantCommand::Allow(change)).unwrap()[..] else {
        panic!("one event")
    };
    assert_eq!((allowance.allowed_users, &allowance.features), (Some(3), &None));
    let same = AllowanceChange { exclude_features: Some(vec![]), ..AllowanceChange::default() };
    assert_eq!(acme.decide(TenantCommand::Allow(same)), Ok(vec![]));
    let features = |names: &[&str]| AllowanceChange {
        features: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..AllowanceChange::default()
    };
    let twice = acme.decide(TenantCommand::Allow(features(&["b", "a", "b"]))).unwrap();
    let [TenantEvent::Allowed { allowance }] = &twice[..] else { panic!("one event") };
    assert_eq!(allowance.features, Some(vec!["a".into(), "b".into()]));
    assert_eq!(acme.decide(TenantCommand::Allow(features(&["a b"]))), Err(TenantError::InvalidFeature));
    for users in [0, -1, i64::MAX] {
        let change = AllowanceChange { allowed_users: Some(users), ..AllowanceChange::default() };
        let refused = acme.decide(TenantCommand::Allow(change));
        assert_eq!(refused, Err(TenantError::InvalidAllowedUsers), "{users}");
    }
    let nobody = Tenant::default().decide(TenantCommand::Allow(AllowanceChange::default()));
    assert_eq!(nobody, Err(TenantError::NotFound));
}

#[test]
fn domains_are_replaced_by_such_as_can_be_looked_up() {
    let acme: Tenant = given(&[created()]);
    let events = acme.decide(set_domains(&["acme.example", "acme.co.uk"])).unwrap();
    let mut later = acme.clone();
    later.apply(&events[0]);
    assert_eq!(later.decide(set_domains(&["acme.co.uk", "acme.example"])), Ok(vec![]));
    assert_eq!(later.decide(set_domains(&[])).map(|events| events.len()), Ok(1));
    for bad in ["", "acme", "Acme.example", "a..b", "-a.b", "a_b.c", "@acme.example", "*.acme.example"] {
        assert_eq!(acme.decide(set_domains(&[bad])), Err(TenantError::InvalidDomain), "{bad}");
    }
}

#[test]
fn violated_indexes_become_refusals() {
    assert_eq!(Tenant::taken("tenants_display_name_key"), Some(TenantError::DisplayNameTaken));
    assert_eq!(Tenant::taken("tenant_domains_pkey"), Some(TenantError::DomainTaken));
    assert_eq!(Tenant::taken("tenants_pkey"), None);
}
