//! Forms of a result and the exit codes that every local command shares (C1).

use clap::ValueEnum;

/// The subject is bad.
pub const FAILED: u8 = 1;
/// Nothing is known about the subject.
pub const UNKNOWN: u8 = 2;
/// Wrong usage, configuration or specification.
pub const USAGE: u8 = 3;

/// Forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}
