//! How well an object's digest is known (O11).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_store::{GetOptions, ObjectStore};
use serde::{Deserialize, Serialize};
use wire::digest::Digest;

use super::Objects;
use super::failure::{StoreError, classify, is_absent};
use super::folder;
use super::transport::KeptChecksum;

/// What supports a statement about an object, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Only that it is there, with its length.
    SizeOnly,
    /// The digest that a trusted store keeps of it.
    StoreSha256,
    /// Its bytes, hashed here.
    HashedBytes,
}

/// Length and digest of an object, and how they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixity {
    /// Length, in bytes.
    pub length: u64,
    /// sha256 of the content; `None` for [`Evidence::SizeOnly`], and where the digests of its
    /// shards show that it is not the sealed one, so that none was made of the whole.
    pub sha256: Option<Digest>,
    /// How they are known.
    pub evidence: Evidence,
}

impl Objects {
    /// The same store, whose own checksums count from now on, or no longer. Only a profile may say
    /// so, and only of a store that was shown to refuse a wrong one.
    #[must_use]
    pub fn trusting_checksums(&self, trusts: bool) -> Self {
        // A folder keeps no checksums that could be trusted.
        Self { trusts_checksums: trusts && self.bucket.is_some(), ..self.clone() }
    }

    /// Whether this store's own checksums count.
    pub fn trusts_checksums(&self) -> bool {
        self.trusts_checksums
    }

    /// Length and digest of an object with at least the evidence asked for; `None` if it is not
    /// there. Bytes are only fetched where nothing less will do.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn fixity(&self, path: &str, least: Evidence) -> Result<Option<Fixity>, StoreError> {
        let by_head = match least {
            Evidence::HashedBytes => false,
            Evidence::StoreSha256 => self.trusts_checksums,
            Evidence::SizeOnly => true,
        };
        if by_head {
            let Some((length, kept)) = self.head(path).await? else { return Ok(None) };
            let sha256 = kept.filter(|_| self.trusts_checksums);
            let evidence =
                if sha256.is_some() { Evidence::StoreSha256 } else { Evidence::SizeOnly };
            if evidence >= least {
                return Ok(Some(Fixity { length, sha256, evidence }));
            }
        }
        let hashed = self.hash(path).await?;
        Ok(hashed.map(|(length, sha256)| Fixity {
            length,
            sha256: Some(sha256),
            evidence: Evidence::HashedBytes,
        }))
    }

    /// Uploads `content` with a sha256 that may be wrong, and answers the store's status; `None`
    /// for a folder, which takes no checksum. Only a probe does so, and only in its scratch folder.
    pub(crate) async fn put_stating(
        &self,
        path: &str,
        content: &'static [u8],
        sha256: Digest,
    ) -> Result<Option<u16>, StoreError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let stated = STANDARD.encode(sha256.as_bytes());
        let location = self.location(path)?;
        let put = bucket.put_stating(&location, content, &stated);
        self.within(path, self.timeouts.call, put).await?.map(Some)
    }

    /// Length of an object, and the sha256 that the store keeps of it, believed or not.
    pub(crate) async fn head(
        &self,
        path: &str,
    ) -> Result<Option<(u64, Option<Digest>)>, StoreError> {
        let location = self.location(path)?;
        if self.direct {
            let at = path.to_owned();
            let seen = self.on_disk(move |root| folder::look(root, &at)).await?;
            return Ok(seen.map(|seen| (seen.length, None)));
        }
        self.refuse_links(path).await?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let head = self.store.get_opts(&location, options);
        match self.within(path, self.timeouts.call, head).await? {
            Ok(head) => {
                let kept = head.extensions.get::<KeptChecksum>().and_then(digest);
                Ok(Some((head.meta.size, kept)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(classify(path, &error)),
        }
    }
}

/// Of an upload in parts a store keeps a sum over sums, which ends in the number of parts: no
/// digest.
fn digest(kept: &KeptChecksum) -> Option<Digest> {
    let bytes = STANDARD.decode(&kept.0).ok()?;
    Digest::try_from(&bytes[..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digest_of_a_whole_object_is_one() {
        let whole = Digest::of(b"x");
        let kept = STANDARD.encode(whole.as_bytes());
        assert_eq!(digest(&KeptChecksum(kept.clone())), Some(whole));
        assert_eq!(digest(&KeptChecksum(format!("{kept}-3"))), None);
        assert_eq!(digest(&KeptChecksum("abcd".to_owned())), None);
    }

    #[test]
    fn evidence_is_ordered() {
        assert!(Evidence::SizeOnly < Evidence::StoreSha256);
        assert!(Evidence::StoreSha256 < Evidence::HashedBytes);
        assert_eq!(serde_json::to_string(&Evidence::StoreSha256).unwrap(), "\"store_sha256\"");
    }
}
