//! Events of e-mail addresses and user names: who holds which.

use serde::{Deserialize, Serialize};

use crate::events::{event_type, events};
use ids::Timestamp;
use ids::{ClaimId, UserId};

events! {
    /// What can happen to an identifier.
    pub enum IdentifierEvent {
        Reserved(IdentifierReserved) => ("identifier.reserved", 1),
        Confirmed(IdentifierConfirmed) => ("identifier.confirmed", 1),
        Released(IdentifierReleased) => ("identifier.released", 1),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename = "IdentifierKind", rename_all = "snake_case")]
pub enum IdentifierKind {
    Other,
    Email,
    Username,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "IdentifierReserved")]
pub struct IdentifierReserved {
    pub kind: IdentifierKind,
    pub user_id: UserId,
    pub claim_id: ClaimId,
    /// From then on a contender may ask the holder's ledger to abandon the claim.
    pub expires_at: Timestamp,
    pub index_key_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "IdentifierConfirmed")]
pub struct IdentifierConfirmed {
    pub kind: IdentifierKind,
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub index_key_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "IdentifierReleased")]
pub struct IdentifierReleased {
    pub kind: IdentifierKind,
    pub user_id: UserId,
    pub claim_id: ClaimId,
    pub index_key_id: String,
}
