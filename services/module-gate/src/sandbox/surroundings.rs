//! A module that lies in a user's folder, and what surrounds it there (M5).
//!
//! ```text
//! <copy>/home/ada/shop/modules/cart/     the copy that runs, at the end of the path it has at home
//! <copy>/home/ada/shop/modules/lib    -> /home/ada/shop/modules/lib
//! <copy>/home/ada/shop/node_modules   -> /home/ada/shop/node_modules
//! ```
//!
//! So `../lib/x.js`, a relative link that leads upwards and a `node_modules` above mean what they
//! mean at home. Outside of a git repository what surrounds it is linked, not copied: it costs
//! nothing however large it is, a user who may not read it there may not read it here, and the
//! guard refuses every change behind a link, since that is outside the root. What out there names
//! the module by a path means the original, unchanged.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail};
use seal::tree::Limits;
use walkdir::WalkDir;

use crate::sandbox::repository::Repository;

/// Most names beside the way to a module, all folders above it together.
const MAX_BESIDE: usize = 100_000;
/// As many links are followed as the kernel follows.
const MAX_LINKS: usize = 40;

/// Checks that a folder can be copied as a module: regular files, folders and links, no more than a
/// module may hold. Answers the paths of its files that also have names elsewhere.
///
/// # Errors
/// What is too much, or no file, folder or link; the disk's own.
pub fn shared_files(module: &Path, limits: &Limits) -> anyhow::Result<Vec<PathBuf>> {
    let Limits { files: most, bytes: most_bytes } = *limits;
    let (mut files, mut folders, mut bytes) = (0, 0, 0);
    let mut names: BTreeMap<(u64, u64), Vec<(u64, PathBuf)>> = BTreeMap::new();
    for entry in WalkDir::new(module).follow_links(false).min_depth(1) {
        let entry = entry.with_context(|| format!("cannot read {}", module.display()))?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            folders += 1;
        } else if metadata.is_file() || metadata.is_symlink() {
            files += 1;
        } else {
            bail!("{} is neither file, folder nor link", entry.path().display());
        }
        if metadata.is_file() {
            bytes += metadata.len();
        }
        if files > most || folders > most || bytes > most_bytes {
            bail!(
                "{} is too large: at most {most} files and links, {most} folders and {most_bytes} \
                 bytes are taken",
                module.display()
            );
        }
        if metadata.is_file() && metadata.nlink() > 1 {
            let path = entry.path().strip_prefix(module)?.to_owned();
            names
                .entry((metadata.dev(), metadata.ino()))
                .or_default()
                .push((metadata.nlink(), path));
        }
    }

    // More links than names in the module: the others lie elsewhere.
    let elsewhere = |names: &Vec<(u64, PathBuf)>| names[0].0 > names.len() as u64;
    Ok(names.into_values().filter(elsewhere).flatten().map(|(_, path)| path).collect())
}

/// Lays the way to `home`, an absolute path without links, below the empty folder `root`. What the
/// repository knows is copied, everything else is linked. Answers where the module's copy is to be.
///
/// # Errors
/// Too many names lie beside the way; the disk's own.
pub fn link_around(
    root: &Path,
    home: &Path,
    mut repository: Option<&mut Repository>,
) -> anyhow::Result<PathBuf> {
    let (mut original, mut place) = (PathBuf::from("/"), root.to_owned());
    let mut beside = 0;
    for part in home.components() {
        let Component::Normal(part) = part else { continue };
        for entry in listed(&original)?.filter(|entry| entry.file_name() != part) {
            beside += 1;
            if beside > MAX_BESIDE {
                bail!(
                    "more than {MAX_BESIDE} names are in the folders above {}, in {} alone too \
                     many: put the modules into a folder with less beside it",
                    home.display(),
                    original.display()
                );
            }
            let beside_way = place.join(entry.file_name());
            match repository.as_deref_mut().filter(|repository| repository.holds(&original)) {
                Some(repository) => repository
                    .mirror(&entry.path(), &beside_way)
                    .with_context(|| format!("cannot copy {}", entry.path().display()))?,
                None => link(&entry, &beside_way)
                    .with_context(|| format!("cannot link to {}", entry.path().display()))?,
            }
        }
        original.push(part);
        place.push(part);
        if original != home {
            DirBuilder::new().mode(0o755).create(&place)?;

            // The mode above is cut by the umask.
            fs::set_permissions(&place, Permissions::from_mode(0o755))?;
        }
    }
    Ok(place)
}

/// The names in a folder; nothing where it may not be listed.
fn listed(folder: &Path) -> anyhow::Result<impl Iterator<Item = DirEntry>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        entries => Some(entries.with_context(|| format!("cannot list {}", folder.display()))?),
    };
    Ok(entries.into_iter().flatten().filter_map(Result::ok))
}

/// A link is repeated as it is, so that a relative one that leads to the module leads to its copy.
fn link(original: &DirEntry, place: &Path) -> io::Result<()> {
    let is_link = original.file_type().is_ok_and(|kind| kind.is_symlink());
    match is_link.then(|| fs::read_link(original.path())) {
        Some(Ok(target)) => symlink(target, place),
        _ => symlink(original.path(), place),
    }
}

/// Whether a path below the folder `root`, which is named without links, leads out of it by a link.
/// A link to a missing file resolves to no other file.
pub fn leads_out(root: &Path, path: &Path) -> bool {
    let parts = |path: &Path| {
        path.components().map(|part| part.as_os_str().to_owned()).collect::<Vec<OsString>>()
    };
    let mut waiting: VecDeque<OsString> = parts(path).into();
    let (mut at, mut links) = (root.to_owned(), 0);
    while let Some(part) = waiting.pop_front() {
        if part == OsStr::new(".") {
            continue;
        }
        if part == OsStr::new("..") {
            at.pop();
            continue;
        }

        // An absolute part starts again at the top.
        at.push(&part);
        let Ok(target) = fs::read_link(&at) else { continue };
        at.pop();
        links += 1;
        if links > MAX_LINKS {
            return true;
        }

        // What the link says comes before what followed it in the path.
        for part in parts(&target).into_iter().rev() {
            waiting.push_front(part);
        }
    }
    !at.starts_with(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn what_stands_round_a_module_stands_round_its_place() {
        let (_folder, at) = folder();
        for path in ["home/modules/cart", "home/modules/lib", "home/node_modules/p", "mirror"] {
            fs::create_dir_all(at.join(path)).unwrap();
        }
        fs::write(at.join("home/modules/lib/x.js"), "x").unwrap();
        symlink("cart", at.join("home/modules/current")).unwrap();
        let place = link_around(&at.join("mirror"), &at.join("home/modules/cart"), None).unwrap();
        fs::create_dir(&place).unwrap();
        assert_eq!(fs::read_to_string(place.join("../lib/x.js")).unwrap(), "x");
        assert!(place.join("../../node_modules/p").is_dir());
        assert_eq!(place.join("../current").canonicalize().unwrap(), place);
        let above = place.parent().unwrap();
        assert!(fs::symlink_metadata(above).unwrap().is_dir(), "the way itself has no link");
        assert_eq!(above.canonicalize().unwrap(), above);
    }

    #[test]
    fn a_module_is_examined_for_what_it_shares_and_what_cannot_be_copied() {
        let (_folder, at) = folder();
        fs::create_dir(at.join("m")).unwrap();
        for name in ["m/alone", "m/pair", "outside"] {
            fs::write(at.join(name), name).unwrap();
        }
        fs::hard_link(at.join("m/pair"), at.join("m/other")).unwrap();
        fs::hard_link(at.join("outside"), at.join("m/shared")).unwrap();
        symlink("missing", at.join("m/dangling")).unwrap();
        assert_eq!(
            shared_files(&at.join("m"), &Limits::MODULE).unwrap(),
            [PathBuf::from("shared")]
        );
        let _socket = std::os::unix::net::UnixListener::bind(at.join("m/socket")).unwrap();
        let error = shared_files(&at.join("m"), &Limits::MODULE).unwrap_err().to_string();
        assert!(error.contains("socket"), "{error}");
    }

    #[test]
    fn what_is_too_large_is_no_module() {
        let (_folder, at) = folder();
        let file = fs::File::create(at.join("sparse")).unwrap();
        file.set_len(Limits::MODULE.bytes + 1).unwrap();
        assert!(shared_files(&at, &Limits::MODULE).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn links_are_followed_to_their_end() {
        let (_folder, at) = folder();
        let root = at.join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        for (link, target) in [
            ("up", ".."),
            ("back", "../root/a"),
            ("far", "/etc"),
            ("later", "a/made-by-then"),
            ("gone", "../never"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, out) in [
            ("a", false),
            ("a/none/x", false),
            ("up/x", true),
            ("up/root/a", false),
            ("back/x", false),
            ("far/passwd", true),
            ("later", false),
            ("gone", true),
            ("loop", true),
        ] {
            assert_eq!(leads_out(&root, Path::new(path)), out, "{path}");
        }
    }
}
