//! The main job: from a command to the answer that rests on it, and what is left in the log.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "flow/access.rs"]
mod access;
#[path = "flow/contract.rs"]
mod contract;
#[path = "flow/expiry.rs"]
mod expiry;
#[path = "flow/reads.rs"]
mod reads;
#[path = "flow/secrets.rs"]
mod secrets;
#[path = "flow/verification.rs"]
mod verification;

use std::process::ExitCode;

use tests::{Suite, scenarios};

fn main() -> ExitCode {
    let scenarios = scenarios![
        access::a_grant_allows_and_its_revocation_denies,
        access::latest_after_a_revocation_denies_every_time,
        access::a_grant_ends_by_the_clock,
        access::several_questions_at_once,
        access::a_deactivated_user_may_nothing,
        access::grants_of_a_deleted_role_never_revive,
        access::rights_follow_the_hierarchy_as_it_changes,
        contract::records_carry_cloud_events_and_confluent_framing,
        contract::every_schema_is_registered_and_fully_compatible,
        contract::every_event_stands_on_its_basis,
        expiry::the_end_of_a_grant_becomes_one_event,
        expiry::a_renewed_or_revoked_grant_does_not_end,
        expiry::many_grants_that_end_at_once_all_end,
        reads::what_is_stored_of_a_person_is_read_back,
        reads::the_audit_log_tells_all_in_pages,
        reads::the_catalog_lists_roles_and_permissions,
        reads::the_timeline_tells_the_story_from_the_log_alone,
        verification::introspection_is_exact,
        verification::published_keys_verify_access_tokens,
        // Last: it looks at what all the others have left.
        secrets::no_plaintext_is_left_anywhere,
    ];
    Suite {
        scenarios,
        at_once: 4,
        shards: 16,
    }
    .main()
}
