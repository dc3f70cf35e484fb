//! A file of users, in chunks of rows as they are sent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Longer is no user; the service refuses it too.
const LONGEST_LINE: usize = 8 * 1_024;

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Csv,
    Ndjson,
}

/// A file, read once to know it.
pub struct Source {
    pub path: PathBuf,
    pub form: Form,
    /// SHA-256, hexadecimal.
    pub digest: String,
    /// Its lines, about: for CSV, quoted line ends count too.
    pub rows: u64,
}

impl Source {
    pub fn open(path: &Path, form: Option<Form>) -> Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let form = match (form, ending) {
            (Some(form), _) => form,
            (None, Some("csv")) => Form::Csv,
            (None, Some("ndjson" | "jsonl" | "json")) => Form::Ndjson,
            (None, _) => bail!("its name does not end in .csv, .ndjson or .jsonl: name its form"),
        };
        let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 20]);
        let (mut digest, mut lines, mut last) = (Sha256::new(), 0, b'\n');
        loop {
            let count = file.read(&mut buffer)?;
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            digest.update(read);
            lines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
            last = read.last().copied().unwrap_or(last);
        }
        lines += u64::from(last != b'\n');
        Ok(Self {
            path: path.to_owned(),
            form,
            digest: hex::encode(digest.finalize()),
            rows: lines.saturating_sub(u64::from(form == Form::Csv)),
        })
    }
}

/// A user to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// In the file, from 1.
    pub line: u64,
    /// One line of JSON.
    pub json: String,
}

/// Rows that are sent together.
#[derive(Debug, PartialEq, Eq)]
pub struct Chunk {
    /// From 0.
    pub number: u64,
    pub rows: Vec<Row>,
}

/// The chunks of a file, one after the other.
pub struct Chunks {
    rows: Box<dyn Iterator<Item = Result<Row>> + Send>,
    size: usize,
    next: u64,
}

impl Chunks {
    pub fn of(source: Source, size: usize) -> Result<Self> {
        let file = BufReader::with_capacity(1 << 20, File::open(&source.path)?);
        let rows: Box<dyn Iterator<Item = Result<Row>> + Send> = match source.form {
            Form::Ndjson => Box::new(ndjson(file)),
            Form::Csv => Box::new(csv_rows(file)?),
        };
        Ok(Self { rows, size, next: 0 })
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Result<Chunk>> {
        let rows: Result<Vec<Row>> = self.rows.by_ref().take(self.size).collect();
        let number = self.next;
        self.next += 1;
        match rows {
            Ok(rows) if rows.is_empty() => None,
            Ok(rows) => Some(Ok(Chunk { number, rows })),
            Err(error) => Some(Err(error)),
        }
    }
}

fn ndjson(mut file: impl BufRead + Send + 'static) -> impl Iterator<Item = Result<Row>> + Send {
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            let mut text = Vec::new();
            let most = LONGEST_LINE as u64 * 2;
            let read = file.by_ref().take(most).read_until(b'\n', &mut text);
            line += 1;
            match read.with_context(|| format!("reading line {line}")) {
                Ok(0) => return None,
                Ok(count) if count as u64 == most => {
                    return Some(Err(anyhow::anyhow!("line {line} is no user: it is too long")));
                }
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            let text = match String::from_utf8(text) {
                Ok(text) => text,
                Err(_) => return Some(Err(anyhow::anyhow!("line {line} is not UTF-8"))),
            };
            if !text.trim().is_empty() {
                let json = text.trim().to_owned();
                return Some(Ok(Row { line, json }));
            }
        }
    })
}

fn csv_rows(file: impl Read + Send + 'static) -> Result<impl Iterator<Item = Result<Row>> + Send> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    Ok(reader.into_records().map(move |record| {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let fields = names
            .iter()
            .zip(record.iter())
            .filter(|(_, value)| !value.is_empty());
        let object: Map<String, Value> = fields
            .map(|(name, value)| (name.clone(), field(name, value)))
            .collect();
        let json = Value::Object(object).to_string();
        Ok(Row { line, json })
    }))
}

/// What is not a yes or no stays text, and is refused as such.
fn field(name: &str, value: &str) -> Value {
    let is_flag = name.ends_with("_verified");
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "1" if is_flag => Value::Bool(true),
        "false" | "f" | "no" | "0" if is_flag => Value::Bool(false),
        _ => Value::String(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(name: &str, text: &str, size: usize) -> Vec<Chunk> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let source = Source::open(&path, None).unwrap();
        Chunks::of(source, size).unwrap().map(Result::unwrap).collect()
    }

    fn row(line: u64, json: &str) -> Row {
        let json = json.to_owned();
        Row { line, json }
    }

    #[test]
    fn lines_become_rows_and_rows_chunks() {
        let made = chunks("users.ndjson", "{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}", 2);
        let [first, second] = made.try_into().unwrap();
        assert_eq!(
            (first.number, first.rows),
            (0, vec![row(1, "{\"a\":1}"), row(3, "{\"a\":2}")])
        );
        assert_eq!((second.number, second.rows), (1, vec![row(4, "{\"a\":3}")]));
    }

    #[test]
    fn of_csv_what_is_empty_is_left_out_and_flags_are_yes_or_no() {
        let text = "username,email,email_verified,phone_number\nada,ada@example.org,TRUE,\n\"b, c\",b@example.org,maybe,+49 30 1\n";
        let [chunk] = chunks("users.csv", text, 10).try_into().unwrap();
        assert_eq!(
            chunk.rows,
            [
                row(
                    2,
                    r#"{"email":"ada@example.org","email_verified":true,"username":"ada"}"#
                ),
                row(
                    3,
                    r#"{"email":"b@example.org","email_verified":"maybe","phone_number":"+49 30 1","username":"b, c"}"#
                ),
            ]
        );
    }

    #[test]
    fn a_file_without_a_known_form_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.txt");
        std::fs::write(&path, "x").unwrap();
        assert!(Source::open(&path, None).is_err());
        assert_eq!(Source::open(&path, Some(Form::Csv)).unwrap().rows, 0);
    }
}
