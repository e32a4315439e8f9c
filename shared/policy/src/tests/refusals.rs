//! What is refused before it can decide anything: bad rows, unknown words.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{Deserialize, IntoDeserializer};

use crate::{Privilege, Relation, Role, Table};

const HEADER: &str = "Scope,Context,Ownership,Limit,Privilege,Membership";

#[test]
fn a_bad_row_is_refused_with_its_file_and_line() {
    let refused = [
        ("view,N/A,N/A,,None", "5 cells, not 6"),
        ("view,N/A,N/A,,None,N/A,x", "7 cells, not 6"),
        ("", "1 cells, not 6"),
        (r#"view,N/A,"None,,None,N/A"#, "a quote that opens or closes no cell"),
        (",N/A,N/A,,None,N/A", "no scope"),
        ("  ,N/A,N/A,,None,N/A", "no scope"),
        ("view,Tenant,N/A,,None,N/A", "unknown context `tenant`"),
        ("view,,N/A,,None,N/A", "unknown context ``"),
        ("view,N/A,Boss,,None,N/A", "unknown ownership `boss`"),
        (r#"view,N/A,"None, Boss",,None,N/A"#, "unknown ownership `boss`"),
        ("view,N/A,,,None,N/A", "unknown ownership ``"),
        ("view,N/A,N/A,resource is None,None,N/A", "unknown limit `resource is None`"),
        ("view,N/A,N/A,,King,N/A", "unknown privilege `king`"),
        ("view,N/A,N/A,,,N/A", "unknown privilege ``"),
        ("view,Organization,N/A,,None,King", "unknown role `king`"),
        ("view,Organization,N/A,,None,", "unknown role ``"),
        ("view,Sandbox,N/A,,None,Worker", "a sandbox has no members: Membership must be N/A"),
        ("view,N/A,N/A,,Only King,N/A", "unknown privilege `king`"),
        (
            r#"view,Organization,N/A,"resource[""role""] != ""owner""",None,Worker"#,
            "a list could not be filtered by this view row",
        ),
        (
            r#"view,N/A,N/A,"resource[""membership""][""role""] != None",None,Worker"#,
            "a list could not be filtered by this view row",
        ),
    ];
    for (row, defect) in refused {
        let text = format!("{HEADER}\nlist,N/A,N/A,,None,N/A\n{row}\n");
        let error = Table::parse("things", &text).unwrap_err();
        assert_eq!(error.to_string(), format!("tables/things.csv:3: {defect}"), "{row}");
    }
}

#[test]
fn other_columns_are_refused() {
    for header in
        ["", "Scope", "Scope,Context,Ownership,Limit,Privilege,Membership,URL", &HEADER.to_lowercase()]
    {
        let error = Table::parse("things", header).unwrap_err();
        let message = format!("tables/things.csv:1: the columns are `{header}`, not `{HEADER}`");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn line_ends_and_letter_case_do_not_matter() {
    let text = format!("{HEADER}\r\nview,SANDBOX,\"self, Project:Owner\",,WORKER,n/a\r\n");
    assert!(Table::parse("things", &text).is_ok());
}

#[test]
fn names_are_read_back() {
    for &privilege in Privilege::ALL {
        assert_eq!(privilege.to_string().parse(), Ok(privilege));
        let name: StrDeserializer<'_, Error> = privilege.as_str().into_deserializer();
        assert_eq!(Privilege::deserialize(name), Ok(privilege));
    }
    for &role in Role::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
        let name: StrDeserializer<'_, Error> = role.as_str().into_deserializer();
        assert_eq!(Role::deserialize(name), Ok(role));
        assert_eq!(Relation::from(role).as_str(), role.as_str());
    }
    assert_eq!("King".parse::<Role>().unwrap_err().to_string(), "unknown role `King`");
}

#[test]
fn more_is_greater() {
    assert!(Privilege::ALL.is_sorted() && Some(Privilege::Worker) > None);
    assert!(Role::ALL.is_sorted() && Some(Role::Worker) > None);
    assert!(Privilege::Admin > Privilege::Business && Privilege::User > Privilege::Worker);
    assert!(Role::Owner > Role::Maintainer && Role::Supervisor > Role::Worker);
}
