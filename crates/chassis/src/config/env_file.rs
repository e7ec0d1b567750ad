//! Variables from a file of `NAME=value` lines, in the dialect of Docker Compose, so that one file
//! means the same to Compose and to a service.
//!
//! The reader is our own because the libraries for such files read other dialects: they take the
//! first of two assignments, refuse blanks in a value without quotes, and know no defaults in
//! `${NAME:-default}`. What Compose and those libraries read in different ways that both surprise
//! (a comment behind an empty value, text behind a closing quote) is refused.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Env;
use crate::files;

/// A file with more bytes is not read.
const MAX_BYTES: u64 = 64 * 1024;

/// Why a file of variables was not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnvFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner could read it, and it holds secrets.
    #[error("{0} can be read by others than its owner; run `chmod 600` on it")]
    Exposed(PathBuf),
    /// It is larger than a file of variables can be.
    #[error("{0} has more than {MAX_BYTES} bytes")]
    TooLarge(PathBuf),
    /// A line cannot be read, or different readers would read it differently.
    #[error("line {line} of {path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where the assignment begins, counted from 1.
        line: usize,
        /// What is wrong. It never repeats a value, which may be a secret (R9).
        problem: &'static str,
    },
}

impl Env {
    /// Adds the variables of the file at `path`; what is set already stays. A file that is not
    /// there adds nothing, and answers `false`.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be used; see [`EnvFileError`].
    pub fn add_file(&mut self, path: &Path) -> Result<bool, EnvFileError> {
        let unreadable = |source| EnvFileError::Unreadable { path: path.to_owned(), source };
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(unreadable)?,
        };
        // Before it is read: a secret that others could read is no longer secret.
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(EnvFileError::Exposed(path.to_owned()));
        }
        if metadata.len() > MAX_BYTES {
            return Err(EnvFileError::TooLarge(path.to_owned()));
        }
        let text = files::read_to_string(path).map_err(unreadable)?;
        let found = Reader::new(&text, &self.variables).read_all().map_err(|malformed| {
            EnvFileError::Malformed {
                path: path.to_owned(),
                line: malformed.line,
                problem: malformed.problem,
            }
        })?;
        for (name, value) in found {
            self.variables.entry(name).or_insert(value);
        }
        Ok(true)
    }
}

/// What is wrong with a line, and its number from 1.
struct Malformed {
    line: usize,
    problem: &'static str,
}

/// Reads assignments from the beginning of `rest`, whose first line has the number `line`.
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// What the environment has, which goes before the file, also where a value refers to it.
    environment: &'a BTreeMap<String, String>,
    found: BTreeMap<String, String>,
}

/// `${A:-${B:-…}}` refers to other variables no deeper than this.
const MAX_NESTING: usize = 8;

impl<'a> Reader<'a> {
    fn new(text: &'a str, environment: &'a BTreeMap<String, String>) -> Self {
        // A byte order mark is no part of the first name.
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self { rest, line: 1, environment, found: BTreeMap::new() }
    }

    /// Every variable; of several assignments to one name, the last counts.
    fn read_all(mut self) -> Result<BTreeMap<String, String>, Malformed> {
        while !self.rest.is_empty() {
            let begun = self.line;
            self.read_line().map_err(|problem| Malformed { line: begun, problem })?;
        }
        Ok(self.found)
    }

    /// One line, or as many as a quoted value has.
    fn read_line(&mut self) -> Result<(), &'static str> {
        const NO_ASSIGNMENT: &str = "expected NAME=value";
        self.skip_blanks();
        if self.rest.starts_with('#') {
            self.take_line();
            return Ok(());
        }
        if let Some(exported) = self.rest.strip_prefix("export")
            && exported.starts_with(is_blank)
        {
            self.rest = exported;
            self.skip_blanks();
        }
        let length = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.skip_blanks();
        if self.rest.is_empty() || self.rest.starts_with('\n') {
            self.take_line();
            // A name alone stands for the environment's value, which is there already.
            return if name.starts_with(|c: char| c.is_ascii_digit()) {
                Err(NO_ASSIGNMENT)
            } else {
                Ok(())
            };
        }
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(NO_ASSIGNMENT);
        }
        self.rest = self.rest.strip_prefix('=').ok_or(NO_ASSIGNMENT)?;
        let value = self.read_value()?;
        self.found.insert(name.to_owned(), value);
        Ok(())
    }

    fn read_value(&mut self) -> Result<String, &'static str> {
        let blanks = self.skip_blanks();
        let Some(quote @ ('"' | '\'')) = self.rest.chars().next() else {
            return self.read_bare(blanks);
        };
        let quoted = self.take_quoted(quote)?;
        let behind = self.take_line().trim_start_matches(is_blank);
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err("text follows a closing quote; quote the whole value");
        }
        if quote == '\'' {
            return Ok(quoted.to_owned());
        }
        self.expand(&unescape(quoted)?, 0)
    }

    /// A value without quotes: the rest of the line, without a comment.
    fn read_bare(&mut self, blanks: usize) -> Result<String, &'static str> {
        const COMMENT: &str = "Docker Compose takes a comment behind nothing or behind a tab as \
                               part of the value; put it on a line of its own";
        let line = self.take_line();
        if blanks > 0 && line.starts_with('#') {
            return Err(COMMENT);
        }
        let value = line.find(" #").map_or(line, |comment| &line[..comment]);
        if value.contains("\t#") {
            return Err(COMMENT);
        }
        self.expand(value.trim_end(), 0)
    }

    /// What stands between two quotes, which may be several lines.
    fn take_quoted(&mut self, quote: char) -> Result<&'a str, &'static str> {
        let text = &self.rest[1..];
        let mut escaped = false;
        for (index, c) in text.char_indices() {
            if c == quote && !escaped {
                self.rest = &text[index + 1..];
                self.line += text[..index].matches('\n').count();
                return Ok(&text[..index]);
            }
            if c == quote && quote == '\'' {
                return Err("readers differ about a backslash before a single quote; use double \
                            quotes, and \\\\ for a backslash");
            }
            // In single quotes a backslash escapes nothing, not even another one.
            escaped = c == '\\' && (quote == '\'' || !escaped);
        }
        Err("a quote is not closed")
    }

    /// `template` with what its references stand for.
    fn expand(&self, template: &str, depth: usize) -> Result<String, &'static str> {
        const BAD: &str = "expected $NAME, ${NAME}, ${NAME:-default} or the like; a dollar sign \
                           is written $$, or stands in single quotes";
        if depth > MAX_NESTING {
            return Err("references are nested too deeply");
        }
        let mut expanded = String::new();
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            expanded.push_str(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            // Values that refer to each other could double with each line.
            if expanded.len() > MAX_BYTES as usize {
                return Err("the value is too long");
            }
            if let Some(behind) = rest.strip_prefix('$') {
                expanded.push('$');
                rest = behind;
            } else if let Some(braced) = rest.strip_prefix('{') {
                let end = closing_brace(braced).ok_or(BAD)?;
                expanded.push_str(&self.expand_braced(&braced[..end], depth).ok_or(BAD)??);
                rest = &braced[end + 1..];
            } else {
                let (name, behind) = split_name(rest);
                match name {
                    // A dollar sign before anything else is one.
                    "" => expanded.push('$'),
                    name => expanded.push_str(self.value_of(name).unwrap_or_default()),
                }
                rest = behind;
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// What `${reference}` stands for; `None` when it is no reference.
    fn expand_braced(&self, reference: &str, depth: usize) -> Option<Result<String, &'static str>> {
        let (name, operator) = split_name(reference);
        if name.is_empty() {
            return None;
        }
        let value = self.value_of(name);
        let (value, operator) = match operator.strip_prefix(':') {
            // With a colon, empty is as good as not set.
            Some(operator) if !operator.is_empty() => {
                (value.filter(|value| !value.is_empty()), operator)
            }
            Some(_) => return None,
            None => (value, operator),
        };
        let mut characters = operator.chars();
        Some(match (characters.next(), value) {
            (None, value) => Ok(value.unwrap_or_default().to_owned()),
            (Some('-' | '?'), Some(value)) => Ok(value.to_owned()),
            (Some('-'), None) | (Some('+'), Some(_)) => self.expand(characters.as_str(), depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => Err("a variable that the value refers to with ? is not set"),
            _ => return None,
        })
    }

    fn value_of(&self, name: &str) -> Option<&str> {
        self.environment.get(name).or_else(|| self.found.get(name)).map(String::as_str)
    }

    /// Skips blanks in this line and says how many bytes they were.
    fn skip_blanks(&mut self) -> usize {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches(is_blank);
        before - self.rest.len()
    }

    /// The rest of this line without its end.
    fn take_line(&mut self) -> &'a str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line
    }
}

fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The name of a variable at the beginning of `text`, which may be empty, and the rest.
fn split_name(text: &str) -> (&str, &str) {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return ("", text);
    }
    let length = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    text.split_at(length.unwrap_or(text.len()))
}

/// Where the brace is that closes what was opened before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut previous = ' ';
    for (index, c) in text.char_indices() {
        match c {
            '{' if previous == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(index);
        }
        previous = c;
    }
    None
}

/// The characters that escapes in double quotes stand for. `\$` becomes `$$`, which no reference
/// begins with; a backslash before any other character is one.
fn unescape(quoted: &str) -> Result<String, &'static str> {
    let mut plain = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('$') => plain.push_str("$$"),
            Some(same @ ('\\' | '"')) => plain.push(same),
            Some('a' | 'b' | 'c' | 'f' | 'v' | '0') => {
                return Err(
                    "only the escapes \\n \\r \\t \\\\ \\\" and \\$ are known in double quotes",
                );
            }
            Some(other) => plain.extend(['\\', other]),
            // The backslash before the closing quote escapes that quote, so none is the last.
            None => plain.push('\\'),
        }
    }
    Ok(plain)
}
