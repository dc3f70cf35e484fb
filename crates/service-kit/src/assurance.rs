//! How a user proved who they are, as access tokens tell it: `amr` and `acr` (RFC 8176, RFC 9068) and `auth_time`,
//! by which others ask for more (RFC 9470).

use std::sync::Arc;

use schemas::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// Authenticator assurance level, as NIST SP 800-63B tells one factor from two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// One factor, or nothing told.
    #[default]
    Aal1,
    /// Two different factors.
    Aal2,
}

impl Assurance {
    /// By methods of different kinds, or by the word of whoever verified them.
    pub fn of(methods: &[String]) -> Self {
        let kinds = methods.iter().filter_map(|method| Kind::of(method));
        let is_several = {
            let mut kinds = kinds.collect::<Vec<_>>();
            kinds.sort_unstable();
            kinds.dedup();
            kinds.len() > 1
        };
        if is_several || methods.iter().any(|method| method == "mfa") {
            Self::Aal2
        } else {
            Self::Aal1
        }
    }

    /// The `acr` of access tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Knowledge,
    Possession,
    Inherence,
}

impl Kind {
    /// The methods that RFC 8176 registers and that prove something by themselves.
    fn of(method: &str) -> Option<Self> {
        match method {
            "pwd" | "pin" | "kba" => Some(Self::Knowledge),
            "otp" | "hwk" | "swk" | "sms" | "tel" | "sc" => Some(Self::Possession),
            "face" | "fpt" | "iris" | "retina" | "vbm" => Some(Self::Inherence),
            _ => None,
        }
    }
}

/// How and when a session's user proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Method references of RFC 8176.
    pub methods: Arc<[String]>,
    /// To the second in a token; none where nobody noted it.
    pub at: Option<Timestamp>,
}

impl Authentication {
    pub fn new(methods: &[String], at: Option<Timestamp>) -> Self {
        let methods = methods.into();
        Self { methods, at }
    }

    pub fn assurance(&self) -> Assurance {
        Assurance::of(&self.methods)
    }
}

impl Default for Authentication {
    fn default() -> Self {
        Self::new(&[], None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_kinds_are_more_than_two_of_a_kind() {
        let of =
            |methods: &[&str]| Assurance::of(&methods.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
        for one in [
            &[][..],
            &["pwd"],
            &["pwd", "pin"],
            &["otp"],
            &["hwk", "user"],
            &["new"],
        ] {
            assert_eq!(of(one), Assurance::Aal1, "{one:?}");
        }
        for two in [
            &["pwd", "otp"][..],
            &["hwk", "pin"],
            &["swk", "fpt"],
            &["hwk", "mfa"],
        ] {
            assert_eq!(of(two), Assurance::Aal2, "{two:?}");
        }
        assert!(Assurance::Aal1 < Assurance::Aal2);
    }
}
