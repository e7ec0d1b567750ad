//! What the kernel says about a file, by the cheapest call that asks.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Stat, fstat, stat, statat};
use rustix::io::Result;

/// A `struct stat`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileStat(Stat);

impl FileStat {
    /// Of what is held or open.
    ///
    /// # Errors
    /// The kernel's own.
    pub(crate) fn of(held: impl AsFd) -> Result<Self> {
        fstat(held).map(Self)
    }

    /// Of a name in a directory; a symbolic link is meant itself.
    ///
    /// # Errors
    /// The kernel's own.
    pub(crate) fn named(directory: impl AsFd, name: &OsStr) -> Result<Self> {
        statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map(Self)
    }

    /// Of what a path leads to.
    ///
    /// # Errors
    /// The kernel's own.
    pub(crate) fn behind(path: &Path) -> Result<Self> {
        stat(path).map(Self)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.0.st_mode)
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(crate) fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    pub(crate) fn is_device(&self) -> bool {
        matches!(self.kind(), FileType::CharacterDevice | FileType::BlockDevice)
    }

    /// A pipe with a name, or a device whose input is gone once it is read.
    pub(crate) fn is_fifo_or_character_device(&self) -> bool {
        matches!(self.kind(), FileType::Fifo | FileType::CharacterDevice)
    }

    pub(crate) fn mode(&self) -> u32 {
        self.0.st_mode
    }

    pub(crate) fn uid(&self) -> u32 {
        self.0.st_uid
    }

    pub(crate) fn gid(&self) -> u32 {
        self.0.st_gid
    }

    /// Names the file has.
    pub(crate) fn links(&self) -> u64 {
        #[cfg_attr(
            target_arch = "x86_64",
            expect(clippy::useless_conversion, reason = "narrower elsewhere")
        )]
        u64::from(self.0.st_nlink)
    }

    /// What the file system keeps for it, which holes do not count towards.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        u64::try_from(self.0.st_blocks).unwrap_or(0).saturating_mul(512)
    }

    /// Device and inode: one file, whatever its names.
    pub(crate) fn identity(&self) -> (u64, u64) {
        (self.0.st_dev, self.0.st_ino)
    }
}
