//! ClearML's table of errors, as far as it is used here.

use std::fmt::Display;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub code: u16,
    pub subcode: u16,
    pub text: &'static str,
}

macro_rules! kinds {
    ($($name:ident $code:literal $subcode:literal $text:literal;)*) => {
        $(pub const $name: Kind = Kind { code: $code, subcode: $subcode, text: $text };)*
    };
}

kinds! {
    BAD_REQUEST 400 0 "bad request";
    HEADERS 400 5 "headers are not valid together";
    IMPERSONATION 400 6 "impersonation error";
    ID 400 10 "invalid object id";
    MISSING 400 11 "missing required fields";
    VALIDATION 400 12 "validation error";
    TYPE 400 20 "a field has the wrong type";
    REGEX 400 21 "not a regular expression";
    EMAIL 400 22 "invalid email address";
    DOMAIN 400 23 "invalid domain name";
    ACCESS_KEY 400 75 "no such access key";
    USER 400 300 "invalid user";
    USER_ID 400 301 "invalid user id";
    NOT_UNIQUE 400 801 "value combination already exists (unique field already contains this value)";
    UNAUTHORIZED 401 0 "unauthorized";
    BAD_AUTH_TYPE 401 10 "unauthorized (neither Basic nor Bearer)";
    NO_CREDENTIALS 401 20 "unauthorized (missing credentials)";
    BAD_CREDENTIALS 401 21 "unauthorized (malformed credentials)";
    INVALID_CREDENTIALS 401 22 "unauthorized (invalid credentials)";
    INVALID_TOKEN 401 30 "unauthorized (invalid token)";
    ROLE_NOT_ALLOWED 403 20 "forbidden (not allowed for role)";
    NOT_PERMITTED 403 21 "forbidden (modification not allowed)";
    NO_ENDPOINT 404 0 "unable to find endpoint";
    TOO_LARGE 413 0 "the request is too large";
    THROTTLED 429 0 "too many requests";
    INTERNAL 500 1 "internal error";
    UNAVAILABLE 503 0 "service unavailable";
}

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}/{subcode}: {message}")]
pub struct Fault {
    pub code: u16,
    pub subcode: u16,
    pub message: String,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
}

impl Kind {
    /// The fault as it is.
    pub fn fault(self) -> Fault {
        let mut letters = self.text.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let message = first.into_iter().chain(letters).collect();
        Fault { code: self.code, subcode: self.subcode, message, retry_after: None }
    }

    /// The fault with its reason.
    pub fn because(self, reason: impl Display) -> Fault {
        let fault = self.fault();
        Fault { message: format!("{} ({reason})", fault.message), ..fault }
    }
}

impl Fault {
    /// Adds a value that the fault is about; `, ` between several.
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        let separator = if self.message.contains(": ") { "," } else { ":" };
        self.message.push_str(&format!("{separator} {name}={value}"));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_its_reason_and_its_values() {
        let fault = INVALID_CREDENTIALS.because("failed to locate provided credentials");
        assert_eq!(
            fault.message,
            "Unauthorized (invalid credentials) (failed to locate provided credentials)"
        );
        let fault = ID.because("no such company").with("company", "x").with("user", 7);
        assert_eq!(fault.to_string(), "400/10: Invalid object id (no such company): company=x, user=7");
    }
}
