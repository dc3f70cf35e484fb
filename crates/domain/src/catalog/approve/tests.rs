//! Two people for what is dangerous.

use super::*;
use crate::catalog::{CloseApproval, DeletePermission, DeleteRole, DetachPermission, EndApproval, Propose};
use crate::testing::{Given, attach, define_permission, define_role, given, minutes, permission, role, user};

const ASKING: u128 = 1;
const SECOND: u128 = 2;

fn dangerous(number: u128, resource: &str, action: &str) -> DefinePermission {
    DefinePermission {
        is_dangerous: true,
        ..define_permission(number, resource, action)
    }
}

/// `pay:approve` is dangerous and `pay:read` is not; roles are `clerk`, and `chief` with the danger.
fn catalog() -> Given<Catalog> {
    given([])
        .and(dangerous(1, "pay", "approve"))
        .and(define_permission(2, "pay", "read"))
        .and(define_role(1, "clerk", None))
        .and(define_role(2, "chief", None))
        .and(attach("chief", "pay:approve"))
}

fn propose(proposal: Proposal) -> Propose {
    Propose {
        approval_id: ApprovalId::from_uuid(Uuid::from_u128(7)),
        requested_by: user(ASKING),
        expires_at: minutes(60),
        proposal,
    }
}

fn approve(by: u128) -> Approve {
    Approve {
        approval_id: ApprovalId::from_uuid(Uuid::from_u128(7)),
        approved_by: user(by),
        new_id: Uuid::from_u128(99),
    }
}

fn grant() -> Proposal {
    Proposal::GrantRole {
        user_id: user(3),
        role_id: role(2),
        scope: None,
        expires_at: None,
    }
}

fn of_deed(name: &str, resource: &str, action: &str, is_dangerous: bool) -> Proposal {
    Proposal::DefinePermission(DefinePermission {
        name: name.to_owned(),
        is_dangerous,
        ..define_permission(50, resource, action)
    })
}

fn waits(given: Given<Catalog>, proposal: Proposal) -> bool {
    let before = given.state().approvals.len();
    given.and(propose(proposal)).state().approvals.len() > before
}

/// Everything that would give a dangerous deed to anybody, or make it look harmless.
#[test]
fn whatever_gives_danger_waits() {
    let below = |name| Proposal::DefineRole(define_role(51, name, Some("chief")));
    let with_second_name = || catalog().and(attach("clerk", "pay:read"));
    for (given, proposal) in [
        (
            catalog(),
            Proposal::AttachPermission(attach("clerk", "pay:approve")),
        ),
        (catalog(), below("clerk")),
        (catalog(), below("new")),
        (catalog(), grant()),
        // The dangerous one made harmless, or its deed under a harmless name.
        (catalog(), of_deed("pay:approve", "pay", "approve", false)),
        (catalog(), of_deed("pay:approve", "other", "deed", false)),
        (catalog(), of_deed("innocent", "pay", "approve", false)),
        // What clerks hold becomes the dangerous deed, be it called dangerous or not.
        (with_second_name(), of_deed("pay:read", "pay", "approve", false)),
        (with_second_name(), of_deed("pay:read", "pay", "approve", true)),
    ] {
        let shown = format!("{proposal:?}");
        assert!(waits(given, proposal), "{shown}");
    }
}

#[test]
fn deleting_or_moving_a_dangerous_permission_is_no_way_around() {
    let deleted = || {
        catalog().and(DeletePermission {
            name: "pay:approve".to_owned(),
        })
    };
    assert!(waits(deleted(), of_deed("pay:approve", "pay", "approve", false)));
    let moved = || {
        catalog()
            .and(dangerous(1, "pay", "approve"))
            .and(DefinePermission {
                name: "pay:approve".to_owned(),
                ..dangerous(1, "other", "deed")
            })
    };
    assert!(waits(moved(), of_deed("innocent", "pay", "approve", false)));
    assert!(waits(
        moved(),
        Proposal::AttachPermission(attach("clerk", "pay:approve"))
    ));
}

#[test]
fn what_gives_no_danger_takes_one_person() {
    for proposal in [
        Proposal::AttachPermission(attach("chief", "pay:read")),
        Proposal::AttachPermission(attach("chief", "pay:approve")),
        Proposal::DefineRole(define_role(51, "new", Some("clerk"))),
        Proposal::DefineRole(define_role(51, "chief", None)),
        of_deed("pay:read", "pay", "read", true),
        of_deed("pay:approve", "pay", "approve", true),
        of_deed("second", "pay", "approve", true),
    ] {
        let shown = format!("{proposal:?}");
        assert!(!waits(catalog(), proposal), "{shown}");
    }
}

#[test]
fn a_second_person_makes_a_change_of_the_catalog_with_the_approval() {
    let asked = || {
        catalog().and(propose(Proposal::AttachPermission(attach(
            "clerk",
            "pay:approve",
        ))))
    };
    assert!(!asked().state().is_attached(role(1), permission(1)));
    asked().when(approve(ASKING)).then_error(Error::OwnApproval);
    let after = asked().and(approve(SECOND));
    assert!(after.state().is_attached(role(1), permission(1)));
    assert!(after.state().approvals.is_empty());
    after.when(approve(SECOND)).then_error(Error::NoSuchApproval);
}

#[test]
fn an_approved_definition_counts_from_then_on() {
    let harmless = || of_deed("pay:approve", "pay", "approve", false);
    let after = catalog().and(propose(harmless())).and(approve(SECOND));
    assert!(!after.state().gives_danger(role(2)));
    let new_role = Proposal::DefineRole(define_role(51, "new", Some("chief")));
    let after = catalog().and(propose(new_role)).and(approve(SECOND));
    let made = after.state().role_by_name("new").unwrap();
    assert_eq!(made.0.as_uuid(), Uuid::from_u128(99));
    assert!(after.state().gives_danger(made.0));
}

#[test]
fn an_approved_grant_stays_open_until_it_is_made() {
    let given = || catalog().and(propose(grant())).and(approve(SECOND));
    let open = given();
    assert_eq!(open.state().approvals.len(), 1);
    open.when(approve(SECOND)).then_nothing();
    let end = EndApproval {
        approval_id: approve(SECOND).approval_id,
        ended_by: user(ASKING),
    };
    given().when(end).then_error(Error::NoSuchApproval);
    let close = CloseApproval {
        approval_id: approve(SECOND).approval_id,
        applied: true,
    };
    let closed = given().and(close.clone());
    assert!(closed.state().approvals.is_empty());
    closed.when(close).then_nothing();
}

#[test]
fn the_same_change_waits_once_and_until_its_expiry() {
    let asked = || catalog().and(propose(grant()));
    asked().when(propose(grant())).then_nothing();
    asked()
        .at(minutes(60))
        .when(approve(SECOND))
        .then_error(Error::NoSuchApproval);
    let again = Propose {
        approval_id: ApprovalId::from_uuid(Uuid::from_u128(8)),
        expires_at: minutes(120),
        ..propose(grant())
    };
    let renewed = asked().at(minutes(60)).and(again);
    // The one that came to nothing is forgotten with it.
    assert_eq!(renewed.state().approvals.len(), 1);
    renewed.when(approve(SECOND)).then_error(Error::NoSuchApproval);
}

#[test]
fn who_asked_withdraws_and_others_refuse() {
    for by in [ASKING, SECOND] {
        let end = EndApproval {
            approval_id: approve(by).approval_id,
            ended_by: user(by),
        };
        let ended = catalog().and(propose(grant())).and(end);
        assert!(ended.state().approvals.is_empty());
        ended.when(approve(SECOND)).then_error(Error::NoSuchApproval);
    }
}

#[test]
fn an_approval_is_for_what_was_asked_and_nothing_else() {
    let attaching = || {
        catalog().and(propose(Proposal::AttachPermission(attach(
            "clerk",
            "pay:approve",
        ))))
    };
    let role_again = attaching()
        .and(DeleteRole {
            name: "clerk".to_owned(),
        })
        .and(define_role(9, "clerk", None));
    role_again.when(approve(SECOND)).then_error(Error::StaleApproval);
    let other_deed = attaching()
        .and(DetachPermission {
            role: "chief".to_owned(),
            permission: "pay:approve".to_owned(),
            system: false,
        })
        .and(DefinePermission {
            name: "pay:approve".to_owned(),
            ..dangerous(1, "vault", "empty")
        });
    other_deed.when(approve(SECOND)).then_error(Error::StaleApproval);
    let gone = catalog().and(propose(grant())).and(DeleteRole {
        name: "chief".to_owned(),
    });
    gone.when(approve(SECOND)).then_error(Error::StaleApproval);
}
