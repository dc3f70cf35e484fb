//! Typed UUIDs: a role's id cannot be passed where a user's is meant.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A UUID that names one kind of thing. Text form everywhere, in Avro too (logical type `uuid`).
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

#[doc(hidden)]
pub mod kind {
    pub enum User {}
    pub enum Role {}
    pub enum Permission {}
    pub enum Session {}
    pub enum Device {}
    pub enum Credential {}
    pub enum Ceremony {}
    pub enum Claim {}
    pub enum OneTime {}
    pub enum Event {}
    pub enum Request {}
    pub enum Log {}
    pub enum Writer {}
    pub enum Approval {}
    pub enum Key {}
}

pub type UserId = Id<kind::User>;
pub type RoleId = Id<kind::Role>;
pub type PermissionId = Id<kind::Permission>;
pub type SessionId = Id<kind::Session>;
/// A browser or app that signed in: it brings back the token it was given then.
pub type DeviceId = Id<kind::Device>;
/// An authenticator or a passkey that a user has enrolled.
pub type CredentialId = Id<kind::Credential>;
/// A challenge that an authenticator answers, once.
pub type CeremonyId = Id<kind::Ceremony>;
pub type ClaimId = Id<kind::Claim>;
/// A token or code that goes out to somebody, to come back once.
pub type OneTimeId = Id<kind::OneTime>;
pub type EventId = Id<kind::Event>;
pub type RequestId = Id<kind::Request>;
pub type LogId = Id<kind::Log>;
/// A change that waits for a second person.
pub type ApprovalId = Id<kind::Approval>;
/// A key of a service account.
pub type KeyId = Id<kind::Key>;
/// One running instance of a writer.
pub type WriterId = Id<kind::Writer>;

impl<T> Id<T> {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// A new UUIDv7: sorts by time of making.
    pub fn new_v7() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> FromStr for Id<T> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self::from_uuid)
    }
}
impl<T> From<Uuid> for Id<T> {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}

impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = Uuid::encode_buffer();
        serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
    }
}

impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<T> de::Visitor<'_> for Visitor<T> {
            type Value = Id<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a UUID as text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id<T>, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}
