//! The classic operations this network carries out.

mod balances;
mod options;
mod payments;
mod trust;

use soroban_env_host::xdr::{
    AccountId, AccountMergeResult, BumpSequenceResult, ChangeTrustResult,
    ClaimClaimableBalanceResult, ClaimableBalanceId, ContractEvent, CreateAccountResult,
    CreateClaimableBalanceResult, ExtendFootprintTtlResult, Hash, InvokeHostFunctionResult,
    ManageDataResult, MuxedAccount, Operation, OperationBody, OperationResult, OperationResultTr,
    PaymentResult, RestoreFootprintResult, SetOptionsResult,
};

use crate::accounts::SubEntryFault;
use crate::error::Internal;
use crate::events::{Movement, movement_event};
use crate::frame::{Frame, account_id};
use crate::signing::Threshold;
use crate::state::Overlay;
use crate::validate::Context;

/// One classic operation in the transaction around it.
pub(crate) struct Scene<'a> {
    pub(crate) frame: &'a Frame,
    pub(crate) context: &'a Context,
    /// Position of the operation in the transaction, from 0.
    pub(crate) index: u32,
    /// The account the operation acts for, as it was written down.
    pub(crate) muxed_source: &'a MuxedAccount,
    pub(crate) source: AccountId,
}

/// What an operation came to.
enum Done {
    /// A result of its own type, and what was moved.
    Result(OperationResultTr, Option<Movement>),
    /// A fault that every operation can have.
    Fault(OperationResult),
}

/// Carries out a classic operation; the answer is its result and the events it makes.
pub(crate) fn apply_classic(
    frame: &Frame,
    (index, operation): (u32, &Operation),
    overlay: &mut Overlay<'_>,
    context: &Context,
) -> Result<(OperationResult, Vec<ContractEvent>), Internal> {
    let muxed_source = operation.source_account.as_ref().unwrap_or(&frame.tx.source_account);
    let source = account_id(muxed_source);
    let scene = Scene { frame, context, index, muxed_source, source };

    let done = match &operation.body {
        OperationBody::CreateAccount(op) => payments::create_account(&scene, op, overlay),
        OperationBody::Payment(op) => payments::pay(&scene, op, overlay),
        OperationBody::AccountMerge(destination) => payments::merge(&scene, destination, overlay),
        OperationBody::ChangeTrust(op) => trust::change(&scene, op, overlay),
        OperationBody::SetOptions(op) => options::set(&scene, op, overlay)?,
        OperationBody::ManageData(op) => options::manage_data(&scene, op, overlay),
        OperationBody::BumpSequence(op) => options::bump_sequence(&scene, op, overlay)?,
        OperationBody::CreateClaimableBalance(op) => balances::create(&scene, op, overlay)?,
        OperationBody::ClaimClaimableBalance(op) => balances::claim(&scene, op, overlay)?,
        _ => Done::Fault(OperationResult::OpNotSupported),
    };

    Ok(match done {
        Done::Fault(fault) => (fault, Vec::new()),
        Done::Result(result, movement) => {
            let event = movement
                .map(|movement| movement_event(context, &frame.tx.memo, &movement))
                .transpose()?;
            (OperationResult::OpInner(result), event.into_iter().collect())
        }
    })
}

/// The weight of signatures a classic operation needs.
pub(crate) fn threshold(body: &OperationBody) -> Threshold {
    match body {
        OperationBody::BumpSequence(_) | OperationBody::ClaimClaimableBalance(_) => Threshold::Low,
        OperationBody::AccountMerge(_) => Threshold::High,
        OperationBody::SetOptions(op) if options::changes_signing(op) => Threshold::High,
        _ => Threshold::Medium,
    }
}

/// What is wrong with a classic operation, whatever the ledger says. `Err`: its kind is not
/// carried out here.
pub(crate) fn malformed(
    body: &OperationBody,
    source: &AccountId,
) -> Result<Option<OperationResultTr>, ()> {
    Ok(match body {
        OperationBody::CreateAccount(op) => payments::malformed_account(op, source),
        OperationBody::Payment(op) => payments::malformed(op),
        OperationBody::AccountMerge(destination) => payments::malformed_merge(destination, source),
        OperationBody::ChangeTrust(op) => trust::malformed(op, source)?,
        OperationBody::SetOptions(op) => options::malformed(op, source),
        OperationBody::ManageData(op) => options::malformed_data(op),
        OperationBody::BumpSequence(op) => options::malformed_bump(op),
        OperationBody::CreateClaimableBalance(op) => balances::malformed(op),
        OperationBody::ClaimClaimableBalance(_) => None,
        _ => return Err(()),
    })
}

/// What the results say of a classic operation that passed, beside one that did not.
pub(crate) fn accepted(body: &OperationBody) -> Option<OperationResultTr> {
    Some(match body {
        OperationBody::CreateAccount(_) => {
            OperationResultTr::CreateAccount(CreateAccountResult::Success)
        }
        OperationBody::Payment(_) => OperationResultTr::Payment(PaymentResult::Success),
        OperationBody::AccountMerge(_) => {
            OperationResultTr::AccountMerge(AccountMergeResult::Success(0))
        }
        OperationBody::ChangeTrust(_) => OperationResultTr::ChangeTrust(ChangeTrustResult::Success),
        OperationBody::SetOptions(_) => OperationResultTr::SetOptions(SetOptionsResult::Success),
        OperationBody::ManageData(_) => OperationResultTr::ManageData(ManageDataResult::Success),
        OperationBody::BumpSequence(_) => {
            OperationResultTr::BumpSequence(BumpSequenceResult::Success)
        }
        OperationBody::CreateClaimableBalance(_) => {
            // Nothing is created while a transaction is only checked: the id stays zero.
            let id = ClaimableBalanceId::ClaimableBalanceIdTypeV0(Hash([0; 32]));
            OperationResultTr::CreateClaimableBalance(CreateClaimableBalanceResult::Success(id))
        }
        OperationBody::ClaimClaimableBalance(_) => {
            OperationResultTr::ClaimClaimableBalance(ClaimClaimableBalanceResult::Success)
        }
        _ => return None,
    })
}

/// Whether a result means the operation was carried out.
pub(crate) fn succeeded(result: &OperationResult) -> bool {
    matches!(
        result,
        OperationResult::OpInner(
            OperationResultTr::CreateAccount(CreateAccountResult::Success)
                | OperationResultTr::Payment(PaymentResult::Success)
                | OperationResultTr::AccountMerge(AccountMergeResult::Success(_))
                | OperationResultTr::ChangeTrust(ChangeTrustResult::Success)
                | OperationResultTr::SetOptions(SetOptionsResult::Success)
                | OperationResultTr::ManageData(ManageDataResult::Success)
                | OperationResultTr::BumpSequence(BumpSequenceResult::Success)
                | OperationResultTr::CreateClaimableBalance(CreateClaimableBalanceResult::Success(
                    _
                ))
                | OperationResultTr::ClaimClaimableBalance(ClaimClaimableBalanceResult::Success)
                | OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Success(_))
                | OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Success)
                | OperationResultTr::RestoreFootprint(RestoreFootprintResult::Success)
        )
    )
}

impl Done {
    /// A result without anything moved.
    fn plain(result: OperationResultTr) -> Self {
        Self::Result(result, None)
    }

    /// An account that cannot have one more subentry; `low_reserve` is the operation's own result.
    fn sub_entry(fault: SubEntryFault, low_reserve: OperationResultTr) -> Self {
        match fault {
            SubEntryFault::LowReserve => Self::plain(low_reserve),
            SubEntryFault::TooMany => Self::Fault(OperationResult::OpTooManySubentries),
        }
    }
}
