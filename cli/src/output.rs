//! What a command prints: the same facts as text or as JSON (C1).

use std::io::{self, Write as _};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::error::CliError;
use crate::escape::{escape, escape_json, escape_lines};

/// The version of the JSON that commands print. It changes when a member is removed or changes its
/// meaning; new members may come at any time. A document that is an object names it. `fund`,
/// `keys list`, `network list` and `run list` print arrays, which have no place for it, and whose
/// form stays.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// The exit code (C1): 0, unless the subject is bad or nothing is known of it.
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
            Format::Text => escape_lines(self.text.trim_end()),
            Format::Json => {
                let mut json = self.json.clone();
                if let Value::Object(members) = &mut json {
                    members.insert("schemaVersion".to_owned(), SCHEMA_VERSION.into());
                }
                escape_json(&format!("{json:#}"))
            }
        }
    }
}

/// A failure as a program reads it, in place of a report.
pub fn failure_json(failure: &CliError) -> String {
    let json = json!({
        "schemaVersion": SCHEMA_VERSION,
        "error": {
            "kind": failure.kind(),
            "exitCode": failure.exit_code(),
            "message": failure.to_string(),
        },
    });
    escape_json(&format!("{json:#}"))
}

/// The first error of writing standard output. It is reported at the end: that progress cannot be
/// shown is no reason to stop.
static FIRST_WRITE_ERROR: OnceLock<String> = OnceLock::new();

/// The exit code where all was well but for standard output: who reads it knows nothing of what was
/// done, so it is not the code of a command that did nothing (C1).
const UNWRITABLE: u8 = 2;

/// Writes a text and the end of its last line to standard output, at once.
pub fn print(text: &str) {
    record_error(io::stdout().write_all(format!("{text}\n").as_bytes()));
}

/// Keeps an error of writing standard output for [`final_exit_code`]. A reader that has gone away
/// wanted no more of it, which is no failure.
pub fn record_error(written: io::Result<()>) {
    // What is left in the buffer would be written after the last moment at which a failure can be
    // reported.
    let written = written.and_then(|()| io::stdout().flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first failure counts: those that follow have the same cause.
        let _ = FIRST_WRITE_ERROR.set(error.to_string());
    }
}

/// The exit code of the process. Success needs all of standard output to be written; what is bad or
/// unknown stays so.
pub fn final_exit_code(exit_code: u8) -> u8 {
    let Some(why) = FIRST_WRITE_ERROR.get() else { return exit_code };
    let done = if exit_code == 0 { "the command was carried out, but " } else { "" };
    // Where standard error cannot be written either, the exit code alone reports it.
    let _ = writeln!(
        io::stderr(),
        "lumio: {done}standard output cannot be written: {why}; the output is incomplete"
    );
    if exit_code == 0 { UNWRITABLE } else { exit_code }
}

/// Says what happens on the way, where a person is watching.
#[derive(Debug, Clone, Copy)]
pub struct Steps(pub Format);

impl Steps {
    /// One line, at once.
    pub fn say(&self, line: impl AsRef<str>) {
        let line = escape(line.as_ref());
        match self.0 {
            Format::Text => print(&line),
            // The reader may have gone away; that is no reason to stop what is being done.
            Format::Json => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

/// Rows under their headings, each column as wide as its widest cell. Cells may be foreign texts.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| std::array::from_fn(|place| escape(&row[place]))).collect();
    let widths: [usize; N] = std::array::from_fn(|place| {
        let cells = rows.iter().map(|row| row[place].chars().count());
        cells.chain([headings[place].chars().count()]).max().unwrap_or_default()
    });
    let line = |cells: [&str; N]| {
        let cells: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|place| row[place].as_str())));
    std::iter::once(line(headings)).chain(body).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_their_headings_and_a_cell_cannot_forge_a_row() {
        let rows =
            [["a".to_owned(), "1".to_owned()], ["long\nforged  row".to_owned(), "2".to_owned()]];
        let text = table(["NAME", "NUMBER"], &rows);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.starts_with("NAME "), "{text}");
    }

    #[test]
    fn json_names_its_version_and_an_error_its_kind() {
        let report = Report::new("", json!({ "a": "\u{1b}" })).render(Format::Json);
        assert!(report.contains("\"schemaVersion\": 1"), "{report}");
        assert!(!report.contains('\u{1b}'), "{report}");
        let list = Report::new("", json!([1, 2])).render(Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&list).unwrap(), json!([1, 2]), "as it is");
        let error: Value = serde_json::from_str(&failure_json(&CliError::usage("no"))).unwrap();
        assert_eq!(error["error"]["exitCode"], 3);
        assert_eq!(error["error"]["kind"], "usage");
    }
}
