//! Entries of contracts in the ledger: their keys and what they hold.

use stellar_xdr::{
    ContractDataDurability, LedgerEntryData, LedgerKey, LedgerKeyContractCode,
    LedgerKeyContractData, ScContractInstance, ScVal,
};
use wire::Digest;

use crate::{Address, ChainError, Rpc, rpc::Entry};

/// The key of a contract's entry.
pub fn data_key(contract: &Address, key: ScVal, persistent: bool) -> LedgerKey {
    let durability = match persistent {
        true => ContractDataDurability::Persistent,
        false => ContractDataDurability::Temporary,
    };
    LedgerKey::ContractData(LedgerKeyContractData { contract: contract.to_sc(), key, durability })
}

/// The value of a contract's entry.
///
/// # Errors
///
/// [`ChainError::Decode`] when the entry is of another kind.
pub fn data_value<'a>(what: &str, entry: &'a Entry) -> Result<&'a ScVal, ChainError> {
    match &entry.data {
        LedgerEntryData::ContractData(data) => Ok(&data.val),
        _ => Err(ChainError::decode(what, "the entry is of another kind")),
    }
}

/// The instance of a contract; `None` when no contract has this id.
///
/// # Errors
///
/// [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn instance(
    rpc: &Rpc,
    contract: &Address,
) -> Result<Option<ScContractInstance>, ChainError> {
    let key = data_key(contract, ScVal::LedgerKeyContractInstance, true);
    let found = rpc.entries(std::slice::from_ref(&key)).await?;
    let Some(entry) = found.get(&key) else { return Ok(None) };
    match data_value("contract instance", entry)? {
        ScVal::ContractInstance(instance) => Ok(Some(instance.clone())),
        _ => Err(ChainError::decode("contract instance", "the entry is of another kind")),
    }
}

/// Whether the network holds the code with this SHA-256.
///
/// # Errors
///
/// [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn has_code(rpc: &Rpc, code: &Digest) -> Result<bool, ChainError> {
    Ok(self::code(rpc, code).await?.is_some())
}

/// The code with this SHA-256; `None` when the network does not hold it. What the node sends is hashed again.
///
/// # Errors
///
/// [`ChainError::Rpc`]; [`ChainError::Decode`], also when the bytes have another hash.
pub async fn code(rpc: &Rpc, code: &Digest) -> Result<Option<Vec<u8>>, ChainError> {
    let hash = stellar_xdr::Hash(*code.as_bytes());
    let key = LedgerKey::ContractCode(LedgerKeyContractCode { hash });
    let found = rpc.entries(std::slice::from_ref(&key)).await?;
    match found.get(&key).map(|entry| &entry.data) {
        None => Ok(None),
        Some(LedgerEntryData::ContractCode(entry))
            if Digest::of(entry.code.as_slice()) == *code =>
        {
            Ok(Some(entry.code.to_vec()))
        }
        Some(_) => Err(ChainError::decode("contract code", "the node sent other bytes")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use stellar_xdr::{ContractDataEntry, ExtensionPoint};

    use super::*;

    pub(crate) fn data(contract: &Address, val: ScVal) -> LedgerEntryData {
        LedgerEntryData::ContractData(ContractDataEntry {
            ext: ExtensionPoint::V0,
            contract: contract.to_sc(),
            key: ScVal::Void,
            durability: ContractDataDurability::Temporary,
            val,
        })
    }
}
