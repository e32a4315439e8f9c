//! What a new password must be: Django's four validators, in their order and with their texts.

use std::collections::HashMap;

use super::BYTES_MAX;

const LENGTH_MIN: usize = 8;

/// Passwords that everybody tries first; one a line.
const COMMON: &str = include_str!("common.txt");

/// How alike a password and something about its owner may be.
const SIMILARITY_MAX: f64 = 0.7;

/// What is known of the password's owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    pub username: &'a str,
    pub first_name: &'a str,
    pub last_name: &'a str,
    pub email: &'a str,
}

/// What is wrong with a new password; nothing means that it is good.
pub fn problems(password: &str, about: &About<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    let lower = password.to_lowercase();
    let known = [
        ("username", about.username),
        ("first name", about.first_name),
        ("last name", about.last_name),
        ("email address", about.email),
    ];
    if let Some((name, _)) = known.iter().find(|(_, value)| is_similar(&lower, &value.to_lowercase())) {
        problems.push(format!("The password is too similar to the {name}."));
    }
    if password.chars().count() < LENGTH_MIN {
        problems
            .push(format!("This password is too short. It must contain at least {LENGTH_MIN} characters."));
    }
    if password.len() > BYTES_MAX {
        problems.push(format!("This password is too long. It must contain at most {BYTES_MAX} bytes."));
    }
    if COMMON.lines().any(|common| common == lower.trim()) {
        problems.push("This password is too common.".to_owned());
    }
    if !password.is_empty() && password.chars().all(char::is_numeric) {
        problems.push("This password is entirely numeric.".to_owned());
    }
    problems
}

/// Whether a password is like a value or one of its words.
fn is_similar(password: &str, value: &str) -> bool {
    let words = value.split(|letter: char| !letter.is_alphanumeric() && letter != '_').chain([value]);
    words.filter(|word| !word.is_empty()).any(|word| {
        let (long, short) = (password.chars().count(), word.chars().count());
        // Django: a word that is much shorter says nothing about a long password.
        let comparable = long < 10 * short || (short as f64) >= SIMILARITY_MAX / 2.0 * long as f64;
        comparable && quick_ratio(password, word) >= SIMILARITY_MAX
    })
}

/// `difflib.SequenceMatcher.quick_ratio`: how many letters two texts have in common, wherever they are.
fn quick_ratio(one: &str, other: &str) -> f64 {
    let mut left: HashMap<char, usize> = HashMap::new();
    for letter in other.chars() {
        *left.entry(letter).or_default() += 1;
    }
    let mut matches = 0;
    for letter in one.chars() {
        if let Some(count) = left.get_mut(&letter).filter(|count| **count > 0) {
            *count -= 1;
            matches += 1;
        }
    }
    let total = one.chars().count() + other.chars().count();
    if total == 0 { 1.0 } else { 2.0 * f64::from(matches) / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: About<'_> =
        About { username: "alice", first_name: "Alice", last_name: "Liddell", email: "alice@wonderland.org" };

    #[test]
    fn a_weak_password_gets_every_reason_at_once() {
        assert_eq!(
            problems("12345", &ALICE),
            [
                "This password is too short. It must contain at least 8 characters.",
                "This password is too common.",
                "This password is entirely numeric.",
            ]
        );
        assert_eq!(problems("Password", &ALICE), ["This password is too common."]);
        assert_eq!(problems("alice123", &ALICE), ["The password is too similar to the username."]);
        assert_eq!(problems("wonderland", &ALICE), ["The password is too similar to the email address."]);
        assert_eq!(problems(&"é".repeat(513), &ALICE).len(), 1);
    }

    #[test]
    fn a_good_password_has_no_problem() {
        assert!(problems("correct horse battery staple", &ALICE).is_empty());
        assert!(problems("Tr0ub4dor&3", &About::default()).is_empty());
    }
}
