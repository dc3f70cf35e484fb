//! Passkeys: WebAuthn (Level 3) by `webauthn-rs`, always with user verification.

use clap::Args;
use domain::user::{Shown, User};
use schemas::user::{Factor, FactorKind, HARDWARE_KEY, SOFTWARE_KEY, USER_VERIFIED};
use schemas::{BlindIndex, LogId, UserId, sealed_field as field};
use serde::Deserialize;
use service_kit::keys::TokenKey;
use service_kit::problem::{Problem, ProblemType};
use utoipa::ToSchema;
use webauthn_rs::fake::{FakePasskeyDistribution, WebauthnFakeCredentialGenerator};
use webauthn_rs::prelude::{
    Credential, DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, RequestChallengeResponse, Url, Webauthn, WebauthnBuilder, WebauthnError,
};
use webauthn_rs_proto::{AllowCredentials, CreationChallengeResponse, PublicKeyCredentialDescriptor};

use crate::app::App;
use crate::ceremonies::{Ceremonies, Purpose, invalid};
use crate::sealing::Seal;
use crate::second_factor::Checked;

/// Whom browsers hold passkeys for.
#[derive(Args, Clone, Debug)]
pub struct RelyingParty {
    /// Domain that passkeys are bound to: that of the origins, or one above it. Passkeys made for another are lost.
    #[arg(long, env = "ROLECALL_RELYING_PARTY_ID", default_value = "localhost")]
    pub relying_party_id: String,
    /// Name that browsers and authenticator apps show.
    #[arg(long, env = "ROLECALL_RELYING_PARTY_NAME", default_value = "Rolecall")]
    pub relying_party_name: String,
    /// Origins of the pages that ask for passkeys, by commas.
    #[arg(
        long,
        env = "ROLECALL_RELYING_PARTY_ORIGINS",
        default_value = "http://localhost:8080",
        value_delimiter = ','
    )]
    pub relying_party_origins: Vec<Url>,
}

impl RelyingParty {
    /// Fails unless every origin lies within the domain.
    pub fn webauthn(&self) -> Result<Webauthn, WebauthnError> {
        let id = self.relying_party_id.as_str();
        let mut builder: Option<WebauthnBuilder<'_>> = None;
        for origin in &self.relying_party_origins {
            let alone = WebauthnBuilder::new(id, origin)?;
            builder = Some(match builder {
                None => alone,
                Some(builder) => builder.append_allowed_origin(origin),
            });
        }
        let builder = builder.ok_or(WebauthnError::Configuration)?;
        builder.rp_name(&self.relying_party_name).build()
    }
}

/// The answer of an authenticator to the options of a ceremony.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyAnswer {
    /// As it came with the options.
    pub ceremony: String,
    /// `PublicKeyCredential` of `navigator.credentials.get`, as its `toJSON` gives it.
    #[schema(value_type = Object)]
    pub credential: PublicKeyCredential,
}

/// A passkey about to be recorded.
pub struct NewPasskey {
    pub index: BlindIndex,
    /// With its counter set to 0: the user's owner counts, and decides what a counter means.
    pub json: String,
    pub signature_counter: i64,
    pub is_backed_up: bool,
}

pub struct Passkeys {
    webauthn: Webauthn,
    pub ceremonies: Ceremonies,
    decoys: WebauthnFakeCredentialGenerator<FakePasskeyDistribution>,
}

impl Passkeys {
    pub fn new(webauthn: Webauthn, key: &TokenKey, log: LogId) -> Result<Self, WebauthnError> {
        let decoy_key = key.derive("passkey-decoys", log.as_uuid(), 0, &[]);
        Ok(Self {
            webauthn,
            ceremonies: Ceremonies::new(key, log),
            decoys: WebauthnFakeCredentialGenerator::new(&decoy_key)?,
        })
    }

    /// For a user who has these already.
    pub fn start_registration(
        &self,
        user: UserId,
        username: &str,
        has: &[Passkey],
    ) -> Result<(CreationChallengeResponse, PasskeyRegistration), Problem> {
        let (mut options, state) = self
            .webauthn
            .start_passkey_registration(user.as_uuid(), username, username, None)
            .map_err(|error| Problem::internal(&error))?;
        // Browsers refuse these; of what comes all the same, the user's owner decides.
        let exclude = has.iter().map(|passkey| PublicKeyCredentialDescriptor {
            type_: "public-key".to_owned(),
            id: passkey.cred_id().to_vec(),
            transports: None,
        });
        options.public_key.exclude_credentials = Some(exclude.collect());
        // Discoverable where the authenticator can, so that it signs in without a name too.
        if let Some(selection) = &mut options.public_key.authenticator_selection {
            selection.resident_key = Some(webauthn_rs_proto::ResidentKeyRequirement::Preferred);
        }
        Ok((options, state))
    }

    /// Whom a challenge is for, if it names anybody.
    pub fn challenged_user(&self, ceremony: &str) -> Result<Option<UserId>, Problem> {
        match self.ceremonies.open(ceremony)?.purpose {
            Purpose::Authenticate { user, .. } => Ok(user),
            Purpose::Register { .. } => Err(invalid("this ceremony registers a passkey")),
        }
    }

    /// Passkeys of a name without any, the same each time: whether a name has some is not for everybody
    /// (WebAuthn Level 3, section 14.6.2).
    pub fn made_up(&self, name: BlindIndex) -> Result<Vec<Vec<u8>>, Problem> {
        let made_up = self.decoys.generate(&name.0.0);
        let made_up = made_up.map_err(|error| Problem::internal(&error))?;
        Ok(made_up.iter().map(|id| id.to_vec()).collect())
    }

    pub fn start_authentication(
        &self,
    ) -> Result<(RequestChallengeResponse, DiscoverableAuthentication), Problem> {
        let (mut options, state) = self
            .webauthn
            .start_discoverable_authentication()
            .map_err(|error| Problem::internal(&error))?;
        options.mediation = None;
        Ok((options, state))
    }
}

impl App {
    /// Options for the passkeys of this user, or of whoever brings one; and the ceremony.
    pub fn passkey_options(
        &self,
        user: Option<UserId>,
        allow: Vec<Vec<u8>>,
    ) -> Result<(String, RequestChallengeResponse), Problem> {
        let (mut options, state) = self.passkeys.start_authentication()?;
        let allow = allow.into_iter().map(|id| AllowCredentials {
            type_: "public-key".to_owned(),
            id,
            transports: None,
        });
        options.public_key.allow_credentials = allow.collect();
        let ceremony = self
            .passkeys
            .ceremonies
            .seal(Purpose::Authenticate { user, state })?;
        Ok((ceremony, options))
    }

    /// The user's passkeys, opened.
    pub fn open_passkeys(&self, state: &User, seal: &Seal) -> Result<Vec<Passkey>, Problem> {
        let passkeys = state.factors.passkeys.values();
        passkeys
            .map(|passkey| {
                let json = seal.open(field::PASSKEY, &passkey.passkey)?;
                serde_json::from_str(&json).map_err(|error| Problem::internal(&error))
            })
            .collect()
    }

    pub fn passkey_index(&self, credential: &[u8]) -> BlindIndex {
        BlindIndex(self.index_key.digest("passkey", &[credential]))
    }

    /// Nothing if it is no answer of a passkey of this user's to this challenge.
    pub fn check_passkey(
        &self,
        state: &User,
        seal: &Seal,
        answer: &PasskeyAnswer,
    ) -> Result<Option<Checked>, Problem> {
        let ceremony = self.passkeys.ceremonies.open(&answer.ceremony)?;
        let Purpose::Authenticate {
            user,
            state: challenge,
        } = ceremony.purpose
        else {
            return Err(invalid("this ceremony registers a passkey"));
        };
        let own = state.account.as_ref().map(|account| account.user_id);
        let credential = &answer.credential;
        let handle = credential.get_user_unique_id();
        let names_another = handle.is_some_and(|it| own.is_none_or(|own| own.as_uuid().as_bytes() != it));
        if names_another || user.is_some_and(|user| Some(user) != own) {
            return Ok(None);
        }
        let index = self.passkey_index(credential.get_credential_id());
        let Some((credential_id, known)) = state.factors.passkey_by_index(index) else {
            return Ok(None);
        };
        let passkey: Passkey = serde_json::from_str(&seal.open(field::PASSKEY, &known.passkey)?)
            .map_err(|error| Problem::internal(&error))?;
        let finished = self
            .passkeys
            .webauthn
            .finish_discoverable_authentication_v2(credential, challenge, &passkey);
        let result = match finished {
            Ok(result) if result.user_verified() => result,
            Ok(_) => return Ok(None),
            Err(error) => {
                tracing::debug!("A passkey's answer was refused: {error}");
                return Ok(None);
            }
        };
        let key = if result.backup_eligible() {
            SOFTWARE_KEY
        } else {
            HARDWARE_KEY
        };
        Ok(Some(Checked {
            shown: Shown {
                factor: Factor {
                    kind: FactorKind::Passkey,
                    credential_id: Some(credential_id),
                    totp_step: None,
                    recovery_code_hash: None,
                    ceremony_id: Some(ceremony.id),
                },
                signature_counter: Some(result.counter().into()),
            },
            methods: [key, USER_VERIFIED].map(str::to_owned).to_vec(),
        }))
    }

    /// Checks what an authenticator made for this ceremony.
    pub fn check_registration(
        &self,
        credential: &RegisterPublicKeyCredential,
        state: &PasskeyRegistration,
    ) -> Result<NewPasskey, Problem> {
        let passkey = self
            .passkeys
            .webauthn
            .finish_passkey_registration(credential, state)
            .map_err(|error| Problem::new(ProblemType::InvalidPasskey).detail(error.to_string()))?;
        let index = self.passkey_index(passkey.cred_id());
        let mut credential = Credential::from(passkey);
        let signature_counter = std::mem::take(&mut credential.counter).into();
        let is_backed_up = credential.backup_eligible;
        let json = serde_json::to_string(&Passkey::from(credential));
        Ok(NewPasskey {
            index,
            json: json.map_err(|error| Problem::internal(&error))?,
            signature_counter,
            is_backed_up,
        })
    }
}
