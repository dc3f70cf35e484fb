//! Calling another instance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use event_log::{Forward, ForwardError, Instance};
use futures::FutureExt;
use futures::future::BoxFuture;
use schemas::{Timestamp, WriterId};
use service_kit::keys::TokenKey;

use super::endpoint::PATH;
use super::seal::{Answer, Call, given_seal};

/// An instance that does not take a connection so soon is down or cut off; its successor will be in the log.
const CONNECT: Duration = Duration::from_millis(500);

pub struct PeerCalls {
    client: reqwest::Client,
    key: TokenKey,
    own: WriterId,
    /// Of the last call.
    number: AtomicU64,
}

impl PeerCalls {
    pub fn new(http: reqwest::ClientBuilder, key: TokenKey, own: WriterId) -> Result<Self, reqwest::Error> {
        let client = http
            .connect_timeout(CONNECT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            client,
            key,
            own,
            number: AtomicU64::new(0),
        })
    }

    async fn call(&self, to: &Instance, body: Vec<u8>, within: Duration) -> Result<Vec<u8>, ForwardError> {
        let url = format!("{}{PATH}", to.address.trim_end_matches('/'));
        let call = Call {
            to: to.id,
            from: self.own,
            number: self.number.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let headers = headers_of(&call.seal(&self.key, Timestamp::now().as_millis(), &body))?;
        let call_seal = given_seal(&headers).to_owned();
        let request = self.client.post(url).timeout(within).headers(headers);
        let answer = request.body(body).send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                ForwardError::NotSent(error.to_string())
            } else {
                ForwardError::Unclear(error.to_string())
            }
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer
            .bytes()
            .await
            .map_err(|error| ForwardError::Unclear(error.to_string()))?;
        let said = Answer {
            call_seal: &call_seal,
            status,
            body: &body,
        };
        // Whoever has not the key can make no seal, but may have passed the call on.
        let is_sealed = call.is_answered(&self.key, &said, &headers);
        match status {
            StatusCode::OK if is_sealed => Ok(body.to_vec()),
            StatusCode::MISDIRECTED_REQUEST if is_sealed && body == to.address.as_bytes() => {
                let reason = format!("{} is another instance now", to.address);
                Err(ForwardError::NotSent(reason))
            }
            status => {
                let how = if is_sealed { "" } else { " without a seal" };
                let reason = format!("{} answered {status}{how}", to.address);
                Err(ForwardError::Unclear(reason))
            }
        }
    }
}

fn headers_of(sealed: &[(HeaderName, String)]) -> Result<HeaderMap, ForwardError> {
    let header = |(name, value): &(HeaderName, String)| Ok((name.clone(), HeaderValue::from_str(value)?));
    let headers: Result<HeaderMap, InvalidHeaderValue> = sealed.iter().map(header).collect();
    headers.map_err(|error| ForwardError::NotSent(error.to_string()))
}

impl Forward for PeerCalls {
    fn forward<'a>(
        &'a self,
        to: &'a Instance,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'a, Result<Vec<u8>, ForwardError>> {
        self.call(to, body, within).boxed()
    }
}
