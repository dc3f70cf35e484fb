//! One owner at a time, and each command's answer is true, whatever is lost, paused or killed.

use protocol_models::recovery::Graph;
use protocol_models::writers::{APPLIED, Attempt, CHAIN, Flaw, KNOWS, NOT_APPLIED, ONCE, TRUE, Writers};
use stateright::{Checker, HasDiscoveries, Model};

/// A revocation with its retry, and a grant that changes nothing unless the revocation came before.
const ATTEMPTS: [Attempt; 3] = [
    Attempt {
        grant: false,
        key: Some(0),
        after: None,
    },
    Attempt {
        grant: false,
        key: Some(0),
        after: Some(0),
    },
    Attempt {
        grant: true,
        key: None,
        after: None,
    },
];

/// The same without the retry.
const FIRST_TRIES: [Attempt; 2] = [ATTEMPTS[0], ATTEMPTS[2]];

const RULES: [&str; 6] = [ONCE, APPLIED, NOT_APPLIED, CHAIN, TRUE, KNOWS];

fn two(attempts: &[Attempt], faults: (u8, u8), flaw: Option<Flaw>) -> Writers {
    Writers {
        instances: 2,
        attempts: attempts.to_vec(),
        kills: faults.0,
        lost_answers: faults.1,
        starts: 2,
        lag: 2,
        reads_ahead: true,
        flaw,
    }
}

fn holds(name: &str, model: Writers) {
    let started = std::time::Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {:?}",
        checker.unique_state_count(),
        started.elapsed()
    );
    RULES.iter().for_each(|rule| checker.assert_no_discovery(rule));
    checker.assert_any_discovery("an owner is replaced while it serves");
    checker.assert_any_discovery("everything is applied");
    checker.assert_any_discovery("a lost answer is found in the log");
}

#[test]
fn every_answer_is_true_while_instances_take_over_and_answers_are_lost() {
    holds("three commands, a lost answer", two(&ATTEMPTS, (0, 1), None));
}

#[test]
fn every_answer_is_true_while_instances_are_killed() {
    holds(
        "two commands, a kill, a lost answer",
        two(&ATTEMPTS[..2], (1, 1), None),
    );
}

#[test]
fn every_answer_is_true_when_the_group_changes_hands_again() {
    let again = Writers {
        starts: 4,
        ..two(&FIRST_TRIES, (0, 0), None)
    };
    holds("two commands, four starts", again);
}

#[test]
fn every_answer_is_true_without_reading_ahead() {
    let plain = Writers {
        reads_ahead: false,
        ..two(&ATTEMPTS, (0, 0), None)
    };
    holds("without reading ahead", plain);
}

#[test]
fn every_answer_is_true_among_three_instances() {
    let three = Writers {
        instances: 3,
        starts: 3,
        lag: 1,
        ..two(&ATTEMPTS[..1], (0, 0), None)
    };
    holds("three instances", three);
}

/// Kafka's time-outs and new instances help; faults do not.
#[test]
fn from_every_state_one_owner_can_come_to_serve_undisturbed() {
    let model = two(&ATTEMPTS[..1], (1, 1), None);
    let all = Graph::of(&model, model.init_states(), |_, _| true);
    println!("recovery: {} states", all.states().len());
    let helped = Graph::of(&model, all.states().to_vec(), |_, action| {
        Writers::is_no_fault(action)
    });
    let lost = helped.lost(Writers::is_calm);
    assert!(lost.is_none(), "stuck: {lost:#?}");
}

/// Where back-offs are longer than a claim takes, instances left to themselves come to rest from
/// wherever they are.
#[test]
fn owners_do_not_fence_each_other_for_ever() {
    assert_eq!(endless(None), None);
    assert!(endless(Some(Flaw::NeverGivesUp)).is_some());
    // Looking first spares the rival a doubt, and is not what ends the strife: giving up is.
    assert_eq!(endless(Some(Flaw::FencesUnlooked)), None);
}

fn endless(flaw: Option<Flaw>) -> Option<String> {
    let model = two(&ATTEMPTS[..1], (1, 0), flaw);
    let all = Graph::of(&model, model.init_states(), |_, _| true);
    let left_alone = Graph::of(&model, all.states().to_vec(), Writers::happens_by_itself);
    left_alone.cycle().map(|found| format!("{found:#?}"))
}

/// Only because a claim comes first: see the flaw.
#[test]
fn the_stable_offset_would_do_to_prove_by() {
    let model = two(&FIRST_TRIES, (0, 0), Some(Flaw::ProvesByStableOffset));
    holds("proving by the stable offset", model);
}

#[test]
fn every_flaw_is_found() {
    let flaws = [
        (Flaw::AnswersUnproven, TRUE),
        (Flaw::ClaimsUnread, CHAIN),
        (Flaw::SettlesByStableOffset, NOT_APPLIED),
        (Flaw::TakesFencedForNotApplied, NOT_APPLIED),
        (Flaw::ForgetsKeys, ONCE),
    ];
    for (flaw, broken) in flaws {
        let wanted = HasDiscoveries::AnyOf([broken].into());
        let model = two(&ATTEMPTS, (0, 1), Some(flaw));
        let checker = model.checker().finish_when(wanted).spawn_bfs().join();
        let way = checker.discovery(broken).map(|path| path.into_actions());
        println!("{flaw:?}: {} states, {way:?}", checker.unique_state_count());
        assert!(way.is_some(), "{flaw:?} is not found");
    }
}
