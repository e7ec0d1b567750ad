extern crate std;

mod admin;

use std::format;

use sha2::{Digest, Sha256};
use soroban_sdk::testutils::storage::Persistent as _;
use soroban_sdk::testutils::{Address as _, EnvTestConfig, Events as _, Ledger as _};
use soroban_sdk::{Address, BytesN, Env, Event, String, Vec, vec};

use crate::*;

const WASM: &[u8] = include_bytes!("../../wasm/agent_registry.wasm");

struct Fixture {
    env: Env,
    registry: AgentRegistryClient<'static>,
    developer: Address,
    runner: Address,
}

impl Fixture {
    fn new() -> Self {
        Self::of(|env, admin| env.register(AgentRegistry, (admin,)))
    }

    fn of(register: impl FnOnce(&Env, Address) -> Address) -> Self {
        let env = Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false });
        env.mock_all_auths();
        let id = register(&env, Address::generate(&env));
        let registry = AgentRegistryClient::new(&env, &id);
        let (developer, runner) = (Address::generate(&env), Address::generate(&env));
        Self { env, registry, developer, runner }
    }

    fn card(&self, price: i128) -> RateCardInput {
        let rates = UsageMeterRates { llm_in: price, llm_out: 2, http_calls: 3, runtime_ms: 4 };
        RateCardInput { rates, manifest_hash: BytesN::from_array(&self.env, &[7; 32]) }
    }

    fn runners(&self, count: u32) -> Vec<Address> {
        let mut runners = Vec::new(&self.env);
        for _ in 0..count {
            runners.push_back(Address::generate(&self.env));
        }
        runners
    }

    fn agent(&self) -> u32 {
        let runners = vec![&self.env, self.runner.clone()];
        self.registry.register_agent(&self.developer, &None, &runners, &self.card(1))
    }

    fn uri(&self, bytes: usize) -> Option<String> {
        Some(String::from_str(&self.env, &"u".repeat(bytes)))
    }

    /// Whether exactly this address had to sign the last call.
    fn signed_by(&self, who: &Address) -> bool {
        let auths = self.env.auths();
        auths.len() == 1 && auths[0].0 == *who
    }

    fn expect_events(&self, events: &[&dyn Event]) {
        let id = &self.registry.address;
        let expected: std::vec::Vec<_> =
            events.iter().map(|event| event.to_xdr(&self.env, id)).collect();
        assert_eq!(self.env.events().all().filter_by_contract(id), expected);
    }
}

#[test]
fn an_agent_is_registered_with_its_first_rate_card() {
    let f = Fixture::new();
    let runners = vec![&f.env, f.runner.clone(), f.runner.clone()];
    let uri = f.uri(256);
    let id = f.registry.register_agent(&f.developer, &uri, &runners, &f.card(1));
    assert!(f.signed_by(&f.developer));
    let (rates, manifest_hash) = (f.card(1).rates, f.card(1).manifest_hash);
    let once = vec![&f.env, f.runner.clone()];
    f.expect_events(&[
        &AgentRegistered {
            agent_id: 1,
            developer: f.developer.clone(),
            metadata_uri: uri.clone(),
            runners: once.clone(),
        },
        &RateCardPublished { agent_id: 1, version: 1, rates, manifest_hash },
    ]);
    assert_eq!(id, 1);
    let expected = AgentDetails {
        agent_id: 1,
        developer: f.developer.clone(),
        metadata_uri: uri,
        runners: once,
        latest_rate_version: 1,
        attesters: Vec::new(&f.env),
    };
    assert_eq!(f.registry.get_agent(&1), expected);
    assert_eq!(f.registry.get_rate_card(&1, &1).rates, f.card(1).rates);
    assert_eq!(f.registry.latest_rate_version(&1), 1);
    assert_eq!(f.registry.developer_of(&1), f.developer);
    assert_eq!(f.agent(), 2);
}

#[test]
fn a_registration_keeps_the_limits() {
    let f = Fixture::new();
    let register = |uri: &Option<String>, runners: &Vec<Address>, card: &RateCardInput| {
        f.registry.try_register_agent(&f.developer, uri, runners, card).err()
    };
    let list = Some(Ok(AgentRegistryError::InvalidRunnerList));
    assert_eq!(register(&None, &f.runners(0), &f.card(1)), list);
    assert_eq!(register(&None, &f.runners(17), &f.card(1)), list);
    let uri = Some(Ok(AgentRegistryError::InvalidMetadataUri));
    assert_eq!(register(&f.uri(257), &f.runners(1), &f.card(1)), uri);
    let rates = Some(Ok(AgentRegistryError::InvalidRates));
    assert_eq!(register(&None, &f.runners(1), &f.card(-1)), rates);
    assert_eq!(register(&None, &f.runners(16), &f.card(0)), None);
}

#[test]
fn what_is_unknown_is_an_error_and_never_a_no() {
    let f = Fixture::new();
    let none = Some(Ok(AgentRegistryError::AgentNotFound));
    assert_eq!(f.registry.try_get_agent(&9).err(), none);
    assert_eq!(f.registry.try_get_rate_card(&9, &1).err(), none);
    assert_eq!(f.registry.try_latest_rate_version(&9).err(), none);
    assert_eq!(f.registry.try_is_runner(&9, &f.runner).err(), none);
    assert_eq!(f.registry.try_developer_of(&9).err(), none);
    assert_eq!(f.registry.try_set_metadata_uri(&9, &None).err(), none);
    assert_eq!(f.registry.try_add_runner(&9, &f.runner).err(), none);
    assert_eq!(f.registry.try_remove_runner(&9, &f.runner).err(), none);
    assert_eq!(f.registry.try_publish_rate_card(&9, &f.card(1)).err(), none);
    assert_eq!(f.registry.try_set_attesters(&9, &Vec::new(&f.env)).err(), none);
    let id = f.agent();
    let no_card = Some(Ok(AgentRegistryError::RateCardNotFound));
    assert_eq!(f.registry.try_get_rate_card(&id, &2).err(), no_card);
    assert_eq!(f.registry.try_get_rate_card(&id, &0).err(), no_card);
}

#[test]
fn runners_come_and_go_the_last_one_too() {
    let f = Fixture::new();
    let (agent_id, second) = (f.agent(), Address::generate(&f.env));
    assert!(!f.registry.is_runner(&agent_id, &second));
    f.registry.add_runner(&agent_id, &second);
    assert!(f.signed_by(&f.developer));
    f.expect_events(&[&RunnerAdded { agent_id, runner: second.clone() }]);
    f.registry.add_runner(&agent_id, &second);
    f.expect_events(&[]);
    assert!(f.registry.is_runner(&agent_id, &second));
    assert_eq!(f.registry.get_agent(&agent_id).runners.len(), 2);

    f.registry.remove_runner(&agent_id, &second);
    f.expect_events(&[&RunnerRemoved { agent_id, runner: second.clone() }]);
    f.registry.remove_runner(&agent_id, &f.runner);
    assert!(!f.registry.is_runner(&agent_id, &f.runner));
    assert!(f.registry.get_agent(&agent_id).runners.is_empty());
    let gone = f.registry.try_remove_runner(&agent_id, &second).err();
    assert_eq!(gone, Some(Ok(AgentRegistryError::RunnerNotFound)));
}

#[test]
fn a_seventeenth_runner_is_refused() {
    let f = Fixture::new();
    let id = f.registry.register_agent(&f.developer, &None, &f.runners(16), &f.card(1));
    let full = f.registry.try_add_runner(&id, &f.runner).err();
    assert_eq!(full, Some(Ok(AgentRegistryError::InvalidRunnerList)));
}

#[test]
fn a_new_rate_card_leaves_the_old_one_as_it_was() {
    let f = Fixture::new();
    let agent_id = f.agent();
    let version = f.registry.publish_rate_card(&agent_id, &f.card(5));
    assert!(f.signed_by(&f.developer));
    let (rates, manifest_hash) = (f.card(5).rates, f.card(5).manifest_hash);
    f.expect_events(&[&RateCardPublished { agent_id, version: 2, rates, manifest_hash }]);
    assert_eq!(version, 2);
    assert_eq!(f.registry.latest_rate_version(&agent_id), 2);
    assert_eq!(f.registry.get_rate_card(&agent_id, &1).rates, f.card(1).rates);
    let bad = f.registry.try_publish_rate_card(&agent_id, &f.card(-5)).err();
    assert_eq!(bad, Some(Ok(AgentRegistryError::InvalidRates)));
}

#[test]
fn the_developer_names_at_most_four_attestation_keys() {
    let f = Fixture::new();
    let agent_id = f.agent();
    let mut keys: Vec<BytesN<32>> = Vec::new(&f.env);
    for key in [1, 2, 2, 3, 4] {
        keys.push_back(BytesN::from_array(&f.env, &[key; 32]));
    }
    f.registry.set_attesters(&agent_id, &keys);
    assert!(f.signed_by(&f.developer));
    keys.remove(2);
    f.expect_events(&[&AttestersSet { agent_id, attesters: keys.clone() }]);
    assert_eq!(f.registry.get_agent(&agent_id).attesters, keys);
    keys.push_back(BytesN::from_array(&f.env, &[5; 32]));
    let five = f.registry.try_set_attesters(&agent_id, &keys).err();
    assert_eq!(five, Some(Ok(AgentRegistryError::InvalidAttesters)));
    f.registry.set_attesters(&agent_id, &Vec::new(&f.env));
    assert!(f.registry.get_agent(&agent_id).attesters.is_empty());
}

#[test]
fn the_metadata_uri_can_change_and_go() {
    let f = Fixture::new();
    let agent_id = f.agent();
    f.registry.set_metadata_uri(&agent_id, &f.uri(9));
    assert!(f.signed_by(&f.developer));
    f.expect_events(&[&MetadataSet { agent_id, metadata_uri: f.uri(9) }]);
    let long = f.registry.try_set_metadata_uri(&agent_id, &f.uri(257)).err();
    assert_eq!(long, Some(Ok(AgentRegistryError::InvalidMetadataUri)));
    f.registry.set_metadata_uri(&agent_id, &None);
    assert_eq!(f.registry.get_agent(&agent_id).metadata_uri, None);
}

#[test]
fn nothing_changes_without_the_developers_signature() {
    let f = Fixture::new();
    let id = f.agent();
    f.env.set_auths(&[]);
    let card = f.card(2);
    assert!(f.registry.try_register_agent(&f.developer, &None, &f.runners(1), &card).is_err());
    assert!(f.registry.try_set_metadata_uri(&id, &f.uri(1)).is_err());
    assert!(f.registry.try_add_runner(&id, &Address::generate(&f.env)).is_err());
    assert!(f.registry.try_remove_runner(&id, &f.runner).is_err());
    assert!(f.registry.try_publish_rate_card(&id, &card).is_err());
    assert!(f.registry.try_set_attesters(&id, &Vec::new(&f.env)).is_err());
    assert_eq!(f.registry.latest_rate_version(&id), 1);
    assert!(f.registry.is_runner(&id, &f.runner));
}

#[test]
fn reading_an_agent_extends_its_life_by_steps_of_a_week() {
    const DAY: u32 = 17_280;
    let f = Fixture::new();
    f.env.ledger().with_mut(|ledger| {
        ledger.max_entry_ttl = 180 * DAY;
        ledger.min_persistent_entry_ttl = 30 * DAY;
    });
    let id = f.agent();
    let ttl = || {
        f.env.as_contract(&f.registry.address, || {
            let key = (soroban_sdk::Symbol::new(&f.env, "Agent"), id);
            f.env.storage().persistent().get_ttl(&key)
        })
    };
    assert_eq!(ttl(), 120 * DAY);
    let pass = |days: u32| {
        f.env.ledger().set_sequence_number(f.env.ledger().sequence() + days * DAY);
    };
    pass(20);
    f.registry.get_agent(&id);
    assert_eq!(ttl(), 107 * DAY);
    f.registry.set_metadata_uri(&id, &None);
    assert_eq!(ttl(), 120 * DAY);
}

#[test]
fn the_committed_wasm_does_the_same() {
    let f = Fixture::of(|env, admin| env.register(WASM, (admin,)));
    let id = f.agent();
    f.registry.add_runner(&id, &Address::generate(&f.env));
    assert_eq!(f.registry.publish_rate_card(&id, &f.card(5)), 2);
    f.registry.set_attesters(&id, &vec![&f.env, BytesN::from_array(&f.env, &[1; 32])]);
    let agent = f.registry.get_agent(&id);
    assert_eq!((agent.runners.len(), agent.latest_rate_version), (2, 2));
    assert!(f.registry.is_runner(&id, &f.runner));
    let none = f.registry.try_is_runner(&9, &f.runner).err();
    assert_eq!(none, Some(Ok(AgentRegistryError::AgentNotFound)));
}

#[test]
fn the_committed_wasm_has_the_committed_checksum() {
    let sum = Sha256::digest(WASM)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<std::string::String>();
    let line = format!("{sum}  agent_registry.wasm");
    assert!(include_str!("../../wasm/SHA256SUMS").lines().any(|known| known == line));
}
