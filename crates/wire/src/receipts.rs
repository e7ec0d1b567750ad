//! The list of an account's receipts: everything that was ever charged to it, in a file of its own.
//!
//! The vault keeps one running hash per account (V3). It takes in the full text of every receipt,
//! so that a list of these texts either has the hash that the chain holds now, or is not the list.
//! A list that begins later than with the first receipt is checked in the same way from the hash
//! before it: no other beginning that leads to the same end can be found.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, json};

/// The `kind` of the document.
pub const RECEIPTS_KIND: &str = "lumio-receipts-v1";

/// What the running hash is taken over first, so that no other hash of ours can be taken for it.
const DOMAIN: &[u8] = b"lumio-receipt-v1";

/// A list of more receipts is refused.
pub const MAX_RECEIPTS: usize = 1_000_000;

/// An account's receipts without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReceiptsDocument {
    /// [`RECEIPTS_KIND`].
    pub kind: String,
    /// Passphrase of the network.
    pub network: String,
    /// The vault's contract id.
    pub vault: String,
    /// Whose receipts they are (G… or C…).
    pub user: String,
    /// Running hash before the first receipt of the list; zeros before receipt 1.
    pub before: Digest,
    /// In the order of their numbers.
    pub receipts: Vec<ReceiptText>,
}

/// One receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ReceiptText {
    /// Counts the account's receipts from 1.
    pub number: u64,
    /// The receipt as the vault hashed it: its `ScVal` XDR in base64.
    pub text: String,
    /// Running hash with this receipt.
    pub hash: Digest,
}

/// Why a text is not a list of receipts.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// It is not such a document.
    #[error("the text is not a list of receipts")]
    Malformed(#[source] serde_json::Error),
    /// It is a document of another kind or version.
    #[error("the document is `{0}`, expected `{RECEIPTS_KIND}`")]
    Kind(String),
    /// There are more than [`MAX_RECEIPTS`].
    #[error("the list holds {0} receipts, at most {MAX_RECEIPTS} are read")]
    TooMany(usize),
    /// A number does not follow the one before it.
    #[error("receipt {found} follows receipt {before}")]
    Gap {
        /// The number before it.
        before: u64,
        /// The number that was found.
        found: u64,
    },
    /// A receipt's text is not base64.
    #[error("the text of receipt {0} is not base64")]
    Encoding(u64),
    /// A receipt's text does not lead to the hash beside it.
    #[error(
        "the text of receipt {0} does not have its hash: the text, or one before it, was changed"
    )]
    Changed(u64),
}

/// The running hash after receipt `number` with this text.
pub fn running_hash(before: &Digest, number: u64, text: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    // Fixed widths, and the text only by its digest: nothing needs a length before it.
    hasher.update(DOMAIN);
    hasher.update(before.as_bytes());
    hasher.update(number.to_be_bytes());
    hasher.update(Digest::of(text).as_bytes());
    hasher.finish()
}

impl ReceiptText {
    /// Receipt `number`, which follows the hash `before`.
    pub fn new(before: &Digest, number: u64, text: &[u8]) -> Self {
        let hash = running_hash(before, number, text);
        Self { number, text: STANDARD.encode(text), hash }
    }

    /// The receipt's XDR.
    ///
    /// # Errors
    ///
    /// [`ReceiptsError::Encoding`].
    pub fn xdr(&self) -> Result<Vec<u8>, ReceiptsError> {
        STANDARD.decode(&self.text).map_err(|_| ReceiptsError::Encoding(self.number))
    }
}

impl ReceiptsDocument {
    /// Reads a list and recomputes its hashes. What it then proves depends on whether the chain
    /// holds its last hash.
    ///
    /// # Errors
    ///
    /// [`ReceiptsError`].
    pub fn read(text: &[u8]) -> Result<Self, ReceiptsError> {
        let document: Self = json::read(text).map_err(ReceiptsError::Malformed)?;
        document.check()?;
        Ok(document)
    }

    /// Recomputes every hash of the list.
    ///
    /// # Errors
    ///
    /// All of [`ReceiptsError`] but its first.
    pub fn check(&self) -> Result<(), ReceiptsError> {
        if self.kind != RECEIPTS_KIND {
            return Err(ReceiptsError::Kind(self.kind.clone()));
        }
        if self.receipts.len() > MAX_RECEIPTS {
            return Err(ReceiptsError::TooMany(self.receipts.len()));
        }
        let first = self.receipts.first().map_or(1, |receipt| receipt.number);
        // An empty list says nothing about which receipts there are, so that any hash may be before
        // it.
        let is_whole = first == 1 && !self.receipts.is_empty();
        if is_whole && self.before != Digest::from([0; 32]) {
            return Err(ReceiptsError::Changed(1));
        }

        // There is no receipt 0: it wraps to a number that nothing follows, and the first step
        // fails.
        let (mut last, mut hash) = (first.wrapping_sub(1), self.before);
        for receipt in &self.receipts {
            let number = receipt.number;
            if Some(number) != last.checked_add(1) {
                return Err(ReceiptsError::Gap { before: last, found: number });
            }
            if running_hash(&hash, number, &receipt.xdr()?) != receipt.hash {
                return Err(ReceiptsError::Changed(number));
            }
            (last, hash) = (number, receipt.hash);
        }
        Ok(())
    }

    /// The last receipt's number and hash: what the chain must hold for the list to be whole.
    pub fn end(&self) -> Option<(u64, Digest)> {
        self.receipts.last().map(|receipt| (receipt.number, receipt.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> ReceiptsDocument {
        let before = Digest::from([0; 32]);
        let first = ReceiptText::new(&before, 1, b"one");
        let second = ReceiptText::new(&first.hash, 2, b"two");
        ReceiptsDocument {
            kind: RECEIPTS_KIND.to_owned(),
            network: "n".to_owned(),
            vault: "C".to_owned(),
            user: "G".to_owned(),
            before,
            receipts: vec![first, second],
        }
    }

    #[test]
    fn a_list_and_its_end_follow_from_their_texts() {
        let whole = list();
        assert_eq!(ReceiptsDocument::read(&serde_json::to_vec(&whole).unwrap()).unwrap(), whole);
        let end = ReceiptsDocument {
            before: whole.receipts[0].hash,
            receipts: whole.receipts[1..].to_vec(),
            ..whole.clone()
        };
        end.check().unwrap();
        assert_eq!(end.end(), whole.end());
    }

    #[test]
    fn what_was_changed_is_named() {
        type Change = fn(&mut ReceiptsDocument);
        let changes: [(&str, Change); 6] = [
            ("receipt 2 does not have its hash", |list| {
                list.receipts[1].text = STANDARD.encode("2")
            }),
            ("receipt 1 does not have its hash", |list| list.receipts[0].hash = Digest::of(b"")),
            ("receipt 1 does not have its hash", |list| list.before = Digest::of(b"")),
            ("receipt 3 follows receipt 1", |list| list.receipts[1].number = 3),
            ("not base64", |list| list.receipts[0].text = "*".to_owned()),
            ("expected `lumio-receipts-v1`", |list| list.kind = "other".to_owned()),
        ];
        for (expected, change) in changes {
            let mut changed = list();
            change(&mut changed);
            let error = changed.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
