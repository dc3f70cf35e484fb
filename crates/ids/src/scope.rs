//! What a grant is limited to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A resource type, and of it one id, the ids that begin alike, or all. Orders as its parts do, so that it can be part
/// of a key.
///
/// It stands in the log in plain, since who decides holds no key: a resource id must not be personal data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename = "GrantScope")]
pub struct GrantScope {
    /// Resource type.
    pub resource: String,
    /// One resource, or what ids begin with; `None` for all of the type.
    pub id: Option<String>,
    pub is_prefix: bool,
}

impl GrantScope {
    /// Whether this resource is within; `None` for a question about no certain one. By bytes: nothing is normalised.
    pub fn covers(&self, resource: &str, id: Option<&str>) -> bool {
        self.resource == resource
            && match (&self.id, id) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(beginning), Some(id)) if self.is_prefix => id.starts_with(beginning.as_str()),
                (Some(only), Some(id)) => only == id,
            }
    }
}

/// `document`, `document 7`, `document reports/*`.
impl fmt::Display for GrantScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            id,
            is_prefix,
        } = self;
        match id {
            None => f.write_str(resource),
            Some(id) if *is_prefix => write!(f, "{resource} {id}*"),
            Some(id) => write!(f, "{resource} {id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(id: Option<&str>, is_prefix: bool) -> GrantScope {
        GrantScope {
            resource: "document".to_owned(),
            id: id.map(ToOwned::to_owned),
            is_prefix,
        }
    }

    #[test]
    fn a_scope_covers_what_is_within() {
        for (scope, id, expected) in [
            (scope(None, false), Some("7"), true),
            (scope(None, false), None, true),
            (scope(Some("7"), false), Some("7"), true),
            (scope(Some("7"), false), Some("70"), false),
            (scope(Some("7"), false), None, false),
            (scope(Some("7"), true), Some("70"), true),
            (scope(Some("7"), true), Some("7"), true),
            (scope(Some("7"), true), Some("07"), false),
            (scope(Some("7"), true), None, false),
            (scope(Some("\u{e4}"), true), Some("a\u{308}"), false),
        ] {
            assert_eq!(scope.covers("document", id), expected, "{scope} {id:?}");
            assert!(!scope.covers("documents", id) && !scope.covers("", id));
        }
    }

    #[test]
    fn a_scope_is_told_in_few_words() {
        assert_eq!(scope(None, false).to_string(), "document");
        assert_eq!(scope(Some("7"), false).to_string(), "document 7");
        assert_eq!(scope(Some("7"), true).to_string(), "document 7*");
    }
}
