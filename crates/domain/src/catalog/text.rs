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
