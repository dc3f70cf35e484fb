//! What every call over gRPC works with.

use std::sync::Arc;

use schemas::Timestamp;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::{Problem, ProblemType};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::status::status;
use crate::app::App;
use crate::authzen::{Answer, Question};

#[derive(Clone)]
pub struct Door {
    pub app: Arc<App>,
    /// The service takes no further requests; streams are to end.
    pub stopping: CancellationToken,
}

impl Door {
    /// Whoever's bearer token or key the metadata has.
    pub async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let found = Caller::from_headers(metadata.as_ref(), &*self.app).await;
        let caller = found.and_then(|found| found.ok_or(Problem::new(ProblemType::Unauthenticated)));
        caller.map_err(|problem| status(&problem))
    }

    /// One question, as `POST /access/v1/evaluation` answers it; and what the answer rests on. Where this node cannot
    /// tell yet, that is no denial.
    pub async fn decide(
        &self,
        caller: Caller,
        at_least: &AtLeast,
        question: &Question<'_>,
    ) -> Result<(Answer, ConsistencyToken), Problem> {
        self.app.reach(caller, at_least).await?;
        self.app.may_ask(caller, [question])?;
        let token = self.app.token_of_answers([question]);
        let answer = self.app.decide(caller, question, Timestamp::now())?;
        Ok((answer, token))
    }
}
