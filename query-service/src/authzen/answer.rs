//! Answers to evaluation requests.

use domain::access::{Decision, Reason};
use schemas::RoleId;
use serde::Serialize;
use service_kit::problem::Problem;
use utoipa::ToSchema;

use crate::freshness::not_yet;

/// Whether the subject may, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answer {
    pub decision: bool,
    pub context: AnswerContext,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct AnswerContext {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "granted")]
    pub reason: Option<&'static str>,
    /// The role that gives the permission, gave it until its grant expired, or gives it for other resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    pub role_id: Option<RoleId>,
    /// Why the question has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ItemError {
    #[schema(example = 400)]
    pub status: u16,
    pub message: String,
}

/// Answers to a batch, in the order of its questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answers {
    pub evaluations: Vec<Answer>,
}

/// What a batch is answered with: one that has no items is a single evaluation.
#[derive(ToSchema)]
#[schema(as = BatchAnswer)]
#[expect(dead_code, reason = "only described; each answer is written by itself")]
#[serde(untagged)]
pub enum BatchAnswer {
    Each(Answers),
    Single(Answer),
}

impl Answer {
    pub fn unknown_subject_type() -> Self {
        Self::denied("unknown_subject_type")
    }

    pub fn unknown_user() -> Self {
        Self::denied("unknown_user")
    }

    /// To a question that could not be understood.
    pub fn broken(message: impl Into<String>) -> Self {
        Self::without(400, message)
    }

    /// To a question that alone would be answered so.
    pub fn failed(problem: &Problem) -> Self {
        Self::without(problem.status().as_u16(), problem.kind.title())
    }

    /// What has no answer is never allowed.
    fn without(status: u16, message: impl Into<String>) -> Self {
        let error = ItemError {
            status,
            message: message.into(),
        };
        let context = AnswerContext {
            error: Some(error),
            ..AnswerContext::default()
        };
        Self {
            decision: false,
            context,
        }
    }

    fn denied(reason: &'static str) -> Self {
        let context = AnswerContext {
            reason: Some(reason),
            ..AnswerContext::default()
        };
        Self {
            decision: false,
            context,
        }
    }
}

impl Answer {
    /// An error where nothing was decided.
    pub fn of(decision: Decision) -> Result<Self, Problem> {
        let (reason, role_id) = match decision.reason {
            Reason::Granted { role_id } => ("granted", Some(role_id)),
            Reason::UnknownUser => ("unknown_user", None),
            Reason::Inactive => ("inactive_user", None),
            Reason::NoSuchPermission => ("no_such_permission", None),
            Reason::Expired { role_id } => ("expired_grant", Some(role_id)),
            Reason::OutOfScope { role_id } => ("out_of_scope", Some(role_id)),
            Reason::NoGrant => ("no_grant", None),
            Reason::NotCurrent => return Err(not_yet()),
        };
        let context = AnswerContext {
            reason: Some(reason),
            role_id,
            error: None,
        };
        Ok(Self {
            decision: decision.allowed,
            context,
        })
    }
}
