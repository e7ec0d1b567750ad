//! The digests others must be able to recompute. `README.md` beside the contracts has them byte by
//! byte, `vectors/run_id.json` has examples.

use soroban_sdk::xdr::ToXdr;
use soroban_sdk::{Address, Bytes, BytesN, Env};

use crate::types::{OpenRun, RunTerms, SettledRun, UsageBreakdown};

const RUN_DOMAIN: &[u8; 12] = b"lumio-run-v1";
const RECEIPT_DOMAIN: &[u8; 16] = b"lumio-receipt-v1";

/// The run's id. It names network, vault, payer and opener, so nobody can take another's (V4).
pub(crate) fn run_id(
    env: &Env,
    user: &Address,
    caller: &Address,
    nonce: &BytesN<32>,
    deadline: u64,
) -> BytesN<32> {
    let mut text = Bytes::from_slice(env, RUN_DOMAIN);
    text.append(&env.ledger().network_id().into());
    text.append(&env.current_contract_address().to_xdr(env));
    text.append(&user.to_xdr(env));
    text.append(&caller.to_xdr(env));
    text.append(nonce.as_ref());
    text.extend_from_array(&deadline.to_be_bytes());
    sha256(env, &text)
}

/// What of an open's arguments the id doesn't fix already; `valid_until` may differ in a repeat.
pub(crate) fn arguments(env: &Env, run: &OpenRun) -> BytesN<32> {
    let fixed = (
        run.agent_id,
        run.rate_version,
        run.budgets.clone(),
        run.max_charge,
        run.runner_fee,
        run.request_hash.clone(),
    );
    sha256(env, &fixed.to_xdr(env))
}

/// The digest a record keeps of its terms.
pub(crate) fn terms(env: &Env, terms: &RunTerms) -> BytesN<32> {
    sha256(env, &terms.to_xdr(env))
}

/// By what a repeated settlement is known, beside the output hash.
pub(crate) fn settlement(env: &Env, settler: &Address, usage: &UsageBreakdown) -> BytesN<32> {
    sha256(env, &(settler.clone(), usage.clone()).to_xdr(env))
}

/// The account's running hash after its receipt number `number` (V3).
pub(crate) fn receipts(
    env: &Env,
    before: &BytesN<32>,
    number: u64,
    settled: &SettledRun,
) -> BytesN<32> {
    let mut text = Bytes::from_slice(env, RECEIPT_DOMAIN);
    text.append(before.as_ref());
    text.extend_from_array(&number.to_be_bytes());
    text.append(sha256(env, &settled.to_xdr(env)).as_ref());
    sha256(env, &text)
}

fn sha256(env: &Env, text: &Bytes) -> BytesN<32> {
    env.crypto().sha256(text).to_bytes()
}
