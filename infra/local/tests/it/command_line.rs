//! What can be said.

use annomesh::cli::{Cli, Command, Parked};
use annomesh::only::Only;
use clap::{CommandFactory, Parser};

fn said(words: &str) -> Command {
    let words = std::iter::once("annomesh").chain(words.split_whitespace());
    Cli::try_parse_from(words).unwrap().command.unwrap()
}

#[test]
fn the_commands_are_those_of_the_readme() {
    Cli::command().debug_assert();
    assert!(Cli::try_parse_from(["annomesh"]).unwrap().command.is_none());
    assert!(matches!(said("up"), Command::Up { only: None }));
    assert!(matches!(said("up --only identity"), Command::Up { only: Some(Only::Identity) }));
    assert!(matches!(said("demo --url http://localhost:1"), Command::Demo { url: Some(_) }));
    assert!(matches!(said("status --json"), Command::Status { json: true }));
    assert!(matches!(said("reset --yes"), Command::Reset { yes: true }));
    assert!(matches!(said("rebuild projects"), Command::Rebuild { projection: None, .. }));
    assert!(matches!(said("rebuild projects labels"), Command::Rebuild { projection: Some(_), .. }));
    assert!(matches!(said("parked redrive"), Command::Parked { command: Parked::Redrive { name: None } }));
    let Command::Events(follow) = said("events --follow --after 7 --service identity") else { panic!() };
    assert_eq!((follow.follow, follow.after, follow.service.as_deref()), (true, Some(7), Some("identity")));
}

#[test]
fn nonsense_is_refused() {
    for words in ["up --only everything", "parked discard", "rebuild", "dance"] {
        let words = std::iter::once("annomesh").chain(words.split_whitespace());
        assert!(Cli::try_parse_from(words.clone()).is_err(), "{words:?}");
    }
}
