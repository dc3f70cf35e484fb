//! The keys of access tokens in a folder, where the name of a key's file says from when it signs.
//!
//! `20261130T120000Z.pem` signs from that time (UTC) on, until the next one does. So all instances change at
//! the same moment without talking to each other; a key is published (JWKS) from when it lies there, well
//! before it signs, and until the last token that it signed has ended. The folder is read again while a
//! service runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::NaiveDateTime;
use schemas::Timestamp;

use crate::keys::KeyError;
use crate::signing::{Algorithm, NotAKey, PrivateKey, PublicKey};

const NAME: &str = "%Y%m%dT%H%M%SZ";
const EXTENSION: &str = "pem";
/// Clocks of signers and verifiers may differ so much.
const SKEW: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A key with the time from which it signs.
#[derive(Clone, Debug)]
pub struct TimedKey {
    pub signs_from: Timestamp,
    pub kid: String,
    pub public: PublicKey,
    /// None where only public keys lie.
    pub private: Option<PrivateKey>,
}

impl TimedKey {
    fn parse(signs_from: Timestamp, pem: &str) -> Result<Self, NotAKey> {
        let private = PrivateKey::from_pem(pem).ok();
        let public = match &private {
            Some(private) => private.public(),
            None => PublicKey::from_pem(pem)?,
        };
        Ok(Self {
            signs_from,
            kid: public.kid(),
            public,
            private,
        })
    }
}

/// Keys in the order in which they sign. There is at least one.
#[derive(Clone, Debug)]
pub struct Timeline(Vec<TimedKey>);

impl Timeline {
    fn new(mut keys: Vec<TimedKey>) -> Option<Self> {
        keys.sort_by(|a, b| a.signs_from.cmp(&b.signs_from).then_with(|| a.kid.cmp(&b.kid)));
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The last one that signs by now; the first one if none does yet.
    pub fn signing_at(&self, now: Timestamp) -> Option<&TimedKey> {
        let started = self.0.iter().rev().find(|key| key.signs_from <= now);
        started.or_else(|| self.0.first())
    }

    /// Those whose tokens may be good: all but those whose successor has signed for longer than a token lives.
    pub fn published_at(&self, now: Timestamp, token_ttl: Duration) -> impl Iterator<Item = &TimedKey> {
        let retired = self.retired_at(now, token_ttl);
        self.0.iter().skip(retired)
    }

    pub fn all(&self) -> &[TimedKey] {
        &self.0
    }

    /// How many of the first ones are not needed any more.
    fn retired_at(&self, now: Timestamp, token_ttl: Duration) -> usize {
        let successors = self.0.iter().skip(1);
        successors
            .take_while(|next| next.signs_from.plus(token_ttl + SKEW) <= now)
            .count()
    }

    fn kids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.kid.as_str()).collect()
    }
}

/// Keys as they lie in a folder, read again while a service runs.
pub struct KeyFolder {
    folder: Option<PathBuf>,
    timeline: ArcSwap<Timeline>,
}

impl KeyFolder {
    pub fn open(folder: &Path) -> Result<Arc<Self>, KeyError> {
        let timeline = read(folder)?;
        Ok(Arc::new(Self {
            folder: Some(folder.to_owned()),
            timeline: ArcSwap::from_pointee(timeline),
        }))
    }

    /// One key that always signs.
    pub fn fixed(key: PrivateKey) -> Arc<Self> {
        let key = TimedKey {
            signs_from: Timestamp::from_micros(0),
            kid: key.public().kid(),
            public: key.public(),
            private: Some(key),
        };
        Arc::new(Self {
            folder: None,
            timeline: ArcSwap::from_pointee(Timeline(vec![key])),
        })
    }

    pub fn timeline(&self) -> Arc<Timeline> {
        self.timeline.load_full()
    }

    /// Reads the folder again. What cannot be read leaves the keys as they are.
    pub fn reread(&self) -> Result<(), KeyError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let new = read(folder)?;
        if new.kids() != self.timeline.load().kids() {
            tracing::info!(keys = ?new.kids(), "The keys of access tokens changed");
            self.timeline.store(Arc::new(new));
        }
        Ok(())
    }

    /// Reads the folder again, for ever: every so often, and less often while that fails.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        let mut wait = every;
        loop {
            tokio::time::sleep(wait).await;
            let keys = Arc::clone(&self);
            wait = match tokio::task::spawn_blocking(move || keys.reread()).await {
                Ok(Ok(())) => every,
                Ok(Err(error)) => {
                    tracing::warn!("The keys of access tokens stay as they are: {error}");
                    (wait * 2).min(LONGEST_WAIT).max(every)
                }
                // Only at the end of the runtime.
                Err(_) => return,
            };
        }
    }
}

fn read(folder: &Path) -> Result<Timeline, KeyError> {
    let failed = |cause| KeyError::Read {
        path: folder.to_owned(),
        cause,
    };
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let signs_from = start(&path).ok_or_else(|| KeyError::Content {
            path: path.clone(),
            cause: "the name is no time such as 20261130T120000Z".to_owned(),
        })?;
        let pem = fs::read(&path).map(zeroize::Zeroizing::new).map_err(failed)?;
        let pem = std::str::from_utf8(&pem).map_err(|_| NotAKey);
        let key = pem.and_then(|pem| TimedKey::parse(signs_from, pem));
        keys.push(key.map_err(|error| KeyError::Content {
            path,
            cause: error.to_string(),
        })?);
    }
    Timeline::new(keys).ok_or_else(|| KeyError::Content {
        path: folder.to_owned(),
        cause: "no key lies here".to_owned(),
    })
}

fn start(path: &Path) -> Option<Timestamp> {
    let name = path.file_stem()?.to_str()?;
    let time = NaiveDateTime::parse_from_str(name, NAME).ok()?;
    Some(time.and_utc().into())
}

fn path_of(folder: &Path, signs_from: Timestamp) -> PathBuf {
    let name = signs_from.to_utc().format(NAME).to_string();
    folder.join(name).with_extension(EXTENSION)
}

/// The folder of private keys and that of their public halves.
#[derive(Clone, Debug)]
pub struct KeyFolders {
    pub signing: PathBuf,
    pub verifying: PathBuf,
}

impl KeyFolders {
    /// Makes a key that signs from then on, to the second. Its public half is there first, so nobody signs
    /// with what others cannot verify.
    pub fn add(&self, algorithm: Algorithm, signs_from: Timestamp) -> Result<TimedKey, KeyError> {
        let whole_second = signs_from.as_micros() - signs_from.as_micros().rem_euclid(1_000_000);
        let signs_from = Timestamp::from_micros(whole_second);
        let (key, path) = (
            PrivateKey::generate(algorithm),
            path_of(&self.signing, signs_from),
        );
        let pem = |made: Result<_, NotAKey>| {
            made.map_err(|error| KeyError::Content {
                path: path.clone(),
                cause: error.to_string(),
            })
        };
        let public = pem(key.public().to_pem().map(zeroize::Zeroizing::new))?;
        let private = pem(key.to_pem())?;
        write_new(&path_of(&self.verifying, signs_from), public.as_bytes())?;
        write_new(&path, private.as_bytes())?;
        Ok(TimedKey {
            signs_from,
            kid: key.public().kid(),
            public: key.public(),
            private: Some(key),
        })
    }

    pub fn timeline(&self) -> Result<Timeline, KeyError> {
        read(&self.signing)
    }

    /// Removes the keys that no good token was signed with any more, and says which.
    pub fn prune(&self, now: Timestamp, token_ttl: Duration) -> Result<Vec<TimedKey>, KeyError> {
        let mut keys = self.timeline()?;
        let retired = keys.retired_at(now, token_ttl);
        let retired: Vec<TimedKey> = keys.0.drain(..retired).collect();
        for key in &retired {
            // What signs goes first.
            for folder in [&self.signing, &self.verifying] {
                let path = path_of(folder, key.signs_from);
                match fs::remove_file(&path) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                        return Err(KeyError::Write { path, cause });
                    }
                    _ => {}
                }
            }
        }
        Ok(retired)
    }
}

/// Under another name first: whoever reads the folder finds a whole key or none.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let failed = |cause| KeyError::Write {
        path: path.to_owned(),
        cause,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let unfinished = path.with_extension("unfinished");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    // A link, unlike a rename, never replaces another key.
    let placed = written.and_then(|()| fs::hard_link(&unfinished, path));
    let removed = fs::remove_file(&unfinished);
    placed.and(removed).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    fn folders(dir: &tempfile::TempDir) -> KeyFolders {
        KeyFolders {
            signing: dir.path().join("signing"),
            verifying: dir.path().join("verifying"),
        }
    }

    fn kids<'a>(keys: impl Iterator<Item = &'a TimedKey>) -> Vec<&'a str> {
        keys.map(|key| key.kid.as_str()).collect()
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        let old = folders.add(Algorithm::EdDsa, at(0)).unwrap();
        let new = folders.add(Algorithm::Es256, at(1_000)).unwrap();
        for folder in [&folders.signing, &folders.verifying] {
            let keys = KeyFolder::open(folder).unwrap().timeline();
            let published = |seconds| kids(keys.published_at(at(seconds), TTL));
            let signing = |seconds| keys.signing_at(at(seconds)).unwrap().kid.as_str();
            // Before the first one starts it signs all the same: a clock may be behind.
            for (seconds, signer) in [(-5, &old), (0, &old), (999, &old), (1_000, &new), (9_999, &new)] {
                assert_eq!(signing(seconds), signer.kid, "{seconds}");
            }
            assert_eq!(published(-5), [&old.kid, &new.kid]);
            assert_eq!(published(1_359), [&old.kid, &new.kid]);
            assert_eq!(published(1_360), [&new.kid]);
        }
    }

    #[test]
    fn the_folder_of_public_keys_holds_no_private_one() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        folders.add(Algorithm::EdDsa, at(0)).unwrap();
        let keys = KeyFolder::open(&folders.verifying).unwrap().timeline();
        assert!(keys.all().iter().all(|key| key.private.is_none()));
        let text = fs::read_to_string(path_of(&folders.verifying, at(0))).unwrap();
        assert!(text.contains("PUBLIC KEY") && !text.contains("PRIVATE"), "{text}");
    }

    #[test]
    fn a_new_key_is_found_and_what_cannot_be_read_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        let first = folders.add(Algorithm::EdDsa, at(0)).unwrap();
        let open = KeyFolder::open(&folders.signing).unwrap();
        let second = folders.add(Algorithm::EdDsa, at(10)).unwrap();
        open.reread().unwrap();
        assert_eq!(kids(open.timeline().all().iter()), [&first.kid, &second.kid]);
        for (name, content) in [("20270101T000000Z.pem", "half a k"), ("soon.pem", "")] {
            let path = folders.signing.join(name);
            fs::write(&path, content).unwrap();
            let error = open.reread().unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
            fs::remove_file(path).unwrap();
        }
        fs::write(folders.signing.join("README"), "no key").unwrap();
        open.reread().unwrap();
        fs::rename(&folders.signing, dir.path().join("elsewhere")).unwrap();
        open.reread().unwrap_err();
        assert_eq!(open.timeline().all().len(), 2);
    }

    #[test]
    fn a_key_never_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        let first = folders.add(Algorithm::EdDsa, at(0)).unwrap();
        folders.add(Algorithm::EdDsa, at(0)).unwrap_err();
        assert_eq!(kids(folders.timeline().unwrap().all().iter()), [&first.kid]);
    }

    #[test]
    fn pruning_removes_what_is_published_no_more_and_the_last_key_never() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(&dir);
        let keys = [0, 1_000, 2_000].map(|start| folders.add(Algorithm::EdDsa, at(start)).unwrap());
        assert!(folders.prune(at(1_359), TTL).unwrap().is_empty());
        let pruned = folders.prune(at(1_360), TTL).unwrap();
        assert_eq!(kids(pruned.iter()), [&keys[0].kid]);
        let pruned = folders.prune(at(9_999_999), TTL).unwrap();
        assert_eq!(kids(pruned.iter()), [&keys[1].kid]);
        assert_eq!(fs::read_dir(&folders.verifying).unwrap().count(), 1);
    }
}
