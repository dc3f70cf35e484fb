//! How passwords are hashed, and how many of a user's are remembered.

use std::path::PathBuf;

use clap::Args;
use domain::user::MAX_REMEMBERED_PASSWORDS;
use passwords::{Cost, Hasher, Pepper, Peppers};
use service_kit::keys::{KeyError, read_key};

use crate::startup::StartError;

/// Cost, peppers and history of passwords.
#[derive(Args, Clone, Debug)]
pub struct HashingConfig {
    /// KiB of memory that argon2id fills for a hash. A user whose hash was made otherwise gets a new one at sign-in.
    #[arg(long, env = "ROLECALL_ARGON2_MEMORY_KIB", default_value_t = Cost::default().memory_kib)]
    pub argon2_memory_kib: u32,
    /// Passes of argon2id over that memory.
    #[arg(long, env = "ROLECALL_ARGON2_PASSES", default_value_t = Cost::default().passes)]
    pub argon2_passes: u32,
    /// Lanes of argon2id.
    #[arg(long, env = "ROLECALL_ARGON2_LANES", default_value_t = Cost::default().lanes)]
    pub argon2_lanes: u32,
    /// Key that new password hashes need beside the password: 32 bytes, raw or in hexadecimal. It must never be lost.
    #[arg(long, env = "ROLECALL_PEPPER_FILE", value_name = "FILE")]
    pub pepper_file: Option<PathBuf>,
    /// Peppers that older hashes were made with, by commas: each for as long as a hash may still need it.
    #[arg(
        long,
        env = "ROLECALL_FORMER_PEPPER_FILES",
        value_name = "FILES",
        value_delimiter = ','
    )]
    pub former_pepper_files: Vec<PathBuf>,
    /// Passwords of a user, the present one included, that a new one must differ from.
    #[arg(long, env = "ROLECALL_PASSWORD_HISTORY", default_value_t = 5, value_parser = history)]
    pub password_history: usize,
}

fn history(text: &str) -> Result<usize, String> {
    let count: usize = text.parse().map_err(|error| format!("{error}"))?;
    if count <= MAX_REMEMBERED_PASSWORDS {
        Ok(count)
    } else {
        Err(format!("at most {MAX_REMEMBERED_PASSWORDS} are remembered"))
    }
}

impl HashingConfig {
    pub(crate) fn hasher(&self) -> Result<Hasher, StartError> {
        let cost = Cost {
            memory_kib: self.argon2_memory_kib,
            passes: self.argon2_passes,
            lanes: self.argon2_lanes,
        };
        Ok(Hasher::new(cost, self.peppers()?)?)
    }

    fn peppers(&self) -> Result<Peppers, KeyError> {
        let read = |path: &PathBuf| read_key(path, Pepper::parse);
        let current = self.pepper_file.as_ref().map(read).transpose()?;
        let former: Result<_, _> = self.former_pepper_files.iter().map(read).collect();
        Ok(Peppers::new(current, former?))
    }
}
