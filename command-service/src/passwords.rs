//! Hashing and checking passwords on a bounded pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};
use parking_lot::Mutex;
use service_kit::problem::{Problem, ProblemType};
use tokio::sync::Semaphore;

const SHORTEST: usize = 8;
const LONGEST: usize = 256;

/// The most used passwords that are long enough otherwise (public breach statistics).
const COMMON: &[&str] = &[
    "password",
    "password1",
    "password12",
    "password123",
    "passw0rd",
    "12345678",
    "123456789",
    "1234567890",
    "qwertyuiop",
    "qwerty123",
    "11111111",
    "00000000",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "letmein1",
    "welcome1",
    "admin123",
    "administrator",
    "changeme",
    "abc12345",
    "1q2w3e4r",
    "1qaz2wsx",
    "87654321",
    "asdfghjkl",
    "michelle",
    "computer",
    "whatever",
    "starwars",
    "internet",
    "dragon123",
];

/// argon2id, 19 MiB, t=2, p=1 (OWASP), as many at once as there are threads, and a bounded queue:
/// more is refused at once, since a login that waits for minutes helps nobody.
pub struct Passwords {
    threads: Arc<Semaphore>,
    memory: Arc<Memory>,
    waiting: AtomicUsize,
    queue: usize,
    dummy: String,
}

impl Passwords {
    pub fn new(threads: usize, queue: usize) -> Result<Self, argon2::password_hash::Error> {
        Ok(Self {
            threads: Arc::new(Semaphore::new(threads.max(1))),
            memory: Arc::default(),
            waiting: AtomicUsize::new(0),
            queue,
            dummy: hash_now(b"checked for users who do not exist")?,
        })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash_now(password.as_bytes()))
            .await?
            .map_err(|error| Problem::internal(&error))
    }

    /// Whether the password fits the PHC string.
    pub async fn verify(&self, password: String, phc: String) -> Result<bool, Problem> {
        let memory = Arc::clone(&self.memory);
        let verified = self.run(move || {
            let mut blocks = memory.lock().pop().unwrap_or_default();
            let verified = fits(password.as_bytes(), &phc, &mut blocks);
            memory.lock().push(blocks);
            verified
        });
        verified.await?.map_err(|error| Problem::internal(&error))
    }

    /// Takes as long as checking a wrong password: an unknown user must look the same.
    pub async fn verify_dummy(&self, password: String) -> Result<(), Problem> {
        let dummy = self.dummy.clone();
        self.verify(password, dummy).await.map(drop)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let _place = self.queue_up()?;
        let thread = Arc::clone(&self.threads)
            .acquire_owned()
            .await
            .map_err(|error| Problem::unavailable(&error))?;
        let (threads, memory) = (Arc::clone(&self.threads), Arc::clone(&self.memory));
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(thread);
            let mut memory = memory.lock();
            // Had somebody waited, this thread would be theirs already.
            if threads.available_permits() > 0 {
                memory.clear();
            }
            outcome
        });
        done.await.map_err(|error| Problem::internal(&error))
    }

    fn queue_up(&self) -> Result<Place<'_>, Problem> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Place(&self.waiting);
        metrics::gauge!("password_hashes_waiting").set(waiting as f64);
        if waiting >= self.queue {
            return Err(Problem::new(ProblemType::Busy)
                .detail("too many passwords are being checked")
                .retry_after(Duration::from_secs(1)));
        }
        Ok(place)
    }
}

/// A place in the queue, given back when the request ends, however it ends.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What argon2 fills. To ask the kernel for 19 MiB and to zero it costs a tenth of a hash, so it is
/// kept from one password to the next while others wait, and no longer.
type Memory = Mutex<Vec<Vec<Block>>>;

/// Whether the password fits the PHC string, whatever parameters that was made with.
fn fits(password: &[u8], phc: &str, blocks: &mut Vec<Block>) -> Result<bool, argon2::password_hash::Error> {
    let hash = PasswordHash::new(phc)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Ok(false);
    };
    let params = Params::try_from(&hash)?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash
        .version
        .map(Version::try_from)
        .transpose()?
        .unwrap_or_default();
    blocks.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(algorithm, version, params);
    let mut computed = [0; Output::MAX_LENGTH];
    let computed = &mut computed[..expected.len()];
    argon2.hash_password_into_with_memory(password, salt, computed, blocks)?;
    // Compares in constant time.
    Ok(Output::new(computed)? == *expected)
}

fn hash_now(password: &[u8]) -> Result<String, argon2::password_hash::Error> {
    Ok(Argon2::default().hash_password(password)?.to_string())
}

/// Refuses what is too short, too long, too common or the user's own name.
pub fn check_strength(password: &str, names: &[&str]) -> Result<(), Problem> {
    let weak = |reason: String| Err(Problem::new(ProblemType::WeakPassword).detail(reason));
    let length = password.chars().count();
    if length < SHORTEST {
        return weak(format!("a password has at least {SHORTEST} characters"));
    }
    if length > LONGEST {
        return weak(format!("a password has at most {LONGEST} characters"));
    }
    let lower = password.to_lowercase();
    if COMMON.contains(&lower.as_str()) {
        return weak("the password is among the most used ones".to_owned());
    }
    if names.iter().any(|name| lower == name.to_lowercase()) {
        return weak("the password is the user's own name".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_used_before_gives_the_same_answers() {
        let phc = hash_now(b"right").unwrap();
        let mut memory = Vec::new();
        for (password, expected) in [("right", true), ("wrong", false), ("right", true)] {
            assert_eq!(
                fits(password.as_bytes(), &phc, &mut memory),
                Ok(expected),
                "{password}"
            );
        }
        assert!(fits(b"right", "$argon2id$nonsense", &mut memory).is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_is_kept_only_while_somebody_waits() {
        let passwords = Passwords::new(2, 100).unwrap();
        let phc = passwords.hash("right".to_owned()).await.unwrap();
        let tries = (0..12)
            .map(|i| passwords.verify(if i % 2 == 0 { "right" } else { "wrong" }.to_owned(), phc.clone()));
        let answers: Vec<bool> = futures::future::try_join_all(tries).await.unwrap();
        assert_eq!(answers, [true, false].repeat(6));
        assert!(passwords.memory.lock().is_empty());
    }
}
