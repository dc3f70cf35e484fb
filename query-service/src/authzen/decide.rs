//! From a body to a decision.

use domain::rolecall_permissions::Permission;
use schemas::{KeyId, Timestamp, UserId};
use service_kit::auth::Caller;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;

use super::answer::Answer;
use super::body::{Action, Evaluation, Resource, Subject, parse_item};
use crate::app::App;

/// Questions of one batch at most.
pub const MAX_EVALUATIONS: usize = 1_000;

/// A whole question: may this subject do that?
#[derive(Debug)]
pub struct Question<'a> {
    subject: Result<(UserId, Option<KeyId>), Answer>,
    action: Action<'a>,
    resource: Resource<'a>,
}

impl<'a> Question<'a> {
    /// The message says what is missing.
    pub fn of(asked: Evaluation<'a>) -> Result<Self, &'static str> {
        let subject = asked.subject.ok_or("subject is missing")?;
        Ok(Self {
            subject: whom(&subject),
            action: asked.action.ok_or("action is missing")?,
            resource: asked.resource.ok_or("resource is missing")?,
        })
    }

    /// An item of a batch.
    pub fn of_item(item: &'a str, defaults: &Evaluation<'a>) -> Result<Self, String> {
        let item = parse_item(item)?;
        let whole = Evaluation {
            subject: item.subject.or_else(|| defaults.subject.clone()),
            action: item.action.or_else(|| defaults.action.clone()),
            resource: item.resource.or_else(|| defaults.resource.clone()),
            context: item.context.or(defaults.context),
        };
        Self::of(whole).map_err(str::to_owned)
    }

    /// Whom the question is about, where that could be somebody.
    pub fn user(&self) -> Option<UserId> {
        self.subject.as_ref().ok().map(|(user, _)| *user)
    }
}

fn whom(subject: &Subject<'_>) -> Result<(UserId, Option<KeyId>), Answer> {
    if subject.kind != "user" {
        return Err(Answer::unknown_subject_type());
    }
    let user = subject.id.parse().map_err(|_| Answer::unknown_user())?;
    let key = subject.properties.as_ref().and_then(|it| it.key_id.as_ref());
    let key = key.map(|id| id.parse().map_err(|_| Answer::unknown_user()));
    Ok((user, key.transpose()?))
}

impl App {
    /// Lets pass who may ask about others, or asks about nobody but themselves.
    pub fn may_ask<'a>(
        &self,
        caller: Caller,
        questions: impl IntoIterator<Item = &'a Question<'a>>,
    ) -> Result<(), Problem> {
        let own = |question: &Question<'_>| question.user() == Some(caller.user_id);
        if questions.into_iter().all(own) {
            return Ok(());
        }
        self.require(caller, Permission::AccessCheck)
    }

    /// What the answers rest on at least; take it before deciding.
    pub fn token_of_answers<'a>(
        &self,
        questions: impl IntoIterator<Item = &'a Question<'a>>,
    ) -> ConsistencyToken {
        let mut token = self.token([]);
        let mut before = None;
        for user in questions.into_iter().filter_map(Question::user) {
            // Batches are mostly about one user.
            if before.replace(user) != Some(user) {
                self.node
                    .basis(user)
                    .into_iter()
                    .for_each(|position| token.include(position));
            }
        }
        token
    }

    /// Who calls with a key and asks about their own account asks about the key.
    pub fn decide(&self, caller: Caller, question: &Question<'_>, now: Timestamp) -> Answer {
        let (resource, action) = (&question.resource.kind, &question.action.name);
        let own = |user: UserId| caller.key_id().filter(|_| user == caller.user_id);
        let answer = match &question.subject {
            Ok((user, key)) => self
                .check(*user, key.or_else(|| own(*user)), resource, action, now)
                .into(),
            Err(answer) => answer.clone(),
        };
        self.decisions.count(answer.decision);
        answer
    }
}
