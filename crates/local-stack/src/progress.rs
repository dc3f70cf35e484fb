//! What the user sees while things start: spinners on a terminal, plain lines elsewhere, or nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Cloned freely; all clones share the screen. Goes to standard error.
#[derive(Debug, Clone, Default)]
pub struct Progress(Kind);

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Silent,
    Lines,
    Spinners(MultiProgress),
}

impl Progress {
    pub fn silent() -> Self {
        Self(Kind::Silent)
    }

    /// Spinners if standard error is a terminal, lines if not.
    pub fn shown() -> Self {
        if std::io::stderr().is_terminal() {
            Self(Kind::Spinners(MultiProgress::new()))
        } else {
            Self(Kind::Lines)
        }
    }

    /// Says that `who` begins with something. Call [`Step::done`] when it has ended well.
    pub fn step(&self, who: &str, what: &str) -> Step {
        let bar = match &self.0 {
            Kind::Silent => None,
            Kind::Lines => {
                eprintln!("{who:<12} {what}");
                None
            }
            Kind::Spinners(all) => {
                let bar = all.add(
                    ProgressBar::new_spinner()
                        .with_prefix(who.to_owned())
                        .with_message(what.to_owned()),
                );
                if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:12} {msg} ({elapsed})") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(100));
                Some(bar)
            }
        };
        let lines = matches!(self.0, Kind::Lines);
        Step {
            who: who.to_owned(),
            began: Instant::now(),
            bar,
            lines,
        }
    }
}

/// Something under way.
#[derive(Debug)]
pub struct Step {
    who: String,
    began: Instant,
    bar: Option<ProgressBar>,
    lines: bool,
}

impl Step {
    /// Returns how long it took.
    pub fn done(mut self, result: &str) -> Duration {
        let took = self.began.elapsed();
        let seconds = took.as_secs_f32();
        if let Some(bar) = self.bar.take() {
            if let Ok(style) = ProgressStyle::with_template("✔ {prefix:12} {msg}") {
                bar.set_style(style);
            }
            bar.finish_with_message(format!("{result} ({seconds:.1} s)"));
        } else if self.lines {
            eprintln!("{:<12} {result} ({seconds:.1} s)", self.who);
        }
        took
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon_with_message("failed");
        }
    }
}
