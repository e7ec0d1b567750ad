//! What a command prints: the same facts as text or as JSON (C1).

use serde_json::Value;

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON document for a program; what happens on the way goes to standard error.
    Json,
}

/// What a command found out or did.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// For a person.
    pub text: String,
    /// The same facts for a program.
    pub json: Value,
    /// What the shell is told (C1): 0, unless the subject is bad or nothing is known of it.
    pub exit_code: u8,
}

impl Report {
    /// A report of something good.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, exit_code: 0 }
    }

    /// The whole of standard output, without the last line's end.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text.trim_end().to_owned(),
            Format::Json => format!("{:#}", self.json),
        }
    }
}

/// Tells what happens on the way, where a person is watching.
#[derive(Debug, Clone, Copy)]
pub struct Steps(pub Format);

impl Steps {
    /// One line, at once.
    pub fn say(&self, line: impl AsRef<str>) {
        use std::io::Write as _;
        let line = line.as_ref();
        // Whoever reads may have gone away; that is no reason to stop what is being done.
        let _ = match self.0 {
            Format::Text => writeln!(std::io::stdout(), "{line}"),
            Format::Json => writeln!(std::io::stderr(), "{line}"),
        };
    }
}
