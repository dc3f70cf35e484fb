use event_log::{Record, Topics};
use schemas::{HeaderError, SchemaIds, ce};

use super::*;

const CATALOG: Lane = (Stream::Catalog, 0);
const BROKEN: i64 = 6;

/// Records 0 to 5; the one at 6 cannot be taken in, and hides 7 and 8 from whoever reads over it.
#[derive(Clone)]
struct BrokenLog;

struct BrokenTail(i64);

impl Log for BrokenLog {
    type Tail = BrokenTail;

    fn open(&self, start: &[(Stream, i32, i64)]) -> Result<BrokenTail, TailError> {
        Ok(BrokenTail(start[0].2))
    }

    fn topics(&self) -> Topics {
        Topics::new("test")
    }
}

impl Tail for BrokenTail {
    async fn next(&mut self, _max: usize) -> Result<Vec<TailItem>, TailError> {
        let offset = self.0;
        if offset == BROKEN {
            let (stream, partition) = CATALOG;
            let source = HeaderError::Missing(ce::DATA_SCHEMA);
            return Err(TailError::Record(DecodeError::Header {
                stream,
                partition,
                offset,
                source,
            }));
        }
        if offset > 8 {
            std::future::pending::<()>().await;
        }
        self.0 += 1;
        Ok(vec![TailItem::Record(record(offset))])
    }

    fn pause(&self, _stream: Stream, _partition: i32) -> Result<(), TailError> {
        Ok(())
    }

    fn resume(&self, _stream: Stream, _partition: i32) -> Result<(), TailError> {
        Ok(())
    }
}

fn record(offset: i64) -> Record {
    Record {
        stream: CATALOG.0,
        partition: CATALOG.1,
        offset,
        timestamp_ms: 0,
        key: vec![],
        value: vec![],
        event_type: SchemaIds::default().missing()[0],
        headers: vec![],
    }
}

/// Offsets as a worker gets them, the broken one negated, up to `count` of them.
async fn offsets(queue: &mut mpsc::Receiver<Item>, count: usize) -> Vec<i64> {
    let mut offsets = vec![];
    while offsets.len() < count {
        match queue.recv().await.unwrap() {
            Item::Record(record) => offsets.push(record.offset),
            Item::Broken { offset, .. } => offsets.push(-offset.unwrap()),
            Item::End(_) => {}
        }
    }
    offsets
}

#[tokio::test]
async fn who_lacks_records_is_given_them_before_it_is_told_of_a_broken_one() {
    let (followers, new) = mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let router = Router::new(BrokenLog, new, Arc::default(), shutdown.clone());
    let follow = |next_offset, room| {
        let (queue, inbox) = mpsc::channel(room);
        let follower = Follower {
            lane: CATALOG,
            next_offset,
            queue,
        };
        followers.send(follower).map_err(drop).unwrap();
        inbox
    };
    let (mut quick, mut slow, mut past) = (follow(0, 100), follow(0, 2), follow(7, 100));
    let running = tokio::spawn(router.run());
    let all = [0, 1, 2, 3, 4, 5, -BROKEN];
    // The slow one takes nothing until the quick one was told.
    assert_eq!(offsets(&mut quick, 7).await, all);
    assert_eq!(offsets(&mut slow, 7).await, all);
    // It does not need the broken record, and reads on once nobody does.
    assert_eq!(offsets(&mut past, 2).await, [7, 8]);
    shutdown.cancel();
    running.await.unwrap();
}
