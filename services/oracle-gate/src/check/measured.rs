//! What is known of every file that a check meets. Each is measured once, so all rules of one check
//! speak of the same bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::objects::{Evidence, Fixity, Objects, StoreError};

/// Files by their path below the oracle root; `None`: not there.
#[derive(Debug)]
pub struct Measured {
    least: Evidence,
    known: BTreeMap<String, Option<Fixity>>,
}

/// How many files are known how well (O11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EvidenceCount {
    /// Their bytes were hashed.
    pub hashed_bytes: usize,
    /// A trusted store told their sha256.
    pub store_sha256: usize,
    /// Only that they are there, and their length.
    pub size_only: usize,
}

impl Measured {
    /// Nothing measured yet; `least` is the least that will do.
    pub fn new(least: Evidence) -> Self {
        Self { least, known: BTreeMap::new() }
    }

    /// Length and, as far as asked for, digest of a file; `None` if it is not there.
    ///
    /// # Errors
    /// Any [`StoreError`]; the next call asks again.
    pub async fn file(
        &mut self,
        objects: &Objects,
        path: &str,
    ) -> Result<Option<Fixity>, StoreError> {
        if let Some(known) = self.known.get(path) {
            return Ok(*known);
        }
        let fixity = objects.fixity(path, self.least).await?;
        self.known.insert(path.to_owned(), fixity);
        Ok(fixity)
    }

    /// What was measured before of a file.
    pub fn known(&self, path: &str) -> Option<Fixity> {
        self.known.get(path).copied().flatten()
    }

    /// How many files are known how well.
    pub fn evidence(&self) -> EvidenceCount {
        let mut count = EvidenceCount::default();
        for fixity in self.known.values().flatten() {
            match fixity.evidence {
                Evidence::HashedBytes => count.hashed_bytes += 1,
                Evidence::StoreSha256 => count.store_sha256 += 1,
                Evidence::SizeOnly => count.size_only += 1,
            }
        }
        count
    }
}
