//! A partition that ends before its owner's last record is not the one that the owner wrote.

use super::{GroupLog, Prepared};
use crate::writer_log::{CommitError, Committed, Target, WriterLogError};

impl GroupLog {
    /// Refuses a log that ends before what was read or written of it: it is not the same any more.
    pub(crate) fn require_reached(&self, ends: &[i64]) -> Result<(), WriterLogError> {
        for ((&(stream, partition), head), &end) in self.heads.iter().zip(ends) {
            if end < head.end {
                return Err(WriterLogError::SetBack {
                    stream,
                    partition,
                    end,
                    reached: head.end,
                });
            }
        }
        Ok(())
    }

    /// What was committed must stand behind what was there; else only the log can tell what happened.
    pub(crate) fn require_behind(
        &self,
        prepared: &Prepared,
        committed: Committed,
    ) -> Result<Committed, CommitError> {
        let mut placed = prepared.outgoing.iter().zip(&committed.offsets);
        let is_before = placed.any(|(outgoing, offset)| match outgoing.target {
            Target::Event(stream, partition) => *offset < self.end(stream, partition),
            Target::Key(_) => false,
        });
        if is_before {
            return Err(CommitError::Unclear("the topic was set back".to_owned()));
        }
        Ok(committed)
    }
}
