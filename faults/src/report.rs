//! The line at the end, and what is kept of a campaign that found something.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use tests::World;

use crate::Settings;
use crate::inflict::Inflicted;
use crate::plan::Planned;
use crate::record::{Answer, Calls, Outcome};

pub struct Report<'a> {
    pub settings: &'a Settings,
    pub planned: &'a [Planned],
    pub inflicted: &'a [Inflicted],
    pub calls: &'a Calls,
    pub violations: &'a [String],
    pub memory: &'a BTreeMap<String, u64>,
}

/// Printed as one line.
#[derive(Clone, Debug)]
pub struct Totals {
    pub seed: u64,
    pub faults: BTreeMap<&'static str, usize>,
    /// Faults that could not be done.
    pub not_done: usize,
    /// Tries of commands, and checks.
    pub calls: usize,
    pub commands: usize,
    pub acknowledged: usize,
    pub refused: usize,
    pub unknown: usize,
    pub checks: usize,
    pub checks_after_the_end: usize,
    pub decided: usize,
    /// Of the service that took most, in MiB.
    pub memory: u64,
    pub violations: usize,
}

impl Report<'_> {
    pub fn totals(&self) -> Totals {
        let mut faults = BTreeMap::new();
        for it in self.inflicted.iter().filter(|it| it.trouble.is_none()) {
            *faults.entry(it.fault.kind()).or_default() += 1;
        }
        let outcomes: Vec<Outcome> = self.calls.commands.iter().map(|it| it.outcome()).collect();
        let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|it| wanted(it)).count();
        let decided = |answer: &Answer| matches!(answer, Answer::Decided { .. });
        let tries: usize = self.calls.commands.iter().map(|it| it.attempts.len()).sum();
        let checks_after_the_end = self.calls.checks_after_the_end;
        Totals {
            seed: self.settings.seed,
            not_done: self.inflicted.len() - faults.values().sum::<usize>(),
            faults,
            calls: tries + self.calls.checks.len() + checks_after_the_end,
            commands: outcomes.len(),
            acknowledged: count(|it| *it == Outcome::Acknowledged),
            refused: count(|it| matches!(it, Outcome::Refused(_))),
            unknown: count(|it| matches!(it, Outcome::Unknown(_))),
            checks: self.calls.checks.len(),
            checks_after_the_end,
            decided: self.calls.checks.iter().filter(|it| decided(&it.answer)).count(),
            memory: self.memory.values().copied().max().unwrap_or(0),
            violations: self.violations.len(),
        }
    }

    /// A folder with all that is needed to see what happened and to repeat it.
    pub fn keep(&self, world: &World) -> Result<PathBuf> {
        let name = format!("rolecall-faults-seed-{}-", self.settings.seed);
        let folder = tempfile::Builder::new().prefix(&name).tempdir()?.keep();
        write(&folder, "settings.json", [self.settings])?;
        write(&folder, "plan.jsonl", self.planned)?;
        write(&folder, "faults.jsonl", self.inflicted)?;
        write(&folder, "commands.jsonl", &self.calls.commands)?;
        write(&folder, "checks.jsonl", &self.calls.checks)?;
        write(&folder, "memory.json", [self.memory])?;
        std::fs::write(folder.join("violations.txt"), self.violations.join("\n\n"))?;
        for server in world.rolecall.all().chain(world.stack.servers()) {
            if let Some(name) = server.log().file_name() {
                std::fs::copy(server.log(), folder.join(name))?;
            }
        }
        Ok(folder)
    }
}

fn write<T: Serialize>(folder: &Path, name: &str, lines: impl IntoIterator<Item = T>) -> Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    std::fs::write(folder.join(name), text)?;
    Ok(())
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: usize = self.faults.values().sum();
        let kinds: Vec<String> = self
            .faults
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        write!(
            f,
            "seed {}: {faults} faults ({}), {} not done; {} calls; {} commands: {} acknowledged, {} refused, \
             {} unknown; {} checks, {} decided; {} checks with ended sessions; {} MiB at most; {} violations",
            self.seed,
            kinds.join(", "),
            self.not_done,
            self.calls,
            self.commands,
            self.acknowledged,
            self.refused,
            self.unknown,
            self.checks,
            self.decided,
            self.checks_after_the_end,
            self.memory,
            self.violations
        )
    }
}
