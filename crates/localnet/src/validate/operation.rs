//! The single operations of a transaction: who must sign them, and whether they make sense.

use soroban_env_host::xdr::{
    AccountId, ContractIdPreimage, DiagnosticEvent, ExtendFootprintTtlOp, ExtendFootprintTtlResult,
    HostFunction, InvokeHostFunctionResult, LedgerFootprint, Operation, OperationBody,
    OperationResult, OperationResultTr, RestoreFootprintResult, ScError, ScErrorCode, ScVal,
};

use super::context::{Context, Faults, Phase};
use super::diagnostics::error_event;
use super::resources::has_lifetime;
use crate::assets::is_valid as is_asset_valid;
use crate::classic;
use crate::frame::{Frame, account_id, is_soroban};
use crate::signing::{SignatureChecker, Threshold};
use crate::state::{Lookup, is_persistent};

/// Why an operation is malformed: the text, and the values it speaks of.
type Reason = (ScError, &'static str, Vec<ScVal>);

/// The account an operation acts for.
pub(crate) fn source_of(frame: &Frame, operation: &Operation) -> AccountId {
    operation.source_account.as_ref().map_or_else(|| frame.source(), account_id)
}

/// Checks the operations; if one has a fault, the answer has a result for each of them.
pub(super) fn check_all(
    frame: &Frame,
    view: &dyn Lookup,
    (context, phase): (&Context, Phase),
    checker: &mut SignatureChecker<'_>,
) -> Result<(), Faults> {
    let mut faulty = false;
    let mut faults = Faults { results: Vec::new(), diagnostics: Vec::new() };
    for operation in frame.tx.operations.iter() {
        // As in stellar-core: before the queue takes a transaction, only its first fault is looked
        // for; when it is applied, the signatures of all operations are checked.
        let is_checked = !faulty || phase == Phase::Apply;
        let fault = if is_checked { check(frame, operation, view, context, checker) } else { None };
        match fault {
            None => faults.results.push(accepted(&operation.body)),
            Some(fault) => {
                faulty = true;
                faults.diagnostics.extend(explain(frame, &operation.body, context));
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
    let invalid = || invalid_soroban(frame, &operation.body, context);
    let result = match &operation.body {
        OperationBody::InvokeHostFunction(_) => invalid()
            .map(|_| OperationResultTr::InvokeHostFunction(InvokeHostFunctionResult::Malformed)),
        OperationBody::ExtendFootprintTtl(_) => invalid()
            .map(|_| OperationResultTr::ExtendFootprintTtl(ExtendFootprintTtlResult::Malformed)),
        OperationBody::RestoreFootprint(_) => invalid()
            .map(|_| OperationResultTr::RestoreFootprint(RestoreFootprintResult::Malformed)),
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

/// Why a Soroban operation cannot be carried out at all, in stellar-core's words. Others have no
/// such words.
fn invalid_soroban(frame: &Frame, body: &OperationBody, context: &Context) -> Option<Reason> {
    // A Soroban operation without this part was refused before its operations are checked.
    let footprint = &frame.soroban()?.resources.footprint;
    match body {
        OperationBody::InvokeHostFunction(op) => invalid_function(&op.host_function, context),
        OperationBody::ExtendFootprintTtl(op) => invalid_extension(op, footprint, context),
        OperationBody::RestoreFootprint(_) => invalid_restoration(footprint),
        _ => None,
    }
}

fn invalid_extension(
    op: &ExtendFootprintTtlOp,
    footprint: &LedgerFootprint,
    context: &Context,
) -> Option<Reason> {
    let error = ScError::Storage(ScErrorCode::InvalidInput);
    if !footprint.read_write.is_empty() {
        let text = "read-write footprint must be empty for ExtendFootprintTTL operation";
        return Some((error, text, Vec::new()));
    }
    if !footprint.read_only.iter().all(has_lifetime) {
        let text = "only entries with TTL (contract data or code entries) can have it extended";
        return Some((error, text, Vec::new()));
    }
    let longest = context.settings.network.max_entry_ttl.saturating_sub(1);
    (op.extend_to > longest).then(|| {
        let values = vec![ScVal::U64(op.extend_to.into()), ScVal::U64(longest.into())];
        (error, "TTL extension is too large: {} > {}", values)
    })
}

fn invalid_restoration(footprint: &LedgerFootprint) -> Option<Reason> {
    let error = ScError::Storage(ScErrorCode::InvalidInput);
    if !footprint.read_only.is_empty() {
        let text = "read-only footprint must be empty for RestoreFootprint operation";
        return Some((error, text, Vec::new()));
    }
    (!footprint.read_write.iter().all(is_persistent))
        .then(|| (error, "only persistent Soroban entries can be restored", Vec::new()))
}

fn invalid_function(function: &HostFunction, context: &Context) -> Option<Reason> {
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
fn explain(frame: &Frame, body: &OperationBody, context: &Context) -> Option<DiagnosticEvent> {
    match body {
        body if is_soroban(body) => {
            let (error, text, values) = invalid_soroban(frame, body, context)?;
            Some(error_event(error, text, values))
        }
        body if classic::accepted(body).is_some() => None,
        body => {
            let text = format!("this network does not carry out {} operations", body.name());
            Some(error_event(ScError::Value(ScErrorCode::InvalidAction), &text, Vec::new()))
        }
    }
}

/// What the results say of an operation in which no fault was found, beside one in which there is
/// one.
fn accepted(body: &OperationBody) -> OperationResult {
    let result = match body {
        // Its success carries a hash that only the application knows; the first code takes its
        // place.
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
