//! What texts of the catalog may look like.

use super::Error;

pub const MAX_NAME_BYTES: usize = 100;
pub const MAX_DESCRIPTION_CHARS: usize = 1_000;

/// Names of roles and permissions, resources, actions, categories: safe in a path and in a log line.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Error::InvalidName)
    }
}

/// Control characters are out because an event is for ever and databases refuse some of them.
pub(super) fn check_description(description: Option<&str>) -> Result<(), Error> {
    let text = description.unwrap_or_default();
    let allowed = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(allowed) && text.chars().count() <= MAX_DESCRIPTION_CHARS {
        Ok(())
    } else {
        Err(Error::InvalidDescription)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for good in ["a", "Billing.Admin", "invoice:read_all-2", &longest] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        for bad in ["", " ", "a b", "a/b", "a\0", "rôle", "%2e", &too_long] {
            assert_eq!(check_name(bad), Err(Error::InvalidName), "{bad}");
        }
    }

    #[test]
    fn a_description_is_readable_and_bounded() {
        let longest = "ô".repeat(MAX_DESCRIPTION_CHARS);
        for good in ["", "Zwei\nZeilen\tund 😀", &longest] {
            assert_eq!(check_description(Some(good)), Ok(()), "{good}");
        }
        let too_long = "a".repeat(MAX_DESCRIPTION_CHARS + 1);
        for bad in ["a\0b", "\u{1b}[31m", &too_long] {
            assert_eq!(
                check_description(Some(bad)),
                Err(Error::InvalidDescription),
                "{bad}"
            );
        }
    }
}
