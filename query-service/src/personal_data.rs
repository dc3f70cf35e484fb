//! Opening what is stored sealed about a person.

use event_log::{KeyRing, KeyRingError};
use schemas::{DataKey, LogId, Sealed, UserId};
use service_kit::problem::Problem;

/// Where users' data keys come from.
pub enum DataKeys {
    Log(KeyRing),
    /// One for all; `None` for erased users.
    #[cfg(test)]
    Fixed(Option<DataKey>),
}

impl DataKeys {
    /// Opens what is sealed about one user. A missing key is a fault of the keys topic, a
    /// destroyed one is an erased user.
    pub async fn of(&self, log: LogId, user: UserId) -> Result<PersonalData, Problem> {
        let key = match self.get(user).await {
            Ok(key) => Some(key),
            Err(KeyRingError::Destroyed) => None,
            Err(error @ (KeyRingError::Kafka(_) | KeyRingError::Missing)) => {
                return Err(Problem::unavailable(&error));
            }
            Err(error @ KeyRingError::Unwrap) => return Err(Problem::internal(&error)),
        };
        Ok(PersonalData { key, log, user })
    }

    /// Why keys cannot be given, or not be trusted to be all there.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Log(ring) => ring.trouble(),
            #[cfg(test)]
            Self::Fixed(_) => None,
        }
    }

    async fn get(&self, user: UserId) -> Result<DataKey, KeyRingError> {
        match self {
            Self::Log(ring) => ring.get(user).await,
            #[cfg(test)]
            Self::Fixed(key) => key.clone().ok_or(KeyRingError::Destroyed),
        }
    }
}

/// One user's key, if it was not destroyed.
pub struct PersonalData {
    key: Option<DataKey>,
    log: LogId,
    user: UserId,
}

impl PersonalData {
    pub const fn is_erased(&self) -> bool {
        self.key.is_none()
    }

    /// None for an erased user. Whose row was emptied may have a key here yet: the shard heard of it first.
    pub fn open(&self, field: &str, sealed: &Sealed) -> Result<Option<String>, Problem> {
        if sealed.as_bytes().is_empty() {
            return Ok(None);
        }
        let open = |key: &DataKey| key.open(self.log, self.user, field, sealed);
        let opened = self.key.as_ref().map(open).transpose();
        opened.map_err(|error| Problem::internal(&error))
    }

    pub fn open_some(&self, field: &str, sealed: Option<&Sealed>) -> Result<Option<String>, Problem> {
        sealed.map_or(Ok(None), |sealed| self.open(field, sealed))
    }
}
