//! Reading a contract value: every step is checked, and an error names the path that led to it.

use stellar_xdr::{ScVal, int128_helpers};
use wire::{Digest, VaultRunId};

use super::is_symbol;
use crate::{Address, ChainError};

/// A value that is being read, with the path that led to it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    path: String,
    value: &'a ScVal,
}

impl<'a> Reader<'a> {
    /// Starts at `value`, which errors call `what`.
    pub fn new(what: &str, value: &'a ScVal) -> Self {
        Self { path: what.to_owned(), value }
    }

    /// The value itself.
    pub const fn value(&self) -> &'a ScVal {
        self.value
    }

    /// A field of a struct with named fields.
    ///
    /// # Errors
    ///
    /// When this is no map or lacks the field.
    pub fn field(&self, name: &str) -> Result<Self, ChainError> {
        let ScVal::Map(Some(map)) = self.value else { return Err(self.wrong("a map")) };
        let path = format!("{}.{name}", self.path);

        // Not a binary search: what a node sends need not be sorted as the host sorts.
        match map.iter().find(|entry| is_symbol(&entry.key, name)) {
            Some(entry) => Ok(Self { path, value: &entry.val }),
            None => Err(ChainError::decode(path, "the field is missing")),
        }
    }

    /// The elements of a vector, or of a struct without names.
    ///
    /// # Errors
    ///
    /// When this is no vector.
    pub fn items(&self) -> Result<Vec<Self>, ChainError> {
        let ScVal::Vec(Some(values)) = self.value else { return Err(self.wrong("a vector")) };
        let item = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
        Ok(values.iter().enumerate().map(item).collect())
    }

    /// The element at `index` of a vector.
    ///
    /// # Errors
    ///
    /// When this is no vector or is shorter.
    pub fn item(&self, index: usize) -> Result<Self, ChainError> {
        let missing =
            || ChainError::decode(format!("{}[{index}]", self.path), "the element is missing");
        self.items()?.into_iter().nth(index).ok_or_else(missing)
    }

    /// `None` for void.
    pub fn optional(&self) -> Option<Self> {
        (!matches!(self.value, ScVal::Void)).then(|| self.clone())
    }

    /// An unsigned 32-bit number.
    ///
    /// # Errors
    ///
    /// When this is another kind of value. So for all that follow.
    pub fn u32(&self) -> Result<u32, ChainError> {
        match self.value {
            ScVal::U32(value) => Ok(*value),
            _ => Err(self.wrong("a u32")),
        }
    }

    /// An unsigned 64-bit number.
    ///
    /// # Errors
    ///
    /// When this is another kind of value.
    pub fn u64(&self) -> Result<u64, ChainError> {
        match self.value {
            ScVal::U64(value) => Ok(*value),
            _ => Err(self.wrong("a u64")),
        }
    }

    /// A signed 128-bit number.
    ///
    /// # Errors
    ///
    /// When this is another kind of value.
    pub fn i128(&self) -> Result<i128, ChainError> {
        match self.value {
            ScVal::I128(parts) => Ok(int128_helpers::i128_from_pieces(parts.hi, parts.lo)),
            _ => Err(self.wrong("an i128")),
        }
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// When this is another kind of value.
    pub fn bool(&self) -> Result<bool, ChainError> {
        match self.value {
            ScVal::Bool(value) => Ok(*value),
            _ => Err(self.wrong("a bool")),
        }
    }

    /// An address.
    ///
    /// # Errors
    ///
    /// When this is another kind of value, or an address that is neither an account nor a contract.
    pub fn address(&self) -> Result<Address, ChainError> {
        match self.value {
            ScVal::Address(address) => Address::try_from(address),
            _ => Err(self.wrong("an address")),
        }
    }

    /// 32 bytes.
    ///
    /// # Errors
    ///
    /// When this is another kind of value or another length.
    pub fn digest(&self) -> Result<Digest, ChainError> {
        match self.value {
            ScVal::Bytes(value) => {
                Digest::try_from(value.as_slice()).map_err(|_| self.wrong("32 bytes"))
            }
            _ => Err(self.wrong("32 bytes")),
        }
    }

    /// The id of a run in the vault.
    ///
    /// # Errors
    ///
    /// As [`Reader::digest`].
    pub fn run_id(&self) -> Result<VaultRunId, ChainError> {
        Ok(VaultRunId::from(*self.digest()?.as_bytes()))
    }

    /// A symbol's text.
    ///
    /// # Errors
    ///
    /// When this is another kind of value.
    pub fn symbol(&self) -> Result<String, ChainError> {
        match self.value {
            // Symbols are ASCII: U+FFFD in the text equals no name that is compared with it.
            ScVal::Symbol(value) => Ok(value.0.to_utf8_string_lossy()),
            _ => Err(self.wrong("a symbol")),
        }
    }

    /// A string's text; what is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// When this is another kind of value.
    pub fn string(&self) -> Result<String, ChainError> {
        match self.value {
            ScVal::String(value) => Ok(value.0.to_utf8_string_lossy()),
            _ => Err(self.wrong("a string")),
        }
    }

    fn wrong(&self, expected: &str) -> ChainError {
        ChainError::decode(
            self.path.clone(),
            format!("expected {expected}, found {}", self.value.name()),
        )
    }
}
