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
    let (source, wasm) = (story(&World::built(false)), story(&World::built(true)));
    assert!(source.len() > 20);
    assert_eq!(source, wasm);
}

/// A transaction may take 400,000,000 instructions and write 200 entries. The entries counted here
/// include the signature's nonce.
#[test]
fn a_call_takes_a_hundredth_of_what_a_transaction_may() {
    let w = World::built(true).prepared();
    let run = w.opened(1);
    let open = w.env.cost_estimate().resources();
    w.settle(&run).unwrap();
    let settle = w.env.cost_estimate().resources();
    for (call, entries) in [(open, 4), (settle, 5)] {
        assert!(call.instructions < 4_000_000, "{} instructions", call.instructions);
        assert_eq!(call.write_entries, entries);
        assert!(call.contract_events_size_bytes <= 1_100);
    }
}

/// A life of a vault, and what it answered, without what differs by the vault's address.
fn story(w: &World) -> List<String> {
    let mut story = List::new();
    let mut note = |what: &dyn core::fmt::Debug| {
        let mut account = w.vault.account(&w.user);
        account.receipts_hash = w.bytes(0);
        story.push(format!("{what:?} {account:?} {}", w.vault.developer_balance(&w.developer)));
    };
    let (user, runner) = (&w.user, &w.runner);
    w.vault.deposit(user, &100_000_000);
    note(&flat(w.vault.try_deposit(user, &-1)));
    note(&w.try_open(&w.terms(1)).err());
    w.vault.grant_runner(user, runner, &w.agent, &Some(NOON + 3 * DAY));
    note(&flat(w.vault.try_grant_runner(user, runner, &w.agent, &None)));
    note(&w.vault.list_runner_grants(user).len());
    note(&w.vault.is_runner_authorized(user, runner, &w.agent));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 4 * ESCROW, paused: false };
    w.vault.set_policy(user, &policy);
    note(&w.vault.get_policy(user));

    let (one, two, three) = (w.opened(1), w.opened(2), w.opened(3));
    note(&(w.open(1) == one.0));
    let other = OpenTerms { request_hash: w.bytes(1), ..w.terms(1) };
    note(&w.try_open(&other));
    note(&w.settle_as(runner, &one, &units(101, 0, 0, 0)).err());
    note(&w.settle(&one).map(|receipt| receipt.refund));
    note(&w.settle(&one).map(|receipt| receipt.actual_charge));
    note(&w.settle_as(runner, &one, &units(0, 0, 0, 0)).err());
    w.vault.void_run(&two.0, runner, &5, &u64::MAX);
    note(&w.vault.get_run(&two.0).lifecycle);
    note(&flat(w.vault.try_reclaim_run(&three.0)));
    w.at(NOON + HOUR);
    note(&w.settle(&three).err());
    w.vault.cancel_run(user, &three.0);
    note(&w.vault.get_run(&three.0).lifecycle);
    w.open(4);
    note(&w.vault.balance_of(user));
    w.at(NOON + DAY);
    note(&w.vault.sweep(user));
    note_batches_and_administration(w, &mut note);
    w.registry.remove_runner(&w.agent, runner);
    note(&w.try_open(&w.terms(5)).err());
    w.vault.revoke_runner(user, runner, &w.agent);
    note(&flat(w.vault.try_claim_developer(&w.developer, &(CHARGE + 1))));
    w.vault.claim_developer(&w.developer, &CHARGE);
    w.vault.withdraw(user, &(100_000_000 - CHARGE));
    note(&(w.vault.surplus(), w.vault.deficit(), w.token.balance(&w.vault.address)));
    story
}

fn note_batches_and_administration(w: &World, note: &mut dyn FnMut(&dyn core::fmt::Debug)) {
    let (user, runner) = (&w.user, &w.runner);
    let limits = GrantLimits { per_run_cap: ESCROW, total_cap: 0, max_runner_fee: 7 };
    w.vault.set_grant_limits(user, runner, &w.agent, &limits);
    note(&w.vault.grant_limits(user, runner, &w.agent));
    let over = OpenRun { runner_fee: 9, ..batch::open_run(w, 20) };
    let (heads, items) = batch::openings(w, &[batch::open_run(w, 21), over]);
    note(&w.vault.open_runs(runner, &u64::MAX, &heads, &items));
    let (none, no_heads) = (Vec::new(&w.env), Vec::new(&w.env));
    note(&flat(w.vault.try_open_runs(runner, &u64::MAX, &no_heads, &none)));
    let item = batch::settlement(w, (w.open(22), w.pinned(&w.terms(22))));
    let nothing = Settlement { usage: units(0, 0, 0, 0), signature: None, ..item.clone() };
    let (heads, items) = batch::settlements(w, &[nothing, item]);
    note(&w.vault.finalize_runs(runner, &u64::MAX, &heads, &items));
    w.vault.pause_opens();
    note(&w.try_open(&w.terms(23)));
    w.vault.resume_opens();
    note(&flat(w.vault.try_accept_admin()));
    w.vault.schedule_upgrade(&w.bytes(1));
    note(&flat(w.vault.try_upgrade(&w.bytes(1))));
    w.vault.cancel_upgrade();
    note(&w.vault.administration().upgrade_to);
    w.at(w.env.ledger().timestamp() + DAY);
}
