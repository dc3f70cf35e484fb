//! Hashes made by other programs (argon2-cffi 25, bcrypt 4, passlib 1.7 and Python's hashlib), and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use passwords::{Cost, FormError, Hasher, Memory, Peppers, Stored};
use proptest::prelude::*;

const PASSWORD: &str = "correct horse b\u{e4}ttery";

const MADE_ELSEWHERE: &[&str] = &[
    "$argon2id$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$7IBdoaKFq3hXwcnyhZgwOKeHdRJouabN+UU9eXW+xN0",
    "$argon2i$v=19$m=512,t=3,p=1$c2FsdHNhbHQ$mwI2rAFgRLC5rSjozB5OK4HRDD//bh1AvAB4S5zAMhk",
    "$argon2d$v=19$m=512,t=3,p=1$c2FsdHNhbHQ$mMupmDhiSNJT2vU7B+hE1A",
    "$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$9k78nMtnmNVz525CPJ4c8yHJR8LL3mlSpmRV+qxsd1Q",
    // Without a version it is the first one.
    "$argon2id$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$9k78nMtnmNVz525CPJ4c8yHJR8LL3mlSpmRV+qxsd1Q",
    "$2b$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG",
    "$2a$05$u98SUO77bnoJdnRc/1b3lezAPfODlecRrPO9ITI1xC6QeenDIXCZO",
    "$2y$04$Hf5nw2rCryqdBzU/fMOt1..jxDanOQHweAfQcjfInUjRTs1.yTn8a",
    "$scrypt$ln=6,r=8,p=1$ISQkhPD+nzNGaM25l5KScg$LF8sfORyw8GTn55ZJChF1guyoH1ZsTTJTobZ7+0Ujh0",
    "$7$56..../....NaClNaClNaCl$xTpE.mEbGv6kNlpr0MwKsyOhjfSSqDQFrST/KN.jvi0",
    "$pbkdf2$100$YczZO8cYA2Csda5VqlWqFQ$vyMwdKRzdLbdKhSkfIuAz4VnJGg",
    "$pbkdf2-sha256$100$AiAEYAxhjHEOAUDovZeSMg$oRuYhcg.qNc4jgXiG5drn/nYmYuzt/gjIj3BDa/guRw",
    "$pbkdf2-sha512$100$4HxPCQEAIKS0lvLeO2csBaAUolSK8b53jjFG6N37HwM$vMpNYAA4G598X4NcHLV09NpYmWZBb/T23uREhVHjV6jNbOzyMHZT40HCs/o.hWp6g3.Tq7iqm/IDH.KUgvGE/Q",
    "$pbkdf2-sha256$i=77,l=32$MDEyMzQ1Njc4OWFiY2RlZg$EQbdcARmM9zqryjoPXY8yeceLLaVniTzgtA83qP5I54",
];

/// RFC 7914, section 12, and RFC 6070, in the forms of the strings here.
const STANDARDS: &[(&str, &str)] = &[
    (
        "password",
        "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
    ),
    (
        "pleaseletmein",
        "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
    ),
    ("password", "$pbkdf2$4096$c2FsdA$SwB5AbdlSJq.rUnZJvch0GWkKcE"),
];

fn hasher() -> Hasher {
    Hasher::new(Cost::default(), Peppers::default()).unwrap()
}

fn fits(password: &str, hash: &str) -> bool {
    hasher().verify(password, hash, &mut Memory::default()).unwrap()
}

#[test]
fn hashes_of_other_programs_are_checked() {
    for hash in MADE_ELSEWHERE {
        assert!(Stored::parse_foreign(hash).is_ok(), "{hash}");
        assert!(fits(PASSWORD, hash), "{hash}");
        // Typed as letter and accent, it is the same password.
        assert!(fits("correct horse ba\u{308}ttery", hash), "{hash}");
        assert!(!fits("correct horse battery", hash), "{hash}");
        assert!(!fits("", hash), "{hash}");
        assert!(!hasher().is_current(hash), "{hash}");
    }
}

#[test]
fn bcrypt_looks_at_the_first_72_bytes() {
    let hash = "$2b$04$ln5K34dSpd8LAvzs8VXPJeqzeQea6d40MQzyA31zqe3kpnI6FJ7Ne";
    assert!(fits(&"x".repeat(100), hash) && fits(&"x".repeat(72), hash));
    assert!(!fits(&"x".repeat(71), hash));
}

#[test]
fn the_standards_own_vectors_fit() {
    for (password, hash) in STANDARDS {
        assert!(fits(password, hash), "{hash}");
    }
}

#[test]
fn what_would_be_too_dear_is_not_taken() {
    for (hash, name) in [
        (
            "$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHQ$mMupmDhiSNJT2vU7B+hE1A",
            "argon2",
        ),
        (
            "$argon2id$v=19$m=65536,t=17,p=1$c2FsdHNhbHQ$mMupmDhiSNJT2vU7B+hE1A",
            "argon2",
        ),
        (
            "$2b$15$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG",
            "bcrypt",
        ),
        (
            "$scrypt$ln=20,r=8,p=1$ISQkhPD$LF8sfORyw8GTn55ZJChF1guyoH1ZsTTJTobZ7+0Ujh0",
            "scrypt",
        ),
        (
            "$scrypt$ln=14,r=8,p=64$ISQkhPD$LF8sfORyw8GTn55ZJChF1guyoH1ZsTTJTobZ7+0Ujh0",
            "scrypt",
        ),
        (
            "$pbkdf2$2000001$YczZO8cYA2Csda5VqlWqFQ$vyMwdKRzdLbdKhSkfIuAz4VnJGg",
            "PBKDF2",
        ),
    ] {
        assert_eq!(
            Stored::parse_foreign(hash).err(),
            Some(FormError::TooDear(name)),
            "{hash}"
        );
    }
}

#[test]
fn what_can_never_be_checked_is_not_taken() {
    for hash in [
        "",
        "plain text",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$salt$hash",
        "$6$salt$hash",
        "$2x$04$bcl7Ws10NlJbv8cvu7Ffl.unWJ8YNoFoFaTXD2/8AgEdk/VuCoIwG",
        &format!("$argon2id${}", "x".repeat(2_000)),
    ] {
        assert_eq!(
            Stored::parse_foreign(hash).err(),
            Some(FormError::Unknown),
            "{hash}"
        );
    }
    for hash in [
        "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
        "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$mMupmDhiSNJT2vU7B+hE1A",
        "$2b$04$short",
        "$scrypt$ln=6,r=8$ISQkhPD$LF8sfORyw8GTn55ZJChF1guyoH1ZsTTJTobZ7+0Ujh0",
        "$scrypt$ln=6,r=0,p=1$ISQkhPD$LF8sfORyw8GTn55ZJChF1guyoH1ZsTTJTobZ7+0Ujh0",
        "$7$5",
        "$pbkdf2-sha256$0$AiAEYAxhjHEOAUDovZeSMg$oRuYhcg.qNc4jgXiG5drn/nYmYuzt/gjIj3BDa/guRw",
        "$pbkdf2-sha256$i=77,l=31$MDEyMzQ1Njc4OWFiY2RlZg$EQbdcARmM9zqryjoPXY8yeceLLaVniTzgtA83qP5I54",
        "$pbkdf2-sha256$100$AiAEYAxhjHEOAUDovZeSMg$oRs",
    ] {
        let refused = Stored::parse_foreign(hash).err();
        assert!(
            matches!(refused, Some(FormError::Malformed(_))),
            "{hash}: {refused:?}"
        );
    }
    let keyed = "$argon2id$v=19$m=64,t=1,p=1,keyid=c2VjcmV0$c2FsdHNhbHQ$mMupmDhiSNJT2vU7B+hE1A";
    assert_eq!(Stored::parse_foreign(keyed).err(), Some(FormError::Keyed));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_never_a_fault(text in "\\PC{0,80}") {
        Stored::parse_foreign(&text).ok();
    }

    /// Of what is taken, checking any password ends with an answer, whatever single character was changed.
    #[test]
    fn a_changed_hash_is_refused_or_fits_nothing_else(
        which in 0..MADE_ELSEWHERE.len(),
        at in any::<prop::sample::Index>(),
        letter in "[ -~]",
    ) {
        let original = MADE_ELSEWHERE[which];
        let mut text = original.to_owned();
        let at = at.index(text.len());
        text.replace_range(at..=at, &letter);
        if Stored::parse_foreign(&text).is_ok() && !is_dear(&text) {
            prop_assert!(!fits("another password", &text), "{}", text);
        }
    }
}

/// Within the bounds, but too long for a test that runs hundreds of times.
fn is_dear(text: &str) -> bool {
    text.starts_with("$2") && text.as_bytes().get(4) != Some(&b'0')
}
