//! One line of an import: what it says of a user, and the event that makes the user.

use event_log::NewDataKey;
use passwords::{NO_PASSWORD, Stored};
use schemas::Idempotency;
use schemas::user::UserRegistered;
use serde::{Deserialize, Serialize};
use service_kit::problem::{Problem, ProblemType};
use utoipa::ToSchema;

use crate::app::App;
use crate::endpoints::register::{NewUser, OF_REGISTRATION, ids, sealed_registration};
use crate::imports::lines::{LONGEST, Line};

/// One line of the body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImportRow)]
pub struct Row {
    username: String,
    email: String,
    #[serde(default)]
    email_verified: bool,
    phone_number: Option<String>,
    #[serde(default)]
    phone_verified: bool,
    /// argon2, bcrypt, scrypt or PBKDF2, as PHC or modular crypt string. Without one nobody signs in until the password is reset.
    password_hash: Option<String>,
}

/// What tells a row from another one: everything but the secret.
#[derive(Serialize)]
struct Fingerprint<'a> {
    username: &'a str,
    email: &'a str,
    email_verified: bool,
    phone_number: Option<&'a str>,
    phone_verified: bool,
}

impl Row {
    pub fn parse(line: &Line) -> Result<Self, Problem> {
        let Some(text) = &line.text else {
            return Err(
                Problem::new(ProblemType::BodyTooLarge).detail(format!("a line has at most {LONGEST} bytes"))
            );
        };
        let row: Self = service_kit::json::parse(text)?;
        if let Some(hash) = &row.password_hash {
            Stored::parse_foreign(hash)
                .map_err(|error| Problem::new(ProblemType::UnusableHash).detail(error.to_string()))?;
        }
        if row.phone_verified && row.phone_number.is_none() {
            return Err(Problem::new(ProblemType::InvalidBody)
                .field("phone_verified", "there is no phone_number to be verified"));
        }
        Ok(row)
    }

    pub fn fingerprint(&self) -> Vec<u8> {
        let fingerprint = Fingerprint {
            username: &self.username,
            email: &self.email,
            email_verified: self.email_verified,
            phone_number: self.phone_number.as_deref(),
            phone_verified: self.phone_verified,
        };
        // A plain struct of strings always serialises.
        serde_json::to_vec(&fingerprint).unwrap_or_default()
    }

    pub fn registration(
        self,
        app: &App,
        idempotency: Option<Idempotency>,
    ) -> Result<(UserRegistered, NewDataKey), Problem> {
        let (user_id, claim_id) = ids(app, idempotency, OF_REGISTRATION);
        let new = NewUser {
            user_id,
            claim_id,
            username: self.username,
            email: self.email,
            phone_number: self.phone_number,
        };
        let hash = self.password_hash.as_deref().unwrap_or(NO_PASSWORD);
        let (registered, key) = sealed_registration(app, &new, hash)?;
        let registered = UserRegistered {
            email_verified: self.email_verified,
            phone_verified: self.phone_verified,
            ..registered
        };
        Ok((registered, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Row, Problem> {
        Row::parse(&Line {
            number: 1,
            text: Some(text.as_bytes().to_vec()),
        })
    }

    fn refused(text: &str) -> ProblemType {
        parse(text).err().unwrap().kind
    }

    #[test]
    fn what_a_row_may_leave_out_is_no_or_none() {
        let row = parse(r#"{"username": "ada", "email": "ada@example.org"}"#).unwrap();
        assert!(!row.email_verified && !row.phone_verified);
        assert!(row.password_hash.is_none() && row.phone_number.is_none());
    }

    #[test]
    fn rows_are_refused_by_type() {
        use ProblemType as P;
        assert_eq!(refused("{"), P::MalformedJson);
        assert_eq!(refused(r#"{"username": "ada"}"#), P::InvalidBody);
        let with = |more: &str| {
            refused(&format!(
                r#"{{"username": "ada", "email": "ada@example.org", {more}}}"#
            ))
        };
        assert_eq!(with(r#""password": "in plain""#), P::InvalidBody);
        assert_eq!(with(r#""password_hash": "in plain""#), P::UnusableHash);
        let dear = "$2b$31$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG";
        assert_eq!(with(&format!(r#""password_hash": "{dear}""#)), P::UnusableHash);
        assert_eq!(with(r#""phone_verified": true"#), P::InvalidBody);
        let endless = Line {
            number: 1,
            text: None,
        };
        assert_eq!(Row::parse(&endless).err().unwrap().kind, P::BodyTooLarge);
    }

    #[test]
    fn the_secret_is_no_part_of_what_tells_rows_apart() {
        let row = |hash: &str| {
            let text =
                format!(r#"{{"username": "ada", "email": "ada@example.org", "password_hash": "{hash}"}}"#);
            parse(&text).unwrap().fingerprint()
        };
        assert_eq!(
            row("$2b$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG"),
            row("$2a$05$u98SUO77bnoJdnRc/1b3lezAPfODlecRrPO9ITI1xC6QeenDIXCZO"),
        );
    }
}
