//! Trust lines.

use soroban_env_host::xdr::{
    AccountFlags, AccountId, Asset, ChangeTrustOp, ChangeTrustResult, LedgerEntryData,
    OperationResult, OperationResultTr, TrustLineAsset, TrustLineEntry, TrustLineEntryExt,
    TrustLineFlags,
};

use super::{Done, Scene};
use crate::accounts::add_sub_entry;
use crate::assets;
use crate::state::{Lookup, Overlay, wrap};

pub(super) fn malformed(
    op: &ChangeTrustOp,
    source: &AccountId,
) -> Result<Option<OperationResultTr>, ()> {
    let asset = assets::of_change(&op.line).ok_or(())?;
    let faulty = op.limit < 0
        || asset == Asset::Native
        || !assets::is_valid(&asset)
        || assets::issuer(&asset) == Some(source);
    Ok(faulty.then_some(OperationResultTr::ChangeTrust(ChangeTrustResult::Malformed)))
}

pub(super) fn change(scene: &Scene<'_>, op: &ChangeTrustOp, overlay: &mut Overlay<'_>) -> Done {
    let result = |result| Done::plain(OperationResultTr::ChangeTrust(result));
    let Some(asset) = assets::of_change(&op.line) else {
        return Done::Fault(OperationResult::OpNotSupported);
    };
    let (Some(key), Some(issuer)) =
        (assets::trust_line_key(&scene.source, &asset), assets::issuer(&asset))
    else {
        return result(ChangeTrustResult::Malformed);
    };
    let Some(mut owner) = overlay.account(&scene.source) else {
        return Done::Fault(OperationResult::OpNoAccount);
    };

    if let Some(mut line) = assets::trust_line(overlay, &scene.source, &asset) {
        // The limit leaves room for what is held and for what open offers may still buy.
        if op.limit < line.balance.saturating_add(assets::liabilities(&line).0) {
            return result(ChangeTrustResult::InvalidLimit);
        }
        if op.limit == 0 {
            owner.num_sub_entries = owner.num_sub_entries.saturating_sub(1);
            overlay.put_account(owner);
            overlay.remove(key);
            return result(ChangeTrustResult::Success);
        }

        // A line can be removed without its issuer, but not changed.
        if overlay.account(issuer).is_none() {
            return result(ChangeTrustResult::NoIssuer);
        }
        line.limit = op.limit;
        overlay.put(wrap(LedgerEntryData::Trustline(line)), None);
        return result(ChangeTrustResult::Success);
    }

    if op.limit == 0 {
        return result(ChangeTrustResult::InvalidLimit);
    }
    let Some(issuer) = overlay.account(issuer) else {
        return result(ChangeTrustResult::NoIssuer);
    };
    if let Err(fault) = add_sub_entry(&mut owner) {
        let low = OperationResultTr::ChangeTrust(ChangeTrustResult::LowReserve);
        return Done::sub_entry(fault, low);
    }

    // The issuer's flags at this moment become the line's.
    let has = |flag: AccountFlags| issuer.flags & flag as u32 != 0;
    let mut flags = 0;
    if !has(AccountFlags::RequiredFlag) {
        flags |= TrustLineFlags::AuthorizedFlag as u32;
    }
    if has(AccountFlags::ClawbackEnabledFlag) {
        flags |= TrustLineFlags::TrustlineClawbackEnabledFlag as u32;
    }
    let asset = match asset {
        Asset::Native => TrustLineAsset::Native,
        Asset::CreditAlphanum4(asset) => TrustLineAsset::CreditAlphanum4(asset),
        Asset::CreditAlphanum12(asset) => TrustLineAsset::CreditAlphanum12(asset),
    };
    let line = TrustLineEntry {
        account_id: scene.source.clone(),
        asset,
        balance: 0,
        limit: op.limit,
        flags,
        ext: TrustLineEntryExt::V0,
    };
    overlay.put_account(owner);
    overlay.put(wrap(LedgerEntryData::Trustline(line)), None);
    result(ChangeTrustResult::Success)
}
