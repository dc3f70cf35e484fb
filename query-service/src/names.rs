//! Whose name it is.

use domain::ledger::ledger_of;
use read_model::queries::{Name, UserRow, holder_of_name, user_by_name};
use schemas::UserId;
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;

use crate::app::App;
use crate::freshness::not_yet;
use crate::reads::Source;

/// What is demanded of an answer about a name. A token names where its own call wrote: that of a registration the new
/// user's ledger, and neither that of who gave the name up before nor the look-up's. Whose a name is depends on all of
/// them, so whoever demands anything is answered from the end of the log.
pub fn demanded(at_least: AtLeast) -> AtLeast {
    AtLeast {
        latest: at_least.latest || at_least.token.is_some(),
        token: at_least.token,
    }
}

impl App {
    /// The look-up says where to look, and the account whether the name is its own: only that is as current as
    /// demanded. Whom the look-up does not know is looked for among all.
    pub async fn user_named(
        &self,
        caller: Caller,
        name: Name,
        at_least: &AtLeast,
    ) -> Result<(Option<UserRow>, ConsistencyToken), Problem> {
        if let Some(id) = self.probable_holder(name).await? {
            let ledger = self.node.ledger(id);
            let (found, token) = self
                .read_of(Source::Ledger(ledger), at_least, move |shard| {
                    Box::pin(user_by_name(shard, ledger, name))
                })
                .await?;
            if found.is_some() {
                return Ok((found, token));
            }
        }
        let (mut found, mut token) = self.all_named(name, at_least).await?;
        if found.len() > 1 {
            // Each ledger is read at a moment of its own, and the former holder's was one before the name was given up.
            let latest = AtLeast {
                latest: true,
                token: None,
            };
            self.reach(caller, &latest).await?;
            (found, token) = self.all_named(name, &latest).await?;
        }
        let first = found.pop();
        if found.is_empty() {
            return Ok((first, token));
        }
        // It has changed hands again meanwhile: none of them is known to be the last.
        Err(not_yet())
    }

    /// Everybody whose row has the name, each ledger at a moment of its own.
    async fn all_named(
        &self,
        name: Name,
        at_least: &AtLeast,
    ) -> Result<(Vec<UserRow>, ConsistencyToken), Problem> {
        let (found, token) = self
            .read_all(at_least, move |source, shard| {
                Box::pin(async move {
                    match source {
                        Source::Ledger(ledger) => user_by_name(shard, ledger, name).await,
                        Source::Catalog | Source::CatalogOn(_) => Ok(None),
                    }
                })
            })
            .await?;
        Ok((found.into_iter().flatten().collect(), token))
    }

    /// By the look-up as it is: it follows a stream that no node follows, so nothing can be demanded of it. If it is
    /// behind, all are read, and the answer is right all the same.
    async fn probable_holder(&self, name: Name) -> Result<Option<UserId>, Problem> {
        let (Name::Username(index) | Name::Email(index)) = name;
        let ledger = ledger_of(&index.to_hex(), self.shards.ledgers());
        self.read_of(Source::Ledger(ledger), &AtLeast::default(), move |shard| {
            Box::pin(holder_of_name(shard, name))
        })
        .await
        .map(|(holder, _)| holder)
    }
}

#[cfg(test)]
mod tests;
