//! The digests that others must be able to recompute. `README.md` beside the contracts has them
//! byte by byte; `vectors/` has examples.

use soroban_sdk::xdr::ToXdr;
use soroban_sdk::{Address, Bytes, BytesN, Env, IntoVal, Val, Vec};

use crate::types::{Head, Meters, SettledRun, Terms};

const RUN_DOMAIN: &[u8; 12] = b"lumio-run-v1";
const RECEIPT_DOMAIN: &[u8; 16] = b"lumio-receipt-v1";
const SETTLE_DOMAIN: &[u8; 15] = b"lumio-settle-v1";

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

/// What of an opening's arguments the id does not fix already. `valid_until` and `max_charge` may
/// differ in a repeat: both only limit the call that states them.
pub(crate) fn arguments(
    env: &Env,
    agent_id: u32,
    rate_version: u32,
    budgets: &Meters,
    runner_fee: u64,
    request_hash: &BytesN<32>,
) -> BytesN<32> {
    let fixed = (agent_id, rate_version, budgets.clone(), runner_fee, request_hash.clone());
    sha256(env, &fixed.to_xdr(env))
}

/// The digest that a record keeps of its terms: of a vector, the data of the opened event after the
/// run's id.
pub(crate) fn terms(env: &Env, terms: &Terms) -> BytesN<32> {
    sha256(env, &terms_data(terms).to_xdr(env))
}

/// The terms as the opened event has them after the run's id.
type TermsData = (Address, Address, Head, Meters, i128, i128, u64, u64, BytesN<32>);

fn terms_data(terms: &Terms) -> TermsData {
    (
        terms.user.clone(),
        terms.opened_by.clone(),
        terms.head.clone(),
        terms.budgets.clone(),
        terms.max_charge.into(),
        terms.runner_fee.into(),
        terms.deadline,
        terms.opened_at,
        terms.request_hash.clone(),
    )
}

/// What an attester signs (V16): that this run's execution, of exactly this module for exactly this
/// request, used these units. Fixed width, so no two settlements share their bytes.
pub(crate) fn attested(
    env: &Env,
    run_id: &BytesN<32>,
    manifest_hash: &BytesN<32>,
    request_hash: &BytesN<32>,
    usage: &Meters,
) -> BytesN<32> {
    let mut text = Bytes::from_slice(env, SETTLE_DOMAIN);
    text.append(run_id.as_ref());
    text.append(manifest_hash.as_ref());
    text.append(request_hash.as_ref());
    for units in [usage.0, usage.1, usage.2, usage.3] {
        text.extend_from_array(&units.to_be_bytes());
    }
    sha256(env, &text)
}

/// By what a repeated settlement is known, beside the output hash.
pub(crate) fn settlement(
    env: &Env,
    settler: &Address,
    usage: &Meters,
    is_attested: bool,
) -> BytesN<32> {
    sha256(env, &(settler.clone(), usage.clone(), is_attested).to_xdr(env))
}

/// What the signer of a batch authorises (V18): everything in it, as one digest.
pub(crate) fn batch<H, I>(
    env: &Env,
    caller: &Address,
    valid_until: u64,
    heads: &Vec<H>,
    items: &Vec<I>,
) -> BytesN<32>
where
    Vec<H>: IntoVal<Env, Val>,
    Vec<I>: IntoVal<Env, Val>,
{
    let heads: Val = heads.into_val(env);
    let items: Val = items.into_val(env);
    sha256(env, &(caller.clone(), valid_until, heads, items).to_xdr(env))
}

/// The key of a grant's entry, shorter than what it is made of.
pub(crate) fn grant(env: &Env, user: &Address, runner: &Address, agent_id: u32) -> BytesN<32> {
    sha256(env, &(user.clone(), runner.clone(), agent_id).to_xdr(env))
}

/// The digest of one receipt.
pub(crate) fn receipt(env: &Env, settled: &SettledRun) -> BytesN<32> {
    let data = (
        settled.run_id.clone(),
        terms_data(&settled.terms),
        settled.settled_by.clone(),
        settled.usage.clone(),
        settled.output_hash.clone(),
        settled.actual_charge,
        settled.runner_fee,
        settled.refund,
        settled.finalized_at,
    );
    sha256(env, &data.to_xdr(env))
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
    text.append(receipt(env, settled).as_ref());
    sha256(env, &text)
}

fn sha256(env: &Env, text: &Bytes) -> BytesN<32> {
    env.crypto().sha256(text).to_bytes()
}
