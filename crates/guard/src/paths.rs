//! Resolved paths compared as the bytes they are: absolute, without links, dots and doubled
//! slashes. `std` parses them anew for every question, and these are asked while a call waits.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Whether a path is another one, or below it.
pub(crate) fn is_within(path: &Path, above: &Path) -> bool {
    below(path, above).is_some()
}

/// The rest of a path below another one; empty for that path itself.
pub(crate) fn below<'p>(path: &'p Path, above: &Path) -> Option<&'p OsStr> {
    let above = above.as_os_str().as_bytes();
    let rest = path.as_os_str().as_bytes().strip_prefix(above)?;
    // `/a` is above `/a/b`, and not above `/ab`.
    let rest = match rest.split_first() {
        Some((b'/', rest)) => rest,
        Some(_) if above != b"/" => return None,
        _ => rest,
    };
    Some(OsStr::from_bytes(rest))
}

/// The directory that holds a name.
pub(crate) fn parent(path: &Path) -> Option<&Path> {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|byte| *byte == b'/').filter(|_| bytes.len() > 1)?;
    // Directly below the root, the slash itself is the parent.
    Some(Path::new(OsStr::from_bytes(&bytes[..end.max(1)])))
}

/// Resolves what exists and leaves out the rest.
pub(crate) fn existing(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    paths.into_iter().filter_map(|path| fs::canonicalize(path).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_within_themselves_and_what_is_above() {
        let within = |path: &str, above: &str| is_within(Path::new(path), Path::new(above));
        assert!(
            within("/a/b", "/a") && within("/a", "/a") && within("/a", "/") && within("/", "/")
        );
        assert!(!within("/ab", "/a") && !within("/a", "/a/b") && !within("/", "/a"));
        assert_eq!(below(Path::new("/a/b/c"), Path::new("/a")), Some(OsStr::new("b/c")));
        assert_eq!(below(Path::new("/a"), Path::new("/")), Some(OsStr::new("a")));
        assert_eq!(below(Path::new("/a"), Path::new("/a")), Some(OsStr::new("")));
    }

    #[test]
    fn a_name_stands_in_its_directory() {
        for path in ["/a/b", "/a", "/", "/a/b/c"] {
            assert_eq!(parent(Path::new(path)), Path::new(path).parent(), "{path}");
        }
    }
}
