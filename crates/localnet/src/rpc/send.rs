//! `sendTransaction`.

use serde::Deserialize;
use serde_json::{Value, json};
use soroban_env_host::xdr::TransactionEnvelope;

use super::reads::{encode, encode_diagnostics};
use super::{Answer, RpcError, check_format, params};
use crate::node::Node;
use crate::queue;
use crate::xdr;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    transaction: String,
    xdr_format: Option<String>,
}

pub(super) fn send_transaction(node: &Node, value: Value) -> Answer {
    let request: Request = params(value)?;
    check_format(request.xdr_format.as_deref())?;
    let envelope: TransactionEnvelope =
        xdr::decode(&request.transaction).map_err(|_| RpcError::invalid_params("invalid_xdr"))?;
    let view = node.view();
    let (hash, answer) = node.submit(envelope).map_err(RpcError::internal)?;
    let status = match &answer {
        queue::Answer::Pending => "PENDING",
        queue::Answer::Duplicate => "DUPLICATE",
        queue::Answer::TryAgainLater => "TRY_AGAIN_LATER",
        queue::Answer::Error { .. } => "ERROR",
    };
    tracing::debug!(hash = hex::encode(hash), status, "sendTransaction");
    let mut response = json!({
        "status": status,
        "hash": hex::encode(hash),
        "latestLedger": view.sequence(),
        "latestLedgerCloseTime": view.close_time().to_string(),
    });
    if let queue::Answer::Error { result, diagnostics } = answer {
        response["errorResultXdr"] = json!(encode(result.as_ref())?);
        if !diagnostics.is_empty() {
            response["diagnosticEventsXdr"] = json!(encode_diagnostics(&diagnostics)?);
        }
    }
    Ok(response)
}
