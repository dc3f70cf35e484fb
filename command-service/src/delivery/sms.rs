//! A gateway to phones, which is somebody else's: it gets one small JSON object a message.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use service_kit::keys::KeyError;

use super::channels::{ChannelError, SendError};

const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Gateway {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    /// As the account has it.
    to: &'a str,
    text: &'a str,
    /// The same for a message that is sent again.
    message_id: &'a str,
}

impl Gateway {
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, ChannelError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|cause| KeyError::Read {
                path: path.to_owned(),
                cause,
            })
        };
        let token = token_file.map(read).transpose()?;
        Ok(Self {
            http: reqwest::Client::builder().timeout(TIMEOUT).build()?,
            url: url.to_owned(),
            token: token.map(|token| token.trim().to_owned()),
        })
    }

    pub(super) async fn send(&self, to: &str, text: &str, message_id: &str) -> Result<(), SendError> {
        let request = self.http.post(&self.url).json(&Body { to, text, message_id });
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await;
        let status = answer
            .map_err(|_| SendError::NotNow("the gateway is not reached".to_owned()))?
            .status();
        let why = format!("the gateway answers {status}");
        match status {
            status if status.is_success() => Ok(()),
            // Of these the number is to blame.
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNPROCESSABLE_ENTITY => Err(SendError::Refused(why)),
            _ => Err(SendError::NotNow(why)),
        }
    }
}

/// Of a phone number, with nothing between them.
pub(super) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}
