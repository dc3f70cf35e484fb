//! Whose name it is.

use domain::ledger::ledger_of;
use read_model::queries::{Name, UserRow, holder_of_name, user_by_name};
use schemas::UserId;
use service_kit::at_least::AtLeast;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;

use crate::app::App;
use crate::reads::Source;

impl App {
    /// The look-up says where to look, and the account whether the name is its own: only that is as current as
    /// demanded. Whom the look-up does not know is looked for among all.
    pub async fn user_named(
        &self,
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
        let (found, token) = self
            .read_all(at_least, move |source, shard| {
                Box::pin(async move {
                    match source {
                        Source::Ledger(ledger) => user_by_name(shard, ledger, name).await,
                        Source::Catalog => Ok(None),
                    }
                })
            })
            .await?;
        Ok((found.into_iter().flatten().next(), token))
    }

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
