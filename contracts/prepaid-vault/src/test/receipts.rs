//! The running hash over receipts against vectors that were made without this code, from the
//! interface page alone.

use super::std::string::String as Text;
use super::std::vec::Vec as List;

use serde::Deserialize;
use soroban_sdk::String;
use soroban_sdk::xdr::ToXdr;

use super::*;
use crate::digest;

#[derive(Deserialize)]
struct Vector {
    receipt_number: Text,
    receipt: Receipt,
    terms_hash: Text,
    receipt_xdr_sha256: Text,
    receipts_hash: Text,
}

#[derive(Deserialize)]
struct Receipt {
    run_id: Text,
    terms: Terms,
    settled_by: Text,
    usage: Meters,
    output_hash: Text,
    actual_charge: Text,
    runner_fee: Text,
    refund: Text,
    finalized_at: Text,
}

#[derive(Deserialize)]
struct Terms {
    user: Text,
    opened_by: Text,
    agent_id: u32,
    rate_version: u32,
    rates: Meters,
    budgets: Meters,
    max_charge: Text,
    runner_fee: Text,
    deadline: Text,
    opened_at: Text,
    developer: Text,
    manifest_hash: Text,
    request_hash: Text,
    attesters: List<Text>,
}

#[derive(Deserialize)]
struct Meters {
    llm_in: Text,
    llm_out: Text,
    http_calls: Text,
    runtime_ms: Text,
}

fn number<T: core::str::FromStr<Err: core::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn address(w: &World, text: &str) -> Address {
    Address::from_string(&String::from_str(&w.env, text))
}

fn hash(w: &World, text: &str) -> BytesN<32> {
    BytesN::from_array(&w.env, &hex::decode(text).unwrap().try_into().unwrap())
}

fn breakdown(of: &Meters) -> UsageBreakdown {
    let Meters { llm_in, llm_out, http_calls, runtime_ms } = of;
    units(number(llm_in), number(llm_out), number(http_calls), number(runtime_ms))
}

fn terms(w: &World, of: &Terms) -> RunTerms {
    let UsageBreakdown { llm_in, llm_out, http_calls, runtime_ms } = breakdown(&of.rates);
    RunTerms {
        user: address(w, &of.user),
        opened_by: address(w, &of.opened_by),
        agent_id: of.agent_id,
        rate_version: of.rate_version,
        rates: UsageMeterRates { llm_in, llm_out, http_calls, runtime_ms },
        budgets: breakdown(&of.budgets),
        max_charge: number(&of.max_charge),
        runner_fee: number(&of.runner_fee),
        deadline: number(&of.deadline),
        opened_at: number(&of.opened_at),
        developer: address(w, &of.developer),
        manifest_hash: hash(w, &of.manifest_hash),
        request_hash: hash(w, &of.request_hash),
        attesters: Vec::from_iter(&w.env, of.attesters.iter().map(|key| hash(w, key))),
    }
}

fn settled(w: &World, of: &Receipt) -> SettledRun {
    SettledRun {
        run_id: hash(w, &of.run_id),
        terms: terms(w, &of.terms),
        settled_by: address(w, &of.settled_by),
        usage: breakdown(&of.usage),
        output_hash: hash(w, &of.output_hash),
        actual_charge: number(&of.actual_charge),
        runner_fee: number(&of.runner_fee),
        refund: number(&of.refund),
        finalized_at: number(&of.finalized_at),
    }
}

#[test]
fn the_running_hash_is_that_of_the_vectors() {
    let w = World::new();
    let vectors: List<Vector> =
        serde_json::from_str(include_str!("../../../vectors/receipts.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    let mut before = w.bytes(0);
    for vector in vectors {
        let run = settled(&w, &vector.receipt);
        assert_eq!(run.actual_charge + run.runner_fee + run.refund, ESCROW + run.terms.runner_fee);
        let of = digest::terms(&w.env, &run.terms);
        assert_eq!(hex::encode(of.to_array()), vector.terms_hash);
        let xdr = run.clone().to_xdr(&w.env);
        let sum = w.env.crypto().sha256(&xdr).to_array();
        assert_eq!(hex::encode(sum), vector.receipt_xdr_sha256);
        before = digest::receipts(&w.env, &before, number(&vector.receipt_number), &run);
        assert_eq!(hex::encode(before.to_array()), vector.receipts_hash);
    }
}
