//! The committed Wasm: it is what its checksum says, it names what is public and nothing else, and
//! it does what the source does.

use std::format;
use std::string::String;
use std::vec::Vec as List;

use sha2::{Digest, Sha256};

use super::batch::{OpenRun, Settlement};
use super::*;

pub(crate) const VAULT: &[u8] = include_bytes!("../../../wasm/prepaid_vault.wasm");
pub(crate) const REGISTRY: &[u8] = include_bytes!("../../../wasm/agent_registry.wasm");

#[test]
fn the_committed_wasm_has_the_committed_checksum() {
    let sums = include_str!("../../../wasm/SHA256SUMS");
    for (wasm, name) in [(REGISTRY, "agent_registry"), (VAULT, "prepaid_vault")] {
        let sum: String = Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!("{sum}  {name}.wasm");
        assert!(sums.lines().any(|known| known == line), "{name} isn't what SHA256SUMS says");
    }
}

#[test]
fn the_interface_names_what_is_public_and_nothing_else() {
    let names = |name: &str| VAULT.windows(name.len()).any(|part| part == name.as_bytes());
    for public in ["open_run", "RunTerms", "RunOpened", "AccountSwept", "VaultError", "Account"] {
        assert!(names(public), "{public} is missing");
    }
    for private in ["StoredRun", "StoredAccount", "GrantIndex", "GrantLine", "AgentDetails"] {
        assert!(!names(private), "{private} leaked");
    }
}

#[test]
fn the_committed_wasm_holds_no_path_of_a_machine() {
    for wasm in [REGISTRY, VAULT] {
        for path in ["/root", "/home", "/work", "/Users", "/tmp", ".cargo"] {
            assert!(!wasm.windows(path.len()).any(|part| part == path.as_bytes()), "{path}");
        }
    }
}

#[test]
fn the_committed_wasm_does_what_the_source_does() {
    let (source, wasm) = (story(&Fixture::built(false)), story(&Fixture::built(true)));
    assert!(source.len() > 20);
    assert_eq!(source, wasm);
}

/// A transaction may take 400,000,000 instructions and write 200 entries. The entries counted here
/// include the signature's nonce.
#[test]
fn a_call_takes_a_hundredth_of_what_a_transaction_may() {
    let f = Fixture::built(true).prepared();
    let run = f.opened(1);
    let open = f.env.cost_estimate().resources();
    f.settle(&run).unwrap();
    let settle = f.env.cost_estimate().resources();
    for (call, entries) in [(open, 4), (settle, 5)] {
        assert!(call.instructions < 4_000_000, "{} instructions", call.instructions);
        assert_eq!(call.write_entries, entries);
        assert!(call.contract_events_size_bytes <= 1_100);
    }
}

/// A life of a vault, and what it answered, without what differs by the vault's address.
fn story(f: &Fixture) -> List<String> {
    let mut story = List::new();
    let mut note = |what: &dyn core::fmt::Debug| {
        let mut account = f.vault.account(&f.user);
        account.receipts_hash = f.bytes(0);
        story.push(format!("{what:?} {account:?} {}", f.vault.developer_balance(&f.developer)));
    };
    let (user, runner) = (&f.user, &f.runner);
    f.vault.deposit(user, &100_000_000);
    note(&flat(f.vault.try_deposit(user, &-1)));
    note(&f.try_open(&f.terms(1)).err());
    f.vault.grant_runner(user, runner, &f.agent, &Some(NOON + 3 * DAY));
    note(&flat(f.vault.try_grant_runner(user, runner, &f.agent, &None)));
    note(&f.vault.list_runner_grants(user).len());
    note(&f.vault.is_runner_authorized(user, runner, &f.agent));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 4 * ESCROW, paused: false };
    f.vault.set_policy(user, &policy);
    note(&f.vault.get_policy(user));

    let (one, two, three) = (f.opened(1), f.opened(2), f.opened(3));
    note(&(f.open(1) == one.0));
    let other = OpenTerms { request_hash: f.bytes(1), ..f.terms(1) };
    note(&f.try_open(&other));
    note(&f.settle_as(runner, &one, &units(101, 0, 0, 0)).err());
    note(&f.settle(&one).map(|receipt| receipt.refund));
    note(&f.settle(&one).map(|receipt| receipt.actual_charge));
    note(&f.settle_as(runner, &one, &units(0, 0, 0, 0)).err());
    f.vault.void_run(&two.0, runner, &5, &u64::MAX);
    note(&f.vault.get_run(&two.0).lifecycle);
    note(&flat(f.vault.try_reclaim_run(&three.0)));
    f.at(NOON + HOUR);
    note(&f.settle(&three).err());
    f.vault.cancel_run(user, &three.0);
    note(&f.vault.get_run(&three.0).lifecycle);
    f.open(4);
    note(&f.vault.balance_of(user));
    f.at(NOON + DAY);
    note(&f.vault.sweep(user));
    note_batches_and_administration(f, &mut note);
    f.registry.remove_runner(&f.agent, runner);
    note(&f.try_open(&f.terms(5)).err());
    f.vault.revoke_runner(user, runner, &f.agent);
    note(&flat(f.vault.try_claim_developer(&f.developer, &(CHARGE + 1))));
    f.vault.claim_developer(&f.developer, &CHARGE);
    f.vault.withdraw(user, &(100_000_000 - CHARGE));
    note(&(f.vault.surplus(), f.vault.deficit(), f.token.balance(&f.vault.address)));
    story
}

fn note_batches_and_administration(f: &Fixture, note: &mut dyn FnMut(&dyn core::fmt::Debug)) {
    let (user, runner) = (&f.user, &f.runner);
    let limits = GrantLimits { per_run_cap: ESCROW, total_cap: 0, max_runner_fee: 7 };
    f.vault.set_grant_limits(user, runner, &f.agent, &limits);
    note(&f.vault.grant_limits(user, runner, &f.agent));
    let over = OpenRun { runner_fee: 9, ..batch::open_run(f, 20) };
    let (heads, items) = batch::openings(f, &[batch::open_run(f, 21), over]);
    note(&f.vault.open_runs(runner, &u64::MAX, &heads, &items));
    let (none, no_heads) = (Vec::new(&f.env), Vec::new(&f.env));
    note(&flat(f.vault.try_open_runs(runner, &u64::MAX, &no_heads, &none)));
    let item = batch::settlement(f, (f.open(22), f.pinned(&f.terms(22))));
    let nothing = Settlement { usage: units(0, 0, 0, 0), signature: None, ..item.clone() };
    let (heads, items) = batch::settlements(f, &[nothing, item]);
    note(&f.vault.finalize_runs(runner, &u64::MAX, &heads, &items));
    f.vault.pause_opens();
    note(&f.try_open(&f.terms(23)));
    f.vault.resume_opens();
    note(&flat(f.vault.try_accept_admin()));
    f.vault.schedule_upgrade(&f.bytes(1));
    note(&flat(f.vault.try_upgrade(&f.bytes(1))));
    f.vault.cancel_upgrade();
    note(&f.vault.administration().upgrade_to);
    f.at(f.env.ledger().timestamp() + DAY);
}
