//! The verdict on a screen.

use std::io::{self, Write};
use std::time::Duration;

use super::expect::ExpectedHead;
use super::verifier::{PartitionVerdict, Verdict};

pub(super) fn print(out: &mut impl Write, verdict: &Verdict, took: Duration) -> io::Result<()> {
    writeln!(out, "{:<16} {:>12}  head (for --expect)", "partition", "events")?;
    for partition in &verdict.partitions {
        let name = format!("{}-{}", partition.place.0.name(), partition.place.1);
        writeln!(out, "{name:<16} {:>12}  {}", partition.events, head_of(partition))?;
    }
    writeln!(out)?;
    for finding in verdict.findings() {
        writeln!(out, "{finding}")?;
    }
    let (events, count) = (verdict.events(), verdict.partitions.len());
    let rate = events as f64 / took.as_secs_f64().max(0.001);
    let broken = verdict.findings().count();
    let summary = match broken {
        0 => "the chain holds".to_owned(),
        1 => "1 partition does not hold".to_owned(),
        _ => format!("{broken} partitions do not hold"),
    };
    writeln!(
        out,
        "{summary}: {events} events in order in {count} partitions, {rate:.0} events/s"
    )?;
    let (checked, free) = if verdict.is_full {
        ("", "the header traceparent")
    } else {
        (
            "the catalog does not hold, so all was checked by chain and order alone; ",
            "headers",
        )
    };
    writeln!(out, "{checked}not covered: {free}, which may be altered unseen")
}

fn head_of(partition: &PartitionVerdict) -> String {
    let (stream, number) = partition.place;
    match (&partition.finding, partition.events) {
        // A head behind which something is wrong must not be noted as good.
        (Some(finding), _) => format!("{} at offset {}", finding.kind, finding.offset),
        (None, 0) => "empty".to_owned(),
        (None, _) => ExpectedHead {
            stream,
            partition: number,
            chain_seq: Some(partition.head.next_seq - 1),
            hash: partition.head.hash,
        }
        .to_string(),
    }
}
