//! Names go to one user each, whatever crashes, pauses or is lost.

use protocol_models::claims::{Claim, Claims, Flaw, Try};
use protocol_models::recovery::Graph;
use stateright::{Checker, Model};

const MAIL: usize = 0;

fn alone(claim: usize) -> Try {
    Try { claim, shared: false }
}

fn shared(claim: usize) -> Try {
    Try { claim, shared: true }
}

/// Two who want one e-mail address, each with a user name of his own.
fn two_for_one_mail(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [MAIL, 1]), Claim::new(2, 1, [MAIL, 2])],
        tries: vec![alone(0), alone(1)],
        names: 3,
        faults: 2,
        flaw,
    }
}

/// A retry under the same idempotency key beside its first try, and a contender for the e-mail address.
fn a_retry_and_a_contender(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [MAIL, 1]), Claim::new(2, 1, [MAIL, 2])],
        tries: vec![shared(0), shared(0), alone(1)],
        names: 3,
        faults: 1,
        flaw,
    }
}

/// The first wants address 0 and name 1, the second name 1 and address 2, the third 2 and 0: each meets
/// two others.
fn three_crossing(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [0, 1]), Claim::new(2, 1, [1, 2]), Claim::new(3, 2, [2, 0])],
        tries: vec![alone(0), alone(1), alone(2)],
        names: 3,
        faults: 0,
        flaw,
    }
}

/// Another request under the same key: one user, two claims.
fn one_key_two_requests(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [MAIL, 1]), Claim::new(2, 0, [MAIL, 2])],
        tries: vec![shared(0), shared(1), shared(0)],
        names: 3,
        faults: 1,
        flaw,
    }
}

fn holds(name: &str, model: impl Fn() -> Claims) {
    let started = std::time::Instant::now();
    let checker = model().checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let checked = started.elapsed();
    let counted = model();
    let graph = Graph::of(&counted, counted.init_states(), |_, _| true);
    println!("{name}: {} states, {checked:?} and {:?}", graph.states().len(), started.elapsed());
    // Its hash tells all states apart.
    assert_eq!(checker.unique_state_count(), graph.states().len());
    let lost = graph.lost(|state| counted.is_settled(state));
    assert!(lost.is_none(), "a name is lost for ever: {lost:#?}");
}

#[test]
fn two_for_one_mail_holds() {
    holds("two for one mail", || two_for_one_mail(None));
}
#[test]
fn a_retry_and_a_contender_holds() {
    holds("a retry", || a_retry_and_a_contender(None));
}
#[test]
fn three_crossing_holds() {
    holds("crossing", || three_crossing(None));
}
#[test]
fn one_key_two_requests_holds() {
    holds("one key", || one_key_two_requests(None));
}
