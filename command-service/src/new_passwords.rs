//! What a user's new password is held against before it is hashed, and the making anew of hashes.

use std::sync::Arc;

use domain::user::{Account, Rehash, User, UserCommand};
use event_log::CommandContext;
use passwords::{LEAST_ALONE, LEAST_WITH_SECOND_FACTOR};
use schemas::{RequestId, UserId, sealed_field as field};
use service_kit::problem::{Problem, ProblemType};

use crate::app::App;
use crate::passwords::check_strength;
use crate::refusals::problem;
use crate::sealing::Seal;

/// Of a new password: shorter where a second factor stands beside it.
pub fn least_length(user: &User) -> usize {
    if user.factors.are_active() {
        LEAST_WITH_SECOND_FACTOR
    } else {
        LEAST_ALONE
    }
}

impl App {
    /// Refuses a password that is weak, or among the last ones of this user. `least` as in
    /// [`check_strength`].
    pub async fn check_new_password(
        &self,
        seal: &Seal,
        account: &Account,
        password: &str,
        least: usize,
    ) -> Result<(), Problem> {
        let username = seal.open(field::USERNAME, &account.username)?;
        let email = seal.open(field::EMAIL, &account.email)?;
        check_strength(password, least, &[&username, &email])?;
        let remembered = account.remembered_hashes(self.password_history);
        let hashes = remembered
            .into_iter()
            .map(|hash| seal.open(field::PASSWORD_HASH, hash));
        let hashes = hashes.collect::<Result<_, _>>()?;
        if self.passwords.fits_one_of(password.to_owned(), hashes).await? {
            return Err(
                Problem::new(ProblemType::PasswordReused).extension("remembered", self.password_history)
            );
        }
        Ok(())
    }

    /// Makes a user's hash anew in the background where a new one would be made otherwise: now is the moment at which
    /// the password is at hand. What comes to nothing is done at the next sign-in.
    pub fn rehash_if_outdated(self: &Arc<Self>, user: UserId, hash: &str, account: &Account, password: &str) {
        if self.passwords.is_current(hash) {
            return;
        }
        let (app, replaced, password) = (
            Arc::clone(self),
            account.password_hash.clone(),
            password.to_owned(),
        );
        let rehashed = async move {
            let seal = app.seal_of(user).await?;
            let hash = app.passwords.hash(password).await?;
            let command = UserCommand::Rehash(Rehash {
                password_hash: seal.seal(field::PASSWORD_HASH, &hash)?,
                replaced,
            });
            let context = CommandContext::system(RequestId::new_v7());
            let executed = app.bus.execute::<User>(&user.to_string(), command, context).await;
            executed.map(drop).map_err(problem)
        };
        self.sagas.spawn(async move {
            match rehashed.await {
                Ok(()) => metrics::counter!("password_hashes_renewed_total").increment(1),
                Err(problem) => {
                    let status = problem.status();
                    tracing::debug!(user.id = %user, %status, "A hash could not be made anew yet");
                }
            }
        });
    }
}
