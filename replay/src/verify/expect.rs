//! Chain heads noted earlier: what proves a partition's last event.

use std::fmt;
use std::str::FromStr;

use schemas::{Sha256Digest, Stream};

/// `users-3=1041:<hash>`: after the event with chain_seq 1041 the chain stood at this hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedHead {
    pub stream: Stream,
    pub partition: i32,
    /// Unknown: the hash may stand anywhere in the chain.
    pub chain_seq: Option<i64>,
    pub hash: Sha256Digest,
}

impl fmt::Display for ExpectedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}=", self.stream.name(), self.partition)?;
        if let Some(seq) = self.chain_seq {
            write!(f, "{seq}:")?;
        }
        write!(f, "{}", self.hash)
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head looks like users-3=1041:<64 hexadecimal digits>, or the same without 1041:")]
pub struct NotAHead;

impl FromStr for ExpectedHead {
    type Err = NotAHead;

    fn from_str(text: &str) -> Result<Self, NotAHead> {
        let (place, head) = text.split_once('=').ok_or(NotAHead)?;
        let (stream, partition) = place.rsplit_once('-').ok_or(NotAHead)?;
        let stream = Stream::ALL
            .into_iter()
            .find(|s| s.name() == stream)
            .ok_or(NotAHead)?;
        let partition = partition.parse().map_err(|_| NotAHead)?;
        let (chain_seq, hash) = match head.split_once(':') {
            Some((seq, hash)) => (Some(seq.parse().map_err(|_| NotAHead)?), hash),
            None => (None, head),
        };
        let hash = serde_json::from_value(hash.into()).map_err(|_| NotAHead)?;
        Ok(Self {
            stream,
            partition,
            chain_seq,
            hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_head_can_be_given_back() {
        let hash = Sha256Digest::of(b"head");
        for chain_seq in [None, Some(1041)] {
            let head = ExpectedHead {
                stream: Stream::Users,
                partition: 3,
                chain_seq,
                hash,
            };
            assert_eq!(head.to_string().parse(), Ok(head));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let short = format!("users-3={}", "ab".repeat(31));
        for text in [
            "",
            "users",
            "users-3",
            "users-x=",
            "keys-3=00",
            "users-3=1:",
            &short,
        ] {
            assert_eq!(text.parse::<ExpectedHead>(), Err(NotAHead), "{text}");
        }
    }
}
