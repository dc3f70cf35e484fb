//! `rolecall.access.v1.Access`: checks one by one, and by the stream.

use std::future::ready;
use std::pin::Pin;

use access_proto::v1::access_server::Access;
use access_proto::v1::check_bulk_response::Result as Outcome;
use access_proto::v1::{CheckBulkRequest, CheckBulkResponse, CheckRequest, CheckResponse, Refusal};
use futures::{Stream, StreamExt as _, stream};
use schemas::Timestamp;
use service_kit::auth::{Authenticate as _, Caller, SessionState, claims_from_headers};
use service_kit::problem::{Problem, ProblemType};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::door::Door;
use super::question::{at_least, question};
use super::status::{code, message, status};
use crate::app::App;

/// Questions of one stream that are being answered at once; further ones are not read until an answer is taken.
pub const WINDOW: usize = 64;

type Answers = Pin<Box<dyn Stream<Item = Result<CheckBulkResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Access for Door {
    type CheckBulkStream = Answers;

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let caller = self.caller(request.metadata()).await?;
        let answer = self.answer(caller, request.get_ref()).await;
        answer.map(Response::new).map_err(|problem| status(&problem))
    }

    async fn check_bulk(
        &self,
        request: Request<Streaming<CheckBulkRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let caller = self.caller(request.metadata()).await?;
        let until = self.until(caller, request.metadata())?;
        let asking = Asking { caller, until };
        let door = self.clone();
        Ok(Response::new(Box::pin(answers(
            door,
            asking,
            request.into_inner(),
        ))))
    }
}

/// Who asks, and how long they may go on.
#[derive(Clone, Copy)]
pub struct Asking {
    pub caller: Caller,
    /// When the access token ends; a key is looked at each time.
    pub until: Option<Timestamp>,
}

/// Ends when the questions do, when the caller may ask no longer, or with the service.
pub fn answers(
    door: Door,
    asking: Asking,
    questions: impl Stream<Item = Result<CheckBulkRequest, Status>> + Send + 'static,
) -> impl Stream<Item = Result<CheckBulkResponse, Status>> + Send {
    let (stopping, stopped) = (door.stopping.clone(), door.stopping.clone());
    let answer = move |read: Result<CheckBulkRequest, Status>| {
        let door = door.clone();
        async move {
            asking.check(&door.app)?;
            let CheckBulkRequest { id, check } = read?;
            let answer = door.answer(asking.caller, &check.unwrap_or_default()).await;
            asking.check(&door.app)?;
            let result = answer.map_or_else(|problem| Outcome::Refusal(refusal(&problem)), Outcome::Answer);
            let result = Some(result);
            Ok(CheckBulkResponse { id, result })
        }
    };
    each(questions, stopping, answer).chain(stream::once(async move { ending(&stopped) }).filter_map(ready))
}

/// What comes of each question as it comes, in any order. Nothing is read while nobody takes answers, or while the
/// window is full. What was read before `stopping` is still answered.
pub fn each<Q, A: Future>(
    questions: impl Stream<Item = Q>,
    stopping: CancellationToken,
    answer: impl FnMut(Q) -> A,
) -> impl Stream<Item = A::Output> {
    let questions = questions.take_until(stopping.cancelled_owned());
    questions.map(answer).buffer_unordered(WINDOW)
}

/// The last word to a caller who may have more to ask.
fn ending(stopping: &CancellationToken) -> Option<Result<CheckBulkResponse, Status>> {
    let stops = || status(&Problem::new(ProblemType::NotYet).detail("this service stops; ask another"));
    stopping.is_cancelled().then(|| Err(stops()))
}

impl Asking {
    fn check(self, app: &App) -> Result<(), Status> {
        if self.until.is_some_and(|until| until <= app.now()) {
            return Err(status(&ProblemType::TokenExpired.into()));
        }
        match app.standing_of(self.caller) {
            // Not known to have ended: each answer says for itself whether this node has come far enough.
            SessionState::Live | SessionState::Unknown => Ok(()),
            SessionState::Ended | SessionState::UserInactive => Err(status(&self.caller.ended())),
        }
    }
}

fn refusal(problem: &Problem) -> Refusal {
    let wait = problem.details().retry_after;
    Refusal {
        code: code(problem).into(),
        message: message(problem),
        r#type: problem.kind.uri(),
        retry_after_seconds: wait.map_or(0, |seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
    }
}

impl Door {
    /// When the access token of a call ends.
    fn until(&self, caller: Caller, metadata: &MetadataMap) -> Result<Option<Timestamp>, Status> {
        if caller.key_id().is_some() {
            return Ok(None);
        }
        let claims = claims_from_headers(metadata.as_ref(), &*self.app);
        let claims = claims.map_err(|problem| status(&problem))?;
        Ok(claims.map(|claims| claims.expires_at))
    }

    async fn answer(&self, caller: Caller, asked: &CheckRequest) -> Result<CheckResponse, Problem> {
        let question = question(asked)?;
        let at_least = at_least(asked.consistency.as_ref(), self.app.node.log_id())?;
        let (answer, token) = self.decide(caller, &at_least, &question).await?;
        Ok(CheckResponse {
            decision: answer.decision,
            reason: answer.context.reason.unwrap_or_default().to_owned(),
            role_id: answer
                .context
                .role_id
                .map(|id| id.to_string())
                .unwrap_or_default(),
            token: token.to_string(),
        })
    }
}
