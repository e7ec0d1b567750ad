//! What a folder can hold and a store cannot: links and special files in a path.

use super::Objects;
use super::failure::{StoreError, from_io};

impl Objects {
    /// Looks at every part of `path`. In a bucket there is nothing to look at.
    pub(super) async fn refuse_links(&self, path: &str) -> Result<(), StoreError> {
        let Some(root) = &self.root else { return Ok(()) };
        let mut at = root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            at.push(part);
            let looked = self.within(path, self.timeouts.call, tokio::fs::symlink_metadata(&at));
            match looked.await? {
                Ok(meta) if meta.is_dir() || meta.is_file() => {}
                Ok(_) => return Err(StoreError::Link { path: path.to_owned() }),
                Err(error) if super::folder::is_absence(&error) => return Ok(()),
                Err(error) => return Err(from_io(path, &error)),
            }
        }
        Ok(())
    }
}
