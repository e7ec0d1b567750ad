//! The SEP-41 token that the vault holds.

use stellar_xdr::ScVal;

use crate::scval::{self, Reader};
use crate::{Address, ChainError, ContractKind, Invocation, Rpc, tx};

/// Moves `amount` stroops.
pub fn transfer(token: Address, from: Address, to: Address, amount: i128) -> Invocation {
    let args = vec![from.to_val(), to.to_val(), scval::i128(amount)];
    Invocation::new(ContractKind::Token, token, "transfer", args)
}

/// What `holder` holds, in stroops.
///
/// # Errors
///
/// Those of [`tx::view`].
pub async fn balance(rpc: &Rpc, token: Address, holder: Address) -> Result<i128, ChainError> {
    let call = Invocation::new(ContractKind::Token, token, "balance", vec![holder.to_val()]);
    Reader::new("token balance", &tx::view(rpc, &call).await?).i128()
}

/// The token's symbol, such as `native`.
///
/// # Errors
///
/// Those of [`tx::view`].
pub async fn symbol(rpc: &Rpc, token: Address) -> Result<String, ChainError> {
    let call = Invocation::new(ContractKind::Token, token, "symbol", vec![]);
    text(&tx::view(rpc, &call).await?)
}

/// The token's name, such as `native` or `CODE:G…`.
///
/// # Errors
///
/// Those of [`tx::view`].
pub async fn name(rpc: &Rpc, token: Address) -> Result<String, ChainError> {
    let call = Invocation::new(ContractKind::Token, token, "name", vec![]);
    text(&tx::view(rpc, &call).await?)
}

/// The token's decimals; 7 for assets of the network.
///
/// # Errors
///
/// Those of [`tx::view`].
pub async fn decimals(rpc: &Rpc, token: Address) -> Result<u32, ChainError> {
    let call = Invocation::new(ContractKind::Token, token, "decimals", vec![]);
    Reader::new("token decimals", &tx::view(rpc, &call).await?).u32()
}

fn text(value: &ScVal) -> Result<String, ChainError> {
    Reader::new("token text", value).string()
}
