//! A file of users, in chunks of rows as they are sent. What cannot be sent is told by its line, and the rest goes on.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};
use service_kit::problem::{Problem, ProblemType};
use sha2::{Digest as _, Sha256};

/// Longer is no user; the service refuses it too.
const LONGEST_LINE: usize = 8 * 1_024;
/// So much of a line is read, with the spaces around what is sent.
const LONGEST_READ: usize = LONGEST_LINE * 2;

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

/// A line of the file that cannot be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// In the file, from 1.
    pub line: u64,
    /// Why, as the service tells it of others.
    pub problem: Value,
    /// As it stands in the file, or its beginning.
    pub text: String,
}

/// Rows that are sent together, and what stands between them.
#[derive(Debug, PartialEq)]
pub struct Chunk {
    /// From 0.
    pub number: u64,
    pub rows: Vec<Row>,
    pub broken: Vec<Broken>,
}

enum Entry {
    Row(Row),
    Broken(Broken),
}

/// The chunks of a file, one after the other.
pub struct Chunks {
    entries: Box<dyn Iterator<Item = Result<Entry>> + Send>,
    size: usize,
    next: u64,
}

impl Chunks {
    pub fn of(source: Source, size: usize) -> Result<Self> {
        let file = BufReader::with_capacity(1 << 20, File::open(&source.path)?);
        let entries: Box<dyn Iterator<Item = Result<Entry>> + Send> = match source.form {
            Form::Ndjson => Box::new(ndjson(file)),
            Form::Csv => Box::new(csv_rows(file)?),
        };
        Ok(Self {
            entries,
            size,
            next: 0,
        })
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Result<Chunk>> {
        let entries: Result<Vec<Entry>> = self.entries.by_ref().take(self.size).collect();
        let number = self.next;
        self.next += 1;
        match entries {
            Ok(entries) if entries.is_empty() => None,
            Ok(entries) => Some(Ok(chunk(number, entries))),
            Err(error) => Some(Err(error)),
        }
    }
}

fn chunk(number: u64, entries: Vec<Entry>) -> Chunk {
    let (mut rows, mut broken) = (Vec::with_capacity(entries.len()), Vec::new());
    for entry in entries {
        match entry {
            Entry::Row(row) => rows.push(row),
            Entry::Broken(line) => broken.push(line),
        }
    }
    Chunk { number, rows, broken }
}

fn ndjson(mut file: impl BufRead + Send + 'static) -> impl Iterator<Item = Result<Entry>> + Send {
    let mut line = 0;
    std::iter::from_fn(move || {
        loop {
            line += 1;
            let (text, is_whole) = match next_line(&mut file) {
                Ok(Some(read)) => read,
                Ok(None) => return None,
                Err(error) => return Some(Err(error).with_context(|| format!("reading line {line}"))),
            };
            if !is_whole {
                let detail = format!("a line has at most {LONGEST_LINE} bytes");
                let problem = Problem::new(ProblemType::BodyTooLarge).detail(detail);
                return Some(Ok(broken(line, &text, &problem)));
            }
            match String::from_utf8(text) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => {
                    let json = text.trim().to_owned();
                    return Some(Ok(Entry::Row(Row { line, json })));
                }
                Err(error) => return Some(Ok(broken(line, error.as_bytes(), &not_utf8()))),
            }
        }
    })
}

/// The next line, and whether that is all of it: what is beyond [`LONGEST_READ`] is passed over. None at the end.
fn next_line(file: &mut impl BufRead) -> std::io::Result<Option<(Vec<u8>, bool)>> {
    let (most, mut text) = (LONGEST_READ as u64, Vec::new());
    let count = file.by_ref().take(most).read_until(b'\n', &mut text)?;
    if count == 0 {
        return Ok(None);
    }
    let is_whole = text.ends_with(b"\n") || (count as u64) < most;
    if !is_whole {
        file.skip_until(b'\n')?;
    }
    Ok(Some((text, is_whole)))
}

fn csv_rows(file: impl Read + Send + 'static) -> Result<impl Iterator<Item = Result<Entry>> + Send> {
    // Flexible: a row with fields too few or too many is no reason to end here.
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(file);
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let records = reader.into_byte_records();
    Ok(records.map(move |record| -> Result<Entry> { Ok(csv_entry(&names, record?)) }))
}

fn csv_entry(names: &[String], record: csv::ByteRecord) -> Entry {
    let line = record.position().map_or(0, csv::Position::line);
    if record.len() != names.len() {
        let goes_on = record.iter().any(|field| field.contains(&b'\n'));
        let hint = if goes_on { "; is a quote not closed?" } else { "" };
        let (count, expected) = (record.len(), names.len());
        let detail = format!("the file's first line names {expected} fields, and this row has {count}{hint}");
        let problem = Problem::new(ProblemType::InvalidBody).detail(detail);
        return broken(line, &as_csv(&record), &problem);
    }
    let mut record = match csv::StringRecord::from_byte_record(record) {
        Ok(record) => record,
        Err(error) => return broken(line, &as_csv(&error.into_byte_record()), &not_utf8()),
    };
    // Of spaces that are not ASCII too.
    record.trim();
    let fields = names
        .iter()
        .zip(record.iter())
        .filter(|(_, value)| !value.is_empty());
    let object: Map<String, Value> = fields
        .map(|(name, value)| (name.clone(), field(name, value)))
        .collect();
    let json = Value::Object(object).to_string();
    Entry::Row(Row { line, json })
}

/// The record as a line again.
fn as_csv(record: &csv::ByteRecord) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let written = writer.write_byte_record(record).ok();
    // Into memory nothing fails.
    written
        .and_then(|()| writer.into_inner().ok())
        .unwrap_or_default()
}

fn broken(line: u64, text: &[u8], problem: &Problem) -> Entry {
    let text = String::from_utf8_lossy(text.get(..LONGEST_LINE).unwrap_or(text));
    Entry::Broken(Broken {
        line,
        // Texts and numbers alone always serialise.
        problem: serde_json::to_value(problem.details()).unwrap_or_default(),
        text: text.trim().to_owned(),
    })
}

fn not_utf8() -> Problem {
    Problem::new(ProblemType::InvalidUtf8).detail("the line is not UTF-8")
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

    fn chunks(name: &str, text: impl AsRef<[u8]>, size: usize) -> Vec<Chunk> {
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

    /// Each line that is not sent, and the last part of its problem's type.
    fn told(chunk: &Chunk) -> Vec<(u64, &str)> {
        chunk.broken.iter().map(|it| (it.line, slug(it))).collect()
    }

    fn slug(broken: &Broken) -> &str {
        let kind = broken.problem["type"].as_str().unwrap();
        kind.rsplit('/').next().unwrap()
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
        assert_eq!(chunk.broken, []);
    }

    #[test]
    fn lines_that_cannot_be_sent_are_told_and_the_rest_goes_on() {
        let endless = [b"{\"a\":\"".as_slice(), &[b'x'; 50_000], b"\"}"].concat();
        let lines: [&[u8]; 5] = [
            b"{\"a\":1}",
            &endless,
            b"{\"a\":\"\xff\"}",
            b"{\"a\":2}",
            &endless,
        ];
        let made = chunks("users.ndjson", lines.join(&b'\n'), 4);
        let [first, last] = made.try_into().unwrap();
        assert_eq!(first.rows, [row(1, "{\"a\":1}"), row(4, "{\"a\":2}")]);
        assert_eq!(told(&first), [(2, "body-too-large"), (3, "invalid-utf8")]);
        assert_eq!(first.broken[0].text.len(), LONGEST_LINE);
        assert_eq!(first.broken[1].text, "{\"a\":\"\u{fffd}\"}");
        assert_eq!(last.rows, []);
        assert_eq!(told(&last), [(5, "body-too-large")]);
    }

    #[test]
    fn a_line_as_long_as_may_be_read_is_whole() {
        let longest = format!("\"{}\"\n", "x".repeat(LONGEST_READ - 3));
        assert_eq!(longest.len(), LONGEST_READ);
        let made = chunks("users.ndjson", format!("{longest}{longest}1"), 10);
        let [chunk] = made.try_into().unwrap();
        assert_eq!((chunk.rows.len(), told(&chunk)), (3, vec![]));
    }

    #[test]
    fn rows_of_csv_with_other_fields_than_named_are_told_and_the_rest_goes_on() {
        let text = b"username,email\nada,ada@example.org\nshort\n\"a, b\",c,d\nb\xff,b@example.org\neve,eve@example.org\nf,\"open\ng,g@example.org\n";
        let [chunk] = chunks("users.csv", text, 10).try_into().unwrap();
        let names: Vec<&str> = chunk.rows.iter().map(|row| row.json.as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[1].contains("eve@example.org"), "{names:?}");
        assert_eq!(chunk.rows[1].line, 6);
        assert_eq!(
            told(&chunk),
            [(3, "invalid-body"), (4, "invalid-body"), (5, "invalid-utf8")]
        );
        assert_eq!(chunk.broken[1].text, "\"a, b\",c,d");
        let detail = chunk.broken[0].problem["detail"].as_str().unwrap();
        assert_eq!(detail, "the file's first line names 2 fields, and this row has 1");
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
