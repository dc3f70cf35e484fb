//! Client of a schema registry with the Confluent API, version 7.
//!
//! The registry is needed only to introduce a schema version and by foreign consumers.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, StatusCode};
use serde_json::{Value, json};

use crate::codec::{CodecError, schema_text};
use crate::events::{EventType, streams_of};

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the schema registry at {url} does not answer")]
    Unreachable { url: String, source: reqwest::Error },
    #[error(
        "schema {subject} version {version} is not FULL_TRANSITIVE compatible with the registry's: {reason}"
    )]
    Incompatible {
        subject: String,
        version: i32,
        reason: String,
    },
    #[error("the schema registry refused {request}: {status} {body}")]
    Refused {
        request: String,
        status: StatusCode,
        body: String,
    },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Client of one registry.
pub struct Registry {
    url: String,
    http: Client,
}

impl Registry {
    /// `url` is the API's root, such as `https://registry:8443/apis/ccompat/v7`.
    pub fn new(url: &str, http: ClientBuilder) -> Result<Self, RegistryError> {
        let http =
            http.timeout(Duration::from_secs(20))
                .build()
                .map_err(|source| RegistryError::Unreachable {
                    url: url.to_owned(),
                    source,
                })?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
        })
    }

    /// Registers a schema under each of its subjects (TopicRecordNameStrategy: topic, hyphen, full
    /// record name) with FULL_TRANSITIVE compatibility, and gives its id. Doing it again is safe.
    pub async fn register(
        &self,
        topic_prefix: &str,
        event_type: &'static EventType,
    ) -> Result<i32, RegistryError> {
        let (text, _) = schema_text(event_type)?;
        let topics: Vec<&str> = match event_type.name {
            "key.stored" => vec!["keys"],
            _ => streams_of(event_type)
                .iter()
                .map(|stream| stream.name())
                .collect(),
        };
        let mut id = 0;
        for topic in topics {
            let subject = format!("{topic_prefix}.{topic}-rolecall.{}", event_type.name);
            id = self.register_subject(&subject, event_type.version, text).await?;
        }
        Ok(id)
    }

    async fn register_subject(&self, subject: &str, version: i32, text: &str) -> Result<i32, RegistryError> {
        // Before the version, so that what others registered there counts; a new subject cannot have a
        // rule yet, and gets it after its first version.
        let had_rule = self.require_compatibility(subject).await?;
        let body = json!({ "schema": text, "schemaType": "AVRO" });
        let path = format!("/subjects/{subject}/versions");
        let answer = match self.post(&path, &body).await {
            Err(RegistryError::Refused {
                status, body: reason, ..
            }) if status == StatusCode::CONFLICT || status == StatusCode::UNPROCESSABLE_ENTITY => {
                // Another program may have registered the very same schema at this moment.
                self.registered(subject, &body)
                    .await?
                    .ok_or_else(|| RegistryError::Incompatible {
                        subject: subject.to_owned(),
                        version,
                        reason,
                    })?
            }
            other => other?,
        };
        if !had_rule {
            self.require_compatibility(subject).await?;
        }
        answer["id"]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| RegistryError::Refused {
                request: path,
                status: StatusCode::OK,
                body: answer.to_string(),
            })
    }

    /// What the registry knows of this schema, if it stands under this subject.
    async fn registered(&self, subject: &str, body: &Value) -> Result<Option<Value>, RegistryError> {
        match self.post(&format!("/subjects/{subject}"), body).await {
            Ok(found) => Ok(Some(found)),
            Err(RegistryError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// False where there is no such subject yet.
    async fn require_compatibility(&self, subject: &str) -> Result<bool, RegistryError> {
        let rule = json!({ "compatibility": "FULL_TRANSITIVE" });
        let request = self
            .http
            .put(format!("{}/config/{subject}", self.url))
            .json(&rule);
        match self.send(request, "PUT /config").await {
            Ok(_) => Ok(true),
            Err(RegistryError::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, RegistryError> {
        self.send(self.http.post(format!("{}{path}", self.url)).json(body), path)
            .await
    }

    async fn send(&self, request: reqwest::RequestBuilder, name: &str) -> Result<Value, RegistryError> {
        let unreachable = |source| RegistryError::Unreachable {
            url: self.url.clone(),
            source,
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.map_err(unreachable);
        }
        Err(RegistryError::Refused {
            request: name.to_owned(),
            status,
            body: answer.text().await.unwrap_or_default(),
        })
    }
}
