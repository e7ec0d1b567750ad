//! Forms of a result and the exit codes that every local command shares (C1).

use std::fmt::Arguments;
use std::io::{self, Write};

use clap::ValueEnum;

/// The subject is bad.
pub const FAILED: u8 = 1;
/// Nothing is known about the subject.
pub const UNKNOWN: u8 = 2;
/// Wrong usage, configuration or specification.
pub const USAGE: u8 = 3;

/// Forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Says a sentence on standard error. A reader that has gone away changes nothing.
pub fn say(sentence: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{sentence}");
}

/// A setting of the command line cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misused(pub String);
