//! Problems as callers over gRPC see them.

use std::time::Duration;

use axum::http::StatusCode;
use service_kit::problem::{Problem, ProblemType};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Of the reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "rolecall.dev";

/// The code says the kind, the message is the sentence; `google.rpc.ErrorInfo` has the stable type, and other details
/// when to try again and which fields are wrong.
pub fn status(problem: &Problem) -> Status {
    let details = problem.details();
    let mut more = ErrorDetails::new();
    let page = [("type".to_owned(), details.kind)];
    more.set_error_info(reason(problem.kind), DOMAIN, page);
    if let Some(seconds) = details.retry_after {
        more.set_retry_info(Some(Duration::from_secs(seconds)));
    }
    for error in details.errors {
        more.add_bad_request_violation(error.field, error.detail);
    }
    Status::with_error_details(code(problem), message(problem), more)
}

/// As AuthZEN's plain errors say it.
pub fn message(problem: &Problem) -> String {
    let title = problem.kind.title();
    let fields = problem.errors.iter();
    let fields = fields.map(|error| format!("{}: {}", error.field, error.detail));
    let detail = problem.detail.as_deref().map(str::to_owned);
    let said: Vec<String> = detail.into_iter().chain(fields).collect();
    match said.is_empty() {
        true => title.to_owned(),
        false => format!("{title}: {}", said.join(", ")),
    }
}

pub fn code(problem: &Problem) -> Code {
    match problem.status() {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Code::InvalidArgument
        }
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::CONFLICT | StatusCode::LOCKED => Code::FailedPrecondition,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ => Code::Unknown,
    }
}

/// A slug in the form that `google.rpc.ErrorInfo` has: `NOT_YET`.
fn reason(kind: ProblemType) -> String {
    kind.slug().replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_its_type_its_fields_and_when_to_try_again() {
        let problem = Problem::new(ProblemType::InvalidBody).field("subject.id", "is missing");
        let status = status(&problem);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "The body does not fit this call: subject.id: is missing"
        );
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_BODY", DOMAIN)
        );
        assert_eq!(info.metadata["type"], ProblemType::InvalidBody.uri());
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "subject.id");
        assert!(details.retry_info().is_none());

        let busy = super::status(&Problem::new(ProblemType::Busy).retry_after(Duration::from_millis(1_200)));
        let wait = busy.get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(
            (busy.code(), wait),
            (Code::ResourceExhausted, Some(Duration::from_secs(2)))
        );
    }

    #[test]
    fn no_problem_is_of_an_unknown_kind() {
        for kind in ProblemType::all() {
            assert_ne!(code(&kind.into()), Code::Unknown, "{kind:?}");
        }
    }
}
