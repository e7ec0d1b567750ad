//! Files that a tree holds on disk without a name: removed or replaced while they were open, or
//! never named (`O_TMPFILE`). They take their space until the last descriptor and the last mapping
//! of them is gone.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::paths;
use crate::tree;

/// What the kernel writes behind the former path of a file that has no name.
const REMOVED: &[u8] = b" (deleted)";

/// How many there are, and what they take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NamelessFiles {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl NamelessFiles {
    /// Those of these directory trees that the processes below `reaper` hold.
    pub(crate) fn held_below(reaper: i32, trees: &[PathBuf]) -> Self {
        if trees.is_empty() {
            return Self::default();
        }
        let mut processes = tree::children(reaper.unsigned_abs());
        let mut held = Held::default();
        while let Some(pid) = processes.pop() {
            held.add_open(pid, trees);
            held.add_mapped(pid, trees);
            processes.extend(tree::children(pid));
        }
        held.sum()
    }
}

/// Files by device and inode, with the bytes that each takes.
#[derive(Default)]
struct Held {
    known: HashMap<(u64, u64), u64>,
    /// Those that may not be looked at through a mapping, with the bytes that are mapped.
    mapped: HashMap<(u64, u64), u64>,
}

impl Held {
    fn add_open(&mut self, pid: u32, trees: &[PathBuf]) {
        for link in tree::descriptors(pid) {
            if fs::read_link(&link).is_ok_and(|target| is_removed(target.as_os_str(), trees)) {
                self.look(&link);
            }
        }
    }

    fn add_mapped(&mut self, pid: u32, trees: &[PathBuf]) {
        // Where it cannot be read the process has ended, and holds nothing.
        let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
        for line in maps.split(|byte| *byte == b'\n').filter(|line| line.ends_with(REMOVED)) {
            let Some(mapping) = Mapping::parse(line) else { continue };
            let (start, end) = mapping.range;
            let link = format!("/proc/{pid}/map_files/{start:x}-{end:x}");
            // The kernel lets only some supervisors look through these links.
            if is_removed(mapping.path, trees) && !self.look(Path::new(&link)) {
                *self.mapped.entry(mapping.identity).or_default() += end - start;
            }
        }
    }

    /// Adds what a link of `/proc` leads to. Whether that could be looked at.
    fn look(&mut self, link: &Path) -> bool {
        let Ok(found) = fs::metadata(link) else { return false };
        if found.is_file() && found.nlink() == 0 {
            self.known.insert((found.dev(), found.ino()), found.blocks().saturating_mul(512));
        }
        true
    }

    fn sum(mut self) -> NamelessFiles {
        for (identity, bytes) in self.mapped {
            self.known.entry(identity).or_insert(bytes);
        }
        let bytes = self.known.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        NamelessFiles { files: self.known.len() as u64, bytes }
    }
}

/// A line of `/proc/<pid>/maps` about a file.
struct Mapping<'m> {
    range: (u64, u64),
    identity: (u64, u64),
    path: &'m OsStr,
}

impl<'m> Mapping<'m> {
    /// Range, rights, offset, device, inode, and after some spaces the path.
    fn parse(line: &'m [u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
        let (start, end) = str::from_utf8(fields.next()?).ok()?.split_once('-')?;
        let range = (hexadecimal(start)?, hexadecimal(end)?);
        let (major, minor) = str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
        let major = u32::from_str_radix(major, 16).ok()?;
        let minor = u32::from_str_radix(minor, 16).ok()?;
        let inode = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let path = OsStr::from_bytes(fields.next()?.trim_ascii_start());
        let identity = (rustix::fs::makedev(major, minor), inode);
        (range.0 <= range.1).then_some(Self { range, identity, path })
    }
}

/// Whether the kernel shows a file as one that had its last name in these trees.
fn is_removed(shown: &OsStr, trees: &[PathBuf]) -> bool {
    let former =
        shown.as_bytes().strip_suffix(REMOVED).map(|path| Path::new(OsStr::from_bytes(path)));
    former.is_some_and(|path| trees.iter().any(|tree| paths::is_within(path, tree)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that holds this file as its input.
    fn holder(file: fs::File) -> Child {
        Command::new("/bin/sleep").arg("600").stdin(Stdio::from(file)).spawn().unwrap()
    }

    #[test]
    fn a_removed_file_counts_once_and_a_named_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let trees = [folder.path().canonicalize().unwrap()];
        let path = trees[0].join("file");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&[1; 100_000]).unwrap();
        file.sync_all().unwrap();
        let mut children = [holder(file.try_clone().unwrap()), holder(file)];
        let own = std::process::id().cast_signed();
        assert_eq!(NamelessFiles::held_below(own, &trees), NamelessFiles::default());
        fs::remove_file(&path).unwrap();
        let held = NamelessFiles::held_below(own, &trees);
        assert!(held.files == 1 && held.bytes >= 100_000, "{held:?}");
        assert_eq!(NamelessFiles::held_below(own, &[]), NamelessFiles::default());
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn mappings_are_told_by_range_file_and_path() {
        let line = b"7f00-7f20 rw-s 00000000 fd:01 4711                   /t/a file (deleted)";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!(mapping.range, (0x7f00, 0x7f20));
        assert_eq!(mapping.identity, (rustix::fs::makedev(0xfd, 1), 4711));
        assert!(is_removed(mapping.path, &[PathBuf::from("/t")]));
        assert!(!is_removed(mapping.path, &[PathBuf::from("/u")]));
        assert!(!is_removed(OsStr::new("/t/a file"), &[PathBuf::from("/t")]));
    }
}
