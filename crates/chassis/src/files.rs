//! Files that a setting or an option names.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Most bytes of a file that is read whole: no setting names a larger one, and a pipe may have no
/// end.
const MOST: u64 = 256 << 20;

/// Opens a file to read it. It has to be a regular one, or a pipe that this process was given open,
/// such as that of a process substitution: anything else may keep the process waiting for ever.
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

    // Without O_NONBLOCK, opening a named pipe would block until it has a writer. The flag has no
    // effect on regular files.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(no_wait).open(path)?;

    // Of what was opened, so that nothing else can take its place.
    let kind = file.metadata()?.file_type();
    let found = match kind {
        kind if kind.is_file() => return Ok(file),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        _ => "a device",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("expected a regular file, found {found}"),
    ))
}

/// The whole of a file, which may have 256 MiB.
///
/// # Errors
///
/// As [`open`]; [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe has no length, so that one byte more than is taken is asked for.
    let mut bytes = Vec::new();
    open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        let text = format!("expected at most {MOST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// The whole of a file of text.
///
/// # Errors
///
/// As [`read`]; [`io::ErrorKind::InvalidData`] where it is not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read(path)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "expected text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_named_and_never_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (folder.path(), "a folder"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = read(path).unwrap_err();
            assert!(error.to_string().contains(kind), "{error}");
        }

        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_to_string(&file).unwrap(), "text");
    }

    #[test]
    fn a_pipe_that_was_given_open_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"text").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_to_string(Path::new(&path)).unwrap(), "text");
    }
}
