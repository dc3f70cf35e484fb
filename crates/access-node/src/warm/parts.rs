//! A snapshot as sealed parts: first how far it reaches, then users and sessions by the thousands.

use std::sync::Arc;
use std::time::Duration;

use access::{Grant, Standing, UserAccess};
use event_log::Instance;
use read_model::access_snapshots::Part;
use schemas::{ChainHead, GrantScope, KeyId, RoleId, SessionId, Sha256Digest, Timestamp, UserId, WriterId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::seal::SealKey;
use crate::keys::KeyRow;
use crate::model::Reach;
use crate::partition::Rows;
use crate::sessions::{Session, SessionRow};

/// Raised with every change of what is written here.
pub(crate) const FORMAT: i32 = 4;
/// Users and their grants, sessions, or keys in one part.
const PER_PART: usize = 20_000;

/// Why a snapshot is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the seal of part {0} does not fit: it was edited, or sealed under another key")]
    Seal(usize),
    #[error("part {0} cannot be read: {1}")]
    Content(usize, postcard::Error),
    #[error("it has {found} parts, not {expected}")]
    Parts { expected: u32, found: usize },
}

pub(crate) struct Loaded {
    pub(crate) reach: Reach,
    pub(crate) owner: Option<(i64, Instance)>,
    pub(crate) rows: Vec<Rows>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    /// So that parts of different snapshots never go together.
    id: Uuid,
    parts: u32,
    last_offset: i64,
    next_seq: i64,
    hash: [u8; 32],
    owner: Option<Owner>,
}

/// Who claimed the ledger last, and at which offset.
#[derive(Serialize, Deserialize)]
struct Owner {
    offset: i64,
    instance: Uuid,
    address: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    users: Vec<(Uuid, Standing, Vec<StoredGrant>)>,
    sessions: Vec<StoredSession>,
    keys: Vec<StoredKey>,
}

/// Role, microseconds of its expiry, and what it is limited to.
type StoredGrant = (Uuid, Option<i64>, Option<GrantScope>);
/// Id, user, microseconds of its end by itself, of its last possible end and of idling, and whether it was ended.
type StoredSession = (Uuid, Uuid, i64, i64, Option<u64>, bool);

/// Id, user, hash, roles, and microseconds of its expiry.
type StoredKey = (Uuid, Uuid, [u8; 32], Option<Vec<Uuid>>, Option<i64>);

/// Seals a ledger's rows.
pub(crate) fn make(
    key: &SealKey,
    ledger: i32,
    reach: Reach,
    owner: Option<(i64, Instance)>,
    rows: &Rows,
) -> Result<Vec<Part>, postcard::Error> {
    let id = Uuid::new_v4();
    let users = users_of_parts(&rows.users).map(|users| Content {
        users: users.iter().map(store_user).collect(),
        sessions: Vec::new(),
        keys: Vec::new(),
    });
    let sessions = rows.sessions.chunks(PER_PART).map(|sessions| Content {
        users: Vec::new(),
        sessions: sessions.iter().map(store_session).collect(),
        keys: Vec::new(),
    });
    let keys = rows.keys.chunks(PER_PART).map(|keys| Content {
        users: Vec::new(),
        sessions: Vec::new(),
        keys: keys.iter().map(store_key).collect(),
    });
    let mut parts = Vec::new();
    for (number, content) in (1..).zip(users.chain(sessions).chain(keys)) {
        let content = postcard::to_stdvec(&content)?;
        let seal = key.seal(ledger, number, id, &content);
        parts.push(Part { content, seal });
    }
    let head = Head {
        id,
        parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        last_offset: reach.last_offset,
        next_seq: reach.chain.next_seq,
        hash: reach.chain.hash.0,
        owner: owner.map(|(offset, owner)| Owner {
            offset,
            instance: owner.id.as_uuid(),
            address: owner.address,
        }),
    };
    let content = postcard::to_stdvec(&head)?;
    let seal = key.seal(ledger, 0, Uuid::nil(), &content);
    parts.insert(0, Part { content, seal });
    Ok(parts)
}

/// So many that users and their grants are [`PER_PART`] at most, or one user: a part is one value of PostgreSQL.
fn users_of_parts(users: &[(UserId, UserAccess)]) -> impl Iterator<Item = &[(UserId, UserAccess)]> {
    let weight = |(_, access): &(UserId, UserAccess)| 1 + access.grants().len();
    let mut taken = users.first().map_or(0, weight);
    users.chunk_by(move |_, next| {
        let fits = taken + weight(next) <= PER_PART;
        taken = if fits { taken } else { 0 } + weight(next);
        fits
    })
}

/// Reads a snapshot, if it is a whole and genuine one of this ledger.
pub(crate) fn open(key: &SealKey, ledger: i32, parts: &[Part]) -> Result<Loaded, Refused> {
    let (first, rest) = parts.split_first().ok_or(Refused::Parts {
        expected: 1,
        found: 0,
    })?;
    if !key.is_genuine(ledger, 0, Uuid::nil(), &first.content, &first.seal) {
        return Err(Refused::Seal(0));
    }
    let head: Head = postcard::from_bytes(&first.content).map_err(|error| Refused::Content(0, error))?;
    if usize::try_from(head.parts).ok() != Some(rest.len()) {
        return Err(Refused::Parts {
            expected: head.parts,
            found: rest.len(),
        });
    }
    let mut rows = Vec::with_capacity(rest.len());
    for (number, part) in (1_u32..).zip(rest) {
        let index = rows.len() + 1;
        if !key.is_genuine(ledger, number, head.id, &part.content, &part.seal) {
            return Err(Refused::Seal(index));
        }
        let content: Content =
            postcard::from_bytes(&part.content).map_err(|error| Refused::Content(index, error))?;
        rows.push(Rows {
            users: content.users.into_iter().map(load_user).collect(),
            sessions: content.sessions.into_iter().map(load_session).collect(),
            keys: content.keys.into_iter().map(load_key).collect(),
        });
    }
    Ok(Loaded {
        reach: Reach {
            last_offset: head.last_offset,
            chain: ChainHead {
                next_seq: head.next_seq,
                hash: Sha256Digest(head.hash),
            },
        },
        owner: head.owner.map(|owner| {
            let instance = Instance {
                id: WriterId::from_uuid(owner.instance),
                address: owner.address,
            };
            (owner.offset, instance)
        }),
        rows,
    })
}

fn store_user((id, user): &(UserId, UserAccess)) -> (Uuid, Standing, Vec<StoredGrant>) {
    let grants = user.grants().iter().map(|grant| {
        let until = grant.expires_at().map(Timestamp::as_micros);
        (grant.role_id.as_uuid(), until, grant.scope().cloned())
    });
    (id.as_uuid(), user.standing(), grants.collect())
}

fn load_user((id, standing, grants): (Uuid, Standing, Vec<StoredGrant>)) -> (UserId, UserAccess) {
    let grants = grants.into_iter().map(|(role, until, scope)| {
        Grant::new(
            role.into(),
            until.map(Timestamp::from_micros),
            scope.map(Arc::new),
        )
    });
    (UserId::from_uuid(id), UserAccess::new(standing, grants))
}

fn store_session((id, session): &SessionRow) -> StoredSession {
    let (until, expires_at) = (session.until.as_micros(), session.expires_at.as_micros());
    let idles_for = session.idles_for.map(micros);
    (
        id.as_uuid(),
        session.user.as_uuid(),
        until,
        expires_at,
        idles_for,
        session.ended,
    )
}

fn load_session((id, user, until, expires_at, idles_for, ended): StoredSession) -> SessionRow {
    let session = Session {
        user: UserId::from_uuid(user),
        until: Timestamp::from_micros(until),
        expires_at: Timestamp::from_micros(expires_at),
        idles_for: idles_for.map(Duration::from_micros),
        ended,
    };
    (SessionId::from_uuid(id), session)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn store_key(row: &KeyRow) -> StoredKey {
    let roles = row
        .roles
        .as_ref()
        .map(|roles| roles.iter().map(|role| role.as_uuid()).collect());
    let until = row.until.map(Timestamp::as_micros);
    (row.id.as_uuid(), row.user.as_uuid(), row.hash.0, roles, until)
}

fn load_key((id, user, hash, roles, until): StoredKey) -> KeyRow {
    KeyRow {
        id: KeyId::from_uuid(id),
        user: UserId::from_uuid(user),
        hash: Sha256Digest(hash),
        roles: roles.map(|roles| roles.into_iter().map(RoleId::from_uuid).collect()),
        until: until.map(Timestamp::from_micros),
    }
}

#[cfg(test)]
mod tests;
