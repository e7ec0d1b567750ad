//! Where a locator's path may lead: containment, pack roots, and the one expansion allowed (O8).

use seal::path::{self, PathError};

use crate::objects::{Objects, StoreError};
use crate::reasons::Reason;

/// Folders of an engine's own tree: a path that starts with one lies in a pack that is the root
/// itself.
const ENGINE_ROOTS: [&str; 6] = ["artefacts", "config", "data", "logs", "reference", "reports"];

/// What a locator's path names.
#[derive(Debug)]
pub struct Expansion {
    /// The files, sorted, and their lengths as far as a listing states them.
    pub files: Vec<(String, Option<u64>)>,
    /// What has such a name and is no file.
    pub odd: Vec<StoreError>,
}

/// A contained path: relative to the oracle root, below it on every store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contained(String);

impl Contained {
    /// Accepts `path` if it cannot lead outside the root. A path that starts with one of the root's
    /// own `names` (its full path or URL, or as it is configured), up to a border between parts, is
    /// taken relative to it.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn parse(path: &str, names: &[String]) -> Result<Self, PathError> {
        let refused = |reason| Err(PathError { path: path.to_owned(), reason, outside: false });
        let below = |name: &String| {
            let name = name.trim_end_matches('/');
            if name.is_empty() { None } else { path.strip_prefix(name)?.strip_prefix('/') }
        };
        let relative = names.iter().find_map(below).unwrap_or(path);
        if relative.contains("://") {
            let reason = "it is a URL of another store";
            return Err(PathError { path: path.to_owned(), reason, outside: true });
        }
        path::check(relative)?;
        let (folders, last) = relative.rsplit_once('/').unwrap_or(("", relative));
        if folders.contains(['*', '?', '[']) {
            return refused("only its last part may hold a wildcard");
        }
        if last.contains(['?', '[']) || last.matches('*').count() > 1 {
            return refused("the only wildcard is one '*'");
        }
        Ok(Self(relative.to_owned()))
    }

    /// The path relative to the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The root of the pack it lies in, relative to the oracle root and without a slash at its end.
    /// Empty: the oracle root is the pack.
    pub fn pack_root(&self) -> String {
        let parts: Vec<&str> = self.0.split('/').collect();
        // Only what is named by a digest is a pack of ours: an engine may have a folder `packs`
        // too.
        let packs = parts.iter().position(|part| *part == "packs");
        if let Some(at) = packs
            && parts.len() > at + 2
            && parts[at + 1].parse::<wire::digest::Digest>().is_ok()
        {
            return parts[..at + 2].join("/");
        }
        match parts[..] {
            [first, _, ..] if !ENGINE_ROOTS.contains(&first) => first.to_owned(),
            _ => String::new(),
        }
    }

    /// The path relative to its pack's root.
    pub fn in_pack(&self) -> &str {
        let root = self.pack_root();
        self.0.strip_prefix(&root).map_or(&*self.0, |rest| rest.trim_start_matches('/'))
    }

    /// The files it names: itself, or the matches of the one `*` in its last part, sorted; and
    /// whatever matches and is no file.
    ///
    /// # Errors
    /// Any [`StoreError`] of the listing.
    pub async fn expand(&self, objects: &Objects) -> Result<Expansion, StoreError> {
        let (folder, last) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        let Some((head, tail)) = last.split_once('*') else {
            return Ok(Expansion { files: vec![(self.0.clone(), None)], odd: Vec::new() });
        };
        let listing = objects.list_matching(folder, head).await?;
        let fits = |name: &str| {
            // Head and tail must not overlap: `ab*bc` does not match `abc`.
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        };
        let files = listing.entries.into_iter().filter(|entry| fits(&entry.path));
        let files = files.map(|entry| (inside(folder, &entry.path), Some(entry.length)));
        let odd = listing.odd.into_iter();
        let odd = odd.filter(|odd| odd.name().is_none_or(|name| name.ends_with(tail)));
        Ok(Expansion { files: files.collect(), odd: odd.collect() })
    }

    /// Whether the last part holds a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains('*')
    }
}

/// The reason for which a path is refused: one that leads outside, or a name that no store may
/// keep.
pub fn path_reason(error: &PathError) -> Reason {
    if error.outside { Reason::LocatorOutsideRoot } else { Reason::NameRefused }
}

/// A path inside a pack, relative to the oracle root.
pub fn inside(pack_root: &str, name: &str) -> String {
    if pack_root.is_empty() { name.to_owned() } else { format!("{pack_root}/{name}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn parse(path: &str) -> Option<Contained> {
        let names = ["/srv/run-5", "runs/run-5/", "s3://bucket/run-5"].map(str::to_owned);
        Contained::parse(path, &names).ok()
    }

    #[test]
    fn a_root_is_left_neither_upwards_nor_sideways() {
        for path in [
            "../x",
            "a/../../x",
            "/etc/passwd",
            "/srv/run-50/x",
            "/srv/run-5",
            "/srv/run-5/../x",
            "s3://bucket/x",
            "file:///etc/passwd",
            "a/*/b",
            "p*/x",
            "a\\..\\b",
            "data/part-?",
            "data/part-[0-9]",
            "data/*-*",
            "s3://bucket/run-50/x",
            "s3://bucket/run-5/../x",
            "s3://bucket/run-5//x",
            "runs/run-5/",
            "",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
        assert_eq!(parse("/srv/run-5/data/x").unwrap().as_str(), "data/x");
        assert_eq!(parse("runs/run-5/data/x").unwrap().as_str(), "data/x");
        assert_eq!(parse("runs/run-50/data/x").unwrap().as_str(), "runs/run-50/data/x");
        assert_eq!(parse("s3://bucket/run-5/data/x").unwrap().as_str(), "data/x");
        assert_eq!(parse("data/part-*").unwrap().as_str(), "data/part-*");
    }

    #[test]
    fn pack_roots_follow_the_layouts() {
        let id = "ab".repeat(32);
        for (path, root, inside) in [
            (format!("packs/{id}/outputs/x"), format!("packs/{id}"), "outputs/x"),
            (format!("prod/packs/{id}/x"), format!("prod/packs/{id}"), "x"),
            ("local_full_run-5/data/x".to_owned(), "local_full_run-5".to_owned(), "data/x"),
            ("data/layer1/x".to_owned(), String::new(), "data/layer1/x"),
            ("logs/x".to_owned(), String::new(), "logs/x"),
            ("file".to_owned(), String::new(), "file"),
        ] {
            let path = parse(&path).unwrap();
            assert_eq!((path.pack_root(), path.in_pack()), (root, inside));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_the_root(
            path in "(/srv/run-5|runs/run-5|s3://bucket/run-5)?[a.*/\\\\:~%#1?\\[ -]{0,16}",
        ) {
            if let Some(contained) = parse(&path) {
                let joined = Path::new("/srv/run-5").join(contained.as_str());
                prop_assert!(joined.components().all(|c| c.as_os_str() != ".."));
                prop_assert!(joined.starts_with("/srv/run-5/") || joined.starts_with("/srv/run-5"));
                prop_assert!(joined != Path::new("/srv/run-5"));
            }
        }
    }
}
