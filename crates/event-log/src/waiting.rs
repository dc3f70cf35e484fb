//! What waits for a group's writer, and how a transaction is filled from it: single commands first, what many
//! commands at once need behind them.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::group_log::Append;

/// Appends of single commands in one transaction.
const SINGLE: usize = 512;
/// Appends of many commands at once in one transaction. It is what a single command may have to wait for.
const MANY: usize = 1_024;

/// What comes to a group's writer.
pub(crate) enum Work {
    One(Box<Append>),
    /// In one transaction: each but the last is joined to the next.
    Together(Vec<Append>),
    /// Whoever sends it waits for all of it before it sends more.
    Many(Vec<Append>),
}

impl Work {
    pub(crate) fn one(append: Append) -> Self {
        Self::One(Box::new(append))
    }
}

/// The writer's end of its queue, and what was taken from there and is not in a transaction.
pub(crate) struct Waiting {
    queue: mpsc::Receiver<Work>,
    /// Each oldest first.
    single: VecDeque<Append>,
    many: VecDeque<Append>,
}

impl Waiting {
    pub(crate) fn new(queue: mpsc::Receiver<Work>) -> Self {
        Self {
            queue,
            single: VecDeque::new(),
            many: VecDeque::new(),
        }
    }

    /// Blocks until there is something to commit; `None` once nothing will come any more.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<Append>> {
        if self.is_empty() {
            let first = self.queue.blocking_recv()?;
            self.take(first);
        }
        while self.single.len() < SINGLE
            && let Ok(next) = self.queue.try_recv()
        {
            self.take(next);
        }
        let mut single = self.single.len().min(SINGLE);
        // What goes together is not parted.
        while single > 0 && self.single.get(single - 1).is_some_and(|last| last.is_joined) {
            single += 1;
        }
        let single = single.min(self.single.len());
        let many = self.many.len().min(MANY);
        Some(
            self.single
                .drain(..single)
                .chain(self.many.drain(..many))
                .collect(),
        )
    }

    fn take(&mut self, work: Work) {
        match work {
            Work::One(append) => self.single.push_back(*append),
            Work::Together(appends) => self.single.extend(appends),
            Work::Many(appends) => self.many.extend(appends),
        }
    }

    /// Of a batch none was sent: it comes first the next time.
    pub(crate) fn put_back(&mut self, batch: Vec<Append>) {
        for append in batch.into_iter().rev() {
            self.single.push_front(append);
        }
    }

    /// Those whose deadline has passed.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Append> {
        while let Ok(next) = self.queue.try_recv() {
            self.take(next);
        }
        let mut expired = Vec::new();
        for waiting in [&mut self.single, &mut self.many] {
            let is_late = |append: &Append| append.deadline < now;
            let (late, live): (Vec<_>, Vec<_>) = waiting.drain(..).partition(is_late);
            expired.extend(late);
            *waiting = live.into();
        }
        expired
    }

    /// Takes no more; gives all that waits.
    pub(crate) fn close(&mut self) -> Vec<Append> {
        self.queue.close();
        while let Ok(next) = self.queue.try_recv() {
            self.take(next);
        }
        self.single.drain(..).chain(self.many.drain(..)).collect()
    }

    /// Whether nobody can send any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether nothing waits, and nothing will.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() && self.queue.is_empty() && self.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.single.is_empty() && self.many.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use schemas::Stream;

    use super::*;

    /// Told apart by its partition.
    fn append(number: i32) -> Append {
        Append::of_log(Stream::Users, number, Vec::new())
    }

    fn numbers(batch: &[Append]) -> Vec<i32> {
        batch.iter().map(|append| append.partition).collect()
    }

    fn waiting(work: impl IntoIterator<Item = Work>) -> Waiting {
        let (sender, queue) = mpsc::channel(4_096);
        for work in work {
            sender.try_send(work).ok().unwrap();
        }
        Waiting::new(queue)
    }

    #[test]
    fn a_single_command_overtakes_what_many_wait_for() {
        let many = |from: i32| Work::Many((from..from + 2_000).map(append).collect());
        let mut waiting = waiting([many(0), many(10_000), Work::one(append(-1))]);
        let first = numbers(&waiting.next_batch().unwrap());
        assert_eq!((first.len(), first[0], first[1]), (1 + MANY, -1, 0));
        let mut rest: Vec<i32> = Vec::new();
        while let Some(batch) = waiting.next_batch() {
            assert!(batch.len() <= MANY);
            rest.extend(numbers(&batch));
        }
        let expected = (0..2_000).chain(10_000..12_000).skip(MANY);
        assert!(rest.into_iter().eq(expected));
    }

    #[test]
    fn what_goes_together_is_not_parted() {
        let single = (1..SINGLE).map(|number| Work::one(append(i32::try_from(number).unwrap())));
        let joined = |number| Append {
            is_joined: true,
            ..append(number)
        };
        let together = Work::Together(vec![joined(-1), joined(-2), append(-3)]);
        let mut waiting = waiting(single.chain([together, Work::one(append(-4))]));
        let first = numbers(&waiting.next_batch().unwrap());
        assert_eq!(first.len(), SINGLE + 2);
        assert!(first.ends_with(&[-1, -2, -3]));
        assert_eq!(numbers(&waiting.next_batch().unwrap()), [-4]);
    }

    #[test]
    fn what_was_put_back_comes_first_and_in_its_order() {
        let mut waiting = waiting((0..5).map(|number| Work::one(append(number))));
        let batch = waiting.next_batch().unwrap();
        waiting.put_back(batch);
        assert_eq!(numbers(&waiting.next_batch().unwrap()), [0, 1, 2, 3, 4]);
        assert!(waiting.is_over());
    }

    #[test]
    fn what_is_late_is_taken_out_wherever_it_waits() {
        let now = Instant::now();
        let late = |number| Append {
            deadline: now - std::time::Duration::from_secs(1),
            ..append(number)
        };
        let live = |number| Append {
            deadline: now + std::time::Duration::from_secs(1),
            ..append(number)
        };
        let work = [
            Work::one(late(1)),
            Work::one(live(2)),
            Work::Many(vec![live(3), late(4)]),
        ];
        let mut waiting = waiting(work);
        assert_eq!(numbers(&waiting.take_expired(now)), [1, 4]);
        assert_eq!(numbers(&waiting.close()), [2, 3]);
        assert!(waiting.is_over());
    }
}
