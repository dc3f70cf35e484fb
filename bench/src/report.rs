//! The table, on the screen and in docs/performance.md.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// What one bench found.
pub struct Section {
    /// As on the command line.
    pub name: &'static str,
    pub rows: Vec<Row>,
}

#[derive(Clone)]
pub struct Row {
    pub what: String,
    pub rolecall: String,
    /// What it is measured against, and how that did.
    pub against: String,
    /// Rolecall by the other.
    pub ratio: Option<f64>,
    pub goal: Option<Goal>,
}

#[derive(Clone)]
pub struct Goal {
    pub text: String,
    pub met: bool,
}

impl Row {
    pub fn new(what: impl Into<String>, rolecall: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            rolecall: rolecall.into(),
            against: String::new(),
            ratio: None,
            goal: None,
        }
    }

    #[must_use]
    pub fn against(mut self, other: impl Into<String>) -> Self {
        self.against = other.into();
        self
    }

    #[must_use]
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    #[must_use]
    pub fn goal(mut self, text: impl Into<String>, met: bool) -> Self {
        self.goal = Some(Goal {
            text: text.into(),
            met,
        });
        self
    }

    fn cells(&self) -> [String; 5] {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let goal = self.goal.as_ref().map_or(String::new(), |goal| {
            format!("{}: {}", goal.text, if goal.met { "met" } else { "MISSED" })
        });
        [
            self.what.clone(),
            self.rolecall.clone(),
            self.against.clone(),
            ratio,
            goal,
        ]
    }
}

const HEADS: [&str; 5] = ["measured", "Rolecall", "compared with", "ratio", "goal"];

/// Aligned, so that it reads as text too.
pub fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 5]> = std::iter::once(HEADS.map(str::to_owned))
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            text.push_str("| ");
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 1));
        }
        text.push_str("|\n");
        if number == 0 {
            for width in widths {
                text.push_str("| ");
                text.extend(std::iter::repeat_n('-', width));
                text.push(' ');
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Where tables go.
pub struct Report {
    /// [`machine`]
    pub machine: String,
    /// None only prints.
    pub page: Option<PathBuf>,
}

impl Report {
    /// Prints and writes what was just measured: a run takes long, and what fails later must not take it along.
    /// Replaces the section between its markers, and leaves the rest of the page as it is.
    pub fn add(&self, section: &Section) -> Result<()> {
        println!("\n{}\n\n{}", self.machine, table(&section.rows));
        let Some(page) = &self.page else {
            return Ok(());
        };
        let text = std::fs::read_to_string(page).unwrap_or_else(|_| "# Performance\n".to_owned());
        std::fs::write(page, replace(&text, section, &self.machine))
            .with_context(|| format!("writing {}", page.display()))
    }
}

fn replace(text: &str, section: &Section, machine: &str) -> String {
    let begin = format!("<!-- bench {} -->", section.name);
    let end = format!("<!-- end {} -->", section.name);
    let mut body = String::new();
    write!(body, "{begin}\n{machine}\n\n{}{end}", table(&section.rows)).unwrap_or(());
    let found = text
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match found {
        Some((before, after)) => format!("{before}{body}{after}"),
        None => format!("{}\n\n## {}\n\n{body}\n", text.trim_end(), section.name),
    }
}

/// What was measured, where, when and how.
pub fn machine(arguments: &[String]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(": unknown processor");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: f64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    let arguments = arguments
        .iter()
        .map(|argument| format!(" {argument}"))
        .collect::<String>();
    format!(
        "`just bench{arguments}` on {now}: {cores} cores ({model}), {:.0} GB, load {load} before the run; \
         servers, services and load generator on the same machine.",
        kilobytes / 1e6
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_prose_stays() {
        let section = |figure: &str| Section {
            name: "ack",
            rows: vec![Row::new("x", figure).ratio(1.5).goal("<= 2", true)],
        };
        let once = replace("# Page\n\nWhy.\n", &section("1"), "machine one");
        let twice = replace(&format!("{once}\nAfter.\n"), &section("2"), "machine two");
        assert!(
            twice.starts_with("# Page\n\nWhy.\n") && twice.ends_with("\nAfter.\n"),
            "{twice}"
        );
        assert!(
            twice.contains("| x        | 2        |") && !twice.contains("machine one"),
            "{twice}"
        );
        assert!(twice.contains("1.50") && twice.contains("<= 2: met"));
    }
}
