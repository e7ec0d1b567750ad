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
    let f = Fixture::ready();
    let terms = f.terms(1);
    let derived = f.env.as_contract(&f.vault.address, || {
        digest::run_id(&f.env, &f.user, &f.runner, &terms.nonce, terms.deadline)
    });
    assert_eq!(f.try_open(&terms), Ok(derived));
}

#[test]
fn the_running_hash_proves_every_receipt_from_the_users_list() {
    let f = Fixture::ready();
    assert_eq!(f.vault.account(&f.user).receipts_hash, f.bytes(0));
    let mut hash = [0; 32];
    for number in 1..=3u8 {
        let (run_id, terms) = f.opened(number);
        f.at(f.env.ledger().timestamp() + 7);
        let receipt = f.settle(&(run_id.clone(), terms.clone())).unwrap();
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
            f.runner.clone(),
            metered(),
            f.bytes(9),
            receipt.actual_charge,
            receipt.runner_fee,
            receipt.refund,
            f.env.ledger().timestamp(),
        );
        let text: List<u8> = settled.to_xdr(&f.env).iter().collect();
        let mut chain = Sha256::new();
        chain.update(b"lumio-receipt-v1");
        chain.update(hash);
        chain.update(u64::from(number).to_be_bytes());
        chain.update(Sha256::digest(&text));
        hash = chain.finalize().into();
        let account = f.vault.account(&f.user);
        assert_eq!(account.receipts, u64::from(number));
        assert_eq!(account.receipts_hash.to_array(), hash);
    }
    f.vault.void_run(&f.open(9), &f.runner, &0, &u64::MAX);
    assert_eq!(f.vault.account(&f.user).receipts_hash.to_array(), hash);
}

#[test]
fn a_record_takes_at_most_350_bytes() {
    let f = Fixture::ready();
    let address = |text: &str| Address::from_string(&String::from_str(&f.env, text));
    let id = f.open(1);
    let open =
        RunRecord { user: address(USER), opened_by: address(RUNNER), ..f.vault.get_run(&id) };
    let size = |lifecycle: RunLifecycle| {
        f.env.as_contract(&f.vault.address, || {
            storage::set_run(&f.env, &id, RunRecord { lifecycle, ..open.clone() });
            let stored: Val = f.env.storage().temporary().get(&id).unwrap();
            stored.to_xdr(&f.env).len()
        })
    };
    assert_eq!(size(RunLifecycle::Open(f.bytes(1))), 252);
    assert_eq!(size(RunLifecycle::Finalized(1, f.bytes(1), f.bytes(1))), 312);
    assert!(size(RunLifecycle::Voided(1)) <= 312);
}
