//! Turning decided events into chained records: the heads of a group's partitions.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use schemas::{
    ChainHead, CloudEventHeaders, CodecError, Event, EventId, LogId, Meta, Position, RequestId,
    SchemaIdError, SchemaIds, Stored, Stream, Timestamp, ce, encode_body, frame, key::KEY_STORED,
    key::KeyStored, log::LogEvent, user::UserEvent,
};
use tokio::sync::{mpsc, oneshot};

use crate::entry::{CommandContext, NewDataKey};
use crate::record::{DecodeError, Record, decode};
use crate::topics::HEARTBEAT_KEY;
use crate::writer_log::{Committed, Outgoing, Target, WriterLogError};

/// Why an append gave no positions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Certainly not in the log; trying again is safe.
    #[error("not applied")]
    NotApplied,
    /// Could not be settled in time: in the log or not.
    #[error("outcome unknown")]
    OutcomeUnknown,
    /// The group belongs to another instance now, or is between owners.
    #[error("this instance does not own the ledger")]
    NotOwner,
    /// Its deadline passed before it was decided.
    #[error("deadline passed")]
    Expired,
    #[error("the event cannot be written: {0}")]
    Encoding(String),
}

/// Events decided by one command, waiting for the next transaction.
pub(crate) struct Append {
    pub stream: Stream,
    pub partition: i32,
    pub aggregate_id: String,
    pub version: Arc<AtomicI64>,
    pub expected: i64,
    /// Empty: the answer changes nothing, and only needs proof that the owner still is one.
    pub events: Vec<Event>,
    /// Writes a heartbeat to the ledger's partition of the keys topic.
    pub heartbeat: bool,
    /// Goes into the log with the next one, or not at all.
    pub is_joined: bool,
    /// Shared by those that came together.
    pub context: Arc<CommandContext>,
    pub new_data_key: Option<NewDataKey>,
    pub deadline: Instant,
    pub reply: Reply,
}

/// Metas and positions of an append's events.
pub(crate) type Placed = Vec<(Meta, Position)>;
/// The same if they are in the log.
pub(crate) type Outcome = Result<Placed, AppendError>;

/// Where an append's outcome goes. Who is let go without one knows nothing.
pub(crate) enum Reply {
    One(oneshot::Sender<Outcome>),
    /// One of many that are waited for together, by its place among them. There is room for each.
    OfMany(usize, mpsc::Sender<(usize, Outcome)>),
}

impl Reply {
    /// A command that nobody waits for any more is committed all the same.
    fn send(self, outcome: Outcome) {
        match self {
            Self::One(reply) => reply.send(outcome).unwrap_or(()),
            Self::OfMany(place, replies) => replies.try_send((place, outcome)).unwrap_or(()),
        }
    }
}

/// Where a partition stands, as its owner knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub chain: ChainHead,
    /// Offset behind the owner's last record.
    pub end: i64,
    pub last_at: Timestamp,
}

impl Head {
    pub(crate) const START: Self = Self {
        chain: ChainHead::START,
        end: 0,
        last_at: Timestamp::from_micros(0),
    };
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    SchemaId(#[from] SchemaIdError),
    #[error("{0:?}-{1} is not a partition of this group")]
    ForeignPartition(Stream, i32),
    #[error("{0:?} is no user id")]
    NoUser(String),
}

/// The chained partitions of one group.
pub(crate) struct GroupLog {
    pub log_id: LogId,
    pub ids: Arc<SchemaIds>,
    topics: BTreeMap<Stream, String>,
    heads: BTreeMap<(Stream, i32), Head>,
    /// The heads' ends, for readers outside the writer's thread.
    ends: Arc<Ends>,
    /// See [`Committed::clock_ahead_ms`]; of the last transaction.
    clock_ahead_ms: Arc<AtomicI64>,
}

/// Offset behind the owner's last record, by partition.
pub(crate) type Ends = BTreeMap<(Stream, i32), AtomicI64>;

/// A batch ready to commit. Dropping it changes nothing: heads move only by [`GroupLog::committed`].
pub(crate) struct Prepared {
    pub outgoing: Vec<Outgoing>,
    heads: BTreeMap<(Stream, i32), Head>,
    /// For each event in order: its index in `outgoing`, and its meta.
    pub metas: Vec<(usize, Meta)>,
}

impl GroupLog {
    pub(crate) fn new(
        log_id: LogId,
        ids: Arc<SchemaIds>,
        partitions: &[(Stream, i32)],
        topic: impl Fn(Stream) -> String,
    ) -> Self {
        Self {
            log_id,
            ids,
            topics: partitions
                .iter()
                .map(|&(stream, _)| (stream, topic(stream)))
                .collect(),
            heads: partitions.iter().map(|&p| (p, Head::START)).collect(),
            ends: Arc::new(partitions.iter().map(|&p| (p, AtomicI64::new(0))).collect()),
            clock_ahead_ms: Arc::default(),
        }
    }

    pub(crate) fn clock_ahead_ms(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.clock_ahead_ms)
    }

    pub(crate) fn ends(&self) -> Arc<Ends> {
        Arc::clone(&self.ends)
    }

    fn publish(&self, place: (Stream, i32)) {
        if let (Some(head), Some(end)) = (self.heads.get(&place), self.ends.get(&place)) {
            end.store(head.end, Ordering::Release);
        }
    }

    pub(crate) fn partitions(&self) -> Vec<(Stream, i32)> {
        self.heads.keys().copied().collect()
    }

    /// Where each partition stands.
    pub(crate) fn heads(&self) -> BTreeMap<(Stream, i32), Head> {
        self.heads.clone()
    }

    /// Goes on from a snapshot: the next record must continue it.
    pub(crate) fn resume(&mut self, place: (Stream, i32), head: Head) {
        self.heads.insert(place, head);
        self.publish(place);
    }

    pub(crate) fn end(&self, stream: Stream, partition: i32) -> i64 {
        self.heads.get(&(stream, partition)).map_or(0, |head| head.end)
    }

    /// Takes in a record read from the log, which must continue the chain.
    pub(crate) fn read(&mut self, record: &Record) -> Result<(Stored<Event>, Position), WriterLogError> {
        let (stream, partition, offset) = (record.stream, record.partition, record.offset);
        let broken = WriterLogError::BrokenChain {
            stream,
            partition,
            offset,
        };
        let stored = decode_for_owner(record, &self.ids)?;
        let (Some(head), Some(topic)) = (self.heads.get_mut(&(stream, partition)), self.topics.get(&stream))
        else {
            return Err(broken);
        };
        if stored.meta.chain_seq != head.chain.next_seq || stored.meta.prev_hash != head.chain.hash {
            return Err(broken);
        }
        if let Event::Log(LogEvent::SchemaRegistered(registered)) = &stored.data {
            let learnt = Arc::make_mut(&mut self.ids).learn(registered);
            learnt.map_err(|source| DecodeError::SchemaId {
                stream,
                partition,
                offset,
                source,
            })?;
        }
        head.chain = head.chain.after(topic, partition, &record.key, &record.value);
        head.end = offset + 1;
        head.last_at = head.last_at.max(stored.meta.occurred_at);
        self.publish((stream, partition));
        Ok((
            stored,
            Position {
                stream,
                partition,
                offset,
            },
        ))
    }

    pub(crate) fn prepare(&self) -> Prepared {
        Prepared {
            outgoing: Vec::new(),
            heads: self.heads.clone(),
            metas: Vec::new(),
        }
    }

    /// The batch is in the log at these offsets: moves the heads, gives each event its position.
    pub(crate) fn committed(&mut self, prepared: Prepared, committed: &Committed) -> Vec<(Meta, Position)> {
        self.clock_ahead_ms
            .store(committed.clock_ahead_ms, Ordering::Relaxed);
        let mut placed = Vec::with_capacity(prepared.metas.len());
        self.heads = prepared.heads;
        for (index, meta) in prepared.metas {
            let (Target::Event(stream, partition), Some(&offset)) =
                (prepared.outgoing[index].target, committed.offsets.get(index))
            else {
                continue;
            };
            if let Some(head) = self.heads.get_mut(&(stream, partition)) {
                head.end = head.end.max(offset + 1);
            }
            self.publish((stream, partition));
            placed.push((
                meta,
                Position {
                    stream,
                    partition,
                    offset,
                },
            ));
        }
        placed
    }

    /// As [`Self::add`], of appends that go together.
    pub(crate) fn add_all(
        &self,
        batch: &mut Prepared,
        appends: &[Append],
        now: Timestamp,
    ) -> Result<(), EncodeError> {
        if let [append] = appends {
            return self.add(batch, append, now);
        }
        let (outgoing, metas, heads) = (batch.outgoing.len(), batch.metas.len(), batch.heads.clone());
        let added = appends.iter().try_for_each(|append| self.add(batch, append, now));
        if added.is_err() {
            batch.outgoing.truncate(outgoing);
            batch.metas.truncate(metas);
            batch.heads = heads;
        }
        added
    }

    /// Chains the events of one append onto a batch; on an error the batch is as before.
    pub(crate) fn add(
        &self,
        batch: &mut Prepared,
        append: &Append,
        now: Timestamp,
    ) -> Result<(), EncodeError> {
        let place = (append.stream, append.partition);
        let (mut head, topic) = match (batch.heads.get(&place), self.topics.get(&append.stream)) {
            (Some(head), Some(topic)) => (*head, topic),
            _ => return Err(EncodeError::ForeignPartition(append.stream, append.partition)),
        };
        let (mut outgoing, mut metas) = (Vec::new(), Vec::new());
        if append.heartbeat {
            outgoing.push(Outgoing {
                target: Target::Key(append.partition),
                key: HEARTBEAT_KEY.to_vec(),
                value: Vec::new(),
                headers: Vec::new(),
            });
        }
        for (event, sequence) in append.events.iter().zip(append.expected + 1..) {
            head.last_at = head.last_at.max(now);
            let meta = Meta {
                event_id: EventId::new_v7(),
                aggregate_id: append.aggregate_id.clone(),
                sequence,
                occurred_at: head.last_at,
                actor: append.context.actor,
                request_id: append.context.request_id,
                causation_id: append.context.causation_id,
                idempotency: append.context.idempotency,
                chain_seq: head.chain.next_seq,
                prev_hash: head.chain.hash,
                basis: append.context.basis.clone(),
            };
            let record = self.record(place, event, &meta, append.context.traceparent.as_deref())?;
            head.chain = head
                .chain
                .after(topic, append.partition, &record.key, &record.value);
            if let Some(key) = append.new_data_key.as_ref().filter(|_| outgoing.is_empty()) {
                outgoing.push(self.key_record(append.partition, key, meta.event_id)?);
            }
            if let Event::User(UserEvent::Erased(_)) = event {
                outgoing.push(self.destroyed_key(append, meta.event_id)?);
            }
            metas.push((batch.outgoing.len() + outgoing.len(), meta));
            outgoing.push(record);
        }
        batch.heads.insert(place, head);
        batch.outgoing.append(&mut outgoing);
        batch.metas.append(&mut metas);
        Ok(())
    }

    fn record(
        &self,
        (stream, partition): (Stream, i32),
        event: &Event,
        meta: &Meta,
        traceparent: Option<&str>,
    ) -> Result<Outgoing, EncodeError> {
        let value = frame(self.ids.id_of(event.event_type())?, &event.encode(meta)?);
        let mut headers = CloudEventHeaders::of(self.log_id, event, meta).into_vec();
        headers.extend(traceparent.map(|trace| (ce::TRACE_PARENT, trace.to_owned().into())));
        Ok(Outgoing {
            target: Target::Event(stream, partition),
            key: meta.aggregate_id.clone().into_bytes(),
            value,
            headers,
        })
    }

    fn key_record(
        &self,
        partition: i32,
        key: &NewDataKey,
        event_id: EventId,
    ) -> Result<Outgoing, EncodeError> {
        let stored = KeyStored {
            user_id: key.user_id,
            event_id,
            wrapped: Some(key.wrapped.clone()),
            key_encryption_key_id: key.key_encryption_key_id.clone(),
        };
        self.stored_key(partition, &stored)
    }

    /// The marker in place of an erased user's key. It belongs to the event, whatever asked for that.
    fn destroyed_key(&self, append: &Append, event_id: EventId) -> Result<Outgoing, EncodeError> {
        let user_id = append.aggregate_id.parse();
        let stored = KeyStored {
            user_id: user_id.map_err(|_| EncodeError::NoUser(append.aggregate_id.clone()))?,
            event_id,
            wrapped: None,
            key_encryption_key_id: String::new(),
        };
        self.stored_key(append.partition, &stored)
    }

    fn stored_key(&self, partition: i32, stored: &KeyStored) -> Result<Outgoing, EncodeError> {
        Ok(Outgoing {
            target: Target::Key(partition),
            key: stored.user_id.to_string().into_bytes(),
            value: frame(self.ids.id_of(&KEY_STORED)?, &encode_body(&KEY_STORED, stored)?),
            headers: vec![(ce::CONTENT_TYPE, "application/avro".into())],
        })
    }
}

/// The catalog's own first events teach the ids that everything else is checked against.
fn decode_for_owner(record: &Record, ids: &SchemaIds) -> Result<Stored<Event>, WriterLogError> {
    match record.event_type.name {
        "log.created" | "schema.registered" => Ok(crate::record::decode_unchecked(record)?.1),
        _ => Ok(decode(record, ids)?),
    }
}

/// How long a heartbeat may wait for its transaction.
const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(10);

impl Append {
    /// For what nobody waits for: see [`crate::topics::HEARTBEAT`].
    pub(crate) fn heartbeat(partition: i32) -> Self {
        Self {
            heartbeat: true,
            deadline: Instant::now() + HEARTBEAT_DEADLINE,
            ..Self::of_log(Stream::Users, partition, Vec::new())
        }
    }

    /// Of the log itself, and no aggregate's history.
    pub(crate) fn of_log(stream: Stream, partition: i32, events: Vec<LogEvent>) -> Self {
        Self {
            stream,
            partition,
            aggregate_id: "log".to_owned(),
            version: Arc::default(),
            expected: 0,
            events: events.into_iter().map(Event::Log).collect(),
            heartbeat: false,
            is_joined: false,
            context: Arc::new(CommandContext::system(RequestId::new_v7())),
            new_data_key: None,
            deadline: Instant::now(),
            reply: Reply::One(oneshot::channel().0),
        }
    }

    /// Whether the aggregate still is where the decision found it.
    pub(crate) fn is_current(&self) -> bool {
        self.version.load(Ordering::Acquire) == self.expected
    }

    pub(crate) fn answer(self, outcome: Outcome) {
        if let Ok(placed) = &outcome
            && let Some((meta, _)) = placed.last()
        {
            self.version.store(meta.sequence, Ordering::Release);
        }
        self.reply.send(outcome);
    }
}

/// For closures over records that can only fail by breaking.
pub(crate) fn flow(outcome: Result<(), WriterLogError>) -> ControlFlow<WriterLogError> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

mod set_back;
#[cfg(test)]
mod tests;
