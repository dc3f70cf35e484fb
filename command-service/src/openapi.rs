//! What the OpenAPI document says of all calls.

use service_kit::at_least::{ROLECALL_AT_LEAST, ROLECALL_TOKEN};
use service_kit::idempotency::IDEMPOTENCY_KEY;
use service_kit::problem::CONTENT_TYPE_PROBLEM;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{RefOr, Required};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rolecall command service",
        description = "Commands to Rolecall. Every answer to a write carries a consistency token, in the header \
            `Rolecall-Token` and the field `token`; send it as `Rolecall-At-Least` to read what was written. \
            Send an `Idempotency-Key` and a command can be repeated safely."
    ),
    modifiers(&Bearer)
)]
pub struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("An access token, or a key of a service account".to_owned());
        let scheme = SecurityScheme::Http(bearer);
        api.components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
    }
}

/// The headers that every command takes and gives, and the media type of its refusals. For a document that has its paths already.
pub struct CommonHeaders;

impl Modify for CommonHeaders {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        for item in api.paths.paths.values_mut() {
            operations(item).for_each(describe);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete]
        .into_iter()
        .flatten()
}

fn describe(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend([idempotency_key(), at_least()].map(RefOr::T));
    let problems = operation
        .responses
        .responses
        .iter_mut()
        .filter(|(status, _)| !status.starts_with('2'));
    for (_, response) in problems {
        if let RefOr::T(response) = response
            && let Some(problem) = response.content.shift_remove("application/json")
        {
            response.content.insert(CONTENT_TYPE_PROBLEM.to_owned(), problem);
        }
    }
    let good = operation
        .responses
        .responses
        .iter_mut()
        .filter(|(status, _)| status.starts_with('2'));
    for (_, response) in good {
        if let RefOr::T(response) = response {
            let token = HeaderBuilder::new()
                .description(Some("Consistency token: what this answer wrote and rests on"))
                .build();
            response
                .headers
                .insert(ROLECALL_TOKEN.to_string(), RefOr::T(token));
        }
    }
}

fn idempotency_key() -> Parameter {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255));
    ParameterBuilder::new()
        .name(IDEMPOTENCY_KEY.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Visible ASCII; a retry under the same key within 24 hours gets the first answer",
        ))
        .schema(Some(text))
        .build()
}

fn at_least() -> Parameter {
    ParameterBuilder::new()
        .name(ROLECALL_AT_LEAST.as_str())
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "Consistency tokens by commas, or `latest`: the command is decided on no less",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    #[test]
    fn every_command_names_the_common_headers_once() {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<&Value> = paths
            .values()
            .flat_map(|item| item.as_object().unwrap().values())
            .collect();
        assert!(operations.len() > 15);
        for operation in operations {
            let parameters = operation["parameters"].as_array().unwrap();
            for name in ["idempotency-key", "rolecall-at-least"] {
                let count = parameters
                    .iter()
                    .filter(|it| it["name"] == name && it["in"] == "header")
                    .count();
                assert_eq!(count, 1, "{name} in {operation}");
            }
            let responses = operation["responses"].as_object().unwrap();
            let tokens = responses
                .values()
                .filter(|it| it["headers"]["rolecall-token"].is_object())
                .count();
            let good = responses.keys().filter(|status| status.starts_with('2')).count();
            assert!(tokens >= 1 && tokens == good, "{operation}");
        }
    }
}
