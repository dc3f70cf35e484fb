//! Several instances of each service: who of them is asked makes no difference, and one that leaves, dies or
//! sleeps is replaced.
//!
//! Every scenario starts the further instances it needs and stops them, so that the next finds one of each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "instances/commands.rs"]
mod commands;
#[path = "instances/failover.rs"]
mod failover;
#[path = "instances/projectors.rs"]
mod projectors;
#[path = "instances/queries.rs"]
mod queries;

use std::process::ExitCode;

use tests::{Suite, scenarios};

fn main() -> ExitCode {
    let scenarios = scenarios![
        commands::any_instance_carries_out_any_command,
        commands::a_key_sent_to_two_instances_gives_one_event,
        queries::two_query_services_answer_alike,
        failover::instances_restart_one_after_the_other_under_load,
        failover::a_killed_instance_is_replaced_under_load,
        failover::a_third_instance_takes_a_share_and_a_frozen_owner_gives_up,
        projectors::projectors_share_the_shards_and_replace_each_other,
        projectors::a_killed_projector_that_comes_back_works_soon,
        projectors::a_frozen_projector_neither_doubles_nor_halts,
    ];
    Suite {
        scenarios,
        at_once: 1,
        shards: 4,
    }
    .main()
}
