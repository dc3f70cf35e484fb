//! Names go to one user each, whatever crashes, pauses or is lost.

use protocol_models::claims::{Claim, Claims, Flaw, KEPT, REGISTERED, STAYS, Try, UNIQUE};
use protocol_models::recovery::Graph;
use stateright::{Checker, HasDiscoveries, Model};

const MAIL: usize = 0;

fn alone(claim: usize) -> Try {
    Try { claim, shared: false }
}

fn shared(claim: usize) -> Try {
    Try { claim, shared: true }
}

/// Two who want one e-mail address, each with a user name of his own.
fn two_for_one_mail(faults: u8, flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [MAIL, 1]), Claim::new(2, 1, [MAIL, 2])],
        tries: vec![alone(0), alone(1)],
        names: 3,
        near: [false; 2],
        faults,
        flaw,
    }
}

/// A retry under the same idempotency key beside its first try, and a contender for the e-mail address.
fn a_retry_and_a_contender(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![Claim::new(1, 0, [MAIL, 1]), Claim::new(2, 1, [MAIL, 2])],
        tries: vec![shared(0), shared(0), alone(1)],
        names: 3,
        near: [false; 2],
        faults: 1,
        flaw,
    }
}

/// The first wants address 0 and name 1, the second name 1 and address 2, the third 2 and 0: each meets
/// two others.
fn three_crossing(flaw: Option<Flaw>) -> Claims {
    Claims {
        claims: vec![
            Claim::new(1, 0, [0, 1]),
            Claim::new(2, 1, [1, 2]),
            Claim::new(3, 2, [2, 0]),
        ],
        tries: vec![alone(0), alone(1), alone(2)],
        names: 3,
        near: [false; 2],
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
        near: [false; 2],
        faults: 1,
        flaw,
    }
}

fn holds(name: &str, counted: Claims) {
    let started = std::time::Instant::now();
    let checker = counted.clone().checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let checked = started.elapsed();
    let graph = Graph::of(&counted, counted.init_states(), |_, _| true);
    println!(
        "{name}: {} states, {checked:?} and {:?}",
        graph.states().len(),
        started.elapsed()
    );
    // Its hash tells all states apart.
    assert_eq!(checker.unique_state_count(), graph.states().len());
    let lost = graph.lost(|state| counted.is_settled(state));
    assert!(lost.is_none(), "a name is lost for ever: {lost:#?}");
}

#[test]
fn two_who_want_one_address() {
    holds("two for one address", two_for_one_mail(2, None));
}

/// Where both names, or one of them, have one writer with the user.
#[test]
fn two_who_want_one_address_and_take_their_steps_together() {
    for near in [[true, true], [true, false], [false, true]] {
        let model = Claims {
            near,
            ..two_for_one_mail(2, None)
        };
        holds(&format!("two for one address, near {near:?}"), model);
    }
}

#[test]
fn a_retry_and_a_contender_who_take_their_steps_together() {
    for near in [[true, true], [true, false]] {
        let model = Claims {
            near,
            ..a_retry_and_a_contender(None)
        };
        holds(&format!("a retry and a contender, near {near:?}"), model);
    }
}

#[test]
fn a_retry_beside_its_first_try_and_a_contender() {
    holds("a retry and a contender", a_retry_and_a_contender(None));
}

#[test]
fn three_who_cross() {
    holds("three crossing", three_crossing(None));
}

#[test]
fn one_key_with_two_requests() {
    let checker = one_key_two_requests(None).checker().threads(2).spawn_bfs().join();
    println!("one key, two requests: {} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Two instances that make the first administrator share a claim, and have no idempotency key.
#[test]
fn who_shares_a_claim_must_say_so() {
    let apart = Claims {
        tries: vec![alone(0), alone(0)],
        ..two_for_one_mail(1, None)
    };
    println!("unsaid: {}", found(apart, KEPT).unwrap());
    holds(
        "said",
        Claims {
            tries: vec![shared(0), shared(0)],
            ..two_for_one_mail(1, None)
        },
    );
}

#[test]
fn every_flaw_is_found() {
    let flaws = [
        (Flaw::SkipsAbandoning, UNIQUE),
        (Flaw::ExpiryFrees, UNIQUE),
        (Flaw::ReleasesWhoeverHolds, KEPT),
        (Flaw::TakesUnknownForRefused, KEPT),
        (Flaw::ConfirmsFirst, REGISTERED),
        (Flaw::AnswersEarly, STAYS),
    ];
    for (flaw, broken) in flaws {
        let way = found(two_for_one_mail(2, Some(flaw)), broken);
        println!(
            "{flaw:?}: {}",
            way.unwrap_or_else(|| panic!("{flaw:?} is not found"))
        );
    }
    let withdrawn = found(a_retry_and_a_contender(Some(Flaw::WithdrawsSharedClaims)), KEPT);
    println!(
        "{}",
        withdrawn.expect("a claim given back under its other try is not found")
    );
}

#[test]
fn steps_taken_together_must_be_one_transaction() {
    let model = Claims {
        near: [true; 2],
        ..two_for_one_mail(0, Some(Flaw::PartsTogether))
    };
    println!("{}", found(model, UNIQUE).unwrap());
}

#[test]
fn a_name_that_nobody_asks_for_is_lost_for_ever() {
    let model = two_for_one_mail(1, Some(Flaw::NobodyAsks));
    let graph = Graph::of(&model, model.init_states(), |_, _| true);
    assert!(graph.lost(|state| model.is_settled(state)).is_some());
}

/// The way to a state where this does not hold.
fn found(model: Claims, property: &'static str) -> Option<String> {
    let wanted = HasDiscoveries::AnyOf([property].into());
    let checker = model.checker().finish_when(wanted).spawn_bfs().join();
    checker
        .discovery(property)
        .map(|path| format!("{:?}", path.into_actions()))
}
