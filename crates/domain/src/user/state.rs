//! What the events of one user add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemas::user::{
    HeldName, LockReason, LoginFailed, MULTIPLE_FACTORS, ONE_TIME_PASSWORD, SessionRefreshed, UserEvent,
    UserLoggedIn, UserRegistered,
};
use schemas::{BlindIndex, ClaimId, DeviceId, Sealed, SessionId, Sha256Digest, Timestamp, UserId};
use serde::{Deserialize, Serialize};

pub use access::MAX_GRANTS;

use super::erase::Erasure;
use super::factors::Factors;
use super::grants::Grants;
use super::one_time::{Sent, SentCode, SentToken};
use super::service_account::ServiceAccount;
use super::unwritten::Unwritten;
use super::{Error, FAILURES_TO_LOCK};
use crate::decider::Context;

/// A user's live sessions, whatever is configured.
pub const MAX_SESSIONS: usize = 100;
/// Devices that a user is known to sign in from; a further one replaces the one not seen longest.
pub const MAX_DEVICES: usize = 20;
/// Passwords of a user whose hashes are kept, the present one included.
pub const MAX_REMEMBERED_PASSWORDS: usize = 24;
/// Generation of the refresh token that a sign-in gives.
pub const FIRST_GENERATION: i32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// None until registered. A claim may be abandoned before that.
    pub account: Option<Account>,
    /// There was an account.
    pub erased: Option<Erasure>,
    /// Instead of an account: nobody's, for programs.
    pub service: Option<ServiceAccount>,
    pub abandoned_claims: BTreeSet<ClaimId>,
    /// Names that were the user's until their release, which is not known to be done.
    pub given_up: Vec<HeldName>,
    pub sent: Sent,
    /// Counts the credentials: 1 once registered, one more with each change of the password or of a
    /// second factor. A login names the value that its password and factor were checked against.
    pub credentials: i64,
    /// Consecutive ones; a successful login starts anew.
    pub failed_logins: i64,
    /// Locks for failed logins since the last successful one: the next takes longer.
    pub locks: u32,
    pub locked_until: Option<Timestamp>,
    /// Signed in before, the latest last. A lock does not bind them.
    pub devices: Vec<Device>,
    /// None until a sign-in tells.
    pub last_seen: Option<LastSeen>,
    /// May hold expired ones: time passes without events. They never count, see [`Self::session`].
    pub sessions: BTreeMap<SessionId, Session>,
    pub grants: Grants,
    pub factors: Factors,
    /// Known to the owner alone: no event tells of it yet.
    #[serde(skip)]
    pub(super) unwritten: Unwritten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Unregistered,
    Active,
    Deactivated,
    Erased,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub user_id: UserId,
    /// Under which it was registered.
    pub claim: ClaimId,
    pub username: Sealed,
    pub username_index: BlindIndex,
    pub username_claim: ClaimId,
    pub email: Sealed,
    pub email_index: BlindIndex,
    pub email_claim: ClaimId,
    pub email_verified: bool,
    pub phone_number: Option<Sealed>,
    pub phone_verified: bool,
    pub password_hash: Sealed,
    /// Hashes of the passwords before, the latest first.
    pub former_hashes: Vec<Sealed>,
    pub deactivated: bool,
}

impl Account {
    /// Hashes of the last passwords, the present one first.
    pub fn remembered_hashes(&self, count: usize) -> impl Iterator<Item = &Sealed> {
        std::iter::once(&self.password_hash)
            .chain(&self.former_hashes)
            .take(count)
    }

    pub(super) fn change_password(&mut self, hash: &Sealed) {
        let former = std::mem::replace(&mut self.password_hash, hash.clone());
        self.former_hashes.insert(0, former);
        self.former_hashes.truncate(MAX_REMEMBERED_PASSWORDS - 1);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub id: DeviceId,
    /// Since its last sign-in or change of the password; with one too many it is as good as unknown.
    pub failures: i64,
    /// Where it was seen last.
    pub place: Place,
    /// Otherwise it is known by a reset of the password alone.
    pub has_signed_in: bool,
}

/// As coarse as events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub network: Option<String>,
    pub country_code: Option<String>,
}

impl Place {
    /// What this one does not tell is as it was before.
    #[must_use]
    fn or(self, before: &Self) -> Self {
        Self {
            network: self.network.or_else(|| before.network.clone()),
            country_code: self.country_code.or_else(|| before.country_code.clone()),
        }
    }
}

/// The last sign-in or refresh of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    pub at: Timestamp,
    pub place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub device_id: DeviceId,
    /// Of the refresh token that is valid now.
    pub generation: i32,
    pub nonce: Sealed,
    pub refresh_token_hash: Sha256Digest,
    /// The token before that one; none since sign-in.
    pub replaced: Option<ReplacedToken>,
    /// It ends then, whatever is refreshed.
    pub expires_at: Timestamp,
    /// It ends so long after its last activity too.
    pub idle_timeout: Option<Duration>,
    /// Its last sign-in or refresh, if that was told.
    pub active_at: Option<Timestamp>,
    /// How its user proved who they are: method references of RFC 8176.
    pub methods: Vec<String>,
    /// And when, if that was told.
    pub authenticated_at: Option<Timestamp>,
    /// When a second factor was shown in it last.
    pub second_factor_at: Option<Timestamp>,
}

impl Session {
    /// When it ends by itself unless it is refreshed before.
    pub fn ends_at(&self) -> Timestamp {
        self.active_at.map_or(self.expires_at, |at| self.ends_after(at))
    }

    /// As [`Self::ends_at`], if that was its last activity.
    pub fn ends_after(&self, active_at: Timestamp) -> Timestamp {
        let idle = self.idle_timeout.map(|span| active_at.plus(span));
        idle.map_or(self.expires_at, |idle| idle.min(self.expires_at))
    }
}

/// The refresh token that the valid one has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedToken {
    pub hash: Sha256Digest,
    pub at: Timestamp,
}

impl User {
    pub fn status(&self) -> Status {
        match self.deactivated() {
            Err(_) if self.erased.is_some() => Status::Erased,
            Err(_) => Status::Unregistered,
            Ok(true) => Status::Deactivated,
            Ok(false) => Status::Active,
        }
    }

    /// Of a person or a service account.
    pub(super) fn deactivated(&self) -> Result<bool, Error> {
        let account = self.account.as_ref().map(|it| it.deactivated);
        let service = || self.service.as_ref().map(|it| it.deactivated);
        account.or_else(service).ok_or(Error::NotFound)
    }

    /// Until when sign-in is refused, if it is.
    pub fn locked_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until.filter(|until| now < *until)
    }

    /// As [`Self::locked_at`], for whoever comes from this device.
    pub fn locked_for(&self, device: Option<DeviceId>, now: Timestamp) -> Option<Timestamp> {
        let until = self.locked_at(now)?;
        let knows = device.is_some_and(|device| self.knows(device));
        (!knows).then_some(until)
    }

    /// Whether somebody signed in from this device whom nothing has made forgotten since.
    pub fn knows(&self, device: DeviceId) -> bool {
        self.device(device).is_some()
    }

    pub(super) fn device(&self, id: DeviceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == id)
    }

    /// Failures that the owner has folded so far, as one event.
    /// Whether its owner knows of failed sign-ins that no event tells yet.
    pub fn has_unwritten(&self) -> bool {
        self.unwritten.failures().is_some()
    }

    pub(super) fn unwritten_failures(&self) -> Option<UserEvent> {
        self.unwritten.failures().cloned().map(UserEvent::LoginFailed)
    }

    /// A session that has not ended.
    pub fn session(&self, id: SessionId, now: Timestamp) -> Option<&Session> {
        self.sessions.get(&id).filter(|session| now < session.ends_at())
    }

    pub fn live_sessions(&self, now: Timestamp) -> impl Iterator<Item = (SessionId, &Session)> {
        let live = move |(_, session): &(SessionId, &Session)| now < session.ends_at();
        self.sessions
            .iter()
            .map(|(id, session)| (*id, session))
            .filter(live)
    }

    pub(super) fn live_session_ids(&self, now: Timestamp, except: Option<SessionId>) -> Vec<SessionId> {
        let ids = self.live_sessions(now).map(|(id, _)| id);
        ids.filter(|id| Some(*id) != except).collect()
    }

    pub(super) fn registered(&self) -> Result<&Account, Error> {
        self.account.as_ref().ok_or(Error::NotFound)
    }

    pub(super) fn active(&self) -> Result<&Account, Error> {
        let account = self.registered()?;
        if account.deactivated {
            Err(Error::Deactivated)
        } else {
            Ok(account)
        }
    }

    /// Refuses an attempt to sign in, right or wrong, before its outcome counts. Whether the user is
    /// active does not matter here: a deactivated user's password must not be guessed either.
    pub(super) fn admits_attempt(
        &self,
        credentials: i64,
        device: Option<DeviceId>,
        ctx: &Context,
    ) -> Result<(), Error> {
        self.registered()?;
        match self.locked_for(device, ctx.now) {
            Some(until) => Err(Error::Locked { until }),
            None => self.checked_against(credentials),
        }
    }

    /// Refuses what was checked against credentials that have changed since.
    pub(super) const fn checked_against(&self, credentials: i64) -> Result<(), Error> {
        if credentials == self.credentials {
            Ok(())
        } else {
            Err(Error::CredentialsChanged)
        }
    }

    pub(super) fn failures_with(&self, failed: &LoginFailed) -> i64 {
        self.failed_logins
            .saturating_add(i64::from(failed.from_elsewhere()))
    }

    pub fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered(e) => self.register(e),
            UserEvent::ClaimAbandoned(e) => {
                self.abandoned_claims.insert(e.claim_id);
            }
            UserEvent::ProfileChanged(e) => self.change_profile(e),
            UserEvent::NamesReleased(e) => self.note_released(&e.names),
            UserEvent::LoggedIn(e) => self.log_in(e),
            UserEvent::LoginFailed(e) => self.fail(e),
            UserEvent::Locked(e) => {
                self.locked_until = Some(e.locked_until);
                if e.reason == LockReason::FailedLogins {
                    self.locks = self.locks.saturating_add(1);
                }
            }
            UserEvent::Unlocked(_) => self.unlock(),
            UserEvent::EmailVerificationRequested(e) => {
                self.sent.email_verification = Some(SentToken::new(e.token_hash, e.expires_at));
            }
            UserEvent::EmailVerified(_) => self.note_email_verified(),
            UserEvent::PhoneVerificationRequested(e) => self.sent.phone_verification = Some(SentCode::of(e)),
            UserEvent::PhoneVerificationFailed(_) => self.sent.count_wrong_code(),
            UserEvent::PhoneVerified(_) => self.note_phone_verified(),
            UserEvent::PasswordResetRequested(e) => {
                self.sent.password_reset = Some(SentToken::new(e.token_hash, e.expires_at));
            }
            UserEvent::PasswordChanged(e) => self.change_password(e),
            UserEvent::PasswordRehashed(e) => {
                if let Some(account) = &mut self.account {
                    account.password_hash = e.password_hash.clone();
                }
            }
            UserEvent::SessionRefreshed(e) => self.refresh(e),
            UserEvent::RefreshReuseDetected(e) => self.end_sessions(&[e.session_id]),
            UserEvent::SessionRevoked(e) => self.end_sessions(&[e.session_id]),
            UserEvent::SessionsRevoked(e) => self.end_sessions(&e.session_ids),
            UserEvent::RoleGranted(e) => self.grants.insert(e),
            UserEvent::RoleRevoked(e) => self.grants.remove(e.role_id, e.scope.as_ref()),
            UserEvent::RoleGrantExpired(e) => self.grants.remove(e.role_id, e.scope.as_ref()),
            UserEvent::ServiceAccountCreated(e) => self.service = Some(ServiceAccount::of(e)),
            UserEvent::ServiceKeyIssued(e) => {
                if let Some(service) = &mut self.service {
                    service.issue(e);
                }
            }
            UserEvent::ServiceKeyRevoked(e) => {
                if let Some(service) = &mut self.service {
                    service.keys.remove(&e.key_id);
                }
            }
            UserEvent::Deactivated(_) => {
                self.deactivate(true);
                self.sent = Sent::default();
                self.sessions.clear();
                self.devices.clear();
            }
            UserEvent::Reactivated(_) => self.deactivate(false),
            UserEvent::Erased(_) => self.erase(),
            UserEvent::ErasureCompleted(_) => self.erased = Some(Erasure::Complete),
            UserEvent::TotpEnrolmentStarted(e) => self.factors.start(e),
            UserEvent::TotpEnabled(e) => {
                self.factors.enable(e);
                self.factors_changed();
                self.assure(e.session_id, &[ONE_TIME_PASSWORD, MULTIPLE_FACTORS], e.enabled_at);
            }
            UserEvent::TotpDisabled(_) => {
                self.factors.disable();
                self.factors_changed();
            }
            UserEvent::RecoveryCodesReplaced(e) => self.factors.replace_codes(&e.recovery_code_hashes),
            UserEvent::SessionSteppedUp(e) => {
                self.factors.use_up(&e.factor);
                self.assure(e.session_id, &e.methods, e.verified_at);
            }
            UserEvent::PasskeyAdded(e) => {
                self.factors.add(e);
                self.factors_changed();
                self.assure(e.session_id, &e.methods(), e.added_at);
            }
            UserEvent::PasskeyRemoved(e) => {
                self.factors.remove(e.credential_id);
                self.factors_changed();
            }
            UserEvent::PasskeyCounted(e) => self.factors.count_on(e),
            UserEvent::PasskeyCloneSuspected(e) => self.factors.suspect(e),
        }
    }

    fn factors_changed(&mut self) {
        self.credentials = self.credentials.saturating_add(1);
    }

    fn assure(&mut self, session: SessionId, methods: &[impl AsRef<str>], at: Timestamp) {
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        session.second_factor_at = Some(at);
        for method in methods.iter().map(AsRef::as_ref) {
            if !session.methods.iter().any(|known| known == method) {
                session.methods.push(method.to_owned());
            }
        }
    }

    fn register(&mut self, event: &UserRegistered) {
        self.credentials = 1;
        self.account = Some(Account {
            user_id: event.user_id,
            claim: event.claim_id,
            username: event.username.clone(),
            username_index: event.username_index,
            username_claim: event.claim_id,
            email: event.email.clone(),
            email_index: event.email_index,
            email_claim: event.claim_id,
            email_verified: event.email_verified,
            phone_number: event.phone_number.clone(),
            phone_verified: event.phone_verified,
            password_hash: event.password_hash.clone(),
            former_hashes: Vec::new(),
            deactivated: false,
        });
    }

    fn log_in(&mut self, event: &UserLoggedIn) {
        if let Some(factor) = &event.factor {
            self.factors.use_up(factor);
        }
        // Guessing elsewhere goes on counting while a lock is there that did not bind this one.
        if !event.despite_lock {
            self.unlock();
        }
        let place = Place {
            network: event.ip_network.clone(),
            country_code: event.country_code.clone(),
        };
        self.note_device(Device {
            id: event.device_id,
            failures: 0,
            place: place.clone(),
            has_signed_in: true,
        });
        if let Some(at) = event.authenticated_at {
            self.last_seen = Some(LastSeen { at, place });
        }
        let session = Session {
            device_id: event.device_id,
            generation: FIRST_GENERATION,
            nonce: event.nonce.clone(),
            refresh_token_hash: event.refresh_token_hash,
            replaced: None,
            expires_at: event.expires_at,
            idle_timeout: event.idles_for(),
            active_at: event.authenticated_at,
            methods: event.methods.clone(),
            authenticated_at: event.authenticated_at,
            second_factor_at: event.factor.as_ref().and(event.authenticated_at),
        };
        self.sessions.insert(event.session_id, session);
        // The login ended what was live beyond the bound, so only expired ones are forgotten here.
        while self.sessions.len() > MAX_SESSIONS {
            let others = self.sessions.iter().filter(|(id, _)| **id != event.session_id);
            match others
                .min_by_key(|(id, session)| (session.ends_at(), **id))
                .map(|(id, _)| *id)
            {
                Some(oldest) => self.sessions.remove(&oldest),
                None => break,
            };
        }
    }

    /// The one not seen longest makes room.
    fn note_device(&mut self, device: Device) {
        self.devices.retain(|known| known.id != device.id);
        self.devices.push(device);
        let surplus = self.devices.len().saturating_sub(MAX_DEVICES);
        self.devices.drain(..surplus);
    }

    fn unlock(&mut self) {
        self.failed_logins = 0;
        self.locks = 0;
        self.locked_until = None;
    }

    fn fail(&mut self, event: &LoginFailed) {
        self.failed_logins = self.failures_with(event);
        for failed in &event.known_devices {
            let is_it = |device: &&mut Device| device.id == failed.device_id;
            if let Some(device) = self.devices.iter_mut().find(is_it) {
                device.failures = device.failures.saturating_add(i64::from(failed.count));
            }
        }
        self.devices.retain(|device| device.failures < FAILURES_TO_LOCK);
    }

    fn refresh(&mut self, event: &SessionRefreshed) {
        let Some(session) = self.sessions.get_mut(&event.session_id) else {
            return;
        };
        session.replaced = Some(ReplacedToken {
            hash: session.refresh_token_hash,
            at: event.refreshed_at,
        });
        session.generation = event.generation;
        session.nonce = event.nonce.clone();
        session.refresh_token_hash = event.refresh_token_hash;
        session.active_at = Some(event.refreshed_at);
        let place = Place {
            network: event.ip_network.clone(),
            country_code: event.country_code.clone(),
        };
        let is_it = |device: &&mut Device| device.id == session.device_id;
        if let Some(device) = self.devices.iter_mut().find(is_it) {
            device.place = place.clone().or(&device.place);
        }
        let before = self.last_seen.take().unwrap_or_default();
        self.last_seen = Some(LastSeen {
            at: event.refreshed_at,
            place: place.or(&before.place),
        });
    }

    pub(super) fn end_sessions(&mut self, ids: &[SessionId]) {
        for id in ids {
            self.sessions.remove(id);
        }
    }

    fn deactivate(&mut self, deactivated: bool) {
        if let Some(account) = &mut self.account {
            account.deactivated = deactivated;
        }
        if let Some(service) = &mut self.service {
            service.deactivated = deactivated;
        }
    }
}
