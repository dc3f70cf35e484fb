//! Which passwords may be chosen: NIST SP 800-63B-4, section 3.1.1, and OWASP's authentication cheat sheet. Length
//! counts and what is known is refused; nothing is asked about kinds of characters.

use crate::{blocklist, normalise};

/// Characters of a password that is the only factor.
pub const LEAST_ALONE: usize = 15;
/// Characters of a password beside which another factor is asked for.
pub const LEAST_WITH_SECOND_FACTOR: usize = 8;
/// Characters of any password.
pub const LONGEST: usize = 256;

/// A word as short as this is found in passwords by chance.
const SHORTEST_WORD: usize = 3;

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    #[error("a password has at least {least} characters")]
    TooShort { least: usize },
    #[error("a password has at most {LONGEST} characters")]
    TooLong,
    #[error("the password is among those known from breaches")]
    Common,
    #[error("the password is little more than the user's own name or address")]
    OwnName,
}

impl Weakness {
    /// A stable name of the rule that failed.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too_short",
            Self::TooLong => "too_long",
            Self::Common => "common",
            Self::OwnName => "own_name",
        }
    }
}

/// Judges a password to be chosen. `least` is how many characters it needs, each code point of its NFC being one;
/// `names` are the user's own.
pub fn check(password: &str, least: usize, names: &[&str]) -> Result<(), Weakness> {
    let password = normalise(password);
    let length = password.chars().count();
    if length < least {
        return Err(Weakness::TooShort { least });
    }
    if length > LONGEST {
        return Err(Weakness::TooLong);
    }
    if blocklist::is_common(&password) {
        return Err(Weakness::Common);
    }
    if left_without(&password, names) < least / 2 {
        return Err(Weakness::OwnName);
    }
    Ok(())
}

/// How many characters are left without every occurrence of the names, and of an address before its "@".
fn left_without(password: &str, names: &[&str]) -> usize {
    let names = names.iter().map(|name| normalise(name.trim()).to_lowercase());
    let mut words: Vec<String> = names
        .flat_map(|name| {
            let local = name.split_once('@').map(|(local, _)| local.to_owned());
            [Some(name), local]
        })
        .flatten()
        .filter(|word| word.chars().count() >= SHORTEST_WORD)
        .collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let left = words
        .iter()
        .fold(password.to_lowercase(), |left, word| left.replace(word, ""));
    left.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["Alice", "alice.liddell@example.org"];

    fn alone(password: &str) -> Result<(), Weakness> {
        check(password, LEAST_ALONE, &NAMES)
    }

    #[test]
    fn a_password_alone_has_fifteen_characters_and_beside_another_factor_eight() {
        assert_eq!(alone("fourteen chars"), Err(Weakness::TooShort { least: 15 }));
        assert_eq!(alone("fifteen  chars!"), Ok(()));
        assert_eq!(check("eight ch", LEAST_WITH_SECOND_FACTOR, &NAMES), Ok(()));
        assert_eq!(
            check("seven c", LEAST_WITH_SECOND_FACTOR, &NAMES),
            Err(Weakness::TooShort { least: 8 })
        );
    }

    #[test]
    fn characters_are_counted_after_nfc() {
        // Fourteen characters, typed as twenty-eight code points.
        assert_eq!(
            alone(&"a\u{308}".repeat(14)),
            Err(Weakness::TooShort { least: 15 })
        );
        assert_eq!(alone(&"\u{1f40e}".repeat(15)), Ok(()));
        assert_eq!(alone(&format!("{}z", "\u{e4}".repeat(255))), Ok(()));
        assert_eq!(alone(&"\u{e4}".repeat(257)), Err(Weakness::TooLong));
    }

    #[test]
    fn no_kinds_of_characters_are_asked_for() {
        for password in [
            "just some small words",
            "918273 645 5463 72819",
            "                .",
        ] {
            assert_eq!(alone(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn passwords_known_from_breaches_are_refused_whatever_their_case() {
        for password in [
            "correcthorsebatterystaple",
            "CorrectHorseBatteryStaple",
            "123456789012345",
        ] {
            assert_eq!(alone(password), Err(Weakness::Common), "{password}");
        }
        assert_eq!(
            check("Password1", LEAST_WITH_SECOND_FACTOR, &NAMES),
            Err(Weakness::Common)
        );
    }

    #[test]
    fn names_are_refused_and_what_little_is_put_beside_them() {
        for password in [
            "alice.liddell@example.org",
            "ALICE.LIDDELL@Example.ORG",
            "alice.liddell-2026",
            "alice alice alice",
            "alicealicealice1",
        ] {
            assert_eq!(alone(password), Err(Weakness::OwnName), "{password}");
        }
        assert_eq!(alone("alice went through the glass"), Ok(()));
        // Too short a name says nothing.
        assert_eq!(check("of these islands", LEAST_ALONE, &["of", "is"]), Ok(()));
    }
}
