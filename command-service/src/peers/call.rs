//! Calling another instance.

use std::time::Duration;

use axum::http::StatusCode;
use event_log::{Forward, ForwardError, Instance};
use futures::FutureExt;
use futures::future::BoxFuture;
use schemas::Timestamp;
use service_kit::keys::TokenKey;

use super::endpoint::PATH;
use super::seal::{Way, is_sealed, seal};

/// An instance that does not take a connection so soon is down or cut off; its successor will be in the log.
const CONNECT: Duration = Duration::from_millis(500);

pub struct PeerCalls {
    client: reqwest::Client,
    key: TokenKey,
}

impl PeerCalls {
    pub fn new(key: TokenKey) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self { client, key })
    }

    async fn call(&self, to: &Instance, body: Vec<u8>, within: Duration) -> Result<Vec<u8>, ForwardError> {
        let url = format!("{}{PATH}", to.address.trim_end_matches('/'));
        let sealed = seal(&self.key, Way::Call, to.id, Timestamp::now().as_millis(), &body);
        let [_, _, (_, own_seal)] = sealed.clone();
        let request = sealed
            .into_iter()
            .fold(self.client.post(url).timeout(within), |request, (name, value)| {
                request.header(name, value)
            });
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
        match status {
            // Nobody without the key could have said so.
            StatusCode::OK if is_sealed(&self.key, Way::Answer(&own_seal), to.id, &headers, &body) => {
                Ok(body.to_vec())
            }
            StatusCode::MISDIRECTED_REQUEST | StatusCode::NOT_FOUND => Err(ForwardError::NotSent(format!(
                "{} is another instance now",
                to.address
            ))),
            status => Err(ForwardError::Unclear(format!("{} answered {status}", to.address))),
        }
    }
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
