//! Variables from a file of `NAME=value` lines, in the dialect that dotenv readers and Docker
//! Compose share: comments on their own lines or after a value, `export`, quotes that keep blanks
//! and `#`, and `${NAME}` outside of single quotes.

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
    /// A line is neither empty, a comment nor `NAME=value`.
    #[error("line {line} of {path} is not NAME=value; quote a value that holds blanks or quotes")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
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
        // Before it is read: a secret that others could read is none any more.
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(EnvFileError::Exposed(path.to_owned()));
        }
        if metadata.len() > MAX_BYTES {
            return Err(EnvFileError::TooLarge(path.to_owned()));
        }
        let text = files::read_to_string(path).map_err(unreadable)?;
        for variable in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, value) = variable.map_err(|error| malformed(path, &text, &error))?;
            self.variables.entry(name).or_insert(value);
        }
        Ok(true)
    }
}

/// Where the file cannot be read. The reader's own message repeats the line, which may be a
/// secret (R9).
fn malformed(path: &Path, text: &str, error: &dotenvy::Error) -> EnvFileError {
    let line = match error {
        dotenvy::Error::LineParse(line, _) => {
            text.lines().position(|found| line.lines().next() == Some(found))
        }
        _ => None,
    };
    // A quote that is never closed takes the rest of the file into its line.
    EnvFileError::Malformed { path: path.to_owned(), line: line.map_or(1, |index| index + 1) }
}
