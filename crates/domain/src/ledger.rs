//! Which ledger a key belongs to.

use sha2::{Digest as _, Sha256};

/// Names the function below in `log.created`; a log is never read with another one.
pub const LEDGER_FUNCTION: &str = "sha256-8be-mod";

/// The first 8 bytes of SHA-256(key), big-endian, modulo the number of ledgers.
pub fn ledger_of(key: &str, ledgers: i32) -> i32 {
    let digest = Sha256::digest(key.as_bytes());
    let head = digest
        .iter()
        .take(8)
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let ledgers = u64::try_from(ledgers).unwrap_or(1).max(1);
    i32::try_from(head % ledgers).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: another answer would send known users and addresses to ledgers without them.
    #[test]
    fn the_ledger_of_a_key_never_changes() {
        let keys = [
            "",
            "alice",
            "0190163d-8694-739b-aea5-966c26f8ad91",
            "zoë@example.org",
        ];
        let ledgers = |count| keys.map(|key| ledger_of(key, count));
        assert_eq!(ledgers(1), [0, 0, 0, 0]);
        assert_eq!(ledgers(3), [1, 2, 2, 0]);
        assert_eq!(ledgers(16), [4, 15, 4, 0]);
        assert_eq!(ledgers(128), [20, 47, 100, 32]);
        assert_eq!(
            ledgers(i32::MAX),
            [1_616_749_724, 1_455_296_066, 1_632_717_525, 872_586_274]
        );
    }

    #[test]
    fn a_count_without_ledgers_does_not_panic() {
        assert_eq!(ledger_of("alice", 0), 0);
        assert_eq!(ledger_of("alice", -1), 0);
    }
}
