//! Digests that others recompute, and sizes that were promised.

use std::string::String as Text;
use std::vec::Vec as List;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use soroban_sdk::testutils::{Ledger as _, Register as _};
use soroban_sdk::xdr::ToXdr;
use soroban_sdk::{String, Val};

use super::*;
use crate::{digest, storage};

const USER: &str = "GACPRGLNU5R3PKLJWEBI5YYAOVU6V45GGVEG3WVSCHKRFSC3TX4PXOOL";
const RUNNER: &str = "GBJHVKPUGFJZ3KHBKHKUGTI5LZQR3FZ7MAOY5FYHSCECMJCVIFDLBSAP";

/// One line of the vectors, which were made without this code.
#[derive(Deserialize)]
struct Vector {
    network_passphrase: Text,
    network_id: Text,
    vault: Text,
    user: Text,
    caller: Text,
    uuid: Text,
    attempt: u32,
    nonce: Text,
    deadline: Text,
    run_id: Text,
}

#[test]
fn run_ids_are_those_of_the_vectors() {
    let vectors: List<Vector> =
        serde_json::from_str(include_str!("../../../vectors/run_id.json")).unwrap();
    assert_eq!(vectors.len(), 5);
    for vector in vectors {
        let network_id = Sha256::digest(vector.network_passphrase.as_bytes());
        assert_eq!(hex::encode(network_id), vector.network_id);
        let mut nonce = hex::decode(vector.uuid.replace('-', "")).unwrap();
        nonce.extend(vector.attempt.to_be_bytes());
        let nonce: [u8; 32] = Sha256::digest(&nonce).into();
        assert_eq!(hex::encode(nonce), vector.nonce);

        let env = Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false });
        env.ledger().with_mut(|ledger| ledger.network_id = network_id.into());
        let address = |text: &str| Address::from_string(&String::from_str(&env, text));
        let vault = address(&vector.vault);
        let nobody = address(RUNNER);
        let arguments = (nobody.clone(), nobody.clone(), nobody);
        PrepaidVault.register(&env, Some(&vault), arguments);
        let (user, caller) = (address(&vector.user), address(&vector.caller));
        let nonce = BytesN::from_array(&env, &nonce);
        let deadline = vector.deadline.parse().unwrap();
        let run_id =
            env.as_contract(&vault, || digest::run_id(&env, &user, &caller, &nonce, deadline));
        assert_eq!(hex::encode(run_id.to_array()), vector.run_id);
    }
}

#[test]
fn an_open_answers_the_derived_id() {
    let w = World::ready();
    let terms = w.terms(1);
    let derived = w.env.as_contract(&w.vault.address, || {
        digest::run_id(&w.env, &w.user, &w.runner, &terms.nonce, terms.deadline)
    });
    assert_eq!(w.try_open(&terms), Ok(derived));
}

#[test]
fn the_running_hash_proves_every_receipt_from_the_users_list() {
    let w = World::ready();
    assert_eq!(w.vault.account(&w.user).receipts_hash, w.bytes(0));
    let mut hash = [0; 32];
    for number in 1..=3u8 {
        let (run_id, terms) = w.opened(number);
        w.at(w.env.ledger().timestamp() + 7);
        let receipt = w.settle(&(run_id.clone(), terms.clone())).unwrap();
        let head = Head(
            terms.agent_id,
            terms.rate_version,
            Meters(10_000, 20_000, 10_000_000, 1),
            terms.developer.clone(),
            terms.manifest_hash.clone(),
            terms.attesters.clone(),
        );
        let pinned = (
            terms.user.clone(),
            terms.opened_by.clone(),
            head,
            Meters(100, 50, 1, 1000),
            terms.max_charge,
            terms.runner_fee,
            terms.deadline,
            terms.opened_at,
            terms.request_hash.clone(),
        );
        let settled = (
            run_id.clone(),
            pinned,
            w.runner.clone(),
            metered(),
            w.bytes(9),
            receipt.actual_charge,
            receipt.runner_fee,
            receipt.refund,
            w.env.ledger().timestamp(),
        );
        let text: List<u8> = settled.to_xdr(&w.env).iter().collect();
        let mut chain = Sha256::new();
        chain.update(b"lumio-receipt-v1");
        chain.update(hash);
        chain.update(u64::from(number).to_be_bytes());
        chain.update(Sha256::digest(&text));
        hash = chain.finalize().into();
        let account = w.vault.account(&w.user);
        assert_eq!(account.receipts, u64::from(number));
        assert_eq!(account.receipts_hash.to_array(), hash);
    }
    w.vault.void_run(&w.open(9), &w.runner, &0, &u64::MAX);
    assert_eq!(w.vault.account(&w.user).receipts_hash.to_array(), hash);
}

#[test]
fn a_record_takes_at_most_350_bytes() {
    let w = World::ready();
    let address = |text: &str| Address::from_string(&String::from_str(&w.env, text));
    let id = w.open(1);
    let open =
        RunRecord { user: address(USER), opened_by: address(RUNNER), ..w.vault.get_run(&id) };
    let size = |lifecycle: RunLifecycle| {
        w.env.as_contract(&w.vault.address, || {
            storage::set_run(&w.env, &id, RunRecord { lifecycle, ..open.clone() });
            let stored: Val = w.env.storage().temporary().get(&id).unwrap();
            stored.to_xdr(&w.env).len()
        })
    };
    assert_eq!(size(RunLifecycle::Open(w.bytes(1))), 252);
    assert_eq!(size(RunLifecycle::Finalized(1, w.bytes(1), w.bytes(1))), 312);
    assert!(size(RunLifecycle::Voided(1)) <= 312);
}
