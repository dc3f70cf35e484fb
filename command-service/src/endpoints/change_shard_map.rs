//! PUT /v1/shard-map: say on which shard the rows of each ledger lie, and which further copies are kept up.

use std::sync::Arc;

use axum::extract::State;
use domain::catalog::{Catalog, CatalogCommand, ChangeShardMap};
use domain::rolecall_permissions::Permission;
use schemas::catalog::{LedgerCopy, ShardMapChanged};
use serde::{Deserialize, Serialize};
use service_kit::at_least::{Empty, Written, WrittenBody};
use service_kit::json::Json;
use service_kit::problem::{Problem, ProblemDetails};
use utoipa::ToSchema;

use crate::app::App;
use crate::call::Call;
use crate::refusals::problem;

/// The whole map. `rolecall-shards` makes it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShardMapRequest {
    /// One more than that of the last map.
    pub version: i32,
    /// The shard of each ledger, in the ledgers' order.
    pub placement: Vec<i32>,
    /// How many there are; their ids are 0 and up.
    pub shards: i32,
    /// Copies to be filled from the log; nobody reads them.
    #[serde(default)]
    pub filling: Vec<CopyRequest>,
    /// Former places of ledgers, kept up for readers that have not heard of this map yet.
    #[serde(default)]
    pub leaving: Vec<CopyRequest>,
}

#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyRequest {
    pub ledger: i32,
    pub shard: i32,
}

#[utoipa::path(put, path = "/v1/shard-map", tag = "catalog", security(("bearer" = [])),
    request_body = ShardMapRequest, responses(
    (status = 200, body = WrittenBody<Empty>),
    (status = 409, body = ProblemDetails, description = "Not the next map, or one by which rows would be lost or read where they are not"),
    (status = "default", body = ProblemDetails),
))]
#[tracing::instrument(name = "http.shard_map.change", skip_all, fields(version = request.version))]
pub async fn change_shard_map(
    State(app): State<Arc<App>>,
    call: Call,
    Json(request): Json<ShardMapRequest>,
) -> Result<Written, Problem> {
    let basis = app.authorise_at_latest(&call, Permission::ShardMapChange).await?;
    let context = call.context(&app, "change-shard-map", &request, Vec::new());
    let command = CatalogCommand::ChangeShardMap(ChangeShardMap {
        map: request.into(),
        ledgers: app.bus.ledgers(),
    });
    let receipt = app
        .bus
        .execute::<Catalog>("catalog", command, context)
        .await
        .map_err(problem)?;
    Ok(Written::at(call.open.token(&app, &basis, &receipt)))
}

impl From<ShardMapRequest> for ShardMapChanged {
    fn from(request: ShardMapRequest) -> Self {
        let copies = |copies: Vec<CopyRequest>| {
            let copies = copies.into_iter();
            copies
                .map(|CopyRequest { ledger, shard }| LedgerCopy { ledger, shard })
                .collect()
        };
        Self {
            version: request.version,
            placement: request.placement,
            shards: request.shards,
            filling: copies(request.filling),
            leaving: copies(request.leaving),
        }
    }
}
