//! Encrypting what an event says about a person.

use event_log::{KeyRingError, NewDataKey};
use schemas::{DataKey, LogId, Sealed, UserId, sealed_field as field};
use service_kit::client_info::ClientInfo;
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;

/// One user's data key, with what its ciphertexts are bound to.
pub struct Seal {
    key: DataKey,
    log: LogId,
    user: UserId,
}

/// The client of a request as events keep it.
pub struct SealedClient {
    pub ip_network: Option<String>,
    pub ip_address: Option<Sealed>,
    pub user_agent: Option<Sealed>,
    pub country_code: Option<String>,
    pub city: Option<Sealed>,
}

impl Seal {
    pub fn new(key: DataKey, log: LogId, user: UserId) -> Self {
        Self { key, log, user }
    }

    pub fn seal(&self, field: &str, text: &str) -> Result<Sealed, Problem> {
        self.key
            .seal(self.log, self.user, field, text)
            .map_err(|error| Problem::internal(&error))
    }

    pub fn open(&self, field: &str, sealed: &Sealed) -> Result<String, Problem> {
        self.key
            .open(self.log, self.user, field, sealed)
            .map_err(|error| Problem::internal(&error))
    }

    pub fn client(&self, client: &ClientInfo) -> Result<SealedClient, Problem> {
        let address = client.address.map(|address| address.to_string());
        let seal = |field, text: Option<&str>| text.map(|text| self.seal(field, text)).transpose();
        Ok(SealedClient {
            ip_network: client.network(),
            ip_address: seal(field::IP_ADDRESS, address.as_deref())?,
            user_agent: seal(field::USER_AGENT, client.user_agent.as_deref())?,
            country_code: client.country_code.clone(),
            city: seal(field::CITY, client.city.as_deref())?,
        })
    }
}

impl App {
    /// The key of somebody who may not exist.
    pub async fn seal_of_known(&self, user: UserId) -> Result<Seal, Problem> {
        // Without a look, anybody's made-up id would be taken for a key that the topic has lost.
        let state = self.state_of(user, |user| user.account.is_none()).await?;
        if state.account.is_none() {
            return Err(ProblemType::NoSuchUser.into());
        }
        self.seal_of(user).await
    }

    /// A key made for somebody new, and as it goes into the log.
    pub fn new_seal(&self, user_id: UserId) -> Result<(Seal, NewDataKey), Problem> {
        let (key, log_id) = (DataKey::generate(), self.node.log_id());
        let wrapped = self
            .key_encryption_key
            .wrap(log_id, user_id, &key)
            .map_err(|error| Problem::internal(&error))?;
        let new = NewDataKey {
            user_id,
            wrapped,
            key_encryption_key_id: self.key_encryption_key.id(),
        };
        Ok((Seal::new(key, log_id, user_id), new))
    }

    /// An existing user's key.
    pub async fn seal_of(&self, user: UserId) -> Result<Seal, Problem> {
        let key = self.keys.get(user).await.map_err(|error| match error {
            KeyRingError::Destroyed => Problem::new(ProblemType::NoSuchUser),
            KeyRingError::Kafka(_) | KeyRingError::Missing => Problem::unavailable(&error),
            KeyRingError::Unwrap => Problem::internal(&error),
        })?;
        Ok(Seal::new(key, self.node.log_id(), user))
    }
}
