//! Shards are added and ledgers move while commands, checks and reads go on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "resharding/cut.rs"]
mod cut;
#[path = "resharding/moving.rs"]
mod moving;
#[path = "resharding/readers.rs"]
mod readers;
#[path = "resharding/rebuilding.rs"]
mod rebuilding;
#[path = "resharding/rebuilding_catalog.rs"]
mod rebuilding_catalog;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;

use local_rolecall::{LocalRolecall, Service};
use local_stack::Stack;
use tests::{Suite, World, scenarios};

use crate::cut::Cut;

/// All that there are in the end; the first ones are there from the beginning.
const SHARDS: usize = 4;
const FIRST: usize = 2;
/// Where the second query service finds Kafka: something stands between.
const DOOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn main() -> ExitCode {
    let scenarios = scenarios![
        moving::a_shard_is_added_under_load_though_a_projector_is_killed,
        moving::a_node_that_does_not_hear_of_the_move_never_reads_what_is_left,
        moving::a_plan_is_given_up_and_made_again,
        moving::nothing_moves_that_the_log_would_refuse,
        rebuilding::rows_that_are_wrong_are_put_right_under_load,
        rebuilding::a_ledger_that_is_right_is_put_in_place_anew_under_load,
        rebuilding_catalog::a_catalog_that_is_wrong_is_put_right_and_told,
        rebuilding_catalog::a_catalog_is_put_in_place_anew_while_it_changes,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: SHARDS,
    }
    .main_on(world())
}

async fn world() -> World {
    let stack = Stack::builder()
        .shards(SHARDS)
        .kafka_doors([DOOR])
        .tls(true)
        .start()
        .await;
    let stack = stack.unwrap_or_else(|error| panic!("{error}"));
    let door = stack.kafka_doors(0)[0];
    let behind = SocketAddrV4::new(Ipv4Addr::LOCALHOST, door.port);
    Cut::start(door.advertised, behind).await;
    let file = stack.data_dir().join("shards");
    moving::configure(&stack, FIRST);
    let builder = LocalRolecall::builder()
        .queries(2)
        .projectors(2)
        .env("ROLECALL_SHARDS_FILE", file.display().to_string())
        .env_of(Service::Query, 1, "ROLECALL_KAFKA", door.advertised.to_string());
    World::on(stack, builder).await
}
