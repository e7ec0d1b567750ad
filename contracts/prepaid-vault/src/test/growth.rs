//! What a call takes doesn't depend on how much the ledger holds: the same calls against the
//! committed Wasm, on an empty vault and on one with 10,000 records, accounts and grants of others,
//! take the same instructions, entries and bytes. `LUMIO_VAULT_RECORDS` loads more.

use super::std::collections::HashMap;
use super::std::rc::Rc;
use super::std::vec::Vec as List;
use super::std::{format, string::String as Text};

use soroban_sdk::TryFromVal;
use soroban_sdk::testutils::{HostError, SnapshotSource, SnapshotSourceInput};
use soroban_sdk::xdr::{
    ContractDataEntry, ContractId, Hash, LedgerEntry, LedgerEntryData, LedgerKey,
    LedgerKeyContractData, Limits, ReadXdr, ScAddress, ScVal, ScVec, WriteXdr,
};

use super::*;

/// Records of an ordinary run.
const RECORDS: u64 = 10_000;

/// A ledger in memory, by the XDR of its keys.
struct Ledger(HashMap<List<u8>, (List<u8>, Option<u32>)>);

impl SnapshotSource for Ledger {
    fn get(
        &self,
        key: &Rc<LedgerKey>,
    ) -> Result<Option<(Rc<LedgerEntry>, Option<u32>)>, HostError> {
        let found = self.0.get(&key.to_xdr(Limits::none()).unwrap());
        Ok(found.map(|(entry, live_until)| {
            (Rc::new(LedgerEntry::from_xdr(entry, Limits::none()).unwrap()), *live_until)
        }))
    }
}

impl Ledger {
    /// What a fixture holds, and as many copies of a run's record, an account and a grant, each
    /// under another address or id.
    fn of(f: &Fixture, copies: u64) -> Self {
        let entries = f.env.to_ledger_snapshot().ledger_entries;
        let vault: ScAddress = (&f.vault.address).into();
        let mut ledger = HashMap::new();
        let mut templates = List::new();
        for (key, (entry, live_until)) in &entries {
            let LedgerEntryData::ContractData(data) = &entry.data else {
                insert(&mut ledger, key, entry, *live_until);
                continue;
            };
            // The new fixture counts its signatures' nonces from the start again.
            if matches!(data.key, ScVal::LedgerKeyNonce(_)) {
                continue;
            }
            let of_many = match &data.key {
                ScVal::Vec(Some(parts)) => parts.len() > 1,
                key => matches!(key, ScVal::Address(_) | ScVal::Bytes(_)),
            };
            if data.contract == vault && of_many {
                templates.push((data.clone(), entry.clone(), *live_until));
            }
            insert(&mut ledger, key, entry, *live_until);
        }
        assert!(templates.len() >= 3, "a record, an account and a grant at least");
        for copy in 0..copies {
            let (data, entry, live_until) = &templates[copy as usize % templates.len()];
            let mut entry = entry.clone();
            let mut data = data.clone();
            data.key = renamed(&data.key, copy);
            let key = LedgerKey::ContractData(key_of(&data));
            entry.data = LedgerEntryData::ContractData(data);
            insert(&mut ledger, &key, &entry, *live_until);
        }
        assert!(ledger.len() > copies as usize, "no copy replaced another");
        Self(ledger)
    }
}

fn insert(
    ledger: &mut HashMap<List<u8>, (List<u8>, Option<u32>)>,
    key: &LedgerKey,
    entry: &LedgerEntry,
    live_until: Option<u32>,
) {
    let xdr = (key.to_xdr(Limits::none()).unwrap(), entry.to_xdr(Limits::none()).unwrap());
    ledger.insert(xdr.0, (xdr.1, live_until));
}

fn key_of(data: &ContractDataEntry) -> LedgerKeyContractData {
    LedgerKeyContractData {
        contract: data.contract.clone(),
        key: data.key.clone(),
        durability: data.durability,
    }
}

/// The key with another address or another id.
fn renamed(key: &ScVal, copy: u64) -> ScVal {
    let mut name = [0xee; 32];
    name[..8].copy_from_slice(&copy.to_be_bytes());
    let address = ScVal::Address(ScAddress::Contract(ContractId(Hash(name))));
    match key {
        ScVal::Bytes(_) => ScVal::Bytes(name.to_vec().try_into().unwrap()),
        ScVal::Vec(Some(parts)) => {
            let mut parts = parts.to_vec();
            parts[1] = address;
            ScVal::Vec(Some(ScVec(parts.try_into().unwrap())))
        }
        _ => address,
    }
}

/// The same fixture on another ledger.
fn moved(f: &Fixture, ledger: Ledger) -> Fixture {
    let input = SnapshotSourceInput {
        source: Rc::new(ledger),
        ledger_info: Some(f.env.ledger().get()),
        snapshot: None,
    };
    let mut env = Env::from_ledger_snapshot(input);
    env.set_config(EnvTestConfig { capture_snapshot_at_drop: false });
    env.mock_all_auths();
    let here = |address: &Address| {
        let address: ScAddress = address.into();
        Address::try_from_val(&env, &address).unwrap()
    };
    Fixture {
        vault: PrepaidVaultClient::new(&env, &here(&f.vault.address)),
        registry: AgentRegistryClient::new(&env, &here(&f.registry.address)),
        token: TokenClient::new(&env, &here(&f.token.address)),
        mint: StellarAssetClient::new(&env, &here(&f.token.address)),
        admin: here(&f.admin),
        developer: here(&f.developer),
        user: here(&f.user),
        runner: here(&f.runner),
        agent: f.agent,
        env,
    }
}

/// What each call of a life takes.
fn costs(f: &Fixture) -> List<Text> {
    let mut costs = List::new();
    let mut took = |call: &str| {
        let used = f.env.cost_estimate().resources();
        costs.push(format!("{call}: {used:?}"));
    };
    let (user, runner) = (&f.user, &f.runner);
    f.vault.deposit(user, &5);
    took("deposit");
    f.vault.withdraw(user, &5);
    took("withdraw");
    f.vault.revoke_runner(user, runner, &f.agent);
    took("revoke_runner");
    f.vault.grant_runner(user, runner, &f.agent, &None);
    took("grant_runner");
    let (one, two, three) = (f.opened(11), f.open(12), f.open(13));
    took("open_run");
    f.settle(&one).unwrap();
    took("finalize_run");
    f.vault.void_run(&two, runner, &0, &u64::MAX);
    took("void_run");
    let (heads, items) = batch::openings(f, &[batch::open_run(f, 14), batch::open_run(f, 15)]);
    f.vault.open_runs(runner, &u64::MAX, &heads, &items);
    took("open_runs");
    let items = [f.opened(16), f.opened(17)].map(|run| batch::settlement(f, run));
    let (heads, items) = batch::settlements(f, &items);
    f.vault.finalize_runs(runner, &u64::MAX, &heads, &items);
    took("finalize_runs");
    f.vault.claim_developer(&f.developer, &1);
    took("claim_developer");
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&three);
    took("reclaim_run");
    f.at(NOON + DAY);
    f.vault.sweep(user);
    took("sweep");
    costs
}

#[test]
fn a_call_takes_the_same_however_much_the_ledger_holds() {
    let records = wished("LUMIO_VAULT_RECORDS").unwrap_or(RECORDS);
    let f = Fixture::built(true).prepared();
    f.open(1);
    let empty = costs(&moved(&f, Ledger::of(&f, 0)));
    let full = costs(&moved(&f, Ledger::of(&f, records)));
    assert_eq!(empty.len(), 12);
    assert_eq!(empty, full);
}
