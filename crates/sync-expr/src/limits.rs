//! How much an expression may be, make and do.

/// Longest expression, in bytes: far above any that people write.
pub const EXPRESSION: usize = 64 * 1024;
/// Deepest nesting of parentheses and calls: each level is a stack frame of the parser.
pub const NESTING: usize = 64;
/// Deepest tree, operators in a row included: each level is a stack frame of the evaluation.
pub const DEPTH: usize = 256;
/// Largest text or binary value that a function makes, in bytes.
pub const TEXT: usize = 1 << 20;
/// All bytes that one evaluation makes.
pub const BYTES: usize = 64 << 20;
/// Steps of one evaluation: one for each operation on a value, and one for each 64 bytes it reads.
pub const STEPS: u64 = 20_000_000;
/// Most variables in scope at once.
pub const VARIABLES: usize = 64;
