//! The SEP-41 token that the vault holds.

use stellar_xdr::{ContractExecutable, ScVal};

use crate::amount::Unit;
use crate::scval::{self, Reader};
use crate::{Address, ChainError, ContractKind, Invocation, Network, Rpc, ids, state, tx};

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

/// What `holder` holds, in stroops; `None` for an account that is not on the ledger, or has no
/// trust line to the token.
///
/// # Errors
///
/// As [`balance`].
pub async fn held(rpc: &Rpc, token: Address, holder: Address) -> Result<Option<i128>, ChainError> {
    let error = match balance(rpc, token, holder).await {
        Ok(held) => return Ok(Some(held)),
        Err(error) => error,
    };
    let holds_none = error.contract().is_some_and(|refusal| {
        ["AccountMissing", "TrustlineMissing"]
            .iter()
            .any(|name| refusal.is(ContractKind::Token, name))
    });

    // Only in the network's own asset contract do the numbers mean this.
    if holds_none && is_asset_contract(rpc, &token).await? { Ok(None) } else { Err(error) }
}

/// How amounts of the token are written.
///
/// # Errors
///
/// Those of [`tx::view`]; [`ChainError::Decode`] also for a token with more decimals than an amount
/// can have.
pub async fn unit(rpc: &Rpc, network: &Network, token: Address) -> Result<Unit, ChainError> {
    // The contract of the native asset calls it `native`.
    if token == ids::native_token_id(network)? {
        return Ok(Unit::lumens());
    }
    let symbol = symbol(rpc, token).await?;
    let decimals = decimals(rpc, token).await?;
    let name = if is_distinct(&symbol) { symbol } else { token.to_string() };
    Unit::new(name, decimals)
        .ok_or_else(|| ChainError::decode("token decimals", format!("{decimals} are too many")))
}

/// Whether a symbol that a contract chose can be shown as what its token is called: not a sentence,
/// and neither the name of the native asset nor that of the smallest unit.
fn is_distinct(symbol: &str) -> bool {
    let is_code =
        (1..=12).contains(&symbol.len()) && symbol.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let taken = ["xlm", "native", "stroop", "stroops"];
    is_code && !taken.iter().any(|name| symbol.eq_ignore_ascii_case(name))
}

async fn is_asset_contract(rpc: &Rpc, token: &Address) -> Result<bool, ChainError> {
    let instance = state::instance(rpc, token).await?;
    Ok(instance.is_some_and(|instance| instance.executable == ContractExecutable::StellarAsset))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_token_is_called_as_the_native_one() {
        for symbol in ["USDC", "EURX", "a", "ABCDEFGHIJKL", "XLM2"] {
            assert!(is_distinct(symbol), "{symbol}");
        }
        for symbol in
            ["", "XLM", "xlm", "Native", "Stroops", "ABCDEFGHIJKLM", "US D", "U\u{202e}S", "€"]
        {
            assert!(!is_distinct(symbol), "{symbol}");
        }
    }
}
