//! The aggregates, decided by `domain` itself.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use domain::decider::{Context, Decide};
use domain::identifier::{self, Confirm, Holder, Identifier, IdentifierCommand, Release, Reserve};
use domain::user::{self, AbandonClaim, Account, Register, User, UserCommand};
use schemas::identifier::IdentifierKind;
use schemas::user::UserRegistered;
use schemas::{BlindIndex, ClaimId, Sealed, Sha256Digest, Timestamp, UserId};
use uuid::Uuid;

/// Who wants what: an e-mail address and a user name, by their numbers.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub id: ClaimId,
    pub user: usize,
    pub names: [usize; 2],
}

impl Claim {
    pub const fn new(number: u128, user: usize, names: [usize; 2]) -> Self {
        Self {
            id: ClaimId::from_uuid(Uuid::from_u128(number)),
            user,
            names,
        }
    }

    pub fn user_id(&self) -> UserId {
        user_id(self.user)
    }
}

fn user_id(number: usize) -> UserId {
    UserId::from_uuid(Uuid::from_u128(number as u128 + 1))
}

/// A command to one aggregate, with the claim's number in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    Reserve {
        name: usize,
        claim: usize,
    },
    Confirm {
        name: usize,
        claim: usize,
    },
    Release {
        name: usize,
        claim: usize,
    },
    Register {
        claim: usize,
    },
    /// Reserves and confirms the names that are near and registers, all or nothing.
    Together {
        claim: usize,
        near: [bool; 2],
    },
    Abandon {
        claim: usize,
    },
}

/// Why an aggregate said no, as far as the sagas care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    ReservedBy(ClaimId),
    Taken,
    ClaimUsed,
    Other,
}

/// All aggregates. Shared, since a step changes one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledgers {
    names: Vec<Arc<Identifier>>,
    users: Vec<Arc<User>>,
}

impl Ledgers {
    pub fn new(names: usize, users: usize) -> Self {
        Self {
            names: vec![Arc::default(); names],
            users: vec![Arc::default(); users],
        }
    }

    pub fn name(&self, number: usize) -> &Identifier {
        &self.names[number]
    }

    pub fn user(&self, number: usize) -> &User {
        &self.users[number]
    }

    pub fn registered_under(&self, claim: Claim) -> Option<ClaimId> {
        self.user(claim.user)
            .account
            .as_ref()
            .map(|account| account.username_claim)
    }

    /// Runs a command as the aggregate's owner does: one at a time, decided on what is committed.
    pub fn execute(&mut self, claims: &[Claim], command: Command) -> Result<(), Refusal> {
        match command {
            Command::Reserve { name, claim } => self.tell_name(name, reserve(claims[claim], name)),
            Command::Confirm { name, claim } => {
                let (user_id, claim_id) = (claims[claim].user_id(), claims[claim].id);
                self.tell_name(name, IdentifierCommand::Confirm(Confirm { user_id, claim_id }))
            }
            Command::Release { name, claim } => {
                let (user_id, claim_id) = (claims[claim].user_id(), claims[claim].id);
                self.tell_name(name, IdentifierCommand::Release(Release { user_id, claim_id }))
            }
            Command::Register { claim } => self.tell_user(claims[claim].user, register(claims[claim])),
            Command::Together { claim, near } => self.together(claims, claim, near),
            Command::Abandon { claim } => {
                let claim_id = claims[claim].id;
                self.tell_user(
                    claims[claim].user,
                    UserCommand::AbandonClaim(AbandonClaim { claim_id }),
                )
            }
        }
    }

    fn together(&mut self, claims: &[Claim], claim: usize, near: [bool; 2]) -> Result<(), Refusal> {
        let mut after = self.clone();
        for command in steps(claims, claim, near) {
            after.execute(claims, command)?;
        }
        *self = after;
        Ok(())
    }

    /// For a flaw: what is not refused is done.
    pub fn in_parts(&mut self, claims: &[Claim], claim: usize, near: [bool; 2]) -> Result<(), Refusal> {
        let outcomes: Vec<_> = steps(claims, claim, near)
            .map(|command| self.execute(claims, command))
            .collect();
        outcomes.into_iter().collect()
    }

    fn tell_name(&mut self, name: usize, command: IdentifierCommand) -> Result<(), Refusal> {
        let events = command
            .decide(&self.names[name], &CONTEXT)
            .map_err(|error| match error {
                identifier::Error::Reserved { claim_id, .. } => Refusal::ReservedBy(claim_id),
                identifier::Error::Taken => Refusal::Taken,
            })?;
        let state = Arc::make_mut(&mut self.names[name]);
        events.iter().for_each(|event| state.apply(event));
        Ok(())
    }

    fn tell_user(&mut self, user: usize, command: UserCommand) -> Result<(), Refusal> {
        let events = command
            .decide(&self.users[user], &CONTEXT)
            .map_err(|error| match error {
                user::Error::ClaimUsed => Refusal::ClaimUsed,
                _ => Refusal::Other,
            })?;
        let state = Arc::make_mut(&mut self.users[user]);
        events.iter().for_each(|event| state.apply(event));
        Ok(())
    }

    /// For a flaw: the holder is thrown out, whoever it is.
    pub fn free(&mut self, name: usize) {
        self.names[name] = Arc::default();
    }

    /// The claim under which a name is reserved and not yet confirmed.
    pub fn reserved_under(&self, name: usize) -> Option<ClaimId> {
        match self.name(name) {
            Identifier::Reserved { holder, .. } => Some(holder.claim_id),
            Identifier::Free | Identifier::Held { .. } => None,
        }
    }
}

/// The deciders of these commands look at no clock.
const CONTEXT: Context = Context {
    now: Timestamp::from_micros(0),
};

fn steps(claims: &[Claim], claim: usize, near: [bool; 2]) -> impl Iterator<Item = Command> {
    let names = claims[claim].names.into_iter().zip(near);
    let of_name = move |name| [Command::Reserve { name, claim }, Command::Confirm { name, claim }];
    names
        .filter(|(_, is_near)| *is_near)
        .flat_map(move |(name, _)| of_name(name))
        .chain([Command::Register { claim }])
}

fn index(name: usize) -> BlindIndex {
    BlindIndex(Sha256Digest([u8::try_from(name).unwrap_or(u8::MAX); 32]))
}

fn reserve(claim: Claim, name: usize) -> IdentifierCommand {
    IdentifierCommand::Reserve(Reserve {
        kind: if claim.names[0] == name {
            IdentifierKind::Email
        } else {
            IdentifierKind::Username
        },
        user_id: claim.user_id(),
        claim_id: claim.id,
        expires_at: Timestamp::from_micros(0),
        index_key_id: String::new(),
    })
}

fn register(claim: Claim) -> UserCommand {
    let sealed = || Sealed::from_bytes(&[]);
    let registration = UserRegistered {
        user_id: claim.user_id(),
        claim_id: claim.id,
        username: sealed(),
        username_index: index(claim.names[1]),
        email: sealed(),
        email_index: index(claim.names[0]),
        phone_number: None,
        password_hash: sealed(),
        email_verified: false,
        phone_verified: false,
    };
    UserCommand::Register(Box::new(Register { registration }))
}

/// By all that these commands can change. The checker takes states of one hash for one state; that it
/// misses none is tested by counting those that differ.
impl Hash for Ledgers {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for name in &self.names {
            let (kind, holder) = match &**name {
                Identifier::Free => (0_u8, None),
                Identifier::Reserved { holder, .. } => (1, Some(holder)),
                Identifier::Held { holder } => (2, Some(holder)),
            };
            kind.hash(hasher);
            holder
                .map(
                    |Holder {
                         user_id, claim_id, ..
                     }| (user_id, claim_id),
                )
                .hash(hasher);
        }
        for user in &self.users {
            let account = user.account.as_ref();
            account
                .map(
                    |Account {
                         user_id,
                         username_claim,
                         deactivated,
                         ..
                     }| (user_id, username_claim, deactivated),
                )
                .hash(hasher);
            user.abandoned_claims.hash(hasher);
        }
    }
}
