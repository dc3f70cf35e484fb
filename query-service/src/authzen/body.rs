//! Bodies of evaluation requests, borrowed from the bytes they came in. Members that AuthZEN or
//! Rolecall does not know are ignored.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::attributes::{Attributes, SubjectProperties};
use super::object;

/// Who wants to do it: a user or a service account, by id.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Subject<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "user")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = String, example = "01890a5d-ac96-774b-bcce-b302099a8057")]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub properties: Option<SubjectProperties<'a>>,
}

/// What they want to do.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Action<'a> {
    #[serde(borrow)]
    #[schema(value_type = String, example = "read")]
    pub name: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Attributes<'a>>,
}

/// What they want to do it with: grants may be limited to ids of a type.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Resource<'a> {
    #[serde(rename = "type", borrow)]
    #[schema(value_type = String, example = "invoice")]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = String, example = "2026-0042")]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    pub properties: Option<Attributes<'a>>,
}

/// A whole question, as it was asked.
#[derive(Clone, Debug, Serialize)]
pub struct Asked<'a> {
    pub subject: Subject<'a>,
    pub action: Action<'a>,
    pub resource: Resource<'a>,
    pub context: Option<Attributes<'a>>,
}

/// One question; in a batch, what it leaves out is taken from the batch.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct Evaluation<'a> {
    #[serde(borrow, default, deserialize_with = "object::optional")]
    pub subject: Option<Subject<'a>>,
    #[serde(borrow, default, deserialize_with = "object::optional")]
    pub action: Option<Action<'a>>,
    #[serde(borrow, default, deserialize_with = "object::optional")]
    pub resource: Option<Resource<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    pub context: Option<Attributes<'a>>,
}

/// Several questions, with defaults for what each leaves out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Batch<'a> {
    #[serde(borrow, default, deserialize_with = "object::optional")]
    subject: Option<Subject<'a>>,
    #[serde(borrow, default, deserialize_with = "object::optional")]
    action: Option<Action<'a>>,
    #[serde(borrow, default, deserialize_with = "object::optional")]
    resource: Option<Resource<'a>>,
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    context: Option<Attributes<'a>>,
    /// Unread: a broken one must spoil its own answer only.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<Evaluation<'static>>>)]
    pub evaluations: Option<Vec<&'a RawValue>>,
    #[serde(default, deserialize_with = "object::optional")]
    pub options: Option<Options>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub struct Options {
    #[serde(default)]
    pub evaluations_semantic: Semantic,
}

/// When to stop evaluating.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Semantic {
    #[default]
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Semantic {
    pub const fn stops_after(self, allowed: bool) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !allowed,
            Self::PermitOnFirstPermit => allowed,
        }
    }
}

impl<'a> Evaluation<'a> {
    /// The message says what is missing.
    pub fn whole(self) -> Result<Asked<'a>, &'static str> {
        Ok(Asked {
            subject: self.subject.ok_or("subject is missing")?,
            action: self.action.ok_or("action is missing")?,
            resource: self.resource.ok_or("resource is missing")?,
            context: self.context,
        })
    }

    /// What is left out is taken from `defaults`, member by member as a whole.
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            subject: self.subject.or_else(|| defaults.subject.clone()),
            action: self.action.or_else(|| defaults.action.clone()),
            resource: self.resource.or_else(|| defaults.resource.clone()),
            context: self.context.or(defaults.context),
        }
    }
}

impl<'a> Batch<'a> {
    pub fn semantic(&self) -> Semantic {
        self.options.unwrap_or_default().evaluations_semantic
    }

    /// The members that items fall back to; without items, the one question itself.
    pub fn into_defaults(self) -> Evaluation<'a> {
        let Self {
            subject,
            action,
            resource,
            context,
            ..
        } = self;
        Evaluation {
            subject,
            action,
            resource,
            context,
        }
    }
}
