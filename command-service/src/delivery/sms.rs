//! A gateway to phones, which is somebody else's: it gets one small JSON object a message.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use serde::Serialize;
use service_kit::keys::KeyError;
use tokio::sync::Semaphore;

use super::channels::{ChannelError, SendError, is_this_machine};

/// For the whole call. What the gateway takes and answers later than this it gets again.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once.
const OPEN: usize = 16;

pub(super) struct Gateway {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    open: Semaphore,
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
    /// Codes and the token must not travel in the clear: without TLS only to this machine.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> Result<Self, ChannelError> {
        let wrong = |what: &str| ChannelError::SmsUrl(what.to_owned());
        let url = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if is_this_machine(&url) => {}
            "http" => return Err(wrong("without TLS only to this machine: use https://")),
            _ => return Err(wrong("neither https:// nor http://")),
        }
        // One that is followed takes the code elsewhere, or ends as a call without it that is answered 200.
        let http = reqwest::Client::builder().redirect(Policy::none());
        // Through a proxy it would leave this machine all the same.
        let http = if url.scheme() == "http" {
            http.no_proxy()
        } else {
            http
        };
        Ok(Self {
            http: http.timeout(TIMEOUT).build()?,
            url,
            authorization: token_file.map(authorization).transpose()?,
            open: Semaphore::new(OPEN),
        })
    }

    pub(super) async fn send(&self, to: &str, text: &str, message_id: &str) -> Result<(), SendError> {
        // It is never closed.
        let _turn = self.open.acquire().await;
        let request = self.http.post(self.url.clone());
        let request = request.json(&Body { to, text, message_id });
        let request = match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
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

/// What shows the gateway who calls.
fn authorization(token_file: &Path) -> Result<HeaderValue, KeyError> {
    let token = std::fs::read_to_string(token_file).map_err(|cause| KeyError::Read {
        path: token_file.to_owned(),
        cause,
    })?;
    let value = match token.trim() {
        "" => None,
        token => HeaderValue::from_str(&format!("Bearer {token}")).ok(),
    };
    let mut value = value.ok_or_else(|| KeyError::Content {
        path: token_file.to_owned(),
        cause: "a token must be one line of ASCII".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Of a phone number, with nothing between them.
pub(super) fn digits(number: &str) -> String {
    number.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests;
