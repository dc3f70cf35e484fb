//! Kafka, as a writer group sees it.

/// What the events up to some place add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub granted: bool,
    /// Idempotency keys of applied commands, one bit each.
    pub keys: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    Claim,
    Command {
        attempt: usize,
        grant: bool,
        key: Option<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub by: usize,
    pub what: What,
    /// Its `chain_seq` and `prev_hash`: the place in the log that its writer takes for the end.
    pub after: usize,
}

/// The transaction that has no marker yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    Open(Record),
    /// The coordinator has decided to commit, and may have said so; the markers follow.
    Decided(Record),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    Produce(Record),
    EndTransaction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broker {
    /// What everything before `log` adds up to.
    pub base: Known,
    pub log: Vec<Record>,
    pub tail: Option<Tail>,
    /// Whose epoch is the current one. None: the broker raised it itself, or nobody heard of it.
    pub holder: Option<usize>,
    /// Of the current epoch; what comes from an older one is refused whenever it arrives.
    pub on_its_way: Option<Request>,
}

impl Known {
    pub fn apply(&mut self, record: &Record) {
        if let What::Command { grant, key, .. } = record.what {
            self.granted = grant;
            self.keys |= key.map_or(0, |key| 1 << key);
        }
    }
}

impl Record {
    pub const fn attempt(&self) -> Option<usize> {
        match self.what {
            What::Command { attempt, .. } => Some(attempt),
            What::Claim => None,
        }
    }
}

impl Broker {
    pub const fn new(base: Known) -> Self {
        Self {
            base,
            log: Vec::new(),
            tail: None,
            holder: None,
            on_its_way: None,
        }
    }

    pub fn high_watermark(&self) -> usize {
        self.log.len() + usize::from(self.tail.is_some())
    }

    /// As decided: what a client may have heard of.
    pub fn truth(&self) -> Known {
        let mut known = self.base;
        self.log.iter().for_each(|record| known.apply(record));
        if let Some(Tail::Decided(record)) = &self.tail {
            known.apply(record);
        }
        known
    }

    /// Sends a record, if the sender still is the holder; anything else is refused.
    pub fn produce(&mut self, record: Record) {
        if self.holder == Some(record.by) {
            self.on_its_way = Some(Request::Produce(record));
        }
    }

    pub fn arrive(&mut self) {
        match (self.on_its_way.take(), self.tail) {
            (Some(Request::Produce(record)), None) => self.tail = Some(Tail::Open(record)),
            (Some(Request::EndTransaction), Some(Tail::Open(record))) => {
                self.tail = Some(Tail::Decided(record))
            }
            (_, _) => {}
        }
    }

    /// A new epoch: what is open is aborted, what is under way will be refused. True if something was.
    pub fn raise_epoch(&mut self, holder: Option<usize>) -> bool {
        self.holder = holder;
        self.on_its_way = None;
        let aborted = matches!(self.tail, Some(Tail::Open(_)));
        if aborted {
            self.tail = None;
        }
        aborted
    }

    /// Whether the coordinator still has to write markers: it lets nobody take the id over before.
    pub fn is_finishing(&self) -> bool {
        matches!(self.tail, Some(Tail::Decided(_)))
    }

    pub fn fold(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        for record in self.log.drain(..count) {
            self.base.apply(&record);
        }
        let tail = match &mut self.tail {
            Some(Tail::Open(record) | Tail::Decided(record)) => Some(record),
            None => None,
        };
        let sent = match &mut self.on_its_way {
            Some(Request::Produce(record)) => Some(record),
            Some(Request::EndTransaction) | None => None,
        };
        for record in self.log.iter_mut().chain(tail).chain(sent) {
            // What continues something folded forks the chain, and must not begin to fit.
            record.after = record.after.checked_sub(count).unwrap_or(usize::MAX);
        }
    }
}
