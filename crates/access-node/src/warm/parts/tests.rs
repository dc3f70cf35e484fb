use schemas::{IndexKey, LogId, Sha256Digest};

use super::*;

const LEDGER: i32 = 3;

fn key(byte: u8, log_id: LogId) -> SealKey {
    SealKey::new(&IndexKey::parse(&[byte; 32]).unwrap(), log_id)
}

fn reach() -> Reach {
    Reach {
        last_offset: 41,
        chain: ChainHead {
            next_seq: 30,
            hash: Sha256Digest([7; 32]),
        },
    }
}

fn owner() -> Option<(i64, Instance)> {
    let address = "http://one:8080".to_owned();
    let id = WriterId::new_v7();
    Some((12, Instance { id, address }))
}

/// More users than one part takes.
fn rows() -> Rows {
    let user = |number: usize| {
        let scope = GrantScope {
            resource: "document".to_owned(),
            id: Some(number.to_string()),
            is_prefix: number.is_multiple_of(2),
        };
        let grants = [
            Grant::new(RoleId::new_v7(), None, Some(Arc::new(scope))),
            Grant::new(RoleId::new_v7(), Some(Timestamp::from_micros(5)), None),
        ];
        let standing = match number % 3 {
            0 => Standing::Active,
            1 => Standing::Inactive,
            _ => Standing::Unregistered,
        };
        let access = UserAccess::new(standing, grants.into_iter().take(number % 3));
        (UserId::new_v7(), access)
    };
    let users: Vec<_> = (0..=PER_PART).map(user).collect();
    let session = |idles_for, ended| {
        let session = Session {
            user: users[0].0,
            until: Timestamp::from_micros(99),
            expires_at: Timestamp::from_micros(999),
            idles_for,
            ended,
        };
        (SessionId::new_v7(), session)
    };
    let sessions = vec![
        session(None, true),
        session(Some(Duration::from_micros(98)), false),
    ];
    let key = |roles| KeyRow {
        id: KeyId::new_v7(),
        user: users[0].0,
        hash: Sha256Digest([3; 32]),
        roles,
        until: Some(Timestamp::from_micros(7)),
    };
    let keys = vec![key(None), key(Some([RoleId::new_v7()].into()))];
    Rows {
        users,
        sessions,
        keys,
    }
}

fn made(key: &SealKey) -> (Vec<Part>, Rows) {
    let rows = rows();
    (make(key, LEDGER, reach(), owner(), &rows).unwrap(), rows)
}

#[test]
fn what_was_saved_is_loaded() {
    let key = key(1, LogId::new_v7());
    let (rows, owner) = (rows(), owner());
    let parts = make(&key, LEDGER, reach(), owner.clone(), &rows).unwrap();
    // The head, three of users with a grant each on average, sessions, keys.
    assert_eq!(parts.len(), 6);
    let loaded = open(&key, LEDGER, &parts).unwrap();
    assert_eq!((loaded.reach, loaded.owner), (reach(), owner));
    let mut whole = Rows::default();
    for part in loaded.rows {
        whole.users.extend(part.users);
        whole.sessions.extend(part.sessions);
        whole.keys.extend(part.keys);
    }
    assert_eq!(whole, rows);
}

#[test]
fn an_edited_part_is_refused() {
    let key = key(1, LogId::new_v7());
    let (parts, _) = made(&key);
    for number in 0..parts.len() {
        let mut edited = parts.clone();
        *edited[number].content.last_mut().unwrap() ^= 1;
        assert_eq!(open(&key, LEDGER, &edited).err(), Some(Refused::Seal(number)));
        let mut edited = parts.clone();
        edited[number].seal.pop();
        assert_eq!(open(&key, LEDGER, &edited).err(), Some(Refused::Seal(number)));
    }
}

#[test]
fn parts_of_another_snapshot_or_order_or_number_are_refused() {
    let key = key(1, LogId::new_v7());
    let ((parts, _), (others, _)) = (made(&key), made(&key));
    let mut mixed = parts.clone();
    mixed[1] = others[1].clone();
    assert_eq!(open(&key, LEDGER, &mixed).err(), Some(Refused::Seal(1)));
    let mut swapped = parts.clone();
    swapped.swap(1, 2);
    assert_eq!(open(&key, LEDGER, &swapped).err(), Some(Refused::Seal(1)));
    let fewer = open(&key, LEDGER, &parts[..3]).err();
    assert_eq!(
        fewer,
        Some(Refused::Parts {
            expected: 5,
            found: 2
        })
    );
    assert_eq!(
        open(&key, LEDGER, &[]).err(),
        Some(Refused::Parts {
            expected: 1,
            found: 0
        })
    );
}

#[test]
fn a_snapshot_of_another_ledger_log_or_key_is_refused() {
    let log_id = LogId::new_v7();
    let (parts, _) = made(&key(1, log_id));
    for (key, ledger) in [
        (key(1, log_id), LEDGER + 1),
        (key(1, LogId::new_v7()), LEDGER),
        (key(2, log_id), LEDGER),
    ] {
        assert_eq!(open(&key, ledger, &parts).err(), Some(Refused::Seal(0)));
    }
}
