//! One-time passwords of authenticator apps (RFC 6238): SHA-1, steps of 30 s, 6 digits, which is
//! what all apps do, whatever else an enrolment asks for.

use schemas::Timestamp;
use service_kit::problem::Problem;
use totp_rs::{Builder, Secret, Totp};

/// Seconds (RFC 6238, section 5.2).
const STEP: u64 = 30;
/// A code may be of the step before or after this one (ibid.).
const DRIFT: u16 = 1;

/// A secret of 160 bits (RFC 4226, section 4) in base32.
pub fn new_secret() -> String {
    Secret::from(rand::random::<[u8; 20]>()).to_base32()
}

/// What the app reads from a QR code.
pub fn otpauth_uri(secret: &str, issuer: &str, account: &str) -> Result<String, Problem> {
    // A colon ends the issuer there.
    let without_colon = |text: &str| text.replace(':', " ");
    let totp = totp_of(secret, |builder| {
        builder
            .with_issuer(Some(without_colon(issuer)))
            .with_account_name(without_colon(account))
    })?;
    totp.to_url().map_err(|error| Problem::internal(&error))
}

/// The time step of which this is the code, if it is one of now.
pub fn step_of(secret: &str, code: &str, now: Timestamp) -> Result<Option<i64>, Problem> {
    let totp = totp_of(secret, |builder| builder)?;
    let seconds = u64::try_from(now.as_micros() / 1_000_000).unwrap_or(0);
    let step = totp.check(&digits(code), seconds);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

/// Whether this is the code of that time step, however long ago.
pub fn is_of_step(secret: &str, code: &str, step: i64) -> Result<bool, Problem> {
    let totp = totp_of(secret, |builder| builder.with_skew(0))?;
    let seconds = u64::try_from(step).unwrap_or(0).saturating_mul(STEP);
    Ok(totp.check(&digits(code), seconds).is_some())
}

/// Apps show the code in two groups.
fn digits(code: &str) -> String {
    code.chars().filter(|c| !c.is_whitespace()).collect()
}

fn totp_of(secret: &str, with: impl FnOnce(Builder) -> Builder) -> Result<Totp, Problem> {
    let secret = Secret::try_from_base32(secret).map_err(|error| Problem::internal(&error))?;
    let builder = Builder::new()
        .with_secret(secret)
        .with_step_duration(STEP)
        .with_skew(DRIFT);
    with(builder).build().map_err(|error| Problem::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "12345678901234567890", the secret of RFC 6238's test vectors.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_vectors_of_rfc_6238_hold() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(step_of(RFC, code, at(seconds)).unwrap(), Some(seconds / 30));
        }
    }

    #[test]
    fn a_code_counts_one_step_early_or_late_and_no_more() {
        let step = 1_234_567_890 / 30;
        let found = |steps: i64| step_of(RFC, "005924", at((step + steps) * 30)).unwrap();
        assert_eq!([found(-1), found(0), found(1)], [Some(step); 3]);
        assert_eq!([found(-2), found(2)], [None, None]);
        assert!(is_of_step(RFC, "005 924", step).unwrap());
        assert!(!is_of_step(RFC, "005924", step + 1).unwrap());
    }

    #[test]
    fn what_is_no_code_fits_nothing() {
        for code in ["", "5924", "+05924", "0059240", "00592x", "٠٠٥٩٢٤"] {
            assert_eq!(step_of(RFC, code, at(1_234_567_890)).unwrap(), None, "{code}");
        }
    }

    #[test]
    fn the_uri_names_issuer_and_account() {
        let secret = new_secret();
        assert_eq!(secret.len(), 32);
        let uri = otpauth_uri(&secret, "Role:call", "alice").unwrap();
        assert!(uri.starts_with("otpauth://totp/Role%20call:alice?"), "{uri}");
        assert!(uri.contains(&format!("secret={secret}")) && uri.contains("issuer=Role%20call"));
    }
}
