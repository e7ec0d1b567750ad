//! What a user, a runner, a developer and an onlooker may rely on. Each file is a part of it;
//! `stateful` drives everything at random against `reference_model`, `wasm` tries the committed
//! bytes.

extern crate std;

mod admin;
mod attested;
mod batch;
mod books;
mod checklist;
mod close;
mod defects;
mod digests;
mod fuzz;
mod grants;
mod growth;
mod hostile;
mod lifetimes;
mod limits;
mod stateful;
mod open;
mod reference_model;
mod receipts;
mod settle;
mod signatures;
mod sizes;
mod wasm;

use agent_registry::{
    AgentRegistry, AgentRegistryClient, RateCardInput, UsageMeterRates as Prices,
};
use ed25519_dalek::{Signer as _, SigningKey};
use soroban_sdk::testutils::{Address as _, EnvTestConfig, Events as _, Ledger as _};
use soroban_sdk::token::{StellarAssetClient, TokenClient};
use soroban_sdk::{Address, BytesN, Env, Event, Vec, vec};

use crate::*;

/// Noon of a day.
pub(crate) const NOON: u64 = 20_000 * 86_400 + 43_200;
pub(crate) const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 86_400;
/// rates × budgets of the standard run.
pub(crate) const ESCROW: i128 = 12_001_000;
/// rates × usage of the standard settlement.
pub(crate) const CHARGE: i128 = 11_600_500;

/// A network with a token, a registry with one agent, a vault, and people.
pub(crate) struct Fixture {
    pub env: Env,
    pub vault: PrepaidVaultClient<'static>,
    pub registry: AgentRegistryClient<'static>,
    pub token: TokenClient<'static>,
    pub mint: StellarAssetClient<'static>,
    pub admin: Address,
    pub developer: Address,
    pub user: Address,
    pub runner: Address,
    pub agent: u32,
}

impl Fixture {
    pub fn new() -> Self {
        Self::built(false)
    }

    /// With both contracts native, or both from the committed Wasm.
    pub fn built(wasm: bool) -> Self {
        let env = Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false });
        env.mock_all_auths();
        env.ledger().with_mut(|ledger| {
            ledger.timestamp = NOON;
            ledger.sequence_number = 1_000;
            ledger.max_entry_ttl = 3_110_400;
            ledger.min_persistent_entry_ttl = 2_073_600;
        });
        let admin = Address::generate(&env);
        let token = env.register_stellar_asset_contract_v2(admin.clone()).address();
        let registry_id = match wasm {
            true => env.register(wasm::REGISTRY, (admin.clone(),)),
            false => env.register(AgentRegistry, (admin.clone(),)),
        };
        let registry = AgentRegistryClient::new(&env, &registry_id);
        let arguments = (admin.clone(), registry_id.clone(), token.clone());
        let id = match wasm {
            true => env.register(wasm::VAULT, arguments),
            false => env.register(PrepaidVault, arguments),
        };
        let (developer, user, runner) =
            (Address::generate(&env), Address::generate(&env), Address::generate(&env));
        let agent = registry.register_agent(
            &developer,
            &None,
            &vec![&env, runner.clone()],
            &card(&env, 10_000),
        );
        registry.set_attesters(&agent, &vec![&env, attester(&env)]);
        let mint = StellarAssetClient::new(&env, &token);
        mint.mint(&user, &1_000_000_000);
        Self {
            vault: PrepaidVaultClient::new(&env, &id),
            token: TokenClient::new(&env, &token),
            env,
            registry,
            mint,
            admin,
            developer,
            user,
            runner,
            agent,
        }
    }

    /// With 100,000,000 deposited and the runner granted.
    pub fn ready() -> Self {
        Self::new().prepared()
    }

    pub fn prepared(self) -> Self {
        self.vault.deposit(&self.user, &100_000_000);
        self.vault.grant_runner(&self.user, &self.runner, &self.agent, &None);
        self
    }

    pub fn at(&self, time: u64) {
        self.env.ledger().set_timestamp(time);
    }

    pub fn pass_ledgers(&self, ledgers: u32) {
        self.env.ledger().set_sequence_number(self.env.ledger().sequence() + ledgers);
    }

    pub fn bytes(&self, byte: u8) -> BytesN<32> {
        BytesN::from_array(&self.env, &[byte; 32])
    }

    /// The standard terms, an hour's deadline, valid for a minute.
    pub fn terms(&self, nonce: u8) -> OpenTerms {
        let now = self.env.ledger().timestamp();
        OpenTerms {
            nonce: self.bytes(nonce),
            max_charge: ESCROW,
            runner_fee: 0,
            deadline: now + HOUR,
            request_hash: self.bytes(42),
            valid_until: now + 60,
        }
    }

    pub fn try_open(&self, terms: &OpenTerms) -> Result<BytesN<32>, VaultError> {
        let (user, runner) = (&self.user, &self.runner);
        flat(self.vault.try_open_run(user, runner, &self.agent, &1, &budgets(), terms))
    }

    pub fn open(&self, nonce: u8) -> BytesN<32> {
        self.try_open(&self.terms(nonce)).unwrap()
    }

    /// What the opened event says of a run opened now with the standard terms.
    pub fn pinned(&self, terms: &OpenTerms) -> RunTerms {
        RunTerms {
            user: self.user.clone(),
            opened_by: self.runner.clone(),
            agent_id: self.agent,
            rate_version: 1,
            rates: rates(),
            budgets: budgets(),
            max_charge: ESCROW,
            runner_fee: 0,
            deadline: terms.deadline,
            opened_at: self.env.ledger().timestamp(),
            developer: self.developer.clone(),
            manifest_hash: self.bytes(7),
            request_hash: terms.request_hash.clone(),
            attesters: vec![&self.env, attester(&self.env)],
        }
    }

    /// Opens a standard run and answers id and terms.
    pub fn opened(&self, nonce: u8) -> (BytesN<32>, RunTerms) {
        let terms = self.terms(nonce);
        let pinned = self.pinned(&terms);
        (self.try_open(&terms).unwrap(), pinned)
    }

    pub fn settle_as(
        &self,
        runner: &Address,
        run: &(BytesN<32>, RunTerms),
        usage: &UsageBreakdown,
    ) -> Result<RunReceipt, VaultError> {
        self.finalize(runner, run, usage, 9, u64::MAX)
    }

    /// Settles with the attester's signature.
    pub fn finalize(
        &self,
        runner: &Address,
        run: &(BytesN<32>, RunTerms),
        usage: &UsageBreakdown,
        hash: u8,
        until: u64,
    ) -> Result<RunReceipt, VaultError> {
        let signed = Some(self.attest(run, usage));
        let hash = self.bytes(hash);
        let v = &self.vault;
        flat(v.try_finalize_run(&run.0, runner, &run.1, usage, &hash, &0, &signed, &until))
    }

    /// The attester's signature for a run and its usage.
    pub fn attest(
        &self,
        (run, terms): &(BytesN<32>, RunTerms),
        usage: &UsageBreakdown,
    ) -> BytesN<64> {
        let key = signing_key();
        let signature = key.sign(&attested::message(run, terms, usage)).to_bytes();
        BytesN::from_array(&self.env, &signature)
    }

    pub fn settle(&self, run: &(BytesN<32>, RunTerms)) -> Result<RunReceipt, VaultError> {
        self.settle_as(&self.runner, run, &usage())
    }

    /// Lists another runner.
    pub fn second_listed(&self) -> Address {
        let second = Address::generate(&self.env);
        self.registry.add_runner(&self.agent, &second);
        second
    }

    /// Lists and grants another runner.
    pub fn second_runner(&self) -> Address {
        let second = self.second_listed();
        self.vault.grant_runner(&self.user, &second, &self.agent, &None);
        second
    }

    /// The events the vault published in the last call.
    pub fn expect_events(&self, events: &[&dyn Event]) {
        let id = &self.vault.address;
        let expected: std::vec::Vec<_> =
            events.iter().map(|event| event.to_xdr(&self.env, id)).collect();
        assert_eq!(self.env.events().all().filter_by_contract(id), expected);
    }

    pub fn owed(&self) -> i128 {
        self.env.as_contract(&self.vault.address, || crate::storage::liabilities(&self.env))
    }
}

/// The key whose signatures the standard agent accepts.
pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(crate) fn attester(env: &Env) -> BytesN<32> {
    BytesN::from_array(env, signing_key().verifying_key().as_bytes())
}

pub(crate) fn card(env: &Env, llm_in: i128) -> RateCardInput {
    let rates = Prices { llm_in, llm_out: 20_000, http_calls: 10_000_000, runtime_ms: 1 };
    RateCardInput { rates, manifest_hash: BytesN::from_array(env, &[7; 32]) }
}

pub(crate) fn rates() -> UsageMeterRates {
    UsageMeterRates { llm_in: 10_000, llm_out: 20_000, http_calls: 10_000_000, runtime_ms: 1 }
}

pub(crate) fn units(llm_in: i128, llm_out: i128, calls: i128, ms: i128) -> UsageBreakdown {
    UsageBreakdown { llm_in, llm_out, http_calls: calls, runtime_ms: ms }
}

pub(crate) fn budgets() -> UsageBreakdown {
    units(100, 50, 1, 1000)
}

pub(crate) fn usage() -> UsageBreakdown {
    units(80, 40, 1, 500)
}

/// The standard settlement's usage, as events carry it.
pub(crate) fn metered() -> Meters {
    Meters(80, 40, 1, 500)
}

/// A number that whoever runs the tests has set in the environment.
#[expect(clippy::disallowed_methods, reason = "the length of a test is no service's configuration")]
pub(crate) fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The answer, or the vault's code. A host error or another contract's code is a failed test.
pub(crate) fn flat<T, C: core::fmt::Debug>(
    answer: Result<Result<T, C>, Result<VaultError, soroban_sdk::InvokeError>>,
) -> Result<T, VaultError> {
    match answer {
        Ok(value) => Ok(value.unwrap()),
        Err(code) => Err(code.expect("the vault answers with its own codes only")),
    }
}
