//! Assets: what they are called, who issued them, and who holds how much.

use soroban_env_host::xdr::{
    AccountId, Asset, ChangeTrustAsset, ContractId, ContractIdPreimage, Hash, HashIdPreimage,
    HashIdPreimageContractId, LedgerEntryData, LedgerKey, LedgerKeyTrustLine, PublicKey,
    TrustLineAsset, TrustLineEntry, TrustLineEntryExt, TrustLineFlags,
};

use crate::accounts::available_balance;
use crate::error::Internal;
use crate::state::{Lookup, Overlay, wrap};
use crate::xdr;

/// Why a balance cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BalanceFault {
    /// The account does not exist.
    NoAccount,
    /// The account does not trust the asset's issuer.
    NoTrust,
    /// The issuer did not authorise the account.
    NotAuthorized,
    /// More would be held than the trust line or the type allows.
    Full,
    /// Less is held than taken.
    Underfunded,
}

/// Whether the code is one to twelve letters and digits, padded with zeros.
pub(crate) fn is_valid(asset: &Asset) -> bool {
    let (code, least): (&[u8], usize) = match asset {
        Asset::Native => return true,
        Asset::CreditAlphanum4(asset) => (&asset.asset_code.0, 1),
        // Four letters and fewer have a form of their own; the same code in both forms would be two
        // assets.
        Asset::CreditAlphanum12(asset) => (&asset.asset_code.0, 5),
    };
    let length = code.iter().position(|byte| *byte == 0).unwrap_or(code.len());
    length >= least
        && code[..length].iter().all(u8::is_ascii_alphanumeric)
        && code[length..].iter().all(|byte| *byte == 0)
}

/// The issuer of an asset; the native one has none.
pub(crate) fn issuer(asset: &Asset) -> Option<&AccountId> {
    match asset {
        Asset::Native => None,
        Asset::CreditAlphanum4(asset) => Some(&asset.issuer),
        Asset::CreditAlphanum12(asset) => Some(&asset.issuer),
    }
}

/// The asset of a `ChangeTrust`; `None` for a share of a liquidity pool.
pub(crate) fn of_change(line: &ChangeTrustAsset) -> Option<Asset> {
    match line {
        ChangeTrustAsset::Native => Some(Asset::Native),
        ChangeTrustAsset::CreditAlphanum4(asset) => Some(Asset::CreditAlphanum4(asset.clone())),
        ChangeTrustAsset::CreditAlphanum12(asset) => Some(Asset::CreditAlphanum12(asset.clone())),
        ChangeTrustAsset::PoolShare(_) => None,
    }
}

/// How events name an asset (SEP-11).
pub(crate) fn name(asset: &Asset) -> String {
    let (code, issuer): (&[u8], &AccountId) = match asset {
        Asset::Native => return "native".to_owned(),
        Asset::CreditAlphanum4(asset) => (&asset.asset_code.0, &asset.issuer),
        Asset::CreditAlphanum12(asset) => (&asset.asset_code.0, &asset.issuer),
    };
    let code: String =
        code.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    let PublicKey::PublicKeyTypeEd25519(key) = &issuer.0;
    format!("{code}:{}", stellar_strkey::ed25519::PublicKey(key.0))
}

/// The contract of an asset on a network.
pub(crate) fn contract(network_id: [u8; 32], asset: &Asset) -> Result<ContractId, Internal> {
    let preimage = HashIdPreimage::ContractId(HashIdPreimageContractId {
        network_id: Hash(network_id),
        contract_id_preimage: ContractIdPreimage::Asset(asset.clone()),
    });
    Ok(ContractId(Hash(xdr::hash(&preimage)?)))
}

/// The key of the trust line of an account to an asset; `None` for the native one.
pub(crate) fn trust_line_key(account: &AccountId, asset: &Asset) -> Option<LedgerKey> {
    let asset = match asset {
        Asset::Native => return None,
        Asset::CreditAlphanum4(asset) => TrustLineAsset::CreditAlphanum4(asset.clone()),
        Asset::CreditAlphanum12(asset) => TrustLineAsset::CreditAlphanum12(asset.clone()),
    };
    Some(LedgerKey::Trustline(LedgerKeyTrustLine { account_id: account.clone(), asset }))
}

/// Whether an account can have a trust line under this key: there are none to lumens, to what the
/// account issues itself, or to an asset whose code is invalid.
pub(crate) fn can_exist(line: &LedgerKeyTrustLine) -> bool {
    let asset = match &line.asset {
        TrustLineAsset::Native => return false,
        TrustLineAsset::CreditAlphanum4(asset) => Asset::CreditAlphanum4(asset.clone()),
        TrustLineAsset::CreditAlphanum12(asset) => Asset::CreditAlphanum12(asset.clone()),
        // The id of a pool is a hash, in which nothing can be wrong.
        TrustLineAsset::PoolShare(_) => return true,
    };
    is_valid(&asset) && issuer(&asset) != Some(&line.account_id)
}

/// The trust line of an account to an asset.
pub(crate) fn trust_line(
    view: &dyn Lookup,
    account: &AccountId,
    asset: &Asset,
) -> Option<TrustLineEntry> {
    match &view.get(&trust_line_key(account, asset)?)?.entry.data {
        LedgerEntryData::Trustline(line) => Some(line.clone()),
        _ => None,
    }
}

/// What offers bind on a trust line: (buying, selling), in the asset's smallest unit.
pub(crate) fn liabilities(line: &TrustLineEntry) -> (i64, i64) {
    match &line.ext {
        TrustLineEntryExt::V0 => (0, 0),
        TrustLineEntryExt::V1(v1) => (v1.liabilities.buying, v1.liabilities.selling),
    }
}

/// Adds `amount` of an asset to an account, or takes it away if it is negative. The issuer of an
/// asset holds as much of it as anybody could ask for.
pub(crate) fn change_balance(
    overlay: &mut Overlay<'_>,
    account: &AccountId,
    asset: &Asset,
    amount: i64,
) -> Result<(), BalanceFault> {
    if *asset == Asset::Native {
        return change_native(overlay, account, amount);
    }

    // The issuer has no trust line to its own asset: what is paid to it is burned, what it pays is
    // new.
    if issuer(asset) == Some(account) {
        return Ok(());
    }

    let mut line = trust_line(overlay, account, asset).ok_or(BalanceFault::NoTrust)?;
    if line.flags & TrustLineFlags::AuthorizedFlag as u32 == 0 {
        return Err(BalanceFault::NotAuthorized);
    }
    let (buying, selling) = liabilities(&line);
    let fault = if amount < 0 { BalanceFault::Underfunded } else { BalanceFault::Full };
    let balance = line.balance.checked_add(amount).ok_or(fault)?;

    // What offers bind stays: sold assets must be there, bought ones must have room.
    if balance < selling || balance > line.limit.saturating_sub(buying) {
        return Err(fault);
    }
    line.balance = balance;
    overlay.put(wrap(LedgerEntryData::Trustline(line)), None);
    Ok(())
}

fn change_native(
    overlay: &mut Overlay<'_>,
    account: &AccountId,
    amount: i64,
) -> Result<(), BalanceFault> {
    let mut entry = overlay.account(account).ok_or(BalanceFault::NoAccount)?;

    // `amount` is a checked positive amount with its sign changed, so that `-amount` cannot
    // overflow.
    if amount < 0 && available_balance(&entry) < -amount {
        return Err(BalanceFault::Underfunded);
    }
    entry.balance = entry.balance.checked_add(amount).ok_or(BalanceFault::Full)?;
    overlay.put_account(entry);
    Ok(())
}
