//! Where the programs are that tests start.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program `name`: below the workspace's `.dev/`, then on `PATH`, then where Debian keeps
/// Postgres.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    dev_folders()
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(debian_postgres())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Copies a program for every user. Another process does it: a child that a thread of this one
/// starts meanwhile would have the copy open for writing, and such a file cannot be started.
pub fn install(program: &Path, to: &Path) {
    let copied = Command::new("install").args(["-m", "755"]).args([program, to]).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", program.display());
}

/// `.dev/*` and `.dev/*/bin` of the first folder above that has a `.dev`.
fn dev_folders() -> Vec<PathBuf> {
    let start = env::var_os("CARGO_MANIFEST_DIR");
    let start = start.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let dev = start.ancestors().map(|folder| folder.join(".dev")).find(|folder| folder.is_dir());
    let children = dev.map(|dev| children(&dev)).unwrap_or_default();
    children.into_iter().flat_map(|folder| [folder.join("bin"), folder]).collect()
}

/// The newest first.
fn debian_postgres() -> Vec<PathBuf> {
    let mut versions = children(Path::new("/usr/lib/postgresql"));
    let number = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    versions.sort_by_key(|folder| std::cmp::Reverse(number(folder)));
    versions.into_iter().map(|folder| folder.join("bin")).collect()
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut children: Vec<_> = entries.map(|entry| entry.path()).collect();
    children.sort();
    children
}
