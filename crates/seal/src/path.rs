//! Which relative paths a tree, a pack or a locator may name.
//!
//! The rule is one for all stores: a path that could mean two places, or that some store would keep
//! under another name, is refused before anything is read (O8).

use icu_casemap::CaseMapper;
use icu_normalizer::DecomposingNormalizer;
use thiserror::Error;

/// Longest path of an output below its folder, in bytes. It ends up as the key
/// `<prefix>/packs/<64 hex digits>/outputs/<path>`, and a key has at most [`MAX_PATH_BYTES`].
pub const MAX_OUTPUT_PATH_BYTES: usize = 768;
/// Longest prefix of a bucket below which packs are kept, in bytes: what [`MAX_OUTPUT_PATH_BYTES`]
/// and the 80 bytes of `/packs/<id>/outputs/` leave of [`MAX_PATH_BYTES`].
pub const MAX_PREFIX_BYTES: usize = MAX_PATH_BYTES - MAX_OUTPUT_PATH_BYTES - 80;
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
    /// Whether it leads, or could lead, out of the folder that it is relative to.
    pub outside: bool,
}

/// Accepts `path` if it is relative, `/`-separated and means the same file everywhere.
///
/// # Errors
/// [`PathError`] with the first rule that is broken.
pub fn check(path: &str) -> Result<(), PathError> {
    match fault(path) {
        None => Ok(()),
        Some(reason) => {
            // Backslashes count as separators here, since on some systems they are.
            let outside = path.starts_with('/')
                || path.split(['/', '\\']).any(|part| part == ".." || part == ".");
            Err(PathError { path: path.to_owned(), reason, outside })
        }
    }
}

/// Accepts `path` as the name of a run's output, which also has to fit into the pack that it ends
/// up in: the process that collects outputs and the one that seals them ask the same question, so
/// that nothing is executed, paid and staged that can never be sealed.
///
/// # Errors
/// [`PathError`] with the first rule that is broken.
pub fn check_output(path: &str) -> Result<(), PathError> {
    check(path)?;
    if path.len() > MAX_OUTPUT_PATH_BYTES {
        return Err(PathError {
            path: path.to_owned(),
            reason: "it is longer than the 768 bytes that an output's path may have",
            outside: false,
        });
    }
    Ok(())
}

/// The path in the one form that is equal for all names that some disk keeps as one: full case
/// folding over canonical decomposition (Unicode 3.13, definition D145, canonical caseless match).
pub fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let normal = DecomposingNormalizer::new_nfd();
    let folded = CaseMapper::new().fold_string(&normal.normalize(path)).into_owned();
    // Folding may leave marks in another order.
    normal.normalize(&folded).into_owned()
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
    use super::{MAX_OUTPUT_PATH_BYTES, MAX_PATH_BYTES, MAX_PREFIX_BYTES};
    use super::{check, check_output, fold};

    #[test]
    fn an_output_fits_into_the_longest_key_that_it_can_end_up_in() {
        let long = vec!["x".repeat(127); 5].join("/") + "/";
        let output = format!("{long}{}", "y".repeat(MAX_OUTPUT_PATH_BYTES - long.len()));
        check_output(&output).unwrap();
        let prefix = "p".repeat(MAX_PREFIX_BYTES);
        let key = format!("{prefix}/packs/{}/outputs/{output}", "0".repeat(64));
        assert_eq!(key.len(), MAX_PATH_BYTES);
        let refused = check_output(&format!("{long}{}", "y".repeat(129))).unwrap_err();
        assert!(refused.reason.contains("768"), "{refused}");
    }

    #[test]
    fn names_that_some_disk_keeps_as_one_fold_to_one() {
        for (one, other) in [
            ("README", "readme"),
            ("Straße", "STRASSE"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("CAF\u{c9}", "cafe\u{301}"),
            ("\u{17f}", "S"),
            ("ΣΑΣ", "σας"),
            ("_\u{17f}EALED.json", "_SEALED.json"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} beside {other}");
        }
        for (one, other) in [("a", "b"), ("e", "é"), ("ß", "s"), ("a/b", "a.b")] {
            assert_ne!(fold(one), fold(other), "{one} beside {other}");
        }
    }

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
