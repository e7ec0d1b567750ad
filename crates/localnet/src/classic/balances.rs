//! Claimable balances.

use std::collections::BTreeSet;

use soroban_env_host::xdr::{
    AccountEntry, AccountFlags, Asset, ClaimClaimableBalanceOp, ClaimClaimableBalanceResult,
    ClaimPredicate, ClaimableBalanceEntry, ClaimableBalanceEntryExt,
    ClaimableBalanceEntryExtensionV1, ClaimableBalanceEntryExtensionV1Ext, ClaimableBalanceFlags,
    ClaimableBalanceId, Claimant, CreateClaimableBalanceOp, CreateClaimableBalanceResult, Hash,
    HashIdPreimage, HashIdPreimageOperationId, LedgerEntryData, LedgerEntryExt,
    LedgerEntryExtensionV1, LedgerEntryExtensionV1Ext, LedgerKey, LedgerKeyClaimableBalance,
    OperationResult, OperationResultTr, SponsorshipDescriptor, TrustLineFlags,
};

use super::{Done, Scene};
use crate::accounts::{release, sponsor};
use crate::assets::{self, BalanceFault, change_balance};
use crate::error::Internal;
use crate::events::{Movement, Party};
use crate::state::{Lookup, Overlay, wrap};
use crate::xdr::{self, vecm};

/// How deep a predicate may nest.
const MAX_DEPTH: u32 = 4;

pub(super) fn malformed(op: &CreateClaimableBalanceOp) -> Option<OperationResultTr> {
    let mut seen = BTreeSet::new();
    let claimants_fit = !op.claimants.is_empty()
        && op.claimants.iter().all(|claimant| {
            // One predicate for each destination (CAP-23); with two it would be open which one
            // counts.
            let Claimant::ClaimantTypeV0(claimant) = claimant;
            seen.insert(&claimant.destination) && is_valid(&claimant.predicate, 1)
        });
    let fits = op.amount > 0 && assets::is_valid(&op.asset) && claimants_fit;
    (!fits).then_some(OperationResultTr::CreateClaimableBalance(
        CreateClaimableBalanceResult::Malformed,
    ))
}

pub(super) fn create(
    scene: &Scene<'_>,
    op: &CreateClaimableBalanceOp,
    overlay: &mut Overlay<'_>,
) -> Result<Done, Internal> {
    let failed = |result| Ok(Done::plain(OperationResultTr::CreateClaimableBalance(result)));

    // The amount goes first, so that the reserves are counted against what is left. If they are not
    // there, the operation fails and its whole overlay is dropped.
    if let Err(fault) = change_balance(overlay, &scene.source, &op.asset, -op.amount) {
        return failed(match fault {
            BalanceFault::NoTrust => CreateClaimableBalanceResult::NoTrust,
            BalanceFault::NotAuthorized => CreateClaimableBalanceResult::NotAuthorized,
            _ => CreateClaimableBalanceResult::Underfunded,
        });
    }
    let Some(mut owner) = overlay.account(&scene.source) else {
        return Ok(Done::Fault(OperationResult::OpNoAccount));
    };

    // The creator pays one reserve for each claimant until the balance is claimed.
    if !sponsor(&mut owner, reserves(&op.claimants))? {
        return failed(CreateClaimableBalanceResult::LowReserve);
    }
    let balance_id = balance_id(scene)?;
    let balance = ClaimableBalanceEntry {
        balance_id: balance_id.clone(),
        claimants: vecm(absolute_claimants(&op.claimants, scene.context.close_time))?,
        asset: op.asset.clone(),
        amount: op.amount,
        ext: extension(clawback(&owner, &op.asset, overlay)),
    };
    overlay.put_account(owner);
    let mut entry = wrap(LedgerEntryData::ClaimableBalance(balance));
    entry.ext = LedgerEntryExt::V1(LedgerEntryExtensionV1 {
        sponsoring_id: SponsorshipDescriptor(Some(scene.source.clone())),
        ext: LedgerEntryExtensionV1Ext::V0,
    });
    overlay.put(entry, None);

    let movement = Movement {
        asset: op.asset.clone(),
        from: Party::Account(scene.muxed_source.clone()),
        to: Party::ClaimableBalance(balance_id.clone()),
        amount: op.amount,
    };
    let result = CreateClaimableBalanceResult::Success(balance_id);
    Ok(Done::Result(OperationResultTr::CreateClaimableBalance(result), Some(movement)))
}

pub(super) fn claim(
    scene: &Scene<'_>,
    op: &ClaimClaimableBalanceOp,
    overlay: &mut Overlay<'_>,
) -> Result<Done, Internal> {
    let failed = |result| Ok(Done::plain(OperationResultTr::ClaimClaimableBalance(result)));
    let key = LedgerKey::ClaimableBalance(LedgerKeyClaimableBalance {
        balance_id: op.balance_id.clone(),
    });
    let Some(stored) = overlay.get(&key) else {
        return failed(ClaimClaimableBalanceResult::DoesNotExist);
    };
    let LedgerEntryData::ClaimableBalance(balance) = &stored.entry.data else {
        return failed(ClaimClaimableBalanceResult::DoesNotExist);
    };

    let may_claim = balance.claimants.iter().any(|claimant| {
        let Claimant::ClaimantTypeV0(claimant) = claimant;
        claimant.destination == scene.source && holds(&claimant.predicate, scene.context.close_time)
    });
    if !may_claim {
        return failed(ClaimClaimableBalanceResult::CannotClaim);
    }
    if let Err(fault) = change_balance(overlay, &scene.source, &balance.asset, balance.amount) {
        return failed(match fault {
            BalanceFault::NoTrust => ClaimClaimableBalanceResult::NoTrust,
            BalanceFault::NotAuthorized => ClaimClaimableBalanceResult::NotAuthorized,
            _ => ClaimClaimableBalanceResult::LineFull,
        });
    }

    // The reserves go back to the account that paid for them, which need not be the claimant.
    if let LedgerEntryExt::V1(extension) = &stored.entry.ext
        && let Some(sponsor) = &extension.sponsoring_id.0
        && let Some(mut sponsor) = overlay.account(sponsor)
    {
        release(&mut sponsor, reserves(&balance.claimants))?;
        overlay.put_account(sponsor);
    }
    overlay.remove(key);

    let movement = Movement {
        asset: balance.asset.clone(),
        from: Party::ClaimableBalance(op.balance_id.clone()),
        to: Party::Account(scene.muxed_source.clone()),
        amount: balance.amount,
    };
    let result = OperationResultTr::ClaimClaimableBalance(ClaimClaimableBalanceResult::Success);
    Ok(Done::Result(result, Some(movement)))
}

/// The id follows from the operation that creates the balance, so a client can know it before.
fn balance_id(scene: &Scene<'_>) -> Result<ClaimableBalanceId, Internal> {
    let preimage = HashIdPreimage::OpId(HashIdPreimageOperationId {
        source_account: scene.frame.source(),
        seq_num: scene.frame.tx.seq_num.clone(),
        op_num: scene.index,
    });
    Ok(ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash(xdr::hash(&preimage)?)))
}

fn reserves(claimants: &[Claimant]) -> u32 {
    u32::try_from(claimants.len()).unwrap_or(u32::MAX)
}

/// Whether the asset's issuer may take the balance back.
fn clawback(owner: &AccountEntry, asset: &Asset, view: &dyn Lookup) -> bool {
    // The issuer has no trust line; the account's own flag decides.
    if assets::issuer(asset) == Some(&owner.account_id) {
        return owner.flags & AccountFlags::ClawbackEnabledFlag as u32 != 0;
    }
    assets::trust_line(view, &owner.account_id, asset)
        .is_some_and(|line| line.flags & TrustLineFlags::TrustlineClawbackEnabledFlag as u32 != 0)
}

fn extension(clawback: bool) -> ClaimableBalanceEntryExt {
    if !clawback {
        return ClaimableBalanceEntryExt::V0;
    }
    ClaimableBalanceEntryExt::V1(ClaimableBalanceEntryExtensionV1 {
        ext: ClaimableBalanceEntryExtensionV1Ext::V0,
        flags: ClaimableBalanceFlags::ClaimableBalanceClawbackEnabledFlag as u32,
    })
}

fn is_valid(predicate: &ClaimPredicate, depth: u32) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    match predicate {
        ClaimPredicate::Unconditional => true,
        ClaimPredicate::And(both) | ClaimPredicate::Or(both) => {
            both.len() == 2 && both.iter().all(|inner| is_valid(inner, depth + 1))
        }
        ClaimPredicate::Not(inner) => {
            inner.as_ref().is_some_and(|inner| is_valid(inner, depth + 1))
        }
        ClaimPredicate::BeforeAbsoluteTime(time) | ClaimPredicate::BeforeRelativeTime(time) => {
            *time >= 0
        }
    }
}

fn absolute_claimants(claimants: &[Claimant], now: u64) -> Vec<Claimant> {
    let mut claimants = claimants.to_vec();
    for claimant in &mut claimants {
        let Claimant::ClaimantTypeV0(claimant) = claimant;
        claimant.predicate = absolute(&claimant.predicate, now);
    }
    claimants
}

/// The predicate with every relative time counted from `now`, in seconds of Unix time.
fn absolute(predicate: &ClaimPredicate, now: u64) -> ClaimPredicate {
    let both = |inner: &[ClaimPredicate]| {
        inner.iter().map(|inner| absolute(inner, now)).collect::<Vec<_>>()
    };

    // As many go in as come out, so that the conversions back to the bounded list cannot fail.
    match predicate {
        ClaimPredicate::And(inner) => {
            ClaimPredicate::And(both(inner).try_into().unwrap_or_default())
        }
        ClaimPredicate::Or(inner) => ClaimPredicate::Or(both(inner).try_into().unwrap_or_default()),
        ClaimPredicate::Not(inner) => {
            ClaimPredicate::Not(inner.as_ref().map(|inner| Box::new(absolute(inner, now))))
        }
        ClaimPredicate::BeforeRelativeTime(seconds) => {
            let now = i64::try_from(now).unwrap_or(i64::MAX);
            ClaimPredicate::BeforeAbsoluteTime(seconds.saturating_add(now))
        }
        other => other.clone(),
    }
}

fn holds(predicate: &ClaimPredicate, now: u64) -> bool {
    match predicate {
        ClaimPredicate::Unconditional => true,
        ClaimPredicate::And(both) => both.iter().all(|inner| holds(inner, now)),
        ClaimPredicate::Or(both) => both.iter().any(|inner| holds(inner, now)),
        ClaimPredicate::Not(inner) => !inner.as_ref().is_some_and(|inner| holds(inner, now)),
        ClaimPredicate::BeforeAbsoluteTime(time) => i64::try_from(now).is_ok_and(|now| now < *time),
        // Turned into an absolute time when the balance was created.
        ClaimPredicate::BeforeRelativeTime(_) => false,
    }
}
