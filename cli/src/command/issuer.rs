//! Whether an issued asset can be trusted with other people's deposits (V1).

use stellar::{Address, ChainError, Network, scval, state, token};
use stellar_xdr::{
    AccountEntry, AccountId, AlphaNum4, AlphaNum12, Asset, AssetCode4, AssetCode12,
    ContractIdPreimage, Hash, HashIdPreimage, HashIdPreimageContractId, LedgerEntryData, LedgerKey,
    LedgerKeyAccount,
};
use wire::Digest;

use crate::context::Context;
use crate::error::{CliError, Result};

/// The issuer can freeze holders.
const REVOCABLE: u32 = 0x2;
/// The issuer can never change its flags again.
const IMMUTABLE: u32 = 0x4;
/// The issuer can take holdings back.
const CLAWBACK: u32 = 0x8;

/// What the issuer of the asset behind `contract` could do to the vault's holdings; `None` if
/// nothing.
pub(super) async fn risk(context: &Context, contract: Address) -> Result<Option<String>> {
    if state::instance(&context.rpc, &contract).await?.is_none() {
        return Err(CliError::bad(format!(
            "--token: there is no contract {contract} on this network; expected native, or the \
             contract of a token that is deployed here"
        )));
    }
    let name = match token::name(&context.rpc, contract).await {
        Ok(name) => name,
        // The contract answered, and not as every token does (SEP-41): no node is to blame.
        Err(error @ (ChainError::Contract { .. } | ChainError::Simulation { .. })) => {
            return Err(CliError::bad(format!(
                "--token: the contract {contract} is no token: it does not say its name, as \
                 SEP-41 asks ({error})"
            )));
        }
        Err(error) => return Err(error.into()),
    };
    let unknown = || {
        Some(format!(
            "{contract} is not the network's own contract of an issued asset, so nothing is known \
                of its rules"
        ))
    };
    let Some((code, issuer)) = name.split_once(':') else { return Ok(unknown()) };
    let Ok(issuer @ Address::Account(_)) = issuer.parse::<Address>() else { return Ok(unknown()) };

    // Any contract can claim a name; the network's own one has the asset's id.
    if asset_contract(&context.network, code, issuer)? != Some(contract) {
        return Ok(unknown());
    }
    let key = LedgerKey::Account(LedgerKeyAccount { account_id: issuer.account_id()? });
    let found = context.rpc.entries(std::slice::from_ref(&key)).await?;
    match found.get(&key).map(|entry| &entry.data) {
        // Whoever has the key can create the account again, with any flags.
        None => Ok(Some(format!(
            "the issuer {issuer} is merged away; whoever has its key can create it again with any \
                powers"
        ))),
        Some(LedgerEntryData::Account(account)) => Ok(judge(account)),
        Some(_) => Err(CliError::Unknown(format!("the issuer {issuer} cannot be read"))),
    }
}

fn judge(account: &AccountEntry) -> Option<String> {
    let has = |flag| account.flags & flag != 0;

    // With the master key's weight at 0 and no signer, no key can sign for it again.
    let is_locked = account.thresholds.0[0] == 0 && account.signers.is_empty();
    let mut reasons = Vec::new();
    if has(CLAWBACK) {
        reasons.push("its issuer can claw back");
    }
    if has(REVOCABLE) {
        reasons.push("its issuer can freeze");
    }
    if !has(IMMUTABLE) && !is_locked {
        reasons.push("its issuer is neither locked nor immutable and can take such powers later");
    }
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

fn asset_contract(network: &Network, code: &str, issuer: Address) -> Result<Option<Address>> {
    let issuer: AccountId = issuer.account_id()?;
    let bytes = code.as_bytes();
    let asset = match bytes.len() {
        1..=4 => {
            Asset::CreditAlphanum4(AlphaNum4 { asset_code: AssetCode4(padded(bytes)), issuer })
        }
        5..=12 => {
            Asset::CreditAlphanum12(AlphaNum12 { asset_code: AssetCode12(padded(bytes)), issuer })
        }
        _ => return Ok(None),
    };
    let preimage = HashIdPreimage::ContractId(HashIdPreimageContractId {
        network_id: Hash(*network.id().as_bytes()),
        contract_id_preimage: ContractIdPreimage::Asset(asset),
    });
    let xdr = scval::to_xdr(&preimage).map_err(|error: ChainError| CliError::from(error))?;
    Ok(Some(Address::Contract(*Digest::of(&xdr).as_bytes())))
}

fn padded<const N: usize>(code: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded[..code.len()].copy_from_slice(code);
    padded
}

#[cfg(test)]
mod tests {
    use stellar_xdr::Thresholds;

    use super::*;

    fn issuer(flags: u32, master_weight: u8) -> AccountEntry {
        AccountEntry {
            flags,
            thresholds: Thresholds([master_weight, 0, 0, 0]),
            ..AccountEntry::default()
        }
    }

    #[test]
    fn only_an_issuer_that_can_do_nothing_is_taken() {
        assert_eq!(judge(&issuer(0, 0)), None);
        assert_eq!(judge(&issuer(IMMUTABLE, 1)), None);
        assert!(judge(&issuer(0, 1)).unwrap().contains("neither locked nor immutable"));
        assert!(judge(&issuer(CLAWBACK | IMMUTABLE, 1)).unwrap().contains("claw back"));
        assert!(judge(&issuer(REVOCABLE, 0)).unwrap().contains("freeze"));
    }

    #[test]
    fn an_asset_has_the_id_that_every_tool_says() {
        // Circle's USDC on the public network.
        let network = Network::new("Public Global Stellar Network ; September 2015");
        let circle = "GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN".parse().unwrap();
        let id = asset_contract(&network, "USDC", circle).unwrap().unwrap();
        assert_eq!(id.to_string(), "CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75");
    }
}
