//! Lists of receipts on this machine: what a user was charged, kept beyond what any node remembers.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use stellar::Address;
use wire::receipts::{ReceiptText, ReceiptsDocument};

use super::facts::Own;
use crate::context::Context;
use crate::error::{CliError, Result};
use crate::files;

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
/// [`CliError::Usage`] when a given file cannot be read; [`CliError::Bad`] when it is no list of
/// receipts, or its hashes do not hold.
pub fn load(
    context: &Context,
    own: &Own,
    user: &Address,
    given: Option<&Path>,
) -> Result<Option<ReceiptsDocument>> {
    let Some(path) = given else { return kept(context, own, user) };
    let list = read(path)?;
    if own.owns(&list, user) {
        return Ok(Some(list));
    }
    Err(CliError::usage(format!(
        "{} lists receipts of {} in vault {}, not of {user} in vault {}",
        path.display(),
        list.user,
        list.vault,
        own.vault.0
    )))
}

/// The same for the verification of a run, of which a damaged list is no fault.
///
/// # Errors
///
/// [`CliError::Usage`] when a given list is not one; [`CliError::Unknown`] when the kept one is not.
pub fn load_beside(
    context: &Context,
    own: &Own,
    user: &Address,
    given: Option<&Path>,
) -> Result<Option<ReceiptsDocument>> {
    load(context, own, user, given).map_err(|error| match (error, given) {
        (CliError::Bad(reason), Some(_)) => CliError::Usage(reason),
        (CliError::Bad(reason), None) => CliError::Unknown(format!(
            "the list of receipts kept on this machine is damaged: {reason}; move it away, or put a \
             copy of it in its place"
        )),
        (error, _) => error,
    })
}

/// The list that this machine keeps. One of another account, vault or network is as good as none.
fn kept(context: &Context, own: &Own, user: &Address) -> Result<Option<ReceiptsDocument>> {
    let path = context.folder.path(&name(own, user));
    match path.exists() {
        true => Ok(Some(read(&path)?).filter(|list| own.owns(list, user))),
        false => Ok(None),
    }
}

/// Reads a list and recomputes its hashes.
///
/// # Errors
///
/// As [`load`].
pub fn read(path: &Path) -> Result<ReceiptsDocument> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => CliError::usage(format!("{} does not exist", path.display())),
        _ => CliError::usage(format!("{}: {error}", path.display())),
    };
    let mut text = Vec::new();
    files::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut text)).map_err(failed)?;
    ReceiptsDocument::read(&text)
        .map_err(|error| CliError::bad(format!("{}: {}", path.display(), wire::causes(&error))))
}

/// Keeps a list on this machine, whole or not at all, unless the list that is kept has a receipt
/// that this one lacks: a node forgets, a list never.
///
/// # Errors
///
/// [`CliError::Usage`] when the folder cannot be written; those of [`read`] for the list that is
/// kept, which then stays as it is.
pub fn keep(context: &Context, own: &Own, user: &Address, list: &ReceiptsDocument) -> Result<Kept> {
    let name = name(own, user);
    let path = context.folder.path(&name);

    // From here to the writing: of two commands at one time, the second sees what the first kept.
    let _lock = context.folder.lock(&name)?;
    let missing = kept(context, own, user)?.and_then(|older| missing(&older, list));
    if let Some((first, last)) = missing {
        return Ok(Kept::Older { path, first, last });
    }
    context.folder.write(&name, list)?;
    Ok(Kept::This(path))
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// The list that was given.
    This(PathBuf),
    /// The list that was there: the given one lacks some of its receipts.
    Older {
        /// Where.
        path: PathBuf,
        /// The first receipt that the given list lacks.
        first: u64,
        /// The last one.
        last: u64,
    },
}

/// The first and the last receipt of `older` that `list` lacks; `None` if it has all of them.
fn missing(older: &ReceiptsDocument, list: &ReceiptsDocument) -> Option<(u64, u64)> {
    let begin = list.receipts.first().map_or(0, |receipt| receipt.number);
    let is_lacking = |receipt: &&ReceiptText| {
        // A list has no gap, and so the place follows from the number.
        let place = receipt.number.checked_sub(begin).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| list.receipts.get(place)) != Some(*receipt)
    };
    let mut lacking = older.receipts.iter().filter(is_lacking).map(|receipt| receipt.number);
    let first = lacking.next()?;
    Some((first, lacking.next_back().unwrap_or(first)))
}

#[cfg(test)]
mod tests {
    use stellar::Network;
    use wire::Digest;
    use wire::receipts::RECEIPTS_KIND;

    use super::*;

    /// Receipts `first` to `last` of one account.
    fn list(first: u64, last: u64) -> ReceiptsDocument {
        let mut hash = Digest::from([0; 32]);
        let mut before = hash;
        let mut receipts = Vec::new();
        for number in 1..=last {
            let receipt = ReceiptText::new(&hash, number, &number.to_be_bytes());
            if number == first {
                before = hash;
            }
            hash = receipt.hash;
            if number >= first {
                receipts.push(receipt);
            }
        }
        ReceiptsDocument {
            kind: RECEIPTS_KIND.to_owned(),
            network: Network::standalone().passphrase().to_owned(),
            vault: "vault".to_owned(),
            user: "user".to_owned(),
            before,
            receipts,
        }
    }

    #[test]
    fn a_list_goes_on_only_in_one_that_has_all_of_it() {
        for (first, last) in [(2, 4), (2, 6), (1, 4), (1, 9)] {
            assert_eq!(missing(&list(2, 4), &list(first, last)), None, "{first} to {last}");
        }

        // After a gap that no node knows any more, behind its end, and an empty one.
        assert_eq!(missing(&list(1, 3), &list(5, 5)), Some((1, 3)));
        assert_eq!(missing(&list(1, 3), &list(2, 7)), Some((1, 1)));
        assert_eq!(missing(&list(1, 3), &list(1, 2)), Some((3, 3)));
        let empty = ReceiptsDocument { receipts: Vec::new(), ..list(1, 1) };
        assert_eq!(missing(&list(1, 3), &empty), Some((1, 3)));
        assert_eq!(missing(&empty, &list(1, 1)), None);

        // The same numbers of another history.
        let mut other = list(1, 3);
        other.receipts[1].text = "b3RoZXI=".to_owned();
        assert_eq!(missing(&list(1, 3), &other), Some((2, 2)));
    }
}
