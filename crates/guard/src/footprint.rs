//! What a command keeps on disk: the growth of the trees it may write.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::policy::Limits;

/// Bytes on disk and names of some trees together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    pub(crate) bytes: u64,
    pub(crate) names: u64,
}

/// The trees under watch, and what they held when the run began.
#[derive(Debug)]
pub(crate) struct Watched {
    trees: Vec<PathBuf>,
    before: Footprint,
}

impl Watched {
    /// Measures the trees, one inside another only once.
    pub(crate) fn new(trees: Vec<PathBuf>) -> Self {
        let within =
            |path: &PathBuf| trees.iter().any(|other| other != path && path.starts_with(other));
        let mut outermost: Vec<PathBuf> =
            trees.iter().filter(|path| !within(path)).cloned().collect();
        outermost.dedup();
        let before = measure(&outermost, u64::MAX);
        Self { trees: outermost, before }
    }

    /// The limit that the growth exceeds now.
    pub(crate) fn exceeds(&self, limits: &Limits) -> Option<&'static str> {
        let most = self.before.names.saturating_add(limits.tree_entries);
        let now = measure(&self.trees, most);
        if now.names > most {
            Some("tree_entries")
        } else if now.bytes > self.before.bytes.saturating_add(limits.tree_bytes) {
            Some("tree_bytes")
        } else {
            None
        }
    }
}

/// Adds up the trees, until there are more than `most` names. What vanishes meanwhile, or may not be looked at, is not counted.
fn measure(trees: &[PathBuf], most: u64) -> Footprint {
    let mut found = Footprint::default();
    let mut linked = HashSet::new();
    let mut waiting: Vec<PathBuf> = Vec::new();
    let mut add = |path: &Path, waiting: &mut Vec<PathBuf>| {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        found.names += 1;
        let counted = metadata.is_dir() || metadata.nlink() < 2;
        if counted || linked.insert((metadata.dev(), metadata.ino())) {
            found.bytes += metadata.blocks() * 512;
        }
        if metadata.is_dir() && found.names <= most {
            waiting.push(path.to_owned());
        }
    };
    trees.iter().for_each(|tree| add(tree, &mut waiting));
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
            add(&entry.path(), &mut waiting);
        }
    }
    found
}
