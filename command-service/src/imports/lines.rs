//! The lines of a body, as it comes in: of bounded length and number.

use axum::body::Body;
use futures::StreamExt as _;
use service_kit::json::broken_off;
use service_kit::problem::{Problem, ProblemType};

/// Bytes of one line.
pub const LONGEST: usize = 8 * 1_024;
/// Lines of one body.
pub const MOST: usize = 20_000;

/// A line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The body's first line is 1.
    pub number: u64,
    /// None if there was more of it than [`LONGEST`].
    pub text: Option<Vec<u8>>,
}

/// Reads a body to its end. More lines than [`MOST`] are refused before any is looked at.
pub async fn read(body: Body) -> Result<Vec<Line>, Problem> {
    let mut cutter = Cutter::default();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| broken_off(&error))?;
        cutter.take(&chunk)?;
    }
    cutter.finish()
}

#[derive(Default)]
struct Cutter {
    lines: Vec<Line>,
    /// Line ends so far.
    ended: u64,
    open: Vec<u8>,
    is_too_long: bool,
}

impl Cutter {
    fn take(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        let mut parts = chunk.split(|byte| *byte == b'\n');
        self.extend(parts.next().unwrap_or_default());
        for part in parts {
            self.end_line()?;
            self.extend(part);
        }
        Ok(())
    }

    fn extend(&mut self, part: &[u8]) {
        self.is_too_long |= self.open.len() + part.len() > LONGEST;
        if !self.is_too_long {
            self.open.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) -> Result<(), Problem> {
        self.ended += 1;
        let (number, text) = (self.ended, std::mem::take(&mut self.open));
        let is_too_long = std::mem::take(&mut self.is_too_long);
        if !is_too_long && text.trim_ascii().is_empty() {
            return Ok(());
        }
        if self.lines.len() >= MOST {
            return Err(Problem::new(ProblemType::BodyTooLarge).detail(format!(
                "an import has at most {MOST} lines; send the rest with another one"
            )));
        }
        let text = (!is_too_long).then_some(text);
        self.lines.push(Line { number, text });
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Line>, Problem> {
        self.end_line()?;
        Ok(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&[u8]]) -> Result<Vec<Line>, Problem> {
        let mut cutter = Cutter::default();
        for chunk in chunks {
            cutter.take(chunk)?;
        }
        cutter.finish()
    }

    fn line(number: u64, text: &str) -> Line {
        Line {
            number,
            text: Some(text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn lines_are_the_same_however_the_body_is_cut() {
        let body = b"one\n\n  \r\ntwo\r\nthree";
        let expected = [line(1, "one"), line(4, "two\r"), line(5, "three")];
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(cut(&[head, tail]).unwrap(), expected, "{at}");
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(cut(&bytes).unwrap(), expected);
        assert_eq!(cut(&[]).unwrap(), []);
    }

    #[test]
    fn of_a_line_that_never_ends_little_is_kept() {
        let mut cutter = Cutter::default();
        for _ in 0..100 {
            cutter.take(&[b'x'; 1_000]).unwrap();
            assert!(cutter.open.len() <= LONGEST);
        }
        cutter.take(b"\nnext").unwrap();
        let too_long = Line {
            number: 1,
            text: None,
        };
        assert_eq!(cutter.finish().unwrap(), [too_long, line(2, "next")]);
    }

    #[test]
    fn too_many_lines_are_refused() {
        let body = "x\n".repeat(MOST);
        assert_eq!(cut(&[body.as_bytes()]).unwrap().len(), MOST);
        let refused = cut(&[body.as_bytes(), b"x"]).unwrap_err();
        assert_eq!(refused.kind, ProblemType::BodyTooLarge);
    }
}
