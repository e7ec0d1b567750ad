//! What an account sets for itself: signers, thresholds, flags, data, its sequence number.

use soroban_env_host::xdr::{
    AccountEntry, AccountFlags, AccountId, BumpSequenceOp, BumpSequenceResult, DataEntry,
    DataEntryExt, LedgerEntryData, LedgerKey, LedgerKeyData, ManageDataOp, ManageDataResult,
    OperationResult, OperationResultTr, PublicKey, SetOptionsOp, SetOptionsResult, Signer,
    SignerKey,
};

use super::{Done, Scene};
use crate::accounts::{add_sub_entry, remove_signer, signer_added, stamp_sequence};
use crate::error::Internal;
use crate::state::{Lookup, Overlay, wrap};
use crate::xdr::vecm;

/// All flags an account can have.
const ALL_FLAGS: u32 = AccountFlags::RequiredFlag as u32
    | AccountFlags::RevocableFlag as u32
    | AccountFlags::ImmutableFlag as u32
    | AccountFlags::ClawbackEnabledFlag as u32;

/// Largest weight and threshold.
const MAX_WEIGHT: u32 = 255;

/// Most signers besides the master key.
const MAX_SIGNERS: usize = 20;

/// Whether the options decide on who may sign, which needs the high threshold.
pub(super) fn changes_signing(op: &SetOptionsOp) -> bool {
    op.master_weight.is_some()
        || op.low_threshold.is_some()
        || op.med_threshold.is_some()
        || op.high_threshold.is_some()
        || op.signer.is_some()
}

pub(super) fn malformed(op: &SetOptionsOp, source: &AccountId) -> Option<OperationResultTr> {
    let (set, clear) = (op.set_flags.unwrap_or(0), op.clear_flags.unwrap_or(0));
    let weights = [op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold];

    // The order decides which of several faults is reported; it is stellar-core's.
    let fault = if (set | clear) & !ALL_FLAGS != 0 {
        SetOptionsResult::UnknownFlag
    } else if set & clear != 0 {
        SetOptionsResult::BadFlags
    } else if weights.iter().flatten().any(|weight| *weight > MAX_WEIGHT) {
        SetOptionsResult::ThresholdOutOfRange
    } else if op.signer.as_ref().is_some_and(|signer| bad_signer(signer, source)) {
        SetOptionsResult::BadSigner
    } else if op.home_domain.as_ref().is_some_and(|domain| !is_plain_text(domain.0.as_slice())) {
        SetOptionsResult::InvalidHomeDomain
    } else {
        return None;
    };
    Some(OperationResultTr::SetOptions(fault))
}

pub(super) fn malformed_data(op: &ManageDataOp) -> Option<OperationResultTr> {
    let name = op.data_name.0.as_slice();
    (name.is_empty() || !is_plain_text(name))
        .then_some(OperationResultTr::ManageData(ManageDataResult::InvalidName))
}

pub(super) fn malformed_bump(op: &BumpSequenceOp) -> Option<OperationResultTr> {
    (op.bump_to.0 < 0).then_some(OperationResultTr::BumpSequence(BumpSequenceResult::BadSeq))
}

pub(super) fn set(
    scene: &Scene<'_>,
    op: &SetOptionsOp,
    overlay: &mut Overlay<'_>,
) -> Result<Done, Internal> {
    let Some(mut account) = overlay.account(&scene.source) else {
        return Ok(Done::Fault(OperationResult::OpNoAccount));
    };
    if let Some(destination) = &op.inflation_dest {
        if overlay.account(destination).is_none() {
            let result = OperationResultTr::SetOptions(SetOptionsResult::InvalidInflation);
            return Ok(Done::plain(result));
        }
        account.inflation_dest = Some(destination.clone());
    }
    if let Err(fault) = set_flags(&mut account, op) {
        return Ok(Done::plain(OperationResultTr::SetOptions(fault)));
    }
    if let Some(domain) = &op.home_domain {
        account.home_domain = domain.clone();
    }

    // In the order of the four threshold bytes: master weight, low, medium, high.
    let changes =
        [op.master_weight, op.low_threshold, op.med_threshold, op.high_threshold].into_iter();
    for (place, weight) in account.thresholds.0.iter_mut().zip(changes) {
        if let Some(weight) = weight {
            // At most `MAX_WEIGHT`, which `malformed` checks.
            *place = u8::try_from(weight).unwrap_or(u8::MAX);
        }
    }
    if let Some(signer) = &op.signer
        && let Some(fault) = set_signer(&mut account, signer, overlay)?
    {
        return Ok(fault);
    }
    overlay.put_account(account);
    Ok(Done::plain(OperationResultTr::SetOptions(SetOptionsResult::Success)))
}

pub(super) fn manage_data(scene: &Scene<'_>, op: &ManageDataOp, overlay: &mut Overlay<'_>) -> Done {
    let result = |result| Done::plain(OperationResultTr::ManageData(result));
    let Some(mut owner) = overlay.account(&scene.source) else {
        return Done::Fault(OperationResult::OpNoAccount);
    };
    let key = LedgerKey::Data(LedgerKeyData {
        account_id: scene.source.clone(),
        data_name: op.data_name.clone(),
    });
    let exists = overlay.get(&key).is_some();

    let Some(value) = &op.data_value else {
        if !exists {
            return result(ManageDataResult::NameNotFound);
        }
        owner.num_sub_entries = owner.num_sub_entries.saturating_sub(1);
        overlay.put_account(owner);
        overlay.remove(key);
        return result(ManageDataResult::Success);
    };
    if !exists {
        if let Err(fault) = add_sub_entry(&mut owner) {
            let low = OperationResultTr::ManageData(ManageDataResult::LowReserve);
            return Done::sub_entry(fault, low);
        }
        overlay.put_account(owner);
    }
    let entry = DataEntry {
        account_id: scene.source.clone(),
        data_name: op.data_name.clone(),
        data_value: value.clone(),
        ext: DataEntryExt::V0,
    };
    overlay.put(wrap(LedgerEntryData::Data(entry)), None);
    result(ManageDataResult::Success)
}

pub(super) fn bump_sequence(
    scene: &Scene<'_>,
    op: &BumpSequenceOp,
    overlay: &mut Overlay<'_>,
) -> Result<Done, Internal> {
    let Some(mut account) = overlay.account(&scene.source) else {
        return Ok(Done::Fault(OperationResult::OpNoAccount));
    };

    // A number that was passed already is left as it is, and that is a success. When it changed
    // counts from now anyway, as in stellar-core.
    if op.bump_to.0 > account.seq_num.0 {
        account.seq_num = op.bump_to.clone();
    }
    stamp_sequence(&mut account, scene.context)?;
    overlay.put_account(account);
    Ok(Done::plain(OperationResultTr::BumpSequence(BumpSequenceResult::Success)))
}

fn set_flags(account: &mut AccountEntry, op: &SetOptionsOp) -> Result<(), SetOptionsResult> {
    let (set, clear) = (op.set_flags.unwrap_or(0), op.clear_flags.unwrap_or(0));
    let immutable = account.flags & AccountFlags::ImmutableFlag as u32 != 0;
    if immutable && (set | clear) != 0 {
        return Err(SetOptionsResult::CantChange);
    }

    // `set` and `clear` share no flag, which `malformed` checks, so that their order does not
    // matter.
    let flags = account.flags & !clear | set;
    let clawback = flags & AccountFlags::ClawbackEnabledFlag as u32 != 0;
    let revocable = flags & AccountFlags::RevocableFlag as u32 != 0;

    // Taking back presupposes the right to freeze (CAP-35).
    if clawback && !revocable {
        return Err(SetOptionsResult::AuthRevocableRequired);
    }
    account.flags = flags;
    Ok(())
}

/// Adds, changes or removes (weight 0) a signer; they are kept in the order of their keys.
fn set_signer(
    account: &mut AccountEntry,
    signer: &Signer,
    overlay: &mut Overlay<'_>,
) -> Result<Option<Done>, Internal> {
    let mut signers = account.signers.to_vec();
    let found = signers.binary_search_by(|other| other.key.cmp(&signer.key));
    match found {
        Ok(index) if signer.weight == 0 => {
            remove_signer(account, index, overlay)?;
            return Ok(None);
        }
        Ok(index) => signers[index].weight = signer.weight,
        Err(_) if signer.weight == 0 => {}
        Err(_) if signers.len() >= MAX_SIGNERS => {
            let result = OperationResultTr::SetOptions(SetOptionsResult::TooManySigners);
            return Ok(Some(Done::plain(result)));
        }
        Err(index) => {
            if let Err(fault) = add_sub_entry(account) {
                let low = OperationResultTr::SetOptions(SetOptionsResult::LowReserve);
                return Ok(Some(Done::sub_entry(fault, low)));
            }
            signers.insert(index, signer.clone());
            signer_added(account, index)?;
        }
    }
    account.signers = vecm(signers)?;
    Ok(None)
}

fn bad_signer(signer: &Signer, source: &AccountId) -> bool {
    let PublicKey::PublicKeyTypeEd25519(master) = &source.0;

    // The master key is no signer: its weight is the first threshold byte.
    let own = matches!(&signer.key, SignerKey::Ed25519(key) if key == master);
    let empty = matches!(
        &signer.key,
        SignerKey::Ed25519SignedPayload(signed) if signed.payload.is_empty()
    );
    own || empty || signer.weight > MAX_WEIGHT
}

/// Whether every byte is ASCII and none is a control character.
fn is_plain_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_control())
}
