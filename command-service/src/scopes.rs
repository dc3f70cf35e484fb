//! Scopes as callers name them.

use schemas::GrantScope;
use serde::Deserialize;
use service_kit::problem::{Problem, ProblemType};
use utoipa::{IntoParams, ToSchema};

/// What a grant is limited to: a resource type, and of it one id, the ids that begin alike, or all.
///
/// Texts have 256 bytes of UTF-8 at most, and no control characters. They stand in the log in plain: do not put personal
/// data into ids of resources.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Resource type.
    #[schema(example = "document", max_length = 256, min_length = 1)]
    resource: String,
    /// One resource.
    #[schema(max_length = 256, min_length = 1)]
    id: Option<String>,
    /// All resources whose ids begin so.
    #[schema(max_length = 256, min_length = 1)]
    id_prefix: Option<String>,
}

/// Which of a role's grants is meant: none of these for the one without limits.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ScopeQuery {
    /// Resource type of the grant's scope.
    #[param(max_length = 256, min_length = 1)]
    resource: Option<String>,
    /// Its id.
    #[param(max_length = 256, min_length = 1)]
    id: Option<String>,
    /// What its ids begin with.
    #[param(max_length = 256, min_length = 1)]
    id_prefix: Option<String>,
}

impl TryFrom<Scope> for GrantScope {
    type Error = Problem;

    fn try_from(scope: Scope) -> Result<Self, Problem> {
        let (id, is_prefix) = one_of(scope.id, scope.id_prefix).ok_or_else(|| {
            let detail = "has both id and id_prefix";
            Problem::new(ProblemType::InvalidBody)
                .detail(format!("the scope {detail}"))
                .field("scope", detail)
        })?;
        Ok(Self {
            resource: scope.resource,
            id,
            is_prefix,
        })
    }
}

impl TryFrom<ScopeQuery> for Option<GrantScope> {
    type Error = Problem;

    fn try_from(query: ScopeQuery) -> Result<Self, Problem> {
        let wrong = |field: &str, detail: &str| {
            Problem::new(ProblemType::InvalidParameter)
                .detail(format!("{field} {detail}"))
                .field(field, detail)
        };
        let (id, is_prefix) = one_of(query.id, query.id_prefix)
            .ok_or_else(|| wrong("id_prefix", "does not go together with id"))?;
        match query.resource {
            Some(resource) => Ok(Some(GrantScope {
                resource,
                id,
                is_prefix,
            })),
            None if id.is_none() => Ok(None),
            None => Err(wrong("resource", "is needed with an id")),
        }
    }
}

/// `None` if both are there.
fn one_of(id: Option<String>, prefix: Option<String>) -> Option<(Option<String>, bool)> {
    match (id, prefix) {
        (Some(_), Some(_)) => None,
        (None, Some(prefix)) => Some((Some(prefix), true)),
        (id, None) => Some((id, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(id: Option<&str>, id_prefix: Option<&str>) -> Result<GrantScope, Problem> {
        let text = |text: &str| text.to_owned();
        Scope {
            resource: text("document"),
            id: id.map(text),
            id_prefix: id_prefix.map(text),
        }
        .try_into()
    }

    fn query(
        resource: Option<&str>,
        id: Option<&str>,
        id_prefix: Option<&str>,
    ) -> Result<Option<GrantScope>, Problem> {
        let text = |text: &str| text.to_owned();
        ScopeQuery {
            resource: resource.map(text),
            id: id.map(text),
            id_prefix: id_prefix.map(text),
        }
        .try_into()
    }

    #[test]
    fn body_and_query_name_the_same_scope() {
        assert_eq!(query(None, None, None).unwrap(), None);
        for (id, prefix) in [(None, None), (Some("1"), None), (None, Some("1"))] {
            let asked = query(Some("document"), id, prefix).unwrap();
            assert_eq!(asked, Some(scope(id, prefix).unwrap()));
        }
        assert_ne!(scope(Some("1"), None).unwrap(), scope(None, Some("1")).unwrap());
    }

    #[test]
    fn what_names_two_scopes_or_half_a_one_is_refused() {
        assert!(scope(Some("1"), Some("1")).is_err());
        assert!(query(Some("document"), Some("1"), Some("1")).is_err());
        assert!(query(None, Some("1"), None).is_err());
        assert!(query(None, None, Some("1")).is_err());
    }
}
