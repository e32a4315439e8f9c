//! What a user may be asked.

use super::*;
use crate::domain::given;

fn alice() -> NewUser {
    NewUser {
        username: "alice".into(),
        email: "alice@example.com".into(),
        first_name: "Alice".into(),
        last_name: String::new(),
        password_hash: Some("hash".into()),
        privilege: Some(Privilege::User),
        operator: false,
        at: DateTime::default(),
        reservation_id: None,
    }
}

fn registered() -> User {
    given(&[UserEvent::Registered(alice())])
}

fn update(change: UserChange) -> UserCommand {
    UserCommand::Update { change, last_admin: false }
}

#[test]
fn a_user_registers_once_under_a_name_that_clients_accept() {
    let register = |username: &str| UserCommand::Register(NewUser { username: username.into(), ..alice() });
    assert_eq!(User::default().decide(register("alice")), Ok(vec![UserEvent::Registered(alice())]));
    assert_eq!(registered().decide(register("alice")), Err(UserError::Exists));
    for name in ["", "a b", "a\\b", "a\0", "a/b", &"a".repeat(151)] {
        assert_eq!(User::default().decide(register(name)), Err(UserError::InvalidUsername), "{name}");
    }
    assert!(is_valid_username("josé.müller+x@ü-1_"));
}

#[test]
fn an_update_keeps_only_what_changes() {
    let same = UserChange { username: Some("alice".into()), ..UserChange::default() };
    assert_eq!(registered().decide(update(same.clone())), Ok(vec![]));
    let change = UserChange { last_name: Some("Liddell".into()), ..UserChange::default() };
    let both = UserChange { last_name: Some("Liddell".into()), ..same };
    assert_eq!(registered().decide(update(both)), Ok(vec![UserEvent::Updated(change)]));
    let bad = UserChange { username: Some("a b".into()), ..UserChange::default() };
    assert_eq!(registered().decide(update(bad)), Err(UserError::InvalidUsername));
    assert_eq!(User::default().decide(update(UserChange::default())), Err(UserError::NotFound));
}

#[test]
fn a_password_changes_for_those_who_are_there() {
    let change = || UserCommand::ChangePassword { password_hash: "new".into() };
    let changed = UserEvent::PasswordChanged { password_hash: "new".into() };
    assert_eq!(registered().decide(change()), Ok(vec![changed]));
    assert_eq!(User::default().decide(change()), Err(UserError::NotFound));
}

#[test]
fn a_privilege_is_set_and_the_last_admin_keeps_theirs() {
    let set = |privilege, last_admin| UserCommand::SetPrivilege { privilege, operator: false, last_admin };
    let admin = Some(Privilege::Admin);
    let event = UserEvent::PrivilegeSet { privilege: admin, operator: false };
    assert_eq!(registered().decide(set(admin, false)), Ok(vec![event]));
    assert_eq!(registered().decide(set(Some(Privilege::User), false)), Ok(vec![]));
    assert_eq!(registered().decide(set(None, true)), Err(UserError::LastAdmin));
}

#[test]
fn the_last_admin_stays_and_an_active_one() {
    let disable = UserChange { is_active: Some(false), ..UserChange::default() };
    let refused = registered().decide(UserCommand::Update { change: disable, last_admin: true });
    assert_eq!(refused, Err(UserError::LastAdmin));
    assert_eq!(registered().decide(UserCommand::Delete { last_admin: true }), Err(UserError::LastAdmin));
    assert_eq!(registered().decide(UserCommand::Delete { last_admin: false }), Ok(vec![UserEvent::Deleted]));
}

#[test]
fn who_is_gone_stays_gone() {
    let gone: User = given(&[UserEvent::Registered(alice()), UserEvent::Deleted]);
    assert_eq!(gone.decide(UserCommand::Delete { last_admin: false }), Err(UserError::NotFound));
    assert_eq!(gone.decide(UserCommand::Register(alice())), Err(UserError::Exists));
}

#[test]
fn violated_indexes_become_refusals() {
    assert_eq!(User::taken("accounts_tenant_id_username_key"), Some(UserError::UsernameTaken));
    assert_eq!(User::taken("accounts_tenant_id_lower_idx"), Some(UserError::EmailTaken));
    assert_eq!(User::taken("accounts_pkey"), None);
}

#[test]
fn a_key_is_issued_labeled_and_revoked_by_its_owner() {
    let key = |name: &str| Credential {
        access_key: name.into(),
        secret_digest: "00".into(),
        label: None,
        at: DateTime::default(),
        expires_at: None,
    };
    let issued = UserEvent::CredentialIssued(key("ONE"));
    assert_eq!(registered().decide(UserCommand::IssueCredential(key("ONE"))), Ok(vec![issued.clone()]));
    let alice: User = given(&[UserEvent::Registered(alice()), issued]);
    let label = |key: &str, label: &str| UserCommand::LabelCredential {
        access_key: key.into(),
        label: Some(label.into()),
    };
    assert_eq!(alice.decide(label("ONE", "ci")).map(|events| events.len()), Ok(1));
    assert_eq!(alice.decide(label("TWO", "ci")), Err(UserError::NoSuchKey));
    let revoke = |key: &str| UserCommand::RevokeCredential { access_key: key.into() };
    assert_eq!(alice.decide(revoke("TWO")), Err(UserError::NoSuchKey));
    let mut gone = alice.clone();
    gone.apply(&alice.decide(revoke("ONE")).unwrap()[0]);
    assert_eq!(gone.decide(revoke("ONE")), Err(UserError::NoSuchKey));
    let mut full = alice;
    (1..KEYS_MAX).for_each(|n| full.apply(&UserEvent::CredentialIssued(key(&n.to_string()))));
    assert_eq!(full.decide(UserCommand::IssueCredential(key("x"))), Err(UserError::TooManyKeys));
}
