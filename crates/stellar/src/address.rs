//! Who something belongs to on chain: an account (`G…`) or a contract (`C…`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stellar_xdr::{
    AccountId, ContractId, Hash, MuxedAccount, PublicKey, ScAddress, ScVal, Uint256,
};

use crate::{ChainError, scval};

/// An account's or a contract's address. Muxed addresses, pools and claimable balances are refused:
/// no user, agent or contract of Lumio can be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Address {
    /// An account: its Ed25519 public key, written `G…`.
    Account([u8; 32]),
    /// A contract: its id, written `C…`.
    Contract([u8; 32]),
}

/// The text is not an address that Lumio takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address: a G… account or a C… contract in strkey form (SEP-23)")]
pub struct InvalidAddress;

impl Address {
    /// The 32 bytes behind the text.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Account(bytes) | Self::Contract(bytes) => bytes,
        }
    }

    /// The XDR form.
    pub fn to_sc(self) -> ScAddress {
        match self {
            Self::Account(key) => ScAddress::Account(account_id(key)),
            Self::Contract(id) => ScAddress::Contract(ContractId(Hash(id))),
        }
    }

    /// The value a contract takes.
    pub fn to_val(self) -> ScVal {
        ScVal::Address(self.to_sc())
    }

    /// The id an account entry is stored under.
    ///
    /// # Errors
    ///
    /// For a contract's address.
    pub fn account_id(self) -> Result<AccountId, ChainError> {
        Ok(account_id(self.account_key()?))
    }

    /// The form a transaction's source has.
    ///
    /// # Errors
    ///
    /// For a contract's address.
    pub fn muxed(self) -> Result<MuxedAccount, ChainError> {
        Ok(MuxedAccount::Ed25519(Uint256(self.account_key()?)))
    }

    /// The address as `ScVal` XDR, which is what a contract's `to_xdr` makes of it.
    ///
    /// # Errors
    ///
    /// Never in practice: an address always has an XDR form.
    pub fn to_val_xdr(self) -> Result<Vec<u8>, ChainError> {
        scval::to_xdr(&self.to_val())
    }

    fn account_key(self) -> Result<[u8; 32], ChainError> {
        match self {
            Self::Account(key) => Ok(key),
            Self::Contract(_) => {
                Err(ChainError::invalid(format!("{self} is a contract, not an account")))
            }
        }
    }
}

impl TryFrom<&ScAddress> for Address {
    type Error = ChainError;

    fn try_from(address: &ScAddress) -> Result<Self, ChainError> {
        match address {
            ScAddress::Account(AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(key)))) => {
                Ok(Self::Account(*key))
            }
            ScAddress::Contract(ContractId(Hash(id))) => Ok(Self::Contract(*id)),
            ScAddress::MuxedAccount(_)
            | ScAddress::ClaimableBalance(_)
            | ScAddress::LiquidityPool(_)
            | ScAddress::MuxedContract(_) => {
                Err(ChainError::decode("address", "neither an account nor a contract"))
            }
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match stellar_strkey::Strkey::from_string(text) {
            Ok(stellar_strkey::Strkey::PublicKeyEd25519(key)) => Ok(Self::Account(key.0)),
            Ok(stellar_strkey::Strkey::Contract(id)) => Ok(Self::Contract(id.0)),
            _ => Err(InvalidAddress),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, InvalidAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(key) => write!(f, "{}", stellar_strkey::ed25519::PublicKey(*key)),
            Self::Contract(id) => write!(f, "{}", stellar_strkey::Contract(*id)),
        }
    }
}

fn account_id(key: [u8; 32]) -> AccountId {
    AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_xdr_come_back_as_they_were() {
        for address in [Address::Account([7; 32]), Address::Contract([9; 32])] {
            assert_eq!(address.to_string().parse(), Ok(address));
            assert_eq!(Address::try_from(&address.to_sc()).unwrap(), address);
        }
        assert!(Address::Account([7; 32]).to_string().starts_with('G'));
        assert!(Address::Contract([7; 32]).to_string().starts_with('C'));
    }

    #[test]
    fn what_is_no_address_of_ours_is_refused() {
        let secret = "SBFGFF27Y64ZUGFAIG5AMJGQODZZKV2YQKAVUUN4HNE24XZXD2OEUVUP";
        let muxed = "MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ";
        for text in
            ["", "G", secret, muxed, "CAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAD"]
        {
            assert_eq!(text.parse::<Address>(), Err(InvalidAddress), "{text}");
        }
    }
}
