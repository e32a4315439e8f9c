//! The credential of the deployment's operator, by the names that ClearML's charts give it.

use std::collections::BTreeMap;

use anyhow::bail;

/// Variables of ClearML's: a path of its configuration, whose letters' case does not matter.
const KEY: &str = "CLEARML__SECURE__CREDENTIALS__SUPERVISOR__USER_KEY";
const SECRET: &str = "CLEARML__SECURE__CREDENTIALS__SUPERVISOR__USER_SECRET";

/// The fewest characters of the secret: it is kept as a fast hash, so nobody may be able to guess it.
const SECRET_MIN: usize = 16;
/// The longest key.
const KEY_MAX: usize = 128;

/// The operator's key and secret.
#[derive(Clone)]
pub struct Supervisor {
    pub key: String,
    pub secret: String,
}

impl Supervisor {
    /// Reads it; none when neither variable is set.
    ///
    /// # Errors
    /// Names the variable that is missing or wrong.
    pub fn from_vars(vars: &BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        let said = |wanted: &str| {
            let found = vars.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| unquoted(value).to_owned()).filter(|value| !value.is_empty())
        };
        let (key, secret) = match (said(KEY), said(SECRET)) {
            (Some(key), Some(secret)) => (key, secret),
            (None, None) => return Ok(None),
            (None, Some(_)) => bail!("{KEY} is missing beside {SECRET}"),
            (Some(_), None) => bail!("{SECRET} is missing beside {KEY}"),
        };
        let plain = |letter: char| letter.is_ascii_graphic() && letter != ':' && letter != '\\';
        if key.len() > KEY_MAX || !key.chars().all(plain) {
            bail!("{KEY} must be at most {KEY_MAX} visible ASCII characters without `:` and `\\`");
        }
        if secret.len() < SECRET_MIN {
            bail!("{SECRET} must have at least {SECRET_MIN} characters; make one with: openssl rand -hex 32");
        }
        Ok(Some(Self { key, secret }))
    }
}

/// The value without the quotes that ClearML's own parser of settings takes away.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> anyhow::Result<Option<Supervisor>> {
        Supervisor::from_vars(&pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn clearmls_names_are_read_in_any_case() {
        let key = "CLEARML__secure__credentials__supervisor__user_key";
        let secret = "CLEARML__secure__credentials__supervisor__user_secret";
        let found = read(&[(key, "\"KEY\""), (secret, "0123456789abcdef")]).unwrap().unwrap();
        assert_eq!((found.key.as_str(), found.secret.as_str()), ("KEY", "0123456789abcdef"));
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[(key, "KEY")]).is_err());
        assert!(read(&[(KEY, "KEY"), (SECRET, "short")]).is_err());
        assert!(read(&[(KEY, "a:b"), (SECRET, "0123456789abcdef")]).is_err());
    }
}
