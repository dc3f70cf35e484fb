//! How large a condition may be, and what one evaluation may cost.

/// Bytes of a source.
pub const MAX_SOURCE_BYTES: usize = 1_024;
/// Names, literals, operators and brackets of a source.
pub const MAX_TOKENS: usize = 256;
/// Brackets within brackets.
pub const MAX_BRACKETS: usize = 16;
/// `a ? b : c` in a source.
pub const MAX_CHOICES: usize = 8;
/// Operations within operations.
pub const MAX_DEPTH: usize = 32;
/// Of one evaluation: an operation, an item that is looked at, or 64 bytes that are compared, searched or copied.
pub const MAX_STEPS: u32 = 10_000;
