//! Which relative paths a tree, a pack or a locator may name.
//!
//! The rule is one for all stores: a path that could mean two places, or that some store would keep
//! under another name, is refused before anything is read (O8).

use thiserror::Error;

/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Longest part of a path between slashes, in bytes.
pub const MAX_SEGMENT_BYTES: usize = 255;

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("path {path:?} is refused: {reason}")]
pub struct PathError {
    /// The path as it was given.
    pub path: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Accepts `path` if it is relative, `/`-separated and means the same file everywhere.
///
/// # Errors
/// [`PathError`] with the first rule that is broken.
pub fn check(path: &str) -> Result<(), PathError> {
    match fault(path) {
        None => Ok(()),
        Some(reason) => Err(PathError { path: path.to_owned(), reason }),
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("it is longer than 1024 bytes");
    }
    if path.starts_with('/') {
        return Some("it is absolute");
    }
    if path.contains('\\') {
        return Some("it contains a backslash");
    }
    if path.chars().any(char::is_control) {
        return Some("it contains a control character");
    }
    path.split('/').find_map(segment_fault)
}

fn segment_fault(segment: &str) -> Option<&'static str> {
    match segment {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a '.' or '..' part"),
        _ if segment.len() > MAX_SEGMENT_BYTES => Some("one part is longer than 255 bytes"),
        _ if looks_staged(segment) => Some("one part ends in '#' and digits, which stores reserve"),
        _ => None,
    }
}

/// Local object stores hide names such as `part#1`: they are their own unfinished uploads.
fn looks_staged(segment: &str) -> bool {
    segment
        .rsplit_once('#')
        .is_some_and(|(_, tail)| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ordinary_paths_pass() {
        for path in ["a", "a/b.csv", "data/part-00001.parquet", "a b/ü", "x..y/...z", "#/a#b"] {
            check(path).unwrap();
        }
    }

    #[test]
    fn paths_that_could_leave_or_hide_are_refused() {
        let long = "x".repeat(256);
        for path in [
            "", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a\0b", "a\nb", "p#1",
            "d#12/x", &long,
        ] {
            assert!(check(path).is_err(), "{path:?} passed");
        }
    }
}
