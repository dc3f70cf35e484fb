//! argon2id by itself, as the services use it: 19 MiB, t=2, p=1.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};

pub const PASSWORD: &str = "correct horse battery staple";

/// The PHC string of [`PASSWORD`].
pub fn make() -> Result<String> {
    let hash = Argon2::default().hash_password(PASSWORD.as_bytes());
    Ok(hash.map_err(|error| anyhow::anyhow!("{error}"))?.to_string())
}

/// How many new hashes a second these threads make.
pub fn hashes(threads: usize, during: Duration) -> f64 {
    rate(threads, during, || make().is_ok())
}

/// How many verifications a second these threads make.
pub fn verifications(phc: &str, threads: usize, during: Duration) -> f64 {
    rate(threads, during, || verify(phc))
}

/// What a login checks, and nothing else.
pub fn verify(phc: &str) -> bool {
    PasswordHash::new(phc).is_ok_and(|hash| {
        let verified = Argon2::default().verify_password(PASSWORD.as_bytes(), &hash);
        verified.is_ok()
    })
}

fn rate(threads: usize, during: Duration, once: impl Fn() -> bool + Sync) -> f64 {
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && once() {
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(during);
        stop.store(true, Ordering::Relaxed);
    });
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
