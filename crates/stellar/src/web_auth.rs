//! The contract by which contract accounts log in (SEP-45). It keeps nothing and moves nothing: its
//! one function asks the account and the server for their authorisation, and ignores everything
//! else.

use stellar_xdr::{ScMap, ScMapEntry, ScVal};

use crate::{Address, ChainError, ContractKind, Invocation, scval};

/// The function's name, as SEP-45 fixes it.
pub const FUNCTION: &str = "web_auth_verify";

/// A deployed web authentication contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebAuth(pub Address);

impl WebAuth {
    /// `web_auth_verify` with these names and values.
    ///
    /// # Errors
    ///
    /// When a name or value is too long, or a name occurs twice.
    pub fn verify(&self, fields: &[(&str, &str)]) -> Result<Invocation, ChainError> {
        let mut entries = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            entries.push(ScMapEntry { key: scval::symbol(name)?, val: scval::string(value)? });
        }
        let map = ScMap::sorted_from_entries(entries.into_iter());
        let map = map.map_err(|_| ChainError::encode("the login's arguments"))?;
        Ok(Invocation::new(ContractKind::Other, self.0, FUNCTION, vec![ScVal::Map(Some(map))]))
    }
}
