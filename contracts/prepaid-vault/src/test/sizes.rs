//! How many runs one transaction holds: batches of the largest size, in the worst case, against the
//! committed Wasm and the limits of mainnet.
//!
//! The worst case of an item: a user of its own whose account also sweeps, an agent and a developer
//! of its own, four attestation keys, people that are accounts (their addresses are the longest), a
//! runner's fee, and entries that nobody has written before.

use soroban_sdk::xdr::{AccountId, PublicKey, ScAddress, ToXdr, Uint256};
use soroban_sdk::{IntoVal, TryFromVal, Val};

use super::batch::{OpenRun, Settlement, openings, settlements};
use super::hostile::{HostileToken, HostileTokenClient, Mood};
use super::*;
use crate::batch::{MAX_OPENS, MAX_SETTLEMENTS};

/// Of the network's configuration, as of 2026-11: what one transaction may take.
const INSTRUCTIONS: i64 = 400_000_000;
const MEMORY_BYTES: i64 = 41_943_040;
const WRITE_ENTRIES: u32 = 200;
const FOOTPRINT_ENTRIES: u32 = 400;
const TRANSACTION_BYTES: u32 = 132_096;
const WRITE_BYTES: u32 = 132_096;
const EVENT_BYTES: u32 = 16_384;
/// More than any key of ours takes in a footprint.
const KEY_BYTES: u32 = 250;
/// More than a transaction takes beside its arguments and its footprint: envelope, fee bump, four
/// signatures, one authorisation entry's own fields.
const ENVELOPE_BYTES: u32 = 2_000;

/// What a call took.
struct Used {
    instructions: i64,
    memory_bytes: i64,
    entries: u32,
    written_entries: u32,
    written_bytes: u32,
    event_bytes: u32,
    argument_bytes: u32,
}

/// A network whose users, runner and developers are accounts, one user and agent for each item.
struct Crowd {
    f: Fixture,
    users: std::vec::Vec<Address>,
    agents: std::vec::Vec<u32>,
}

impl Crowd {
    fn new(items: u32) -> Self {
        let mut f = Fixture::built(true);
        f.env.cost_estimate().budget().reset_unlimited();
        f.env.cost_estimate().disable_resource_limits();
        let token = f.env.register(HostileToken, ());
        HostileTokenClient::new(&f.env, &token).mood(&Mood::Honest);
        let arguments = (f.admin.clone(), f.registry.address.clone(), token);
        let vault = f.env.register(wasm::VAULT, arguments);
        f.vault = PrepaidVaultClient::new(&f.env, &vault);
        f.runner = account(&f.env, 250);
        let (mut users, mut agents) = (std::vec::Vec::new(), std::vec::Vec::new());
        for item in 0..items as u8 {
            let (user, developer) = (account(&f.env, item), account(&f.env, 100 + item));
            let runners = vec![&f.env, f.runner.clone()];
            let card = card(&f.env, 10_000);
            let agent = f.registry.register_agent(&developer, &None, &runners, &card);
            let others = [1, 2, 3].map(|key| f.bytes(key));
            let mut keys = vec![&f.env, attester(&f.env)];
            keys.append(&Vec::from_slice(&f.env, &others));
            f.registry.set_attesters(&agent, &keys);
            f.vault.deposit(&user, &100_000_000);
            let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 1 };
            f.vault.set_grant_limits(&user, &f.runner, &agent, &limits);
            f.vault.grant_runner(&user, &f.runner, &agent, &None);
            users.push(user);
            agents.push(agent);
        }
        Self { f, users, agents }
    }

    fn run(&self, item: usize, nonce: u8, deadline: u64) -> OpenRun {
        OpenRun {
            user: self.users[item].clone(),
            agent_id: self.agents[item],
            runner_fee: 1,
            deadline,
            ..batch::open_run(&self.f, nonce)
        }
    }

    /// Opens a run for each user in as many calls as that takes; answers them and what the last
    /// took.
    fn open_all(&self, nonce: u8, deadline: u64) -> (std::vec::Vec<OpenRun>, Used) {
        let run = |item| self.run(item, nonce, deadline);
        let all: std::vec::Vec<_> = (0..self.users.len()).map(run).collect();
        let mut used = None;
        for runs in all.chunks(MAX_OPENS as usize) {
            let (heads, items) = openings(&self.f, runs);
            let codes = self.f.vault.open_runs(&self.f.runner, &u64::MAX, &heads, &items);
            used = Some(self.used(&(self.f.runner.clone(), u64::MAX, heads, items)));
            assert!(codes.iter().all(|code| code == 0), "{codes:?}");
        }
        (all, used.unwrap())
    }

    /// A full batch of opens, each of which also sweeps, and the size of its arguments.
    fn opens(&self) -> Used {
        self.open_all(1, NOON + HOUR);
        self.f.at(NOON + DAY);
        self.open_all(2, NOON + DAY + HOUR).1
    }

    /// A full batch of settlements, each of which also sweeps, and the size of its arguments.
    fn settlements(&self) -> Used {
        self.open_all(1, NOON + HOUR);
        let (runs, _) = self.open_all(2, NOON + DAY);
        self.f.at(NOON + DAY - HOUR);
        let runs: std::vec::Vec<_> = runs.iter().map(|run| self.settlement(run)).collect();
        let (heads, items) = settlements(&self.f, &runs);
        let codes = self.f.vault.finalize_runs(&self.f.runner, &u64::MAX, &heads, &items);
        let used = self.used(&(self.f.runner.clone(), u64::MAX, heads, items));
        assert!(codes.iter().all(|code| code == 0), "{codes:?}");
        used
    }

    fn settlement(&self, run: &OpenRun) -> Settlement {
        let agent = self.f.registry.get_agent(&run.agent_id);
        let terms = RunTerms {
            user: run.user.clone(),
            opened_by: self.f.runner.clone(),
            agent_id: run.agent_id,
            rate_version: 1,
            rates: rates(),
            budgets: budgets(),
            max_charge: ESCROW,
            runner_fee: 1,
            deadline: run.deadline,
            opened_at: NOON,
            developer: agent.developer,
            manifest_hash: self.f.bytes(7),
            request_hash: run.request_hash.clone(),
            attesters: agent.attesters,
        };
        let (nonce, caller) = (&run.nonce, &self.f.runner);
        let id = || crate::digest::run_id(&self.f.env, &run.user, caller, nonce, run.deadline);
        let run_id = self.f.env.as_contract(&self.f.vault.address, id);
        let signature = Some(self.f.attest(&(run_id.clone(), terms.clone()), &usage()));
        let output_hash = self.f.bytes(9);
        Settlement { run_id, terms, usage: usage(), output_hash, attester: 0, signature }
    }

    /// What the last call took, which had these arguments.
    fn used<T: IntoVal<Env, Val>>(&self, arguments: &T) -> Used {
        let used = self.f.env.cost_estimate().resources();
        Used {
            instructions: used.instructions,
            memory_bytes: used.mem_bytes,
            entries: used.memory_read_entries + used.disk_read_entries + used.write_entries,
            written_entries: used.write_entries,
            written_bytes: used.write_bytes,
            event_bytes: used.contract_events_size_bytes,
            argument_bytes: arguments.into_val(&self.f.env).to_xdr(&self.f.env).len(),
        }
    }
}

fn account(env: &Env, number: u8) -> Address {
    let key = PublicKey::PublicKeyTypeEd25519(Uint256([number; 32]));
    Address::try_from_val(env, &ScAddress::Account(AccountId(key))).unwrap()
}

/// What a batch takes must be within every limit; answers its bytes of events and return value.
fn within_limits(items: u32, used: &Used) -> u32 {
    // Arguments are in a transaction once: what is signed for a batch is a digest (V18).
    let transaction = used.argument_bytes + used.entries * KEY_BYTES + ENVELOPE_BYTES;
    let output = used.event_bytes + 12 + 8 * items;
    std::println!(
        "{items} items: {} instructions, {} bytes of memory, {} entries written of {}, \
         {} bytes written, \
         at most {transaction} bytes of transaction, {output} bytes of events and return value",
        used.instructions,
        used.memory_bytes,
        used.written_entries,
        used.entries,
        used.written_bytes,
    );
    assert!(used.instructions <= INSTRUCTIONS);
    assert!(used.memory_bytes <= MEMORY_BYTES);
    assert!(used.written_entries <= WRITE_ENTRIES);
    assert!(used.entries <= FOOTPRINT_ENTRIES);
    assert!(used.written_bytes <= WRITE_BYTES);
    assert!(transaction <= TRANSACTION_BYTES);
    assert!(output <= EVENT_BYTES);
    output
}

#[test]
fn the_largest_batch_of_opens_fits_a_transaction_and_one_more_would_not() {
    let output = within_limits(MAX_OPENS, &Crowd::new(MAX_OPENS).opens());
    assert!(output + output / MAX_OPENS > EVENT_BYTES);
}

#[test]
fn the_largest_batch_of_settlements_fits_a_transaction_and_one_more_would_not() {
    let output = within_limits(MAX_SETTLEMENTS, &Crowd::new(MAX_SETTLEMENTS).settlements());
    assert!(output + output / MAX_SETTLEMENTS > EVENT_BYTES);
}
