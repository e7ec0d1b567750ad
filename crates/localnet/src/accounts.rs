//! What the rules ask about an account: reserves, sponsorship, when its sequence number changed.

use soroban_env_host::xdr::{
    AccountEntry, AccountEntryExt, AccountEntryExtensionV1, AccountEntryExtensionV1Ext,
    AccountEntryExtensionV2, AccountEntryExtensionV2Ext, AccountEntryExtensionV3, AccountId,
    ExtensionPoint, Liabilities, SequenceNumber, SignerKey, SponsorshipDescriptor, String32,
    Thresholds, TimePoint, Uint256, VecM,
};

use crate::error::Internal;
use crate::settings::BASE_RESERVE;
use crate::state::{Lookup, Overlay};
use crate::validate::Context;
use crate::xdr::vecm;

/// Most subentries one account may have.
const MAX_SUB_ENTRIES: u32 = 1_000;

/// Why an account cannot have one more subentry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubEntryFault {
    /// Its balance does not cover the reserve.
    LowReserve,
    /// It has the most already.
    TooMany,
}

/// A fresh account with only its master key.
pub(crate) fn new_account(account_id: AccountId, balance: i64, sequence: i64) -> AccountEntry {
    AccountEntry {
        account_id,
        balance,
        seq_num: SequenceNumber(sequence),
        num_sub_entries: 0,
        inflation_dest: None,
        flags: 0,
        home_domain: String32::default(),
        thresholds: Thresholds([1, 0, 0, 0]),
        signers: VecM::default(),
        ext: AccountEntryExt::V0,
    }
}

/// What an account can spend, in stroops: its balance without the reserve and what offers bind.
pub(crate) fn available_balance(account: &AccountEntry) -> i64 {
    account.balance.saturating_sub(min_balance(account)).saturating_sub(selling(account))
}

/// What an account must keep, in stroops.
fn min_balance(account: &AccountEntry) -> i64 {
    let (sponsoring, sponsored) = sponsorship(account);

    // CAP-33: the account itself costs two reserves and each subentry one. A sponsored reserve is
    // paid by another account, a sponsoring one is paid here for another account.
    let units =
        2_i64 + i64::from(account.num_sub_entries) + i64::from(sponsoring) - i64::from(sponsored);
    units.saturating_mul(i64::from(BASE_RESERVE))
}

/// How many reserves the account pays for others, and others for it.
pub(crate) fn sponsorship(account: &AccountEntry) -> (u32, u32) {
    match &account.ext {
        AccountEntryExt::V1(v1) => match &v1.ext {
            AccountEntryExtensionV1Ext::V2(v2) => (v2.num_sponsoring, v2.num_sponsored),
            AccountEntryExtensionV1Ext::V0 => (0, 0),
        },
        AccountEntryExt::V0 => (0, 0),
    }
}

/// Counts one more subentry, if the account may have it and can pay its reserve.
pub(crate) fn add_sub_entry(account: &mut AccountEntry) -> Result<(), SubEntryFault> {
    if account.num_sub_entries >= MAX_SUB_ENTRIES {
        return Err(SubEntryFault::TooMany);
    }
    if available_balance(account) < i64::from(BASE_RESERVE) {
        return Err(SubEntryFault::LowReserve);
    }
    account.num_sub_entries += 1;
    Ok(())
}

/// Adds to the number of reserves the account pays for others; false if it cannot pay them.
pub(crate) fn sponsor(account: &mut AccountEntry, reserves: u32) -> Result<bool, Internal> {
    let needed = i64::from(BASE_RESERVE).saturating_mul(i64::from(reserves));
    if available_balance(account) < needed {
        return Ok(false);
    }

    // From here on `min_balance` counts these reserves, so that the payer cannot spend them.
    let extension = extension(account)?;
    extension.num_sponsoring = extension.num_sponsoring.saturating_add(reserves);
    Ok(true)
}

/// Takes reserves back that the account paid for others.
pub(crate) fn release(account: &mut AccountEntry, reserves: u32) -> Result<(), Internal> {
    let extension = extension(account)?;
    extension.num_sponsoring = extension.num_sponsoring.saturating_sub(reserves);
    Ok(())
}

/// Notes when the account's sequence number changed (CAP-21).
pub(crate) fn stamp_sequence(
    account: &mut AccountEntry,
    context: &Context,
) -> Result<(), Internal> {
    extension(account)?.ext = AccountEntryExtensionV2Ext::V3(AccountEntryExtensionV3 {
        ext: ExtensionPoint::V0,
        seq_ledger: context.sequence,
        seq_time: TimePoint(context.close_time),
    });
    Ok(())
}

/// Ledger and time in which the sequence number changed last.
pub(crate) fn sequence_age(account: &AccountEntry) -> (u32, u64) {
    if let AccountEntryExt::V1(v1) = &account.ext
        && let AccountEntryExtensionV1Ext::V2(v2) = &v1.ext
        && let AccountEntryExtensionV2Ext::V3(v3) = &v2.ext
    {
        return (v3.seq_ledger, v3.seq_time.0);
    }
    (0, 0)
}

/// Keeps the list of signers' sponsors as long as the list of signers, after a change at `index`.
pub(crate) fn signer_added(account: &mut AccountEntry, index: usize) -> Result<(), Internal> {
    change_sponsors(account, |sponsors| sponsors.insert(index, SponsorshipDescriptor(None)))
}

/// Removes the signer at `index` from an account that the caller writes afterwards. Its reserve is
/// free again for its payer: the account, or the signer's sponsor.
pub(crate) fn remove_signer(
    account: &mut AccountEntry,
    index: usize,
    overlay: &mut Overlay<'_>,
) -> Result<(), Internal> {
    let mut signers = account.signers.to_vec();
    if index >= signers.len() {
        return Err(Internal::Other("an account lacks the signer to remove".to_owned()));
    }
    signers.remove(index);
    account.signers = vecm(signers)?;
    account.num_sub_entries = account.num_sub_entries.saturating_sub(1);

    let mut sponsor_id = None;
    change_sponsors(account, |sponsors| {
        if index < sponsors.len() {
            sponsor_id = sponsors.remove(index).0;
        }
    })?;
    let Some(sponsor_id) = sponsor_id else { return Ok(()) };
    let extension = extension(account)?;
    extension.num_sponsored = extension.num_sponsored.saturating_sub(1);
    if let Some(mut sponsor) = overlay.account(&sponsor_id) {
        release(&mut sponsor, 1)?;
        overlay.put_account(sponsor);
    }
    Ok(())
}

/// Removes the signer that pre-authorises the transaction of this hash from each of these accounts:
/// it signs once, whatever becomes of the transaction.
pub(crate) fn remove_one_time_signer(
    hash: [u8; 32],
    accounts: impl Iterator<Item = AccountId>,
    overlay: &mut Overlay<'_>,
) -> Result<(), Internal> {
    let key = SignerKey::PreAuthTx(Uint256(hash));
    for id in accounts {
        // An account may be gone since the transaction was accepted.
        let Some(mut account) = overlay.account(&id) else { continue };
        let found = account.signers.iter().position(|signer| signer.key == key);
        if let Some(index) = found {
            remove_signer(&mut account, index, overlay)?;
            overlay.put_account(account);
        }
    }
    Ok(())
}

fn change_sponsors(
    account: &mut AccountEntry,
    change: impl FnOnce(&mut Vec<SponsorshipDescriptor>),
) -> Result<(), Internal> {
    // Without the extension there is no list to keep in step.
    if let AccountEntryExt::V1(v1) = &mut account.ext
        && let AccountEntryExtensionV1Ext::V2(v2) = &mut v1.ext
    {
        let mut sponsors = v2.signer_sponsoring_i_ds.to_vec();
        change(&mut sponsors);
        v2.signer_sponsoring_i_ds = vecm(sponsors)?;
    }
    Ok(())
}

fn selling(account: &AccountEntry) -> i64 {
    match &account.ext {
        AccountEntryExt::V1(v1) => v1.liabilities.selling,
        AccountEntryExt::V0 => 0,
    }
}

/// The second extension of an account, made if it has none yet.
fn extension(account: &mut AccountEntry) -> Result<&mut AccountEntryExtensionV2, Internal> {
    let signers = account.signers.len();
    if matches!(account.ext, AccountEntryExt::V0) {
        account.ext = AccountEntryExt::V1(AccountEntryExtensionV1 {
            liabilities: Liabilities { buying: 0, selling: 0 },
            ext: AccountEntryExtensionV1Ext::V0,
        });
    }
    let AccountEntryExt::V1(v1) = &mut account.ext else {
        return Err(Internal::Other("an account has no extension".to_owned()));
    };
    if matches!(v1.ext, AccountEntryExtensionV1Ext::V0) {
        // The protocol keeps one descriptor for each signer, in the signers' order; none is
        // sponsored yet.
        v1.ext = AccountEntryExtensionV1Ext::V2(AccountEntryExtensionV2 {
            num_sponsored: 0,
            num_sponsoring: 0,
            signer_sponsoring_i_ds: vecm(vec![SponsorshipDescriptor(None); signers])?,
            ext: AccountEntryExtensionV2Ext::V0,
        });
    }
    match &mut v1.ext {
        AccountEntryExtensionV1Ext::V2(v2) => Ok(v2),
        AccountEntryExtensionV1Ext::V0 => {
            Err(Internal::Other("an account has no second extension".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use soroban_env_host::xdr::Signer;

    use super::*;
    use crate::frame::account_of;
    use crate::state::LedgerState;

    #[test]
    fn a_removed_signer_frees_the_reserve_of_its_sponsor() {
        let (owner_id, sponsor_id) = (account_of([1; 32]), account_of([2; 32]));
        let mut owner = new_account(owner_id.clone(), 100, 0);
        let keys = [SignerKey::PreAuthTx(Uint256([7; 32])), SignerKey::HashX(Uint256([8; 32]))];
        let signers = keys.map(|key| Signer { key, weight: 1 });
        owner.signers = vecm(signers.to_vec()).unwrap();
        owner.num_sub_entries = 2;
        let paid = extension(&mut owner).unwrap();
        paid.num_sponsored = 2;
        let sponsors = vec![SponsorshipDescriptor(Some(sponsor_id.clone())); 2];
        paid.signer_sponsoring_i_ds = vecm(sponsors).unwrap();
        let mut sponsor = new_account(sponsor_id.clone(), 100, 0);
        extension(&mut sponsor).unwrap().num_sponsoring = 2;

        let state = LedgerState::default();
        let mut overlay = Overlay::new(&state, 5);
        overlay.put_account(owner);
        overlay.put_account(sponsor);
        let accounts = [owner_id.clone(), account_of([3; 32]), owner_id.clone()];
        remove_one_time_signer([7; 32], accounts.into_iter(), &mut overlay).unwrap();

        let owner = overlay.account(&owner_id).unwrap();
        assert_eq!((owner.signers.as_slice(), owner.num_sub_entries), (&signers[1..], 1));
        assert_eq!(sponsorship(&owner), (0, 1));
        assert_eq!(sponsorship(&overlay.account(&sponsor_id).unwrap()), (1, 0));
    }
}
