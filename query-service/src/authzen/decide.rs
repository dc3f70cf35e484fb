//! From a question to a decision.

use domain::access::{Query, Resources, resources};
use domain::rolecall_permissions::Permission;
use schemas::{KeyId, Timestamp, UserId};
use service_kit::auth::Caller;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;

use super::answer::Answer;
use super::attributes::AskedKey;
use super::body::{Asked, Evaluation, Subject};
use super::object::parse_text;
use crate::app::App;
use crate::freshness::not_yet;

/// Questions of one batch at most.
pub const MAX_EVALUATIONS: usize = 1_000;

/// May this subject do that?
#[derive(Debug)]
pub struct Question<'a> {
    /// Whom it is about; or the answer, where that can be nobody.
    user: Result<UserId, Answer>,
    asked: Asked<'a>,
}

impl<'a> Question<'a> {
    /// The message says what is missing.
    pub fn of(evaluation: Evaluation<'a>) -> Result<Self, &'static str> {
        evaluation.whole().map(Self::from)
    }

    /// An item of a batch.
    pub fn of_item(item: &'a str, defaults: &Evaluation<'a>) -> Result<Self, String> {
        let item: Evaluation<'a> = parse_text(item)?;
        Self::of(item.or(defaults)).map_err(str::to_owned)
    }

    fn query(&self) -> Query<'_> {
        Query {
            resource: &self.asked.resource.kind,
            id: Some(&self.asked.resource.id),
            action: &self.asked.action.name,
        }
    }

    /// Whose rights count: all of a user's, or as far as a key of a service account goes. The answer, where it is nobody's.
    ///
    /// Who calls with a key and asks about their own account asks about the key.
    fn whose(&self, caller: Caller) -> Result<(UserId, Option<KeyId>), Answer> {
        let user = self.user.clone()?;
        let key = match self
            .asked
            .subject
            .properties
            .and_then(|properties| properties.key)
        {
            Some(AskedKey::Of(key)) => Some(key),
            Some(AskedKey::Unknown) => return Err(Answer::unknown_user()),
            None => caller.key_id().filter(|_| user == caller.user_id),
        };
        Ok((user, key))
    }

    /// Whom the question is about, where that could be somebody.
    pub fn user(&self) -> Option<UserId> {
        self.user.as_ref().ok().copied()
    }
}

impl<'a> From<Asked<'a>> for Question<'a> {
    fn from(asked: Asked<'a>) -> Self {
        Self {
            user: whom(&asked.subject),
            asked,
        }
    }
}

fn whom(subject: &Subject<'_>) -> Result<UserId, Answer> {
    if !is_user(&subject.kind) {
        return Err(Answer::unknown_subject_type());
    }
    subject.id.parse().map_err(|_| Answer::unknown_user())
}

/// Whether subjects of this type are known: there is no other than users, service accounts among them.
pub fn is_user(kind: &str) -> bool {
    kind == "user"
}

/// As [`Resources`], each in order.
#[derive(Debug, Default)]
pub struct FoundResources {
    pub all: bool,
    pub ids: Vec<String>,
    pub prefixes: Vec<String>,
}

impl From<Resources<'_>> for FoundResources {
    fn from(found: Resources<'_>) -> Self {
        Self {
            all: found.all,
            ids: found.ids.into_iter().map(ToOwned::to_owned).collect(),
            prefixes: found.prefixes.into_iter().map(ToOwned::to_owned).collect(),
        }
    }
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

    /// The answer to one question; an error where this node cannot tell.
    pub fn decide(&self, caller: Caller, question: &Question<'_>, now: Timestamp) -> Result<Answer, Problem> {
        let answer = self.answer(caller, question, now)?;
        self.decisions.count(answer.decision);
        Ok(answer)
    }

    /// As [`Self::decide`], of a question that nobody asked by itself.
    pub fn answer(&self, caller: Caller, question: &Question<'_>, now: Timestamp) -> Result<Answer, Problem> {
        let (user, key) = match question.whose(caller) {
            Ok(whose) => whose,
            Err(answer) => return Ok(answer),
        };
        Answer::of(self.check(user, key, question.query(), now))
    }

    /// What of the resource's type the subject may do that with, whatever resource the question names.
    pub fn resources(
        &self,
        caller: Caller,
        question: &Question<'_>,
        now: Timestamp,
    ) -> Result<FoundResources, Problem> {
        let Ok((user, key)) = question.whose(caller) else {
            return Ok(FoundResources::default());
        };
        let rights = match key {
            None => self.node.rights(user),
            Some(key) => self.node.rights_with_key(user, key, now),
        };
        let (access, catalog) = rights.ok_or_else(not_yet)?;
        let Query { resource, action, .. } = question.query();
        let found = access
            .as_ref()
            .map(|access| resources(&catalog, access, resource, action, now));
        Ok(found.map(FoundResources::from).unwrap_or_default())
    }
}
