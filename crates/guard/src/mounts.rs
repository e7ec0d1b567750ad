//! File systems that are mounted inside the trees a command may write.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::paths;
use crate::resolved_policy::ResolvedPolicy;

/// The first one below the root or the scratch directory, the free paths left out. What is in it
/// also has another place: the source of a bind mount, or a file system that others mount too. A
/// device number does not tell, since a bind mount has that of its source.
///
/// # Errors
/// The list of mounts cannot be read.
pub(crate) fn first_inside(resolved: &ResolvedPolicy) -> io::Result<Option<PathBuf>> {
    let list = fs::read("/proc/self/mountinfo")?;
    let trees = || std::iter::once(&resolved.root).chain(&resolved.scratch);
    let inside = |path: &Path| trees().any(|tree| path != tree && paths::is_within(path, tree));
    let free = |path: &Path| resolved.free.iter().any(|free| paths::is_within(path, free));
    // A tree that is itself the place of a mount is what the caller chose.
    let is_tree = |path: &Path| trees().any(|tree| path == tree);
    let mut places = list.split(|byte| *byte == b'\n').filter_map(place);
    Ok(places.find(|path| inside(path) && !free(path) && !is_tree(path)))
}

/// Where the mount of one line is: its fifth field, in which some bytes are written as octal
/// numbers.
fn place(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let (mut path, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((first, after)) = rest.split_first() {
        let number = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let byte =
            number.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        path.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_mount_is_read_with_its_odd_bytes() {
        let line = br"36 35 98:0 /a /root/m\040x\134y rw shared:1 - ext4 /dev/root rw";
        assert_eq!(place(line), Some(PathBuf::from(r"/root/m x\y")));
        assert_eq!(place(b""), None);
    }
}
