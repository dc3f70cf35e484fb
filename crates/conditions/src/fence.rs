//! What is checked before the parser sees a source: it recurses, and an overflow of the stack cannot be caught.
//!
//! The tokens are those of the parser's own lexer, so that the two cannot take a source for different things.

use cel::parser::pratt_parser::{Lexer, Token, TokenKind};

use crate::error::{ConditionError, Place, Problem};
use crate::limits::{MAX_BRACKETS, MAX_CHOICES, MAX_SOURCE_BYTES, MAX_TOKENS};

/// An identifier of the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'s> {
    pub text: &'s str,
    pub offset: usize,
}

/// All identifiers in the order of the source.
///
/// # Errors
/// The source is too large, too deep, or has what conditions have not.
pub(crate) fn names(source: &str) -> Result<Vec<Name<'_>>, ConditionError> {
    let at = |offset: usize, problem: Problem| ConditionError {
        place: Place::of(source, offset),
        problem,
    };
    if source.len() > MAX_SOURCE_BYTES {
        return Err(at(MAX_SOURCE_BYTES, Problem::TooLong));
    }
    let mut fence = Fence::default();
    let mut names: Vec<Name<'_>> = Vec::new();
    let mut follows_name = false;
    let mut lexer = Lexer::new(source);
    loop {
        let token = lexer.lex();
        if token.kind == TokenKind::TokError {
            let message = lexer
                .get_error()
                .map_or("unknown token", |error| error.message.as_str());
            return Err(at(token.start, Problem::Syntax(message.to_owned())));
        }
        if token.kind == TokenKind::TokEnd {
            break;
        }
        let text = source.get(token.start..token.end).unwrap_or_default();
        fence
            .pass(token, text)
            .map_err(|problem| at(token.start, problem))?;
        if let Some(name) = names.last()
            && token.kind == TokenKind::TokLeftParen
            && follows_name
        {
            callable(name.text).map_err(|problem| at(name.offset, problem))?;
        }
        if matches!(token.kind, TokenKind::TokWhitespace | TokenKind::TokComment) {
            continue;
        }
        follows_name = matches!(token.kind, TokenKind::TokIdent | TokenKind::TokReservedWord);
        if follows_name {
            names.push(Name {
                text,
                offset: token.start,
            });
        }
    }
    if fence.tokens == 0 {
        return Err(at(0, Problem::Empty));
    }
    Ok(names)
}

#[derive(Default)]
struct Fence {
    tokens: usize,
    open: usize,
    choices: usize,
}

impl Fence {
    fn pass(&mut self, token: Token, text: &str) -> Result<(), Problem> {
        use TokenKind as Kind;
        match token.kind {
            Kind::TokWhitespace | Kind::TokComment => return Ok(()),
            Kind::TokLeftParen | Kind::TokLeftBracket => self.open += 1,
            Kind::TokRightParen | Kind::TokRightBracket => self.open = self.open.saturating_sub(1),
            Kind::TokLeftBrace | Kind::TokRightBrace => {
                return Err(Problem::NotPartOf("maps and messages, `{`,"));
            }
            Kind::TokQuestion => self.choices += 1,
            Kind::TokUint => return Err(Problem::NotPartOf("unsigned integers")),
            Kind::TokBytes => return Err(Problem::NotPartOf("bytes")),
            Kind::TokIdent if text.starts_with('`') => {
                return Err(Problem::NotPartOf("quoted names"));
            }
            _ => {}
        }
        self.tokens += 1;
        if self.tokens > MAX_TOKENS {
            return Err(Problem::TooManyTokens);
        }
        if self.open > MAX_BRACKETS {
            return Err(Problem::TooManyBrackets);
        }
        if self.choices > MAX_CHOICES {
            return Err(Problem::TooManyChoices);
        }
        Ok(())
    }
}

/// The parser would write out the loops before anything else could refuse them.
fn callable(name: &str) -> Result<(), Problem> {
    match name {
        "exists_one" | "existsOne" | "map" | "filter" => {
            Err(Problem::NotPartOf("exists_one, map and filter"))
        }
        "matches" => Err(Problem::NotPartOf("regular expressions")),
        _ => Ok(()),
    }
}
