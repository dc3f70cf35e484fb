//! Who may do something: those who hold a role that gives it, each decided as if it had been asked about them.

use std::sync::Arc;
use std::time::Duration;

use read_model::queries::holders_of_roles;
use schemas::{RoleId, Timestamp, UserId};
use service_kit::at_least::AtLeast;
use service_kit::auth::Caller;
use service_kit::consistency::ConsistencyToken;
use service_kit::problem::Problem;
use tokio::time::Instant;

use super::body::Asked;
use super::decide::{Question, is_user};
use crate::app::App;
use crate::reads::Source;

/// Of each ledger and round at least: most who hold a role may do what it gives, but not all.
const LEAST_CANDIDATES: usize = 64;
/// Rounds of one request at most. A page that is not full by then is answered as it is.
const ROUNDS: usize = 8;
/// Nor does another round begin later than this.
const LONG: Duration = Duration::from_secs(1);

/// A part of all who may, in the order of their ids.
#[derive(Default)]
pub struct Subjects {
    /// All of them up to `looked_until`, or more than were wanted; without either, to the end.
    pub ids: Vec<UserId>,
    pub looked_until: Option<UserId>,
}

impl App {
    /// What [`Self::subjects`] finds rests on at least; take it before.
    pub fn token_of_all(&self) -> ConsistencyToken {
        let ledgers = 0..self.shards.ledgers();
        self.token(ledgers.flat_map(|ledger| self.node.basis_of_ledger(ledger)))
    }

    /// Those behind `after` who may do what is asked; more than `wanted` if there are more.
    ///
    /// Rows say who is asked about, and the node alone decides, so no row gives anybody a right. Nobody is missing: rows
    /// are read at a moment that reflects all that the node had seen.
    pub async fn subjects(
        &self,
        caller: Caller,
        at_least: &AtLeast,
        asked: &Asked<'_>,
        after: Option<UserId>,
        wanted: usize,
    ) -> Result<Subjects, Problem> {
        let mut found = Subjects::default();
        let roles = self.roles_giving(asked);
        if !is_user(&asked.subject.kind) || roles.is_empty() {
            return Ok(found);
        }
        let at_least = AtLeast {
            token: at_least.token.clone(),
            latest: true,
        };
        let each = wanted.saturating_add(1).max(LEAST_CANDIDATES);
        let (mut last, began) = (after, Instant::now());
        for _ in 0..ROUNDS {
            let candidates = self.candidates(&at_least, &roles, last, each).await?;
            let is_end = candidates.len() < each;
            let now = Timestamp::now();
            for user in candidates {
                last = Some(user);
                let question = Question::from(asked.by(user.to_string()));
                if self.answer(caller, &question, now)?.decision {
                    found.ids.push(user);
                    if found.ids.len() > wanted {
                        return Ok(found);
                    }
                }
            }
            if is_end {
                return Ok(found);
            }
            if began.elapsed() > LONG {
                break;
            }
        }
        found.looked_until = last;
        Ok(found)
    }

    fn roles_giving(&self, asked: &Asked<'_>) -> Arc<[RoleId]> {
        let catalog = self.node.catalog();
        let action = catalog.action(&asked.resource.kind, &asked.action.name);
        let giving = catalog
            .roles()
            .filter(|role| action.is_some_and(|action| catalog.allows(role, action)));
        giving.map(|role| role.id).collect()
    }

    /// The first of those behind `after` who hold one of the roles, `each` of them if there are so many.
    async fn candidates(
        &self,
        at_least: &AtLeast,
        roles: &Arc<[RoleId]>,
        after: Option<UserId>,
        each: usize,
    ) -> Result<Vec<UserId>, Problem> {
        let sources = (0..self.shards.ledgers()).map(Source::Ledger);
        let read = self.read_each(sources, at_least, move |source, shard| {
            let roles = Arc::clone(roles);
            Box::pin(async move {
                match source {
                    Source::Ledger(ledger) => holders_of_roles(shard, ledger, &roles, after, each).await,
                    Source::Catalog | Source::CatalogOn(_) => Ok(Vec::new()),
                }
            })
        });
        // The first of all are among the first of each.
        let mut candidates: Vec<_> = read.await?.0.into_iter().flatten().collect();
        candidates.sort_unstable();
        candidates.truncate(each);
        Ok(candidates)
    }
}
