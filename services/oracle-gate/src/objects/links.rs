//! What a folder can hold and a store cannot: links, special files, names that a store hides.

use std::io;
use std::path::Path;

use super::Objects;
use super::failure::{StoreError, from_io};

impl Objects {
    /// Looks at every part of `path`. In a bucket there is nothing to look at.
    pub(super) async fn refuse_links(&self, path: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut at = root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            let looked = self.within(path, self.patience.call, tokio::fs::symlink_metadata(&at));
            match looked.await? {
                Ok(meta) if meta.is_dir() || meta.is_file() => {}
                Ok(_) => return Err(StoreError::Link { path: path.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
                Err(error) => return Err(from_io(path, &error)),
            }
        }
        Ok(())
    }

    /// The store follows links to files, and leaves out of its listings links to nothing, files named
    /// like its own unfinished uploads, and names that are not UTF-8. With `deep`, folders below too,
    /// where an upload that is under way, or was cut by a crash, is no file of the pack.
    pub(super) async fn refuse_odd_below(
        &self,
        prefix: &str,
        deep: bool,
    ) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let failed = |error: io::Error| from_io(prefix, &error);
        let mut folders = vec![root.join(prefix)];
        while let Some(folder) = folders.pop() {
            let opened = self.within(prefix, self.patience.call, tokio::fs::read_dir(&folder));
            let mut entries = match opened.await? {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            let next = self.patience.call;
            while let Some(entry) =
                self.within(prefix, next, entries.next_entry()).await?.map_err(failed)?
            {
                let path = || entry.path().to_string_lossy().into_owned();
                let kind = entry.file_type().await.map_err(failed)?;
                if kind.is_dir() {
                    if deep {
                        folders.push(entry.path());
                    }
                    continue;
                }
                if !kind.is_file() {
                    return Err(StoreError::Link { path: path() });
                }
                let name = entry.file_name();
                if deep && unfinished(&entry.path()) {
                    continue;
                }
                let wrong = match name.to_str().map(seal::path::check) {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => error.reason,
                    None => "it is not UTF-8",
                };
                return Err(StoreError::Name { path: path(), cause: wrong.to_owned() });
            }
        }
        Ok(())
    }
}

impl Objects {
    /// Removes what uploads that were cut left in a pack's folder: no reader of the store sees it, but
    /// whoever looks at the folder does. An upload that is under way fails, and finds out by reading.
    pub(crate) async fn sweep_unfinished(&self, prefix: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        self.refuse_links(prefix).await?;
        let folder = root.join(prefix);
        let swept = tokio::task::spawn_blocking(move || sweep(&folder));
        match self.within(prefix, self.patience.call, swept).await? {
            Ok(swept) => swept.map_err(|error| from_io(prefix, &error)),
            Err(error) => Err(from_io(prefix, &io::Error::other(error))),
        }
    }
}

fn sweep(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && unfinished(&entry.path()) {
                match std::fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Whether a file is an upload of the store's own that is not finished: `name#1` for `name`, which is
/// there by now or is what closes a pack. Any other file with such a name is somebody's data.
fn unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((target, number)) = name.and_then(|name| name.rsplit_once('#')) else { return false };
    let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let closes = target == seal::MANIFEST_FILE || target == seal::SEAL_FILE;
    numbered && (closes || path.with_file_name(target).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unfinished_upload_is_no_file_and_a_hidden_name_is_not_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path()).unwrap();
        for name in ["a", "a#1", "_SEALED.json#2"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(objects.list("").await.unwrap(), ["a"]);
        objects.sweep_unfinished("").await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::write(dir.path().join("part-9#1"), "data").unwrap();
        let error = objects.list("").await.unwrap_err();
        assert!(matches!(error, StoreError::Name { .. }), "{error}");
    }
}
