//! The program as an operator runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::process::Command;

fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rolecall-keys"))
        .args(arguments)
        .env("ROLECALL_SIGNING_KEYS", folder.join("signing"))
        .env("ROLECALL_VERIFYING_KEYS", folder.join("verifying"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_key_is_rotated_ahead_and_only_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (made, text) = run(dir.path(), &["init", dir.path().to_str().unwrap()]);
    assert!(made && text.lines().count() == 5, "{text}");
    let (rotated, text) = run(dir.path(), &["rotate", "--algorithm", "es256"]);
    assert!(rotated && text.contains(" ES256 from "), "{text}");
    let (_, listed) = run(dir.path(), &["list"]);
    let words: Vec<&str> = listed
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(words, ["signs", "next"], "{listed}");
    let (again, text) = run(dir.path(), &["rotate"]);
    assert!(!again && text.contains("rotate again after that"), "{text}");
    // Nobody's key is replaced by making them once more.
    run(dir.path(), &["init", dir.path().to_str().unwrap()]);
    assert_eq!(run(dir.path(), &["list"]).1, listed);
}

#[test]
fn folders_without_keys_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (done, text) = run(dir.path(), &["rotate"]);
    assert!(
        !done && text.contains("signing") && text.lines().count() == 1,
        "{text}"
    );
}
