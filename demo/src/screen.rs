//! What the story looks like: colour on a terminal, the same words without it.

use std::io::IsTerminal;
use std::time::Duration;

#[derive(Clone, Copy)]
pub struct Screen {
    colour: bool,
}

impl Screen {
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self {
            colour: wanted && std::io::stdout().is_terminal(),
        }
    }

    /// Begins a scene.
    pub fn scene(self, title: &str) {
        println!("\n{}", self.paint("1", title));
    }

    /// One call and its answer.
    pub fn call(self, call: &str, status: u16, took: Duration, says: &str) {
        let code = if status < 400 { "32" } else { "33" };
        let status = self.paint(code, &status.to_string());
        let line = format!(
            "  {call:<58} {status}  {}  {says}",
            self.paint("2", &millis(took))
        );
        println!("{}", line.trim_end());
    }

    /// What is to be seen in it.
    pub fn good(self, text: &str) {
        println!("  {} {text}", self.paint("32", "✔"));
    }

    pub fn line(self, text: &str) {
        println!("    {text}");
    }

    /// Output of another program.
    pub fn output(self, text: &str) {
        for line in text.lines() {
            println!("    {}", self.paint("2", line));
        }
    }

    pub fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

pub fn millis(took: Duration) -> String {
    format!("{:>6.1} ms", took.as_secs_f64() * 1_000.0)
}
