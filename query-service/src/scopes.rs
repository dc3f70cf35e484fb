//! Scopes as answers show them.

use schemas::GrantScope;
use serde::Serialize;
use utoipa::ToSchema;

/// What a grant is limited to.
#[derive(Serialize, ToSchema)]
pub struct Scope {
    /// Resource type.
    #[schema(example = "document")]
    resource: String,
    /// One resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// All resources whose ids begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    id_prefix: Option<String>,
}

impl From<GrantScope> for Scope {
    fn from(scope: GrantScope) -> Self {
        let (id, id_prefix) = match scope.is_prefix {
            true => (None, scope.id),
            false => (scope.id, None),
        };
        Self {
            resource: scope.resource,
            id,
            id_prefix,
        }
    }
}
