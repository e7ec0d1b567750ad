//! Accounts that come to be, pay each other and end.

use soroban_env_host::xdr::{
    AccountFlags, AccountId, AccountMergeResult, Asset, CreateAccountOp, CreateAccountResult,
    MuxedAccount, OperationResult, OperationResultTr, PaymentOp, PaymentResult,
};

use super::{Done, Scene};
use crate::accounts::{available_balance, new_account, sponsorship};
use crate::assets::{self, BalanceFault, change_balance};
use crate::events::{Movement, Party};
use crate::frame::account_id;
use crate::settings::BASE_RESERVE;
use crate::state::{Lookup, Overlay, account_key};

pub(super) fn malformed_account(
    op: &CreateAccountOp,
    source: &AccountId,
) -> Option<OperationResultTr> {
    (op.starting_balance < 0 || op.destination == *source)
        .then_some(OperationResultTr::CreateAccount(CreateAccountResult::Malformed))
}

pub(super) fn malformed(op: &PaymentOp) -> Option<OperationResultTr> {
    (op.amount <= 0 || !assets::is_valid(&op.asset))
        .then_some(OperationResultTr::Payment(PaymentResult::Malformed))
}

pub(super) fn malformed_merge(
    destination: &MuxedAccount,
    source: &AccountId,
) -> Option<OperationResultTr> {
    (account_id(destination) == *source)
        .then_some(OperationResultTr::AccountMerge(AccountMergeResult::Malformed))
}

pub(super) fn create_account(
    scene: &Scene<'_>,
    op: &CreateAccountOp,
    overlay: &mut Overlay<'_>,
) -> Done {
    let failed = |result| Done::plain(OperationResultTr::CreateAccount(result));
    if overlay.account(&op.destination).is_some() {
        return failed(CreateAccountResult::AlreadyExist);
    }

    // An account without balance would need somebody to sponsor its two reserves.
    if op.starting_balance < 2 * i64::from(BASE_RESERVE) {
        return failed(CreateAccountResult::LowReserve);
    }
    let Some(mut payer) = overlay.account(&scene.source) else {
        return Done::Fault(OperationResult::OpNoAccount);
    };
    if available_balance(&payer) < op.starting_balance {
        return failed(CreateAccountResult::Underfunded);
    }

    payer.balance -= op.starting_balance;
    overlay.put_account(payer);

    // Numbers begin at the ledger's: an account that is created again after a merge never uses one
    // twice.
    let sequence = i64::from(scene.context.sequence) << 32;
    overlay.put_account(new_account(op.destination.clone(), op.starting_balance, sequence));

    let movement = Movement {
        asset: Asset::Native,
        from: Party::Account(scene.muxed_source.clone()),
        to: Party::of(&op.destination),
        amount: op.starting_balance,
    };
    let result = OperationResultTr::CreateAccount(CreateAccountResult::Success);
    Done::Result(result, Some(movement))
}

pub(super) fn pay(scene: &Scene<'_>, op: &PaymentOp, overlay: &mut Overlay<'_>) -> Done {
    let result = move_payment(scene, op, overlay);
    let movement = (result == PaymentResult::Success).then(|| Movement {
        asset: op.asset.clone(),
        from: Party::Account(scene.muxed_source.clone()),
        to: Party::Account(op.destination.clone()),
        amount: op.amount,
    });
    Done::Result(OperationResultTr::Payment(result), movement)
}

fn move_payment(scene: &Scene<'_>, op: &PaymentOp, overlay: &mut Overlay<'_>) -> PaymentResult {
    let destination = account_id(&op.destination);
    let to_issuer = assets::issuer(&op.asset) == Some(&destination);

    // stellar-core does not look at the balance either when an account pays lumens to itself.
    if op.asset == Asset::Native && destination == scene.source {
        return PaymentResult::Success;
    }

    // What goes back to the issuer is burned, whether the issuer's account still exists or not.
    if !to_issuer && overlay.account(&destination).is_none() {
        return PaymentResult::NoDestination;
    }

    // The receiving side is checked first: it decides which of two faults is reported.
    if let Err(fault) = change_balance(overlay, &destination, &op.asset, op.amount) {
        return match fault {
            BalanceFault::NoAccount => PaymentResult::NoDestination,
            BalanceFault::NoTrust => PaymentResult::NoTrust,
            BalanceFault::NotAuthorized => PaymentResult::NotAuthorized,
            BalanceFault::Full | BalanceFault::Underfunded => PaymentResult::LineFull,
        };
    }
    match change_balance(overlay, &scene.source, &op.asset, -op.amount) {
        Ok(()) => PaymentResult::Success,
        Err(BalanceFault::NoTrust) => PaymentResult::SrcNoTrust,
        Err(BalanceFault::NotAuthorized) => PaymentResult::SrcNotAuthorized,
        Err(_) => PaymentResult::Underfunded,
    }
}

pub(super) fn merge(
    scene: &Scene<'_>,
    destination: &MuxedAccount,
    overlay: &mut Overlay<'_>,
) -> Done {
    let failed = |result| Done::plain(OperationResultTr::AccountMerge(result));
    let heir = account_id(destination);
    if overlay.account(&heir).is_none() {
        return failed(AccountMergeResult::NoAccount);
    }
    let Some(account) = overlay.account(&scene.source) else {
        return Done::Fault(OperationResult::OpNoAccount);
    };
    if account.flags & AccountFlags::ImmutableFlag as u32 != 0 {
        return failed(AccountMergeResult::ImmutableSet);
    }

    // Signers end with the account; any other subentry would be left without an owner.
    if usize::try_from(account.num_sub_entries).ok() != Some(account.signers.len()) {
        return failed(AccountMergeResult::HasSubEntries);
    }

    // A successor under the same key must not begin with a number that was used already.
    if account.seq_num.0 >= i64::from(scene.context.sequence) << 32 {
        return failed(AccountMergeResult::SeqnumTooFar);
    }
    if sponsorship(&account).0 > 0 {
        return failed(AccountMergeResult::IsSponsor);
    }

    let amount = account.balance;
    if change_balance(overlay, &heir, &Asset::Native, amount).is_err() {
        return failed(AccountMergeResult::DestFull);
    }
    overlay.remove(account_key(&scene.source));

    let movement = Movement {
        asset: Asset::Native,
        from: Party::Account(scene.muxed_source.clone()),
        to: Party::Account(destination.clone()),
        amount,
    };
    let result = OperationResultTr::AccountMerge(AccountMergeResult::Success(amount));
    Done::Result(result, Some(movement))
}
