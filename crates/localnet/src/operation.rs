//! The operations: what each must fulfil, and the classic ones this network carries out.

use soroban_env_host::xdr::{
    AccountEntry, AccountEntryExt, AccountId, Asset, ContractEvent, CreateAccountOp,
    CreateAccountResult, ExtendFootprintTtlResult, HostFunction, InvokeHostFunctionResult,
    Operation, OperationBody, OperationResult, OperationResultTr, PaymentOp, PaymentResult,
    RestoreFootprintResult, SequenceNumber, SorobanTransactionData, String32, Thresholds, VecM,
};

use crate::events::transfer_event;
use crate::frame::{Frame, account_id};
use crate::resources::has_lifetime;
use crate::settings::BASE_RESERVE;
use crate::signing::{SignatureChecker, Threshold};
use crate::state::{Lookup, Overlay, is_persistent};
use crate::validate::{Context, Phase, available_balance};

/// The account an operation acts for.
pub(crate) fn source_of(frame: &Frame, operation: &Operation) -> AccountId {
    operation.source_account.as_ref().map_or_else(|| frame.source(), account_id)
}

/// Checks every operation; on the first faults, the results of all of them.
pub(crate) fn check_all(
    frame: &Frame,
    view: &dyn Lookup,
    context: &Context,
    checker: &mut SignatureChecker<'_>,
    phase: Phase,
) -> Result<(), Vec<OperationResult>> {
    let mut faulty = false;
    let mut results = Vec::with_capacity(frame.tx.operations.len());
    for operation in frame.tx.operations.iter() {
        match check(frame, operation, view, context, checker, phase) {
            None => results.push(accepted(&operation.body)),
            Some(fault) => {
                faulty = true;
                results.push(fault);
            }
        }
    }
    if faulty { Err(results) } else { Ok(()) }
}

/// The result of a classic operation and the events it makes.
pub(crate) fn apply_classic(
    frame: &Frame,
    operation: &Operation,
    overlay: &mut Overlay<'_>,
    context: &Context,
) -> (OperationResult, Vec<ContractEvent>) {
    let source = source_of(frame, operation);
    let (result, transfer) = match &operation.body {
        OperationBody::CreateAccount(op) => {
            let result = create_account(&source, op, overlay, context);
            let done = result == CreateAccountResult::Success;
            let transfer = done.then(|| (op.destination.clone(), op.starting_balance));
            (OperationResultTr::CreateAccount(result), transfer)
        }
        OperationBody::Payment(op) => {
            let result = pay(&source, op, overlay);
            let done = result == PaymentResult::Success;
            let transfer = done.then(|| (account_id(&op.destination), op.amount));
            (OperationResultTr::Payment(result), transfer)
        }
        _ => return (OperationResult::OpNotSupported, Vec::new()),
    };
    let event = transfer
        .and_then(|(to, amount)| transfer_event(&context.native, &source, &to, amount).ok());
    (OperationResult::OpInner(result), event.into_iter().collect())
}

/// Whether a result means the operation was carried out.
pub(crate) fn succeeded(result: &OperationResult) -> bool {
    matches!(
        result,
        OperationResult::OpInner(
            OperationResultTr::CreateAccount(CreateAccountResult::Success)
                | OperationResultTr::Payment(PaymentResult::Success)
                | OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Success(_))
                | OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Success)
                | OperationResultTr::RestoreFootprint(RestoreFootprintResult::Success)
        )
    )
}

fn check(
    frame: &Frame,
    operation: &Operation,
    view: &dyn Lookup,
    context: &Context,
    checker: &mut SignatureChecker<'_>,
    phase: Phase,
) -> Option<OperationResult> {
    let source = source_of(frame, operation);
    let threshold = match operation.body {
        OperationBody::ExtendFootprintTtl(_) | OperationBody::RestoreFootprint(_) => Threshold::Low,
        _ => Threshold::Medium,
    };
    match view.account(&source) {
        Some(account) if !checker.account(&account, threshold) => {
            return Some(OperationResult::OpBadAuth);
        }
        Some(_) => {}
        None if phase == Phase::Apply || operation.source_account.is_none() => {
            return Some(OperationResult::OpNoAccount);
        }
        None if !checker.missing_account(&source) => return Some(OperationResult::OpBadAuth),
        None => {}
    }
    malformed(frame, operation, &source, context)
}

fn malformed(
    frame: &Frame,
    operation: &Operation,
    source: &AccountId,
    context: &Context,
) -> Option<OperationResult> {
    let data = frame.soroban();
    let limits = &context.settings.limits;
    let result = match &operation.body {
        OperationBody::CreateAccount(op) => (op.starting_balance < 0 || op.destination == *source)
            .then_some(OperationResultTr::CreateAccount(CreateAccountResult::Malformed)),
        OperationBody::Payment(op) if op.asset != Asset::Native => {
            return Some(not_supported("payment of an asset other than the native one"));
        }
        OperationBody::Payment(op) => {
            (op.amount <= 0).then_some(OperationResultTr::Payment(PaymentResult::Malformed))
        }
        OperationBody::InvokeHostFunction(op) => match &op.host_function {
            HostFunction::UploadContractWasm(wasm) => (wasm.len()
                > usize::try_from(limits.contract_bytes).unwrap_or(usize::MAX))
            .then_some(OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Malformed)),
            _ => None,
        },
        OperationBody::ExtendFootprintTtl(op) => {
            let longest = context.settings.network.max_entry_ttl.saturating_sub(1);
            (op.extend_to > longest || !extendable(data)).then_some(
                OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Malformed),
            )
        }
        OperationBody::RestoreFootprint(_) => (!restorable(data))
            .then_some(OperationResultTr::RestoreFootprint(RestoreFootprintResult::Malformed)),
        other => return Some(not_supported(other.name())),
    };
    result.map(OperationResult::OpInner)
}

fn not_supported(name: &str) -> OperationResult {
    tracing::warn!(operation = name, "refused: this network does not carry out the operation");
    OperationResult::OpNotSupported
}

fn extendable(data: Option<&SorobanTransactionData>) -> bool {
    data.is_some_and(|data| {
        let footprint = &data.resources.footprint;
        footprint.read_write.is_empty() && footprint.read_only.iter().all(has_lifetime)
    })
}

fn restorable(data: Option<&SorobanTransactionData>) -> bool {
    data.is_some_and(|data| {
        let footprint = &data.resources.footprint;
        footprint.read_only.is_empty() && footprint.read_write.iter().all(is_persistent)
    })
}

fn create_account(
    source: &AccountId,
    op: &CreateAccountOp,
    overlay: &mut Overlay<'_>,
    context: &Context,
) -> CreateAccountResult {
    if overlay.account(&op.destination).is_some() {
        return CreateAccountResult::AlreadyExist;
    }
    if op.starting_balance < 2 * i64::from(BASE_RESERVE) {
        return CreateAccountResult::LowReserve;
    }
    let Some(mut payer) = overlay.account(source) else { return CreateAccountResult::Underfunded };
    if available_balance(&payer) < op.starting_balance {
        return CreateAccountResult::Underfunded;
    }
    payer.balance -= op.starting_balance;
    overlay.put_account(payer);
    let sequence = i64::from(context.sequence) << 32;
    overlay.put_account(new_account(op.destination.clone(), op.starting_balance, sequence));
    CreateAccountResult::Success
}

fn pay(source: &AccountId, op: &PaymentOp, overlay: &mut Overlay<'_>) -> PaymentResult {
    let destination = account_id(&op.destination);
    let Some(mut payee) = overlay.account(&destination) else {
        return PaymentResult::NoDestination;
    };
    if destination == *source {
        return PaymentResult::Success;
    }
    let Some(mut payer) = overlay.account(source) else { return PaymentResult::Underfunded };
    if available_balance(&payer) < op.amount {
        return PaymentResult::Underfunded;
    }
    let Some(balance) = payee.balance.checked_add(op.amount) else {
        return PaymentResult::LineFull;
    };
    payer.balance -= op.amount;
    payee.balance = balance;
    overlay.put_account(payer);
    overlay.put_account(payee);
    PaymentResult::Success
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

/// What stands in the results beside a faulty operation.
fn accepted(body: &OperationBody) -> OperationResult {
    OperationResult::OpInner(match body {
        OperationBody::CreateAccount(_) => {
            OperationResultTr::CreateAccount(CreateAccountResult::Success)
        }
        OperationBody::Payment(_) => OperationResultTr::Payment(PaymentResult::Success),
        OperationBody::InvokeHostFunction(_) => {
            OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Trapped)
        }
        OperationBody::ExtendFootprintTtl(_) => {
            OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Success)
        }
        OperationBody::RestoreFootprint(_) => {
            OperationResultTr::RestoreFootprint(RestoreFootprintResult::Success)
        }
        _ => return OperationResult::OpNotSupported,
    })
}
