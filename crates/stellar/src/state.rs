//! Entries of contracts in the ledger: their keys and what they hold.

use stellar_xdr::{
    ContractDataDurability, ContractExecutable, LedgerEntryData, LedgerKey, LedgerKeyContractCode,
    LedgerKeyContractData, ScContractInstance, ScVal,
};
use wire::Digest;

use crate::rpc::Entry;
use crate::{Address, ChainError, Rpc};

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

/// How long a contract lives, as one ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The ledger that was read.
    pub ledger: u32,
    /// The last ledger that the instance lives in.
    pub instance: Option<u32>,
    /// The last ledger that its code lives in; `None` also for a contract without Wasm.
    pub code: Option<u32>,
}

/// How long a contract and its code live. What is not alive any more is `None`.
///
/// # Errors
///
/// [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn lifetime(rpc: &Rpc, contract: &Address) -> Result<Lifetime, ChainError> {
    let mut keys = vec![data_key(contract, ScVal::LedgerKeyContractInstance, true)];
    // The instance says which code it runs; only then both can be asked for.
    if let Some(ContractExecutable::Wasm(hash)) =
        instance(rpc, contract).await?.map(|instance| instance.executable)
    {
        keys.push(LedgerKey::ContractCode(LedgerKeyContractCode { hash }));
    }
    // Read together once more, so that both lives are as one ledger has them.
    let found = rpc.entries(&keys).await?;
    let end = |key: Option<&LedgerKey>| found.live_until(key?);
    Ok(Lifetime { ledger: found.ledger, instance: end(keys.first()), code: end(keys.get(1)) })
}

/// Whether the network holds the code with this SHA-256.
///
/// # Errors
///
/// [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn has_code(rpc: &Rpc, code: &Digest) -> Result<bool, ChainError> {
    Ok(self::code(rpc, code).await?.is_some())
}

/// The code with this SHA-256; `None` when the network does not hold it. What the node sends is
/// hashed again.
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
