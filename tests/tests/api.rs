//! The HTTP contract, and every way to break it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "api/approvals.rs"]
mod approvals;
#[path = "api/audit.rs"]
mod audit;
#[path = "api/authorisation.rs"]
mod authorisation;
#[path = "api/contract.rs"]
mod contract;
#[path = "api/idempotency.rs"]
mod idempotency;
#[path = "api/import_program.rs"]
mod import_program;
#[path = "api/imports.rs"]
mod imports;
#[path = "api/lost_answers.rs"]
mod lost_answers;
#[path = "api/mails.rs"]
mod mails;
#[path = "api/passkeys.rs"]
mod passkeys;
#[path = "api/passwords.rs"]
mod passwords;
#[path = "api/positions.rs"]
mod positions;
#[path = "api/profiles.rs"]
mod profiles;
#[path = "api/random.rs"]
mod random;
#[path = "api/registration.rs"]
mod registration;
#[path = "api/rights.rs"]
mod rights;
#[path = "api/scopes.rs"]
mod scopes;
#[path = "api/searches.rs"]
mod searches;
#[path = "api/service_accounts.rs"]
mod service_accounts;
#[path = "api/sessions.rs"]
mod sessions;
#[path = "api/signing_in.rs"]
mod signing_in;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/totp.rs"]
mod totp;

use std::process::ExitCode;

use tests::{Suite, scenarios};

fn main() -> ExitCode {
    let scenarios = scenarios![
        approvals::a_dangerous_permission_takes_two_people,
        approvals::the_grant_of_a_dangerous_role_names_its_approval,
        approvals::no_detour_takes_one_person,
        approvals::rights_that_were_lost_meanwhile_approve_nothing,
        approvals::an_approval_is_withdrawn_or_refused,
        approvals::a_key_gives_the_same_approval_and_the_same_answer,
        audit::what_happened_to_everybody_is_told_in_pages,
        audit::the_audit_log_is_searched_by_type_and_suspicion,
        audit::a_person_is_found_by_a_name,
        authorisation::every_call_says_who_may_make_it_and_refuses_all_others,
        authorisation::public_calls_do_not_look_at_a_token,
        contract::broken_bodies_are_told_apart,
        contract::every_field_is_checked_for_its_type_and_presence,
        contract::forms_are_checked_like_bodies,
        contract::unknown_things_are_404_and_malformed_ids_400,
        contract::what_is_no_route_or_no_method_is_a_problem_too,
        idempotency::the_same_key_at_once_gives_one_event_and_one_answer,
        idempotency::a_key_with_another_request_is_refused_and_changes_nothing,
        idempotency::a_key_belongs_to_its_caller_and_operation,
        idempotency::a_mismatched_registration_frees_no_name,
        idempotency::malformed_keys_are_refused,
        idempotency::a_repeated_login_needs_the_password,
        idempotency::a_registration_under_one_key_has_one_password,
        idempotency::guessing_by_registering_again_locks,
        idempotency::a_repeated_password_change_needs_the_same_passwords,
        idempotency::racing_password_changes_under_one_key_set_one_password,
        mails::an_address_is_verified_with_the_token_from_the_mail,
        mails::a_phone_number_is_verified_with_a_code_in_a_few_tries,
        mails::a_forgotten_password_is_reset_once_and_every_session_ends,
        mails::a_reset_ends_a_lock_and_dies_with_the_password,
        mails::who_resets_the_password_signs_in_though_others_guess,
        mails::a_lost_answer_to_a_reset_is_given_again,
        mails::whether_an_address_is_known_is_not_told,
        mails::who_changed_what_is_told_to_the_former_address_too,
        mails::a_busy_mail_server_gets_it_again_and_one_that_refuses_does_not,
        imports::users_are_imported_with_the_passwords_they_have,
        imports::each_line_is_imported_or_rejected_with_its_reason,
        imports::of_lines_with_the_same_name_the_first_is_imported,
        imports::many_lines_are_imported_though_half_of_them_are_not,
        imports::an_import_repeated_with_its_key_repeats_nothing,
        imports::only_those_with_the_permission_import,
        imports::a_line_rejected_as_taken_is_imported_once_the_name_is_free,
        import_program::a_program_imports_files_and_goes_on_after_an_interruption,
        import_program::a_program_with_a_key_imports_what_it_can_of_a_file,
        passwords::a_recent_password_is_not_taken_again,
        passwords::a_password_typed_in_another_form_is_the_same,
        passwords::every_weak_password_is_told_by_which_rule,
        positions::foreign_and_garbled_tokens_are_refused,
        positions::a_token_beyond_the_end_is_not_yet_at_once,
        positions::tokens_join_by_their_maximum,
        profiles::an_administrator_ends_a_lock,
        profiles::a_new_name_signs_in_and_the_former_one_is_free,
        profiles::two_people_swap_their_addresses,
        profiles::of_many_who_want_one_name_one_gets_it,
        profiles::names_change_with_the_current_password_only,
        profiles::a_repeated_rename_gets_its_first_answer,
        profiles::a_deactivated_users_refresh_token_gives_nothing,
        profiles::nobody_changes_the_profile_of_somebody_with_more_rights,
        random::random_bodies_never_break_a_service,
        registration::one_of_many_racing_registrations_wins,
        registration::one_of_many_with_equal_e_mail_and_different_names_wins,
        registration::crossing_registrations_leave_no_name_taken_for_nobody,
        registration::names_are_normalised_before_they_are_compared,
        registration::weak_passwords_and_malformed_names_are_refused,
        rights::nobody_gives_rights_they_do_not_hold,
        rights::a_role_is_never_its_own_ancestor,
        rights::what_is_rolecalls_own_cannot_be_changed,
        rights::a_grant_that_has_expired_already_is_refused,
        rights::people_read_what_is_their_own_and_give_themselves_nothing,
        rights::a_revoked_administrator_changes_nothing_any_more,
        rights::nobody_gives_rights_for_longer_than_they_hold_them,
        rights::the_grant_of_a_deleted_role_is_revoked_by_its_id,
        scopes::a_grant_counts_for_what_is_within_its_scope,
        scopes::each_scope_is_revoked_by_itself,
        scopes::a_scope_that_names_nothing_is_refused,
        searches::whoever_may_is_found_as_soon_as_they_may,
        searches::people_ask_what_they_may_do_themselves,
        searches::the_token_of_a_page_fits_its_own_search_only,
        service_accounts::a_key_may_what_its_account_may_on_both_services,
        service_accounts::a_key_goes_as_far_as_its_roles_on_every_path,
        service_accounts::a_key_that_is_over_stops_at_once,
        service_accounts::whoever_holds_a_key_may_have_it_revoked,
        service_accounts::a_repeated_call_shows_the_same_key,
        service_accounts::a_service_accounts_name_is_a_user_name_and_nobody_signs_in_with_it,
        service_accounts::nobody_issues_a_key_beyond_their_own_rights,
        service_accounts::guessed_keys_are_refused_and_limited,
        service_accounts::checks_know_what_a_key_is_for,
        service_accounts::a_key_is_no_way_around_the_second_person,
        service_accounts::a_key_is_no_session,
        service_accounts::an_erased_account_leaves_its_name_and_no_key,
        service_accounts::the_trail_tells_of_keys_and_of_what_was_done_with_them,
        service_accounts::introspection_tells_of_keys,
        sessions::refreshing_replaces_the_refresh_token,
        lost_answers::a_lost_refresh_answer_is_given_again,
        lost_answers::racing_refreshes_get_one_successor,
        lost_answers::whoever_leaves_gets_the_first_answer_again,
        sessions::an_old_refresh_token_ends_its_session,
        sessions::a_revoked_session_is_refreshed_no_more,
        sessions::a_forged_refresh_token_ends_nothing,
        sessions::revoking_by_refresh_token_tells_nothing,
        sessions::revoking_by_access_token_ends_its_session,
        sessions::calls_that_need_no_token_do_not_look_at_one,
        sessions::a_retried_sign_out_gets_its_first_answer,
        sessions::an_ended_session_changes_no_rights,
        sessions::changing_the_password_ends_the_other_sessions,
        sessions::people_end_their_own_sessions_and_not_those_of_others,
        signing_in::five_wrong_passwords_lock_sign_in,
        signing_in::unknown_users_and_wrong_passwords_look_alike,
        signing_in::a_deactivated_user_cannot_sign_in,
        signing_in::a_deactivated_users_password_is_not_guessed_either,
        signing_in::guessing_leaves_few_events_and_lets_the_owner_in,
        signing_in::folded_failures_reach_the_log_when_nothing_more_comes,
        signing_in::a_device_that_guesses_is_unknown_again,
        tokens::forged_tokens_are_refused_by_both_services,
        tokens::an_expired_token_is_named_as_such,
        tokens::a_deactivated_users_token_is_refused_at_once,
        tokens::two_authorization_headers_are_none,
        passkeys::a_passkey_signs_in_without_name_and_password,
        passkeys::a_named_user_is_asked_for_her_passkeys,
        passkeys::names_without_a_passkey_look_alike,
        passkeys::a_passkey_is_a_second_factor_after_the_password,
        passkeys::a_synchronised_passkey_is_told_as_software,
        passkeys::what_does_not_fit_is_not_registered,
        passkeys::what_does_not_fit_signs_nobody_in,
        passkeys::a_copied_passkey_is_refused_and_told,
        passkeys::the_last_passkey_goes_only_with_a_long_password,
        totp::an_authenticator_app_becomes_a_second_factor,
        totp::only_who_knows_the_password_learns_of_a_second_factor,
        totp::two_factors_at_once_are_refused,
        totp::of_many_sign_ins_with_one_code_one_counts,
        totp::a_recovery_code_works_once_and_new_ones_void_the_rest,
        totp::wrong_codes_lock_like_wrong_passwords,
        totp::a_lost_answer_gives_the_same_recovery_codes,
        totp::sensitive_calls_need_a_recent_second_factor,
        totp::the_owner_disables_it_with_password_and_factor,
        totp::an_administrator_takes_lost_factors_away,
        totp::others_do_not_enrol_for_somebody,
    ];
    Suite {
        scenarios,
        at_once: 4,
        shards: 2,
    }
    .main()
}
