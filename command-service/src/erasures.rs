//! Seeing erasures through: the destroyed key must not be found in the keys topic any more.
//!
//! Kafka lets go of an overwritten record only when its segment is closed, and closes it on an append
//! only: the owner's heartbeats see to that. Whoever owns the user's ledger then looks, and records
//! that the key is gone.

use std::collections::{HashMap, HashSet};

use domain::user::{CompleteErasure, User, UserCommand};
use event_log::{CommandContext, KafkaConfig, stored_keys};
use schemas::{RequestId, UserId};

use crate::app::App;

impl App {
    /// Of the ledgers served here.
    pub async fn complete_erasures(&self, kafka: &KafkaConfig) {
        let (users, _) = self.bus.at_rest::<User>(User::erasure_is_open);
        let mut open: HashMap<i32, HashSet<UserId>> = HashMap::new();
        for (id, _) in users {
            if let Ok(user) = id.parse::<UserId>() {
                open.entry(self.node.ledger(user)).or_default().insert(user);
            }
        }
        metrics::gauge!("erasures_open").set(open.values().map(HashSet::len).sum::<usize>() as f64);
        for (ledger, users) in open {
            match stored_keys(kafka, ledger, users.clone()).await {
                Ok(left) => {
                    for user in users.iter().filter(|user| !left.contains_key(user)) {
                        self.complete_erasure(*user).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "The keys of ledger {ledger} could not be read through: {error}")
                }
            }
        }
    }

    async fn complete_erasure(&self, user: UserId) {
        let command = UserCommand::CompleteErasure(CompleteErasure {});
        let context = CommandContext::system(RequestId::new_v7());
        match self
            .bus
            .execute::<User>(&user.to_string(), command, context)
            .await
        {
            Ok(_) => {
                tracing::info!(user.id = %user, "The data key of user {user} is gone from the keys topic")
            }
            Err(error) => tracing::debug!(user.id = %user, "An erasure is looked at again: {error}"),
        }
    }
}
