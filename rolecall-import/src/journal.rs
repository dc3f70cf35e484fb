//! What is done, on disk: an import goes on from here.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chunks::Chunk;
use crate::sending::Outcome;

/// The journal's first line: of which file, and in chunks of which size.
#[derive(Serialize, Deserialize)]
struct Head {
    import: String,
}

/// One line for each chunk that is done.
#[derive(Clone, Serialize, Deserialize)]
struct Done {
    chunk: u64,
    imported: u64,
    rejected: u64,
}

/// A user that was not imported.
#[derive(Serialize, Deserialize)]
struct Rejected {
    line: u64,
    chunk: u64,
    problem: Value,
    /// As it was sent, or stands in the file; to be mended and sent again.
    row: String,
}

pub struct Journal {
    file: File,
    rejected: File,
    rejected_path: PathBuf,
    done: Vec<Done>,
}

impl Journal {
    /// Opens the journal of an import, or begins one.
    pub fn open(path: &Path, rejected: &Path, import: &str) -> Result<Self> {
        let done = read(path, import).with_context(|| format!("reading {}", path.display()))?;
        keep(rejected, &done).with_context(|| format!("reading {}", rejected.display()))?;
        let mut file = append(path)?;
        if file.metadata()?.len() == 0 {
            let import = import.to_owned();
            writeln!(file, "{}", serde_json::to_string(&Head { import })?)?;
        }
        Ok(Self {
            file,
            rejected: append(rejected)?,
            rejected_path: rejected.to_owned(),
            done,
        })
    }

    /// Numbers of the chunks that are done.
    pub fn done(&self) -> BTreeSet<u64> {
        self.done.iter().map(|done| done.chunk).collect()
    }

    /// Users imported and rejected so far.
    pub fn totals(&self) -> (u64, u64) {
        let add = |(imported, rejected), done: &Done| (imported + done.imported, rejected + done.rejected);
        self.done.iter().fold((0, 0), add)
    }

    pub fn rejected_path(&self) -> &Path {
        &self.rejected_path
    }

    /// First what was rejected, then that the chunk is done: after a crash in between it is sent again.
    pub fn record(&mut self, chunk: &Chunk, outcome: &Outcome) -> Result<()> {
        let broken = chunk.broken.iter().map(|broken| Rejected {
            line: broken.line,
            chunk: chunk.number,
            problem: broken.problem.clone(),
            row: broken.text.clone(),
        });
        let mut rejected: Vec<Rejected> = broken.collect();
        for (index, problem) in &outcome.rejected {
            let row = chunk
                .rows
                .get(*index)
                .context("the service names a line that was not sent")?;
            rejected.push(Rejected {
                line: row.line,
                chunk: chunk.number,
                problem: problem.clone(),
                row: row.json.clone(),
            });
        }
        rejected.sort_by_key(|rejected| rejected.line);
        let mut lines = String::new();
        for rejected in &rejected {
            lines.push_str(&serde_json::to_string(rejected)?);
            lines.push('\n');
        }
        self.rejected.write_all(lines.as_bytes())?;
        self.rejected.sync_data()?;
        let done = Done {
            chunk: chunk.number,
            imported: outcome.imported,
            rejected: rejected.len() as u64,
        };
        writeln!(self.file, "{}", serde_json::to_string(&done)?)?;
        self.file.sync_data()?;
        self.done.push(done);
        Ok(())
    }
}

/// Its lines hold password hashes: for their owner alone.
fn append(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options
        .open(path)
        .with_context(|| format!("writing {}", path.display()))
}

fn lines(path: &Path) -> Result<Vec<String>> {
    match File::open(path) {
        Ok(file) => Ok(BufReader::new(file).lines().collect::<Result<_, _>>()?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn read(path: &Path, import: &str) -> Result<Vec<Done>> {
    let lines = lines(path)?;
    let Some((head, rest)) = lines.split_first() else {
        return Ok(Vec::new());
    };
    let head: Head = serde_json::from_str(head)?;
    if head.import != import {
        bail!("it is of another file or of chunks of another size; remove it to begin anew");
    }
    // A line that a crash cut short is of a chunk that is not done.
    Ok(rest
        .iter()
        .map_while(|line| serde_json::from_str(line).ok())
        .collect())
}

/// Drops what was rejected in chunks that will be sent again.
fn keep(path: &Path, done: &[Done]) -> Result<()> {
    let known = lines(path)?;
    let is_done = |line: &&String| {
        let rejected: Result<Rejected, _> = serde_json::from_str(line);
        rejected.is_ok_and(|rejected| done.iter().any(|done| done.chunk == rejected.chunk))
    };
    let kept: Vec<&String> = known.iter().filter(is_done).collect();
    if kept.len() == known.len() {
        return Ok(());
    }
    let next = path.with_extension("rejected.next");
    let mut file = append(&next)?;
    file.set_len(0)?;
    for line in kept {
        writeln!(file, "{line}")?;
    }
    file.sync_data()?;
    Ok(fs::rename(next, path)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chunks::{Broken, Row};

    fn chunk(number: u64) -> Chunk {
        let row = |line| Row {
            line,
            json: format!("{{\"username\":\"user-{line}\"}}"),
        };
        Chunk {
            number,
            rows: (number * 2 + 1..number * 2 + 3).map(row).collect(),
            broken: Vec::new(),
        }
    }

    fn outcome() -> Outcome {
        Outcome {
            imported: 1,
            rejected: vec![(1, json!({ "type": "taken" }))],
        }
    }

    #[test]
    fn an_import_goes_on_after_what_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rejected) = (folder.path().join("journal"), folder.path().join("rejected"));
        let open = || Journal::open(&path, &rejected, "file/2").unwrap();
        let mut journal = open();
        journal.record(&chunk(0), &outcome()).unwrap();
        journal.record(&chunk(2), &outcome()).unwrap();
        drop(journal);
        let journal = open();
        assert_eq!(journal.done(), BTreeSet::from([0, 2]));
        assert_eq!(journal.totals(), (2, 2));
        assert_eq!(lines(&rejected).unwrap().len(), 2);
    }

    #[test]
    fn a_crash_between_rejecting_and_being_done_rejects_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rejected) = (folder.path().join("journal"), folder.path().join("rejected"));
        let mut journal = Journal::open(&path, &rejected, "file/2").unwrap();
        journal.record(&chunk(0), &outcome()).unwrap();
        let before = fs::read(&path).unwrap();
        journal.record(&chunk(1), &outcome()).unwrap();
        drop(journal);
        // As a crash leaves it: half a line of the journal.
        fs::write(&path, [before, b"{\"chunk\":1,".to_vec()].concat()).unwrap();
        let journal = Journal::open(&path, &rejected, "file/2").unwrap();
        assert_eq!(journal.done(), BTreeSet::from([0]));
        assert_eq!(lines(&rejected).unwrap().len(), 1);
    }

    #[test]
    fn what_was_not_sent_is_told_among_what_was_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rejected) = (folder.path().join("journal"), folder.path().join("rejected"));
        let mut journal = Journal::open(&path, &rejected, "file/2").unwrap();
        let broken = Broken {
            line: 1,
            problem: json!({ "type": "too large" }),
            text: "{".to_owned(),
        };
        let chunk = Chunk {
            broken: vec![broken],
            ..chunk(4)
        };
        journal.record(&chunk, &outcome()).unwrap();
        assert_eq!(journal.totals(), (1, 2));
        let told: Vec<Rejected> = lines(&rejected)
            .unwrap()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let told: Vec<(u64, &str)> = told.iter().map(|it| (it.line, it.row.as_str())).collect();
        assert_eq!(told, [(1, "{"), (10, "{\"username\":\"user-10\"}")]);
    }

    #[test]
    fn the_journal_of_another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rejected) = (folder.path().join("journal"), folder.path().join("rejected"));
        Journal::open(&path, &rejected, "file/2").unwrap();
        assert!(Journal::open(&path, &rejected, "other/2").is_err());
    }
}
