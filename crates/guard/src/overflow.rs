//! Effects that a report does not show, kept in a file without a name: they are compared with those
//! of another run, one by one and in bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

use crate::report::Effect;

/// Most bytes of effects that are kept this way.
const MAX_BYTES: u64 = 1 << 30;

/// Takes effects while a run goes on.
#[derive(Debug, Default)]
pub(crate) struct Overflow {
    writer: Option<BufWriter<File>>,
    bytes: u64,
}

/// The effects of a run that its report does not show.
#[derive(Debug, Clone, Default)]
pub struct OmittedEffects {
    file: Option<Arc<File>>,
}

/// Reports are equal by what they say: equal transcripts vouch for equal files.
impl PartialEq for OmittedEffects {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OmittedEffects {}

impl Overflow {
    /// Adds one effect as a line of JSON.
    ///
    /// # Errors
    ///
    /// The disk is full, or there are more effects than can be kept.
    pub(crate) fn add(&mut self, effect: &Effect) -> io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            // Made with the first effect: most runs have none to keep.
            none => none.insert(BufWriter::with_capacity(1 << 16, unnamed()?)),
        };
        let line = serde_json::to_vec(effect)?;
        self.bytes += line.len() as u64 + 1;
        if self.bytes > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        writer.write_all(&line)?;
        writer.write_all(b"\n")
    }

    /// Ends the file.
    ///
    /// # Errors
    ///
    /// The disk is full.
    pub(crate) fn finish(&mut self) -> io::Result<OmittedEffects> {
        let Some(writer) = self.writer.take() else { return Ok(OmittedEffects::default()) };
        let file = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(OmittedEffects { file: Some(Arc::new(file)) })
    }
}

impl OmittedEffects {
    /// Hands out one effect after the other.
    pub(crate) fn each(&self, mut take: impl FnMut(&Effect)) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut lines = BufReader::with_capacity(1 << 16, At { file, position: 0 });
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            take(&serde_json::from_slice(&line)?);
        }
    }
}

/// Reads from the beginning, whatever position others have in the same file.
struct At<'f> {
    file: &'f File,
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// A file that no other program sees and that is gone with its descriptor.
fn unnamed() -> io::Result<File> {
    let folder = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = open::<&Path>(&folder, flags, Mode::RUSR | Mode::WUSR)
        // Some file systems have no files without a name.
        .or_else(|_| memfd_create("effects", MemfdFlags::CLOEXEC))?;
    Ok(opened.into())
}
