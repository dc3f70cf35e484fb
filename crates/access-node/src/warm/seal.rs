//! Seals: that a part of a snapshot is as a node wrote it, of this ledger and of this snapshot.

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemas::{IndexKey, LogId};
use sha2::Sha256;
use uuid::Uuid;

use super::parts::FORMAT;

/// Who edits the store has no such key, so cannot make himself a right.
#[derive(Clone)]
pub(crate) struct SealKey(Hmac<Sha256>);

impl SealKey {
    pub(crate) fn new(index_key: &IndexKey, log_id: LogId) -> Self {
        let key = index_key.digest("access snapshot", &[log_id.as_uuid().as_bytes()]);
        Self(Hmac::new_from_slice(&key.0).unwrap_or_else(|_| unreachable!("HMAC takes any key length")))
    }

    /// Of part `number` of the snapshot `id`; the first part, which holds the id, is sealed under the nil one.
    pub(crate) fn seal(&self, ledger: i32, number: u32, id: Uuid, content: &[u8]) -> Vec<u8> {
        let mac = self.of(ledger, number, id, content);
        mac.finalize().into_bytes().to_vec()
    }

    pub(crate) fn is_genuine(&self, ledger: i32, number: u32, id: Uuid, content: &[u8], seal: &[u8]) -> bool {
        self.of(ledger, number, id, content).verify_slice(seal).is_ok()
    }

    fn of(&self, ledger: i32, number: u32, id: Uuid, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&FORMAT.to_be_bytes());
        mac.update(&ledger.to_be_bytes());
        mac.update(&number.to_be_bytes());
        mac.update(id.as_bytes());
        mac.update(content);
        mac
    }
}
