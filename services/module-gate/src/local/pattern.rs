//! File patterns of the command line: `**` for any folders, `*` and `?` inside one name.

use std::path::{Path, PathBuf};

use anyhow::bail;
use walkdir::WalkDir;

use crate::local::output::Misused;

/// Most files and folders that are looked at for one pattern.
const MAX_ENTRIES: usize = 100_000;

/// The files that `pattern` matches, sorted by path. A pattern without a wildcard matches itself if
/// it is there.
///
/// # Errors
/// If too many files would have to be looked at.
pub fn expand(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    // Other tools give these a meaning: taken as letters, a pattern would match nothing without an
    // error.
    if let Some(sign) = pattern.chars().find(|letter| "[]{}!".contains(*letter)) {
        return Err(Misused(format!(
            "the pattern {pattern:?} has {sign:?}: expected **, * and ? as the only signs; repeat \
             --spec for alternatives"
        ))
        .into());
    }
    let parts: Vec<&str> = pattern.split('/').collect();

    // The last part is always matched, so that a path without a wildcard matches itself.
    let fixed =
        parts.iter().take_while(|part| !part.contains(['*', '?'])).count().min(parts.len() - 1);
    let root = parts[..fixed].join("/");
    let root = match (root.as_str(), pattern.starts_with('/')) {
        ("", true) => Path::new("/"),
        ("", false) => Path::new("."),
        (root, _) => Path::new(root),
    };
    let mut found = Vec::new();
    for (looked, entry) in
        WalkDir::new(root).sort_by_file_name().into_iter().filter_map(Result::ok).enumerate()
    {
        if looked == MAX_ENTRIES {
            bail!(
                "the pattern {pattern:?} covers more than {MAX_ENTRIES} files: name a smaller \
                 folder"
            );
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let names: Vec<_> = relative.iter().map(|name| name.to_string_lossy()).collect();
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        if entry.file_type().is_file() && path_matches(&parts[fixed..], &names) {
            found.push(entry.into_path());
        }
    }
    Ok(found)
}

fn path_matches(pattern: &[&str], names: &[&str]) -> bool {
    match (pattern, names) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            path_matches(rest, names)
                || names.split_first().is_some_and(|(_, below)| path_matches(pattern, below))
        }
        ([part, rest @ ..], [name, below @ ..]) => {
            name_matches(part.as_bytes(), name.as_bytes()) && path_matches(rest, below)
        }
        _ => false,
    }
}

fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            name_matches(rest, name)
                || name.split_first().is_some_and(|(_, below)| name_matches(pattern, below))
        }
        ([b'?', rest @ ..], [_, below @ ..]) => name_matches(rest, below),
        ([a, rest @ ..], [b, below @ ..]) => a == b && name_matches(rest, below),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stars_are_any_folders_and_one_stays_in_a_name() {
        let matches = |pattern: &str, path: &str| {
            path_matches(
                &pattern.split('/').collect::<Vec<_>>(),
                &path.split('/').collect::<Vec<_>>(),
            )
        };
        assert!(matches("**/*.json", "a.json") && matches("**/*.json", "x/y/a.json"));
        assert!(matches("a?/b*", "ax/b") && !matches("a?/b*", "a/b"));
        assert!(!matches("*.json", "x/a.json") && !matches("x/**/b", "x/c"));
    }

    #[test]
    fn expansion_starts_at_the_fixed_part() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("s")).unwrap();
        for name in ["s/b.json", "s/a.json", "s/c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = expand(&format!("{}/**/*.json", folder.path().display())).unwrap();
        assert_eq!(found, ["s/a.json", "s/b.json"].map(|name| folder.path().join(name)));
        assert_eq!(expand(&folder.path().join("s/c.txt").to_string_lossy()).unwrap().len(), 1);
    }
}
