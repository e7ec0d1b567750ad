//! The running hash over receipts against vectors that were made without this code, from the
//! interface page alone.

use super::std::string::String as Text;
use super::std::vec::Vec as List;

use serde::Deserialize;
use soroban_sdk::String;

use super::*;
use crate::{digest, types};

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

fn address(f: &Fixture, text: &str) -> Address {
    Address::from_string(&String::from_str(&f.env, text))
}

fn hash(f: &Fixture, text: &str) -> BytesN<32> {
    BytesN::from_array(&f.env, &hex::decode(text).unwrap().try_into().unwrap())
}

fn breakdown(of: &Meters) -> types::Meters {
    let Meters { llm_in, llm_out, http_calls, runtime_ms } = of;
    types::Meters(number(llm_in), number(llm_out), number(http_calls), number(runtime_ms))
}

fn terms(f: &Fixture, of: &Terms) -> types::Terms {
    let head = Head(
        of.agent_id,
        of.rate_version,
        breakdown(&of.rates),
        address(f, &of.developer),
        hash(f, &of.manifest_hash),
        Vec::from_iter(&f.env, of.attesters.iter().map(|key| hash(f, key))),
    );
    types::Terms {
        user: address(f, &of.user),
        opened_by: address(f, &of.opened_by),
        head,
        budgets: breakdown(&of.budgets),
        max_charge: number(&of.max_charge),
        runner_fee: number(&of.runner_fee),
        deadline: number(&of.deadline),
        opened_at: number(&of.opened_at),
        request_hash: hash(f, &of.request_hash),
    }
}

fn settled(f: &Fixture, of: &Receipt) -> types::SettledRun {
    types::SettledRun {
        run_id: hash(f, &of.run_id),
        terms: terms(f, &of.terms),
        settled_by: address(f, &of.settled_by),
        usage: breakdown(&of.usage),
        output_hash: hash(f, &of.output_hash),
        actual_charge: number(&of.actual_charge),
        runner_fee: number(&of.runner_fee),
        refund: number(&of.refund),
        finalized_at: number(&of.finalized_at),
    }
}

#[test]
fn the_running_hash_is_that_of_the_vectors() {
    let f = Fixture::new();
    let vectors: List<Vector> =
        serde_json::from_str(include_str!("../../../vectors/receipts.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    let mut before = f.bytes(0);
    for vector in vectors {
        let run = settled(&f, &vector.receipt);
        let escrow = ESCROW + number::<i128>(&vector.receipt.terms.runner_fee);
        assert_eq!(run.actual_charge + run.runner_fee + run.refund, escrow);
        assert_eq!(hex::encode(digest::terms(&f.env, &run.terms).to_array()), vector.terms_hash);
        let sum = digest::receipt(&f.env, &run).to_array();
        assert_eq!(hex::encode(sum), vector.receipt_xdr_sha256);
        before = digest::receipts(&f.env, &before, number(&vector.receipt_number), &run);
        assert_eq!(hex::encode(before.to_array()), vector.receipts_hash);
    }
}
