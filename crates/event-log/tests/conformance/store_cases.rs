//! What every store of snapshots promises.

use std::sync::Arc;

use event_log::{IndexRow, Place, Save, SaveOutcome, SnapshotPosition, SnapshotStore, StateRow};
use schemas::{ChainHead, Sha256Digest, Stream, Timestamp};

const PLACE: Place = (Stream::Users, 3);

fn seal(number: u8) -> [u8; 32] {
    [number; 32]
}

fn row(id: &str, sequence: i64) -> StateRow {
    StateRow {
        id: id.to_owned(),
        sequence,
        pinned: sequence == 7,
        state: vec![0, 255, u8::try_from(sequence).unwrap()],
        seal: seal(9),
    }
}

/// Of the owner with this claim.
fn save(claim_offset: i64, expected: Option<u8>, next: u8, rows: Vec<StateRow>) -> Save {
    Save {
        expected: expected.map(seal),
        replace: false,
        position: SnapshotPosition {
            state_version: 1,
            next_offset: 100 + i64::from(next),
            chain: ChainHead {
                next_seq: 50,
                hash: Sha256Digest([4; 32]),
            },
            last_at: Timestamp::from_micros(1_234_567),
            claim_offset,
            rows: i64::try_from(rows.len()).unwrap(),
            seal: seal(next),
        },
        rows,
    }
}

/// Each case has a store of its own.
pub async fn all<S: SnapshotStore>(store: impl Fn() -> Arc<S>) {
    what_is_saved_comes_back(store()).await;
    a_save_goes_on_from_what_it_expects(store()).await;
    an_earlier_owner_saves_nothing(store()).await;
    of_savers_at_once_one_wins(store()).await;
    a_replacing_save_leaves_nothing_else(store()).await;
}

async fn what_is_saved_comes_back<S: SnapshotStore>(store: Arc<S>) {
    assert_eq!(store.load(PLACE).await, Ok(None));
    assert_eq!(store.fetch(PLACE, vec!["a".to_owned()]).await, Ok(vec![]));
    let first = save(5, None, 1, vec![row("a", 1), row("b", 7), row("c", 3)]);
    assert_eq!(store.save(PLACE, first.clone()).await, Ok(SaveOutcome::Saved));
    let second = save(5, Some(1), 2, vec![row("c", 4), row("d", 1)]);
    assert_eq!(store.save(PLACE, second.clone()).await, Ok(SaveOutcome::Saved));
    let (position, mut index) = store.load(PLACE).await.unwrap().unwrap();
    assert_eq!(position, second.position);
    index.sort_by(|a, b| a.id.cmp(&b.id));
    let entry = |id: &str, sequence| IndexRow {
        id: id.to_owned(),
        sequence,
        pinned: sequence == 7,
    };
    assert_eq!(
        index,
        [entry("a", 1), entry("b", 7), entry("c", 4), entry("d", 1)]
    );
    let wanted = ["b", "c", "nobody"].map(str::to_owned).to_vec();
    let mut rows = store.fetch(PLACE, wanted).await.unwrap();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(rows, [row("b", 7), row("c", 4)]);
    // Partitions have nothing to do with each other.
    for other in [(Stream::Identifiers, 3), (Stream::Users, 4), (Stream::Catalog, 0)] {
        assert_eq!(store.load(other).await, Ok(None));
        let saved = store.save(other, save(1, None, 8, vec![row("a", 2)])).await;
        assert_eq!(saved, Ok(SaveOutcome::Saved));
    }
    assert_eq!(
        store.fetch(PLACE, vec!["a".to_owned()]).await,
        Ok(vec![row("a", 1)])
    );
}

async fn a_save_goes_on_from_what_it_expects<S: SnapshotStore>(store: Arc<S>) {
    let saved = store.save(PLACE, save(5, Some(1), 2, vec![])).await;
    assert_eq!(saved, Ok(SaveOutcome::Moved), "there is nothing yet");
    assert_eq!(store.load(PLACE).await, Ok(None));
    store
        .save(PLACE, save(5, None, 1, vec![row("a", 1)]))
        .await
        .unwrap();
    for expected in [None, Some(2)] {
        let saved = store.save(PLACE, save(5, expected, 3, vec![row("a", 2)])).await;
        assert_eq!(saved, Ok(SaveOutcome::Moved));
    }
    assert_eq!(
        store.fetch(PLACE, vec!["a".to_owned()]).await,
        Ok(vec![row("a", 1)])
    );
}

async fn an_earlier_owner_saves_nothing<S: SnapshotStore>(store: Arc<S>) {
    store
        .save(PLACE, save(5, None, 1, vec![row("a", 1)]))
        .await
        .unwrap();
    store
        .save(PLACE, save(6, Some(1), 2, vec![row("a", 2)]))
        .await
        .unwrap();
    for expected in [None, Some(1), Some(2)] {
        let saved = store.save(PLACE, save(5, expected, 3, vec![row("a", 3)])).await;
        assert_eq!(saved, Ok(SaveOutcome::Fenced));
    }
    assert_eq!(
        store.fetch(PLACE, vec!["a".to_owned()]).await,
        Ok(vec![row("a", 2)])
    );
}

async fn of_savers_at_once_one_wins<S: SnapshotStore>(store: Arc<S>) {
    for expected in [None, Some(1)] {
        let saves = (0..8).map(|number| {
            let next = if expected.is_none() { 1 } else { 10 + number };
            store.save(PLACE, save(5, expected, next, vec![row("a", i64::from(number))]))
        });
        let outcomes = futures::future::join_all(saves).await;
        let won = outcomes
            .iter()
            .filter(|it| **it == Ok(SaveOutcome::Saved))
            .count();
        assert_eq!(won, 1, "{outcomes:?}");
    }
}

async fn a_replacing_save_leaves_nothing_else<S: SnapshotStore>(store: Arc<S>) {
    store
        .save(PLACE, save(5, None, 1, vec![row("a", 1), row("b", 1)]))
        .await
        .unwrap();
    let replacing = Save {
        replace: true,
        ..save(5, Some(1), 2, vec![row("c", 1)])
    };
    assert_eq!(store.save(PLACE, replacing).await, Ok(SaveOutcome::Saved));
    let (_, index) = store.load(PLACE).await.unwrap().unwrap();
    assert_eq!(index.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["c"]);
}
