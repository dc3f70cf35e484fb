//! Encryption, blind index and hash chain: frozen vectors, since what they give is stored for ever.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use schemas::identifier::IdentifierKind;
use schemas::{
    ChainHead, DataKey, EncryptionError, IndexKey, KeyEncryptionKey, LogId, NormaliseError, Sealed, UserId,
    link,
};
use uuid::Uuid;

fn index_key() -> IndexKey {
    IndexKey::parse(&[7; 32]).unwrap()
}

fn log() -> LogId {
    Uuid::from_u128(1).into()
}

fn user() -> UserId {
    Uuid::from_u128(2).into()
}

/// Kind, spellings that are the same identifier, and its index under the key of 32 times 0x07.
const VECTORS: &[(IdentifierKind, &[&str], &str)] = &[
    (
        IdentifierKind::Email,
        &[
            "alice@example.org",
            "Alice@Example.ORG",
            " alice@example.org ",
            "ａｌｉｃｅ@example.org",
        ],
        "d8a52b22add4bd48a3806a46aac518ddfd6192e8fcb4d972f42b79b9578a302f",
    ),
    (
        IdentifierKind::Email,
        &[
            "ÅSA@exämple.org",
            "åsa@exämple.org",
            "A\u{30a}sa@exa\u{308}mple.org",
        ],
        "8ed2b5e143c511cc4baf5366c15679e9c5aac4b1175ee931ab3e930fe86559b3",
    ),
    (
        IdentifierKind::Username,
        &["alice", "ALICE", "Alice "],
        "008f6a1da2ab7e27006bffce4da3eaa4280ea2499aa79d6bf026a56f70ddf86f",
    ),
    (
        IdentifierKind::Username,
        &["ﬁnn", "finn", "FINN"],
        "c3215136569786443bef8c3c673c0912b4a8bcfc65a06fbfa70bab403cf5bf64",
    ),
    (
        IdentifierKind::Username,
        &["ΣΊΣΥΦΟΣ", "σίσυφοσ"],
        "1d0e8a9b16e0c31e2444dce23ffd2b8ad60e4c981fcef72e7e2522c4e70405f4",
    ),
];

#[test]
fn spellings_of_one_identifier_have_one_frozen_index() {
    for (kind, spellings, expected) in VECTORS {
        for spelling in *spellings {
            let index = index_key().index(*kind, spelling).unwrap();
            assert_eq!(index.to_hex(), *expected, "{spelling:?}");
        }
    }
}

#[test]
fn the_rules_have_a_frozen_name() {
    assert_eq!(index_key().id(), "356cafc71d0d5ea2/nfkc-lower-1");
}

#[test]
fn a_user_name_is_never_an_email_address() {
    assert_eq!(
        index_key().index(IdentifierKind::Username, "alice@example.org"),
        Err(NormaliseError::Username)
    );
}

#[test]
fn malformed_identifiers_are_refused() {
    for email in [
        "",
        "alice",
        "@example.org",
        "alice@",
        "alice@localhost",
        "a@b@c.de",
        "a b@c.de",
        "a@b..de",
        "a@\u{0}.de",
        "a\u{200b}lice@example.org",
        "alice@exam\u{ad}ple.org",
        "\u{202e}alice@example.org",
    ] {
        assert_eq!(
            index_key().index(IdentifierKind::Email, email),
            Err(NormaliseError::Email),
            "{email:?}"
        );
    }
    let long = "x".repeat(65);
    for name in [
        "",
        "ab",
        "a b c",
        "a/b",
        "a\u{0}b",
        "admin\u{3164}",
        "adm\u{2060}in",
        long.as_str(),
    ] {
        assert_eq!(
            index_key().index(IdentifierKind::Username, name),
            Err(NormaliseError::Username),
            "{name:?}"
        );
    }
}

#[test]
fn a_sealed_field_opens_only_where_it_belongs() {
    let key = DataKey::generate();
    let sealed = key.seal(log(), user(), "email", "alice@example.org").unwrap();
    assert_eq!(
        key.open(log(), user(), "email", &sealed).unwrap(),
        "alice@example.org"
    );
    let other_user = Uuid::from_u128(3).into();
    let other_log = Uuid::from_u128(3).into();
    assert_eq!(
        key.open(log(), other_user, "email", &sealed),
        Err(EncryptionError::Open)
    );
    assert_eq!(
        key.open(log(), user(), "username", &sealed),
        Err(EncryptionError::Open)
    );
    assert_eq!(
        key.open(other_log, user(), "email", &sealed),
        Err(EncryptionError::Open)
    );
    assert_eq!(
        DataKey::generate().open(log(), user(), "email", &sealed),
        Err(EncryptionError::Open)
    );
}

#[test]
fn a_sealed_field_with_any_bit_changed_does_not_open() {
    let key = DataKey::generate();
    let sealed = key.seal(log(), user(), "email", "alice@example.org").unwrap();
    for at in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[at] ^= 1;
        assert!(
            key.open(log(), user(), "email", &Sealed::from_bytes(&bytes))
                .is_err(),
            "{at}"
        );
    }
}

#[test]
fn a_data_key_comes_out_of_its_wrapping_as_it_went_in() {
    let key_encryption_key = KeyEncryptionKey::parse(&[9; 32]).unwrap();
    let key = DataKey::generate();
    let wrapped = key_encryption_key.wrap(log(), user(), &key).unwrap();
    let sealed = key.seal(log(), user(), "email", "x").unwrap();
    let again = key_encryption_key.unwrap_key(log(), user(), &wrapped).unwrap();
    assert_eq!(again.open(log(), user(), "email", &sealed).unwrap(), "x");
    let another = KeyEncryptionKey::parse(&[8; 32]).unwrap();
    assert!(another.unwrap_key(log(), user(), &wrapped).is_err());
    assert_ne!(another.check_value(log()), key_encryption_key.check_value(log()));
}

#[test]
fn a_key_file_holds_32_bytes_raw_or_in_hexadecimal() {
    let hex = format!("{}\n", "09".repeat(32));
    let (raw, text) = (
        KeyEncryptionKey::parse(&[9; 32]).unwrap(),
        KeyEncryptionKey::parse(hex.as_bytes()).unwrap(),
    );
    assert_eq!(raw.id(), text.id());
    assert!(KeyEncryptionKey::parse(b"too short").is_err());
}

#[test]
fn the_chain_has_a_frozen_first_link() {
    assert_eq!(
        link("rolecall.users", 3, b"key", b"value").to_hex(),
        "f8fa7e4f55ee88ea660c26c97070799299637a0f9e61d1478b7cb171260cb6b5"
    );
    let head = ChainHead::START.after("rolecall.users", 3, b"key", b"value");
    assert_eq!(
        (head.next_seq, head.hash),
        (1, link("rolecall.users", 3, b"key", b"value"))
    );
}

#[test]
fn no_part_of_a_link_can_be_moved_into_another() {
    let link = |topic, key: &[u8], value: &[u8]| schemas::link(topic, 0, key, value);
    assert_ne!(link("t", b"ab", b"c"), link("t", b"a", b"bc"));
    assert_ne!(link("ta", b"b", b"c"), link("t", b"ab", b"c"));
}
