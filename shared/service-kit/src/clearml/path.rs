//! `[/api][/v<version>]/<service>.<action>`: the paths of ClearML's API, and of its web server's mirror.

use std::fmt;

/// A version of the API, such as `2.34`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads digits with at most one dot among them: `2`, `2.`, `2.23`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.').unwrap_or((text, ""));
        let number = |text: &str| match text.chars().all(|digit| digit.is_ascii_digit()) {
            true if text.is_empty() => Some(0),
            true => text.parse().ok(),
            false => None,
        };
        (!major.is_empty()).then_some(())?;
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `auth.login`
    pub endpoint: String,
    /// The version that it names, if any.
    pub version: Option<Version>,
}

impl Address {
    /// Reads a path; `None` when it is not one of ClearML's.
    pub fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        let rest = rest.strip_prefix("api/").unwrap_or(rest);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (version, endpoint) = match rest.split_once('/') {
            Some((version, endpoint)) => (Some(Version::parse(version.strip_prefix('v')?)?), endpoint),
            None => (None, rest),
        };
        let (service, action) = endpoint.split_once('.')?;
        (is_word(service) && is_word(action)).then(|| Self { endpoint: endpoint.to_owned(), version })
    }
}

/// `[a-zA-Z_]\w+`
fn is_word(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && text.len() > 1
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<(String, Option<String>)> {
        Address::of(path).map(|found| (found.endpoint, found.version.map(|version| version.to_string())))
    }

    #[test]
    fn a_path_names_an_endpoint_and_perhaps_a_version() {
        let found = |version: Option<&str>| Some(("auth.login".to_owned(), version.map(str::to_owned)));
        for path in ["/auth.login", "/auth.login/", "/api/auth.login"] {
            assert_eq!(read(path), found(None), "{path}");
        }
        for path in ["/v2.23/auth.login", "/api/v2.23/auth.login"] {
            assert_eq!(read(path), found(Some("2.23")), "{path}");
        }
        assert_eq!(read("/v999.0/auth.login"), found(Some("999.0")));
        assert_eq!(read("/v2/auth.login"), found(Some("2.0")));
    }

    #[test]
    fn other_paths_are_not_clearmls() {
        for path in [
            "/",
            "/api/auth/login",
            "/api/users/7",
            "/v2.1.3/auth.login",
            "/2.1/auth.login",
            "/vx/auth.login",
            "/auth.login.now",
            "/auth.",
            "/.login",
            "/a.b",
            "/1auth.login",
            "/files/a.png/b.png",
            "/v99999999999.1/auth.login",
        ] {
            assert_eq!(Address::of(path), None, "{path}");
        }
        assert!(Version { major: 2, minor: 5 } < Version { major: 2, minor: 34 });
    }
}
