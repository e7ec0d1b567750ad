//! Listings: of a root that the caller was given by name, and of the one expansion allowed (O8).
//!
//! The common interface lists by whole parts of a path, so that `part-` never matches `part-0`; in a
//! bucket the pages are therefore asked for by the exact text of the key.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::failure::{StoreError, classify};
use super::{MAX_LISTED, Objects};

impl Objects {
    /// Every object below the folder `prefix`, sorted, relative to it. Only for the roots that the
    /// caller was given by name (O8). A link, or a name that cannot be sealed, is refused.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let location = if prefix.is_empty() { None } else { Some(self.location(prefix)?) };
        self.refuse_links(prefix).await?;
        self.refuse_odd_below(prefix, true).await?;
        let below = below(&self.key(prefix));
        let keys = match &self.bucket {
            Some(bucket) => {
                let listed = bucket.keys(&below, false);
                self.within(prefix, self.patience.call, listed).await??
            }
            None => {
                let listed = self.store.list(location.as_ref()).take(MAX_LISTED + 1);
                let listed = listed.map_ok(|meta| meta.location).try_collect::<Vec<_>>();
                let listed = self.within(prefix, self.patience.call, listed).await?;
                listed.map_err(|error| classify(prefix, &error))?
            }
        };
        if keys.len() > MAX_LISTED {
            return Err(StoreError::TooLarge { path: prefix.to_owned(), most: MAX_LISTED as u64 });
        }
        sorted(&below, keys.iter().map(object_store::path::Path::as_ref))
    }

    /// The objects directly in `folder` whose name starts with `head`, sorted, relative to the folder.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn list_matching(&self, folder: &str, head: &str) -> Result<Vec<String>, StoreError> {
        let location = if folder.is_empty() { None } else { Some(self.location(folder)?) };
        self.refuse_links(folder).await?;
        self.refuse_odd_below(folder, false).await?;
        let below = below(&self.key(folder));
        let keys: Vec<_> = match &self.bucket {
            Some(bucket) => {
                let prefix = format!("{below}{head}");
                let listed = bucket.keys(&prefix, true);
                self.within(folder, self.patience.call, listed).await??
            }
            None => {
                let listed = self.store.list_with_delimiter(location.as_ref());
                match self.within(folder, self.patience.call, listed).await? {
                    Ok(listed) => listed.objects.into_iter().map(|meta| meta.location).collect(),
                    Err(object_store::Error::NotFound { .. }) => Vec::new(),
                    Err(error) => return Err(classify(folder, &error)),
                }
            }
        };
        let mut names = sorted(&below, keys.iter().map(object_store::path::Path::as_ref))?;
        names.retain(|name| name.starts_with(head));
        Ok(names)
    }
}

/// What the keys of a folder's files begin with.
fn below(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}/") }
}

/// Consoles make a folder visible by an object named like it; it would be a file and a folder at once.
fn sorted<'a>(below: &str, keys: impl Iterator<Item = &'a str>) -> Result<Vec<String>, StoreError> {
    let relative = |key: &'a str| {
        key.strip_prefix(below).map(str::to_owned).ok_or_else(|| StoreError::Name {
            path: key.to_owned(),
            cause: "an object stands for the folder itself".to_owned(),
        })
    };
    let mut names: Vec<String> = keys.map(relative).collect::<Result<_, _>>()?;
    names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever keys a service sends: each is a name below the folder, in order, or all are refused.
        #[test]
        fn the_names_of_a_listing_lie_below_its_folder(
            keys in prop::collection::vec("(lab/|run/|part-|\\.\\./|\\./|/|%2F|#1|\\\\|\u{7f}|é|[0-9])\\PC{0,3}", 0..6),
            folder in "lab|lab/run|",
        ) {
            let below = below(&folder);
            // The client refuses keys that are no paths before they come here.
            let keys: Vec<Path> = keys.iter().filter_map(|key| Path::parse(key).ok()).collect();
            let Ok(names) = sorted(&below, keys.iter().map(Path::as_ref)) else { return Ok(()) };
            prop_assert_eq!(names.len(), keys.len());
            prop_assert!(names.is_sorted_by(|a, b| a.as_bytes() <= b.as_bytes()));
            for name in &names {
                let key = [below.as_str(), name].concat();
                prop_assert!(keys.iter().any(|it| it.as_ref() == key));
                prop_assert!(name.split('/').all(|part| part != ".." && part != "."));
            }
        }
    }
}
