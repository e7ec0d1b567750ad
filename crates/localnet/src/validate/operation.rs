//! The single operations of a transaction: who must sign them, and whether they make sense.

use soroban_env_host::xdr::{
    AccountId, ContractIdPreimage, DiagnosticEvent, ExtendFootprintTtlResult, HostFunction,
    InvokeHostFunctionResult, Operation, OperationBody, OperationResult, OperationResultTr,
    RestoreFootprintResult, ScError, ScErrorCode, ScVal, SorobanTransactionData,
};

use super::context::{Context, Faults};
use super::diagnostics::error_event;
use super::resources::has_lifetime;
use crate::assets::is_valid as is_asset_valid;
use crate::classic;
use crate::frame::{Frame, account_id};
use crate::signing::{SignatureChecker, Threshold};
use crate::state::{Lookup, is_persistent};

/// The account an operation acts for.
pub(crate) fn source_of(frame: &Frame, operation: &Operation) -> AccountId {
    operation.source_account.as_ref().map_or_else(|| frame.source(), account_id)
}

/// Checks every operation; on the first faults, the results of all of them.
pub(super) fn check_all(
    frame: &Frame,
    view: &dyn Lookup,
    context: &Context,
    checker: &mut SignatureChecker<'_>,
) -> Result<(), Faults> {
    let mut faulty = false;
    let mut faults = Faults { results: Vec::new(), diagnostics: Vec::new() };
    for operation in frame.tx.operations.iter() {
        match check(frame, operation, view, context, checker) {
            None => faults.results.push(accepted(&operation.body)),
            Some(fault) => {
                faulty = true;
                faults.diagnostics.extend(explain(&operation.body, context));
                faults.results.push(fault);
            }
        }
    }
    if faulty { Err(faults) } else { Ok(()) }
}

fn check(
    frame: &Frame,
    operation: &Operation,
    view: &dyn Lookup,
    context: &Context,
    checker: &mut SignatureChecker<'_>,
) -> Option<OperationResult> {
    let source = source_of(frame, operation);
    let threshold = match &operation.body {
        OperationBody::ExtendFootprintTtl(_) | OperationBody::RestoreFootprint(_) => Threshold::Low,
        body => classic::threshold(body),
    };
    match view.account(&source) {
        Some(account) if !checker.account(&account, threshold) => {
            return Some(OperationResult::OpBadAuth);
        }
        Some(_) => {}
        None if operation.source_account.is_none() => {
            return Some(OperationResult::OpNoAccount);
        }
        // An operation before this one may create the account; only its key can have signed.
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
    let result = match &operation.body {
        OperationBody::InvokeHostFunction(op) => invalid_function(&op.host_function, context)
            .map(|_| OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Malformed)),
        OperationBody::ExtendFootprintTtl(op) => {
            let longest = context.settings.network.max_entry_ttl.saturating_sub(1);
            (op.extend_to > longest || !extendable(data)).then_some(
                OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Malformed),
            )
        }
        OperationBody::RestoreFootprint(_) => (!restorable(data))
            .then_some(OperationResultTr::RestoreFootprint(RestoreFootprintResult::Malformed)),
        body => match classic::malformed(body, source) {
            Ok(fault) => fault,
            Err(()) => {
                let name = body.name();
                tracing::warn!(
                    operation = name,
                    "refused: this network does not carry out the operation"
                );
                return Some(OperationResult::OpNotSupported);
            }
        },
    };
    result.map(OperationResult::OpInner)
}

/// Why a host function cannot be called at all: the text, and the values it speaks of.
fn invalid_function(
    function: &HostFunction,
    context: &Context,
) -> Option<(ScError, &'static str, Vec<ScVal>)> {
    match function {
        HostFunction::UploadContractWasm(wasm) => {
            let limit = context.settings.limits.contract_bytes;
            let size = u32::try_from(wasm.len()).unwrap_or(u32::MAX);
            let text = "uploaded Wasm size exceeds network config maximum contract size";
            (size > limit).then(|| {
                let values = vec![ScVal::U64(size.into()), ScVal::U64(limit.into())];
                (ScError::Budget(ScErrorCode::ExceededLimit), text, values)
            })
        }
        HostFunction::CreateContract(create) => match &create.contract_id_preimage {
            ContractIdPreimage::Asset(asset) if !is_asset_valid(asset) => {
                let error = ScError::Value(ScErrorCode::InvalidInput);
                Some((error, "invalid asset to create contract from", Vec::new()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The diagnostic event for a faulty operation, or for one that is not carried out here.
fn explain(body: &OperationBody, context: &Context) -> Option<DiagnosticEvent> {
    match body {
        OperationBody::InvokeHostFunction(op) => {
            let (error, text, values) = invalid_function(&op.host_function, context)?;
            Some(error_event(error, text, values))
        }
        OperationBody::ExtendFootprintTtl(_) | OperationBody::RestoreFootprint(_) => None,
        body if classic::accepted(body).is_some() => None,
        body => {
            let text = format!("this network does not carry out {} operations", body.name());
            Some(error_event(ScError::Value(ScErrorCode::InvalidAction), &text, Vec::new()))
        }
    }
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

/// What the results say of an operation that passed, beside one that did not.
fn accepted(body: &OperationBody) -> OperationResult {
    let result = match body {
        // Its success carries a hash that only the application knows; the first code stands in.
        OperationBody::InvokeHostFunction(_) => {
            OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Trapped)
        }
        OperationBody::ExtendFootprintTtl(_) => {
            OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Success)
        }
        OperationBody::RestoreFootprint(_) => {
            OperationResultTr::RestoreFootprint(RestoreFootprintResult::Success)
        }
        body => match classic::accepted(body) {
            Some(result) => result,
            None => return OperationResult::OpNotSupported,
        },
    };
    OperationResult::OpInner(result)
}
