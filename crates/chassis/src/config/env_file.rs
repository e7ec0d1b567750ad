//! Variables from a file of `NAME=value` lines.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Env;

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
    #[error("line {line} of {path} is not NAME=value")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

impl Env {
    /// Adds the variables of the file at `path`; what is set already stays. A file that is not there
    /// adds nothing, and answers `false`.
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
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(EnvFileError::Exposed(path.to_owned()));
        }
        if metadata.len() > MAX_BYTES {
            return Err(EnvFileError::TooLarge(path.to_owned()));
        }
        let text = fs::read_to_string(path).map_err(unreadable)?;
        for (number, line) in text.lines().enumerate() {
            let malformed = || EnvFileError::Malformed { path: path.to_owned(), line: number + 1 };
            if let Some((name, value)) = variable(line).ok_or_else(malformed)? {
                self.variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        Ok(true)
    }
}

/// The variable on `line`; `Some(None)` if the line says nothing, `None` if it cannot be read.
fn variable(line: &str) -> Option<Option<(&str, &str)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Some(None);
    }
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    let quoted = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    Some(Some((name, quoted('"').or_else(|| quoted('\'')).unwrap_or(value))))
}
