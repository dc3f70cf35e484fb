//! `email_shard_lookup`, `username_shard_lookup` and `session_shard_lookup`: from what a caller
//! brings to the shard of its user.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::ledger::ledger_of;
use read_model::session_token;
use schemas::identifier::{IdentifierConfirmed, IdentifierEvent, IdentifierKind};
use schemas::user::UserEvent;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{At, Place, RowError, shard_placement, utc};

#[derive(Default)]
pub(super) struct Lookups {
    /// By blind index; `None` was released.
    emails: BTreeMap<String, Option<Holder>>,
    usernames: BTreeMap<String, Option<Holder>>,
    sessions: BTreeMap<String, Session>,
}

struct Holder {
    user_id: Uuid,
    user_ledger: i16,
    claim_id: Uuid,
    at: DateTime<Utc>,
}

struct Session {
    user_id: Uuid,
    expires_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl Lookups {
    pub fn fold_user(&mut self, at: &At<'_>, event: &UserEvent) -> Result<(), RowError> {
        match event {
            UserEvent::LoggedIn(e) => {
                let (expires_at, created_at) = (utc(e.expires_at), at.time());
                let session = Session { user_id: at.user()?, expires_at, created_at };
                self.sessions.insert(session_token(e.session_id), session);
            }
            // The look-up says where a session lies; the session's row says whether it still lives.
            UserEvent::SessionRefreshed(_)
            | UserEvent::RefreshReuseDetected(_)
            | UserEvent::SessionRevoked(_)
            | UserEvent::SessionsRevoked(_)
            | UserEvent::PasswordChanged(_)
            | UserEvent::PasswordRehashed(_)
            | UserEvent::Deactivated(_)
            // Identifiers come from their own stream, which alone decides who holds one.
            | UserEvent::Registered(_)
            | UserEvent::ClaimAbandoned(_)
            | UserEvent::ProfileChanged(_)
            | UserEvent::NamesReleased(_)
            | UserEvent::Unlocked(_)
            | UserEvent::Erased(_)
            | UserEvent::ErasureCompleted(_)
            | UserEvent::EmailVerificationRequested(_)
            | UserEvent::EmailVerified(_)
            | UserEvent::PhoneVerificationRequested(_)
            | UserEvent::PhoneVerificationFailed(_)
            | UserEvent::PhoneVerified(_)
            | UserEvent::PasswordResetRequested(_)
            | UserEvent::LoginFailed(_)
            | UserEvent::Locked(_)
            | UserEvent::RoleGranted(_)
            | UserEvent::RoleRevoked(_)
            | UserEvent::ServiceAccountCreated(_)
            | UserEvent::ServiceKeyIssued(_)
            | UserEvent::ServiceKeyRevoked(_)
            | UserEvent::Reactivated(_)
            | UserEvent::TotpEnrolmentStarted(_)
            | UserEvent::TotpEnabled(_)
            | UserEvent::TotpDisabled(_)
            | UserEvent::RecoveryCodesReplaced(_)
            | UserEvent::SessionSteppedUp(_)
            | UserEvent::PasskeyAdded(_)
            | UserEvent::PasskeyRemoved(_)
            | UserEvent::PasskeyCounted(_)
            | UserEvent::PasskeyCloneSuspected(_)
            | UserEvent::RoleGrantExpired(_) => {}
        }
        Ok(())
    }

    pub fn fold_identifier(&mut self, at: &At<'_>, event: &IdentifierEvent) {
        match event {
            IdentifierEvent::Confirmed(e) => {
                let holder = Holder::of(at, e);
                self.set(at, e.kind, Some(holder));
            }
            IdentifierEvent::Released(e) => self.set(at, e.kind, None),
            // Not anybody's yet.
            IdentifierEvent::Reserved(_) => {}
        }
    }

    fn set(&mut self, at: &At<'_>, kind: IdentifierKind, holder: Option<Holder>) {
        let table = match kind {
            IdentifierKind::Email => &mut self.emails,
            IdentifierKind::Username => &mut self.usernames,
            IdentifierKind::Other => return, // of a newer contract; no table of ours keeps it
        };
        table.insert(at.meta.aggregate_id.clone(), holder);
    }

    /// Whether a row says on which shard a user lies.
    fn places_anybody(&self) -> bool {
        self.emails
            .values()
            .chain(self.usernames.values())
            .any(Option::is_some)
    }

    pub async fn write(&self, tx: &mut PgConnection, place: &Place) -> Result<(), RowError> {
        const EMAIL: Statements = Statements {
            delete: "DELETE FROM email_shard_lookup WHERE email = ANY ($1)",
            upsert: "INSERT INTO email_shard_lookup
                         (ledger, email, user_id, user_ledger, claim_id, created_at, shard_id, updated_at)
                     SELECT $1, n.*, p.shard_id, n.at
                     FROM unnest($2::text[], $3::uuid[], $4::int2[], $5::uuid[], $6::timestamptz[])
                         AS n (key, user_id, user_ledger, claim_id, at)
                     LEFT JOIN shard_placement p ON p.ledger = n.user_ledger
                     ON CONFLICT (email) DO UPDATE SET
                         user_id = excluded.user_id, user_ledger = excluded.user_ledger,
                         shard_id = excluded.shard_id, claim_id = excluded.claim_id,
                         created_at = excluded.created_at, updated_at = excluded.updated_at",
        };
        const USERNAME: Statements = Statements {
            delete: "DELETE FROM username_shard_lookup WHERE username = ANY ($1)",
            upsert: "INSERT INTO username_shard_lookup
                         (ledger, username, user_id, user_ledger, claim_id, created_at, shard_id, updated_at)
                     SELECT $1, n.*, p.shard_id, n.at
                     FROM unnest($2::text[], $3::uuid[], $4::int2[], $5::uuid[], $6::timestamptz[])
                         AS n (key, user_id, user_ledger, claim_id, at)
                     LEFT JOIN shard_placement p ON p.ledger = n.user_ledger
                     ON CONFLICT (username) DO UPDATE SET
                         user_id = excluded.user_id, user_ledger = excluded.user_ledger,
                         shard_id = excluded.shard_id, claim_id = excluded.claim_id,
                         created_at = excluded.created_at, updated_at = excluded.updated_at",
        };
        if self.places_anybody() {
            shard_placement::lock_out_catalog(tx).await?;
        }
        EMAIL.run(tx, place, &self.emails).await?;
        USERNAME.run(tx, place, &self.usernames).await?;
        if !self.sessions.is_empty() {
            insert_sessions(tx, place, &self.sessions).await?;
        }
        Ok(())
    }
}

impl Holder {
    fn of(at: &At<'_>, event: &IdentifierConfirmed) -> Self {
        let ledger = ledger_of(&event.user_id.to_string(), at.place.ledgers);
        Self {
            user_id: event.user_id.as_uuid(),
            user_ledger: i16::try_from(ledger).unwrap_or(i16::MAX),
            claim_id: event.claim_id.as_uuid(),
            at: at.time(),
        }
    }
}

struct Statements {
    delete: &'static str,
    upsert: &'static str,
}

impl Statements {
    async fn run(
        &self,
        tx: &mut PgConnection,
        place: &Place,
        rows: &BTreeMap<String, Option<Holder>>,
    ) -> Result<(), RowError> {
        let released: Vec<&str> = rows
            .iter()
            .filter(|(_, it)| it.is_none())
            .map(|(key, _)| key.as_str())
            .collect();
        if !released.is_empty() {
            sqlx::query(self.delete).bind(&released).execute(&mut *tx).await?;
        }
        let held: Vec<_> = rows
            .iter()
            .filter_map(|(key, it)| Some((key.as_str(), it.as_ref()?)))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        sqlx::query(self.upsert)
            .bind(place.ledger)
            .bind(held.iter().map(|(key, _)| *key).collect::<Vec<_>>())
            .bind(held.iter().map(|(_, it)| it.user_id).collect::<Vec<_>>())
            .bind(held.iter().map(|(_, it)| it.user_ledger).collect::<Vec<_>>())
            .bind(held.iter().map(|(_, it)| it.claim_id).collect::<Vec<_>>())
            .bind(held.iter().map(|(_, it)| it.at).collect::<Vec<_>>())
            .execute(tx)
            .await?;
        Ok(())
    }
}

async fn insert_sessions(
    tx: &mut PgConnection,
    place: &Place,
    rows: &BTreeMap<String, Session>,
) -> Result<(), RowError> {
    sqlx::query(
        "INSERT INTO session_shard_lookup (ledger, shard_id, session_token, user_id, expires_at, created_at)
         SELECT $1, $2, n.* FROM unnest($3::text[], $4::uuid[], $5::timestamptz[], $6::timestamptz[]) AS n",
    )
    .bind(place.ledger)
    .bind(place.shard_id)
    .bind(rows.keys().map(String::as_str).collect::<Vec<_>>())
    .bind(rows.values().map(|it| it.user_id).collect::<Vec<_>>())
    .bind(rows.values().map(|it| it.expires_at).collect::<Vec<_>>())
    .bind(rows.values().map(|it| it.created_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}
