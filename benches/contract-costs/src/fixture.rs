//! Contracts, an agent, a runner and users on a ledger, in the state that a busy vault is in.

use anyhow::{Context as _, Result};
use ed25519_dalek::SigningKey;
use stellar::ids::{self, RunIdentity};
use stellar::registry::{RateCard, Registry};
use stellar::scval::Reader;
use stellar::vault::{
    Attestation, Finalize, GrantLimits, Head, Open, OpenTerms, Policy, RunTerms, Vault,
};
use stellar::{Address, Call, ContractKind, Creation, Invocation};
use stellar_xdr::ScVal;
use wire::settlement::{Settled, SettlementSignature};
use wire::{Digest, Nonce, Rates, Usage, VaultRunId};

use crate::ledger::{Cost, Ledger};

const VAULT: &[u8] = include_bytes!("../../../contracts/wasm/prepaid_vault.wasm");
const REGISTRY: &[u8] = include_bytes!("../../../contracts/wasm/agent_registry.wasm");

/// 2026-11-25 12:00 UTC.
const NOON: u64 = 1_795_608_000;
/// The runner's default deadline.
const DEADLINE: u64 = 3_600;
const FEE: i128 = 10_000;
const RATES: Rates = Rates { llm_in: 10, llm_out: 20, http_calls: 1_000, runtime_ms: 100 };
const BUDGETS: Usage = Usage { llm_in: 10_000, llm_out: 5_000, http_calls: 10, runtime_ms: 60_000 };
const USAGE: Usage = Usage { llm_in: 8_000, llm_out: 4_000, http_calls: 3, runtime_ms: 21_000 };

/// The seed of the attester's key.
const ATTESTER: [u8; 32] = [9; 32];

/// What users and runner agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deal {
    /// No limits of the grant, and so no fee.
    Plain,
    /// Limits, and a flat fee for the runner.
    WithFee,
}

/// Everything there is.
pub struct Fixture {
    /// The ledger.
    pub ledger: Ledger,
    /// What was measured while it was set up, in order.
    pub setup: Vec<(&'static str, Cost)>,
    /// The vault.
    pub vault: Vault,
    /// The registry.
    pub registry: Registry,
    /// Who pays for the runner's transactions.
    pub source: Address,
    /// Who opens and settles.
    pub runner: Address,
    /// Who is paid.
    pub developer: Address,
    /// Who administers.
    pub admin: Address,
    /// Who pay for runs; each has money, caps, a grant and limits.
    pub users: Vec<Address>,
    token: Address,
    runs: u64,
    deal: Deal,
}

impl Fixture {
    /// A vault with `users` users, each of whom has had a run settled an hour ago.
    ///
    /// # Errors
    ///
    /// When a call fails or passes a limit of the network.
    pub fn busy(users: usize, deal: Deal) -> Result<Self> {
        let mut fixture = Self::deployed(deal)?;
        fixture.agent()?;
        for index in 0..users {
            fixture.user(index)?;
        }
        for user in fixture.users.clone() {
            let open = fixture.open(user);
            fixture.apply(fixture.source, fixture.vault.open_run(&open)?)?;
            let settle = fixture.settle(&open)?;
            fixture.apply(fixture.source, fixture.vault.finalize_run(&settle)?)?;
        }
        fixture.ledger.pass(3_600);
        Ok(fixture)
    }

    fn deployed(deal: Deal) -> Result<Self> {
        let mut ledger = Ledger::new(NOON)?;
        let [admin, source, runner, developer] =
            ["admin", "source", "runner", "developer"].map(|name| ledger.account(name));
        let (admin, source, runner, developer) = (admin?, source?, runner?, developer?);
        let token = ids::native_token_id(&ledger.network)?;
        ledger.apply(admin, &Call::CreateNativeToken)?;
        let place = |salt: &[u8], code: &[u8], kind, args| Creation {
            deployer: admin,
            salt: Digest::of(salt),
            code: Digest::of(code),
            args,
            kind,
        };
        let mut setup = Vec::new();
        let mut step = |ledger: &mut Ledger, name, call: Call| -> Result<()> {
            setup.push((name, ledger.apply(admin, &call)?.1));
            Ok(())
        };
        step(&mut ledger, "upload agent-registry", Call::Upload(REGISTRY.to_vec()))?;
        step(&mut ledger, "upload prepaid-vault", Call::Upload(VAULT.to_vec()))?;
        let creation = place(b"registry", REGISTRY, ContractKind::Registry, vec![admin.to_val()]);
        let registry = ids::contract_id(&ledger.network, &admin, &creation.salt)?;
        step(&mut ledger, "create agent-registry", Call::Create(creation))?;
        let args = vec![admin.to_val(), registry.to_val(), token.to_val()];
        let creation = place(b"vault", VAULT, ContractKind::Vault, args);
        let vault = ids::contract_id(&ledger.network, &admin, &creation.salt)?;
        step(&mut ledger, "create prepaid-vault", Call::Create(creation))?;
        let (vault, registry) = (Vault(vault), Registry(registry));
        let (users, runs) = (Vec::new(), 0);
        Ok(Self {
            ledger,
            setup,
            vault,
            registry,
            source,
            runner,
            developer,
            admin,
            users,
            token,
            runs,
            deal,
        })
    }

    fn agent(&mut self) -> Result<()> {
        let card = RateCard { rates: RATES, manifest_hash: Digest::of(b"module") };
        let uri = Some("https://example.org/agent.json");
        let register = self.registry.register_agent(self.developer, uri, &[self.runner], &card)?;
        self.step("register_agent", self.developer, register)?;
        self.step("set_attesters", self.developer, self.registry.set_attesters(1, &[attester()])?)?;
        self.step("publish_rate_card", self.developer, self.registry.publish_rate_card(1, &card)?)
    }

    fn user(&mut self, index: usize) -> Result<()> {
        let user = self.ledger.account(&format!("user {index}"))?;
        self.users.push(user);
        let limits =
            GrantLimits { per_run_cap: 100_000_000, total_cap: i128::MAX, max_runner_fee: FEE };
        let policy = Policy { per_run_cap: 200_000_000, daily_cap: 0, paused: false };
        let calls = [
            ("deposit, the first", self.vault.deposit(user, 1_000_000_000, self.token)?),
            ("set_policy", self.vault.set_policy(user, policy)?),
            ("set_grant_limits", self.vault.set_grant_limits(user, self.runner, 1, limits)?),
            ("grant_runner", self.vault.grant_runner(user, self.runner, 1, None)),
        ];
        for (name, call) in calls {
            if name == "set_grant_limits" && self.deal == Deal::Plain {
                continue;
            }
            match index {
                0 => self.step(name, user, call)?,
                _ => self.apply(user, call).map(|_| ())?,
            }
        }
        Ok(())
    }

    fn step(&mut self, name: &'static str, source: Address, call: Invocation) -> Result<()> {
        let cost = self.apply(source, call)?.1;
        self.setup.push((name, cost));
        Ok(())
    }

    /// Runs a call as a transaction of `source`.
    ///
    /// # Errors
    ///
    /// When it fails or passes a limit.
    pub fn apply(&mut self, source: Address, call: Invocation) -> Result<(ScVal, Cost)> {
        self.ledger.apply(source, &Call::from(call))
    }

    /// Runs a batch and holds it to its word: every item has to be done.
    ///
    /// # Errors
    ///
    /// When an item is refused, and as [`Fixture::apply`].
    pub fn apply_batch(&mut self, call: Invocation) -> Result<Cost> {
        let (codes, cost) = self.apply(self.source, call)?;
        for code in Reader::new("codes", &codes).items()? {
            anyhow::ensure!(code.u32()? == 0, "an item of a batch was refused: {}", code.u32()?);
        }
        Ok(cost)
    }

    /// What opens a new run of `user`.
    pub fn open(&mut self, user: Address) -> Open {
        self.runs += 1;
        let now = self.ledger.time();
        Open {
            user,
            caller: self.runner,
            agent_id: 1,
            rate_version: 2,
            budgets: BUDGETS,
            terms: OpenTerms {
                nonce: Nonce::from(*Digest::of(&self.runs.to_be_bytes()).as_bytes()),
                max_charge: price(),
                runner_fee: match self.deal {
                    Deal::Plain => 0,
                    Deal::WithFee => FEE,
                },
                deadline: now + DEADLINE,
                request_hash: Digest::of(b"request"),
                valid_until: now + 60,
            },
        }
    }

    /// The head of the agent's rate card.
    pub fn head(&self) -> Head {
        Head {
            agent_id: 1,
            rate_version: 2,
            rates: RATES,
            developer: self.developer,
            manifest_hash: Digest::of(b"module"),
            attesters: vec![attester()],
        }
    }

    /// What settles it, in the ledger it was opened in.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn settle(&self, open: &Open) -> Result<Finalize> {
        let terms = RunTerms {
            user: open.user,
            opened_by: self.runner,
            agent_id: 1,
            rate_version: open.rate_version,
            rates: RATES,
            budgets: open.budgets,
            max_charge: price(),
            runner_fee: open.terms.runner_fee,
            deadline: open.terms.deadline,
            opened_at: self.ledger.time(),
            developer: self.developer,
            manifest_hash: Digest::of(b"module"),
            request_hash: open.terms.request_hash,
            attesters: vec![attester()],
        };
        let run_id = self.run_id(open)?;
        let settled = Settled {
            run_id,
            manifest_hash: terms.manifest_hash,
            request_hash: terms.request_hash,
            usage: USAGE,
        };
        let signed = SettlementSignature::sign(&SigningKey::from_bytes(&ATTESTER), &settled);
        Ok(Finalize {
            run_id,
            runner: self.runner,
            terms,
            usage: USAGE,
            output_hash: Digest::of(b"seal"),
            attestation: Some(Attestation { attester: 0, signature: signed.signature }),
            valid_until: self.ledger.time() + 60,
        })
    }

    /// The run's id on chain.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn run_id(&self, open: &Open) -> Result<VaultRunId> {
        Ok(ids::run_id(&RunIdentity {
            network: &self.ledger.network,
            vault: &self.vault.0,
            user: &open.user,
            caller: &open.caller,
            nonce: &open.terms.nonce,
            deadline: open.terms.deadline,
        })?)
    }

    /// Bytes of the run's record.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn record_bytes(&self, run: &VaultRunId) -> Result<usize> {
        let bytes = self.ledger.entry_bytes(&self.vault.run_key(run)?);
        Ok(bytes.context("the run's record")?.len())
    }
}

fn attester() -> [u8; 32] {
    SigningKey::from_bytes(&ATTESTER).verifying_key().to_bytes()
}

fn price() -> i128 {
    wire::usage::charge(&RATES, &BUDGETS).unwrap_or(0)
}
