//! One owner at a time, and each command's answer is true, whatever is lost, paused or killed.

use protocol_models::recovery::Graph;
use protocol_models::writers::{Attempt, Flaw, Writers};
use stateright::{Checker, Model};

/// A revocation with its retry, and a grant that changes nothing unless the revocation came before.
fn attempts() -> Vec<Attempt> {
    vec![
        Attempt { grant: false, key: Some(0), after: None },
        Attempt { grant: false, key: Some(0), after: Some(0) },
        Attempt { grant: true, key: None, after: None },
    ]
}

fn two(flaw: Option<Flaw>) -> Writers {
    let var = |name: &str, default: u8| std::env::var(name).map_or(default, |it| it.parse().unwrap());
    Writers {
        instances: usize::from(var("N", 2)),
        attempts: attempts()[..usize::from(var("A", 3))].to_vec(),
        kills: var("K", 1),
        lost_answers: var("L", 1),
        starts: var("S", 2),
        lag: usize::from(var("LAG", 4)),
        reads_ahead: var("R", 1) == 1,
        flaw,
    }
}

#[test]
fn two_instances() {
    let started = std::time::Instant::now();
    let checker = two(None).checker().threads(2).timeout(std::time::Duration::from_secs(20)).spawn_bfs().join();
    println!("{} states {:?} depth {} done {}", checker.unique_state_count(), started.elapsed(), checker.max_depth(), checker.is_done());
    for (name, path) in checker.discoveries() {
        println!("{name}: {} {:?}", path.clone().into_actions().len(), path.into_actions());
    }
}
