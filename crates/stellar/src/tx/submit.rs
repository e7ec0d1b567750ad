//! Send and wait, for a person at a command line. A service keeps its own books instead (R13).

use std::time::Duration;

use tokio::time::sleep;

use super::{PrepareRequest, Prepared, prepare};
use crate::rpc::{Applied, Outcome, SendAnswer};
use crate::{ChainError, ContractKind, Rpc};

/// How often the fate is asked for.
const POLL: Duration = Duration::from_millis(300);

/// Prepares, sends, and polls until the transaction is applied or certainly is not.
///
/// # Errors
///
/// Those of [`prepare`]; [`ChainError::Contract`] when the call failed on the ledger by a
/// contract's error; [`ChainError::Transaction`] when it failed otherwise, was rejected, or did not
/// appear before its last moment. An RPC that stops answering after the send is
/// [`ChainError::Rpc`]: the transaction's fate is then unknown.
pub async fn submit_and_wait(
    rpc: &Rpc,
    request: &PrepareRequest<'_>,
) -> Result<Applied, ChainError> {
    let prepared = prepare(rpc, request).await?;
    let mut sent = rpc.send(request.network, &prepared.envelope).await?;
    // Of the first answer only: to a later send of the same hash it proves nothing (R13).
    if let SendAnswer::Rejected(rejection) = &sent
        && rejection.definite
    {
        return Err(failure(
            &prepared,
            format!("rejected with {}; nothing was done", rejection.code),
        ));
    }
    loop {
        sleep(POLL).await;
        let status = rpc.transaction(&prepared.hash).await?;
        match &status.outcome {
            Outcome::Applied(applied) => return judge(&prepared, request, applied),
            // The node has every ledger since the signing, and the last moment has passed.
            Outcome::NotFound if status.proves_absent(prepared.max_time, prepared.ledger) => {
                return Err(failure(
                    &prepared,
                    "was not applied before its last moment; nothing was done; try again"
                        .to_owned(),
                ));
            }
            Outcome::NotFound => {}
        }
        // The same bytes, so the same hash: it can be applied once at most.
        if sent == SendAnswer::TryAgainLater {
            sent = rpc.send(request.network, &prepared.envelope).await?;
        }
    }
}

fn judge(
    prepared: &Prepared,
    request: &PrepareRequest<'_>,
    applied: &Applied,
) -> Result<Applied, ChainError> {
    if applied.success {
        return Ok(applied.clone());
    }
    let kind: ContractKind = request.call.kind();
    match applied.contract_error(kind) {
        Some(error) => {
            Err(ChainError::Contract { function: request.call.name().to_owned(), error })
        }
        None => Err(failure(
            prepared,
            format!("failed in ledger {} with {}", applied.ledger, applied.code),
        )),
    }
}

fn failure(prepared: &Prepared, reason: String) -> ChainError {
    ChainError::Transaction { hash: prepared.hash.to_string(), reason }
}
