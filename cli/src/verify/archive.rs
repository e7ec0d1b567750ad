//! Lists of receipts on this machine: what a user was charged, kept beyond what any node remembers.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use stellar::Address;
use wire::receipts::ReceiptsDocument;

use super::facts::Own;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// Most bytes of a list: its receipts are at most a million.
const LARGEST: u64 = 4 * 1024 * 1024 * 1024;

/// Where this machine keeps the list of `user`'s receipts in the vault.
pub fn name(own: &Own, user: &Address) -> String {
    format!("receipts/{}-{user}.json", own.vault.0)
}

/// Reads the list of `user`'s receipts: the file that was given, or the one kept on this machine.
///
/// # Errors
///
/// [`Failure::Usage`] when a given file cannot be read; [`Failure::Bad`] when it is no list of
/// receipts, or its hashes do not hold.
pub fn load(
    context: &Context,
    own: &Own,
    user: &Address,
    given: Option<&Path>,
) -> Result<Option<ReceiptsDocument>> {
    let kept = context.folder.path(&name(own, user));
    let list = match given {
        Some(path) => read(path)?,
        None => match kept.exists() {
            true => read(&kept)?,
            false => return Ok(None),
        },
    };
    let is_own = list.user == user.to_string()
        && list.vault == own.vault.0.to_string()
        && list.network == own.network.passphrase();
    match given {
        Some(path) if !is_own => Err(Failure::usage(format!(
            "{} lists receipts of {} in vault {}, not of {user} in vault {}",
            path.display(),
            list.user,
            list.vault,
            own.vault.0
        ))),
        // A kept list of another account or vault is as good as none.
        _ => Ok(is_own.then_some(list)),
    }
}

/// Reads a list and recomputes its hashes.
///
/// # Errors
///
/// As [`load`].
pub fn read(path: &Path) -> Result<ReceiptsDocument> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Failure::usage(format!("{} does not exist", path.display())),
        _ => Failure::usage(format!("{}: {error}", path.display())),
    };
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text)).map_err(failed)?;
    ReceiptsDocument::read(&text)
        .map_err(|error| Failure::bad(format!("{}: {}", path.display(), wire::causes(&error))))
}

/// Keeps a list on this machine, whole or not at all. Answers where.
///
/// # Errors
///
/// [`Failure::Usage`] when the folder cannot be written.
pub fn keep(
    context: &Context,
    own: &Own,
    user: &Address,
    list: &ReceiptsDocument,
) -> Result<PathBuf> {
    let name = name(own, user);
    context.folder.write(&name, list)?;
    Ok(context.folder.path(&name))
}
