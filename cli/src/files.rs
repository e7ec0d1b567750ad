//! Files that a command is given, and files and folders that it makes: each whole under its name, or
//! not there at all, and never in place of what is there already. A folder can take the place of an
//! empty one that appears in the moment of its renaming.

use std::fs::{self, File, FileType, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// What an unfinished file or folder is called, beside the place that it is for: a rename is whole
/// only within one file system.
const UNFINISHED: &str = ".lumio-unfinished-";

/// Most bytes of a run's input (R12).
pub const LARGEST_INPUT: u64 = 8 * 1024 * 1024;

/// Opening a named pipe waits for its other end, which may never come, unless this says otherwise. It
/// changes nothing for a regular file.
pub const NO_WAIT: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file to read it. It has to be a regular one, or a pipe that this process was given open,
/// such as that of a process substitution: nothing else is certain to end.
///
/// # Errors
///
/// Those of the file system; [`io::ErrorKind::InvalidInput`] for anything else, by what it is.
pub fn open(path: &Path) -> io::Result<File> {
    // Both ends of such a pipe are open, so that opening it again does not wait.
    let given = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];
    if given.iter().any(|given| path.starts_with(given)) {
        return File::open(path);
    }
    let file = File::options().read(true).custom_flags(NO_WAIT).open(path)?;

    // Of what was opened, so that nothing else can take its place.
    let kind = file.metadata()?.file_type();
    match kind.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("expected a regular file, found {}", describe(kind)),
        )),
    }
}

/// What something is that is no regular file.
pub fn describe(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_symlink() => "a link",
        _ => "a device",
    }
}

/// Reads a file of at most so many bytes; `-` is standard input.
///
/// # Errors
///
/// As [`open`]; [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let source: Box<dyn io::Read> = match path == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(open(path)?),
    };

    // A pipe does not say how much it holds, so that one byte more than is taken is asked for.
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let text = format!("expected at most {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Makes the file at `path` of what `fill` writes.
///
/// # Errors
///
/// Those of the file system and of `fill`; [`io::ErrorKind::AlreadyExists`] when the place is
/// taken. Nothing is left then.
pub fn make(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // With the rights that a new file has, which the mask of the process narrows.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent(path))?;
    fill(file.as_file_mut())?;
    file.flush().and_then(|()| file.as_file().sync_all())?;
    file.persist_noclobber(path).map(|_| ()).map_err(|error| error.error)
}

/// Copies the folder `from`, of files and folders, to the place `to`.
///
/// # Errors
///
/// As [`make`].
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent(to))?;
    for entry in walkdir::WalkDir::new(from).follow_links(false).min_depth(1) {
        let entry = entry?;
        let inner = entry.path().strip_prefix(from).map_err(io::Error::other)?;
        let target = unfinished.path().join(inner);
        if entry.file_type().is_dir() {
            fs::create_dir(&target)?;
        } else if entry.file_type().is_symlink() {
            let link =
                format!("expected files and folders, found the link {}", entry.path().display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, link));
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }

    // A rename fails where a file, or a folder with anything in it, has taken the place since.
    if to.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(unfinished.path(), to)?;

    // It has its own name now: there is nothing left to remove.
    let _ = unfinished.keep();
    Ok(())
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_whole_or_not_there_and_never_in_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.json");
        let half = make(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(half.is_err());
        assert!(names(folder.path()).is_empty(), "nothing half is left");

        make(&path, |file| file.write_all(b"whole")).unwrap();
        let again = make(&path, |file| file.write_all(b"other")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["list.json"]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (folder.path(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = read(path, 5).unwrap_err();
            assert!(error.to_string().contains(kind), "{error}");
        }

        // The pipe of a process substitution.
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"12345").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(read(Path::new(&path), 5).unwrap(), b"12345");
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input.json");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_folder_is_whole_or_not_there_and_never_in_place_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("pack/outputs")).unwrap();
        fs::write(from.join("pack/outputs/a"), b"x").unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("pack/outputs/a")).unwrap(), b"x");

        fs::write(from.join("b"), b"y").unwrap();
        assert_eq!(copy_folder(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(&to), ["pack"]);

        // What cannot be copied ends the copy; nothing half is left beside the place.
        std::os::unix::fs::symlink("/missing", from.join("link")).unwrap();
        assert!(copy_folder(&from, &folder.path().join("other")).is_err());
        assert_eq!(names(folder.path()), ["from", "to"]);
    }
}
