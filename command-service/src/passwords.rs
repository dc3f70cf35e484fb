//! Hashing and checking passwords on a bounded pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use passwords::{HashError, Hasher, Memory};
use service_kit::problem::{Problem, ProblemType};
use tokio::sync::Semaphore;

/// How long argon2's memory is kept while no password comes: a gap between two of many is shorter.
const KEPT: Duration = Duration::from_secs(1);

/// As many hashes at once as there are threads, and a bounded queue: more is refused at once, since a login that
/// waits for minutes helps nobody.
pub struct Passwords {
    hasher: Arc<Hasher>,
    threads: Arc<Semaphore>,
    memory: Arc<Kept>,
    waiting: AtomicUsize,
    queue: usize,
    dummy: String,
}

impl Passwords {
    pub fn new(threads: usize, queue: usize, hasher: Hasher) -> Result<Self, HashError> {
        Ok(Self {
            threads: Arc::new(Semaphore::new(threads.max(1))),
            memory: Arc::default(),
            waiting: AtomicUsize::new(0),
            queue,
            dummy: hasher.hash("checked for users who do not exist", &mut Memory::default())?,
            hasher: Arc::new(hasher),
        })
    }

    /// The PHC string of a new password.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        let hashed = self.run(move |hasher, memory| hasher.hash(&password, memory));
        hashed.await?.map_err(|error| Problem::internal(&error))
    }

    /// Whether the password fits the stored hash, whoever made that.
    pub async fn verify(&self, password: String, hash: String) -> Result<bool, Problem> {
        let verified = self.run(move |hasher, memory| hasher.verify(&password, &hash, memory));
        verified.await?.map_err(|error| Problem::internal(&error))
    }

    /// Whether the password fits one of these hashes, a bounded few. They take one turn together: who waits anew for
    /// each of them among many sign-ins is past the deadline before the last. One that cannot be checked any more, since
    /// its pepper is gone, is not known to fit.
    pub async fn fits_one_of(&self, password: String, hashes: Vec<String>) -> Result<bool, Problem> {
        let fits = move |hasher: &Hasher, memory: &mut Memory| {
            hashes
                .iter()
                .any(|hash| match hasher.verify(&password, hash, memory) {
                    Ok(fits) => fits,
                    Err(error) => {
                        metrics::counter!("password_hashes_unchecked_total").increment(1);
                        tracing::debug!(%error, "A remembered hash cannot be checked");
                        false
                    }
                })
        };
        self.run(fits).await
    }

    /// Whether a new hash would be made as this one was.
    pub fn is_current(&self, hash: &str) -> bool {
        self.hasher.is_current(hash)
    }

    /// Takes as long as checking a wrong password: an unknown user must look the same.
    pub async fn verify_dummy(&self, password: String) -> Result<(), Problem> {
        let dummy = self.dummy.clone();
        self.verify(password, dummy).await.map(drop)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hasher, &mut Memory) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.queue_up()?;
        let thread = Arc::clone(&self.threads)
            .acquire_owned()
            .await
            .map_err(|error| Problem::unavailable(&error))?;
        let (hasher, kept) = (Arc::clone(&self.hasher), Arc::clone(&self.memory));
        let done = tokio::task::spawn_blocking(move || {
            let mut memory = kept.free.lock().pop().unwrap_or_default();
            let outcome = work(&hasher, &mut memory);
            kept.keep(memory);
            // Here, as whoever asked may have hung up.
            kept.watch();
            drop(thread);
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

/// What argon2 fills, from one password to the next; given back when none comes for a while.
#[derive(Default)]
struct Kept {
    free: Mutex<Vec<Memory>>,
    /// Since somebody last looked.
    was_used: AtomicBool,
    is_watched: AtomicBool,
}

impl Kept {
    fn keep(&self, memory: Memory) {
        self.free.lock().push(memory);
        self.was_used.store(true, Ordering::Release);
    }

    /// Has the memory given back in time. One task does it, however many passwords come.
    fn watch(self: &Arc<Self>) {
        if self.is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let kept = Arc::clone(self);
        tokio::spawn(async move {
            while kept.was_used.swap(false, Ordering::AcqRel) {
                tokio::time::sleep(KEPT).await;
            }
            // Before the rest: what is kept from now on is watched anew.
            kept.is_watched.store(false, Ordering::Release);
            kept.free.lock().clear();
        });
    }
}

/// Refuses what is too short, too long, known from breaches or little more than the user's own name. `least` is one of
/// [`passwords::LEAST_ALONE`] and [`passwords::LEAST_WITH_SECOND_FACTOR`].
pub fn check_strength(password: &str, least: usize, names: &[&str]) -> Result<(), Problem> {
    passwords::check(password, least, names).map_err(|weakness| {
        Problem::new(ProblemType::WeakPassword)
            .detail(weakness.to_string())
            .extension("rule", weakness.rule())
    })
}

#[cfg(test)]
mod tests {
    use passwords::{Cost, Peppers};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_is_kept_for_a_while() {
        let hasher = Hasher::new(Cost::default(), Peppers::default()).unwrap();
        let passwords = Passwords::new(2, 100, hasher).unwrap();
        let phc = passwords.hash("right".to_owned()).await.unwrap();
        let tries = (0..12)
            .map(|i| passwords.verify(if i % 2 == 0 { "right" } else { "wrong" }.to_owned(), phc.clone()));
        let answers: Vec<bool> = futures::future::try_join_all(tries).await.unwrap();
        assert_eq!(answers, [true, false].repeat(6));
        assert!((1..=2).contains(&passwords.memory.free.lock().len()));
        for _ in 0..2 {
            let given_back = async {
                while !passwords.memory.free.lock().is_empty() {
                    tokio::time::sleep(KEPT / 10).await;
                }
            };
            tokio::time::timeout(20 * KEPT, given_back).await.unwrap();
            // And from then on kept again.
            passwords.hash("again".to_owned()).await.unwrap();
            assert_eq!(passwords.memory.free.lock().len(), 1);
        }
    }

    #[test]
    fn a_refusal_names_the_rule_that_failed() {
        let refused = check_strength("short", passwords::LEAST_ALONE, &[]).unwrap_err();
        assert_eq!(refused.kind, ProblemType::WeakPassword);
        assert_eq!(refused.extensions["rule"], "too_short");
        assert_eq!(
            refused.detail.as_deref(),
            Some("a password has at least 15 characters")
        );
    }
}
