//! The auditor's checklist, a test a line, named after it. Some lines have whole files of their own
//! beside this one; the table in `contracts/README.md` points to both.

mod auth;

use super::std::path::Path;
use super::std::string::String as Text;
use super::std::vec::Vec as List;
use super::std::{format, fs};

use soroban_sdk::testutils::{AuthorizedFunction, Ledger as _};
use soroban_sdk::xdr::ScSpecEventParamLocationV0;
use soroban_sdk::{IntoVal, Symbol};

use super::fuzz::Spec;
use super::*;

const ALL: i128 = 100_000_000;

#[test]
fn what_is_signed_names_network_vault_function_and_every_argument() {
    let w = World::ready();
    let terms = w.terms(1);
    w.try_open(&terms).unwrap();
    let auths = w.env.auths();
    let arguments = (&w.user, &w.runner, w.agent, 1u32, budgets(), terms.clone());
    let expected = AuthorizedFunction::Contract((
        w.vault.address.clone(),
        Symbol::new(&w.env, "open_run"),
        arguments.into_val(&w.env),
    ));
    assert_eq!((auths.len(), &auths[0].0, &auths[0].1.function), (1, &w.runner, &expected));
    assert!(auths[0].1.sub_invocations.is_empty(), "a runner signs for no other contract");

    let id = |w: &World, vault: &Address| {
        let of = || crate::digest::run_id(&w.env, &w.user, &w.runner, &terms.nonce, terms.deadline);
        w.env.as_contract(vault, of).to_array()
    };
    let here = id(&w, &w.vault.address);
    let arguments = (w.admin.clone(), w.registry.address.clone(), w.token.address.clone());
    let other_vault = w.env.register(PrepaidVault, arguments);
    assert_ne!(id(&w, &other_vault), here);
    w.env.ledger().with_mut(|ledger| ledger.network_id = [1; 32]);
    assert_ne!(id(&w, &w.vault.address), here);
}

#[test]
fn arithmetic_loses_no_stroop_and_overflows_nowhere() {
    let w = World::ready();
    for (nonce, used) in
        [(1, units(1, 1, 0, 1)), (2, units(99, 49, 1, 999)), (3, units(7, 0, 0, 3))]
    {
        let receipt = w.settle_as(&w.runner, &w.opened(nonce), &used).unwrap();
        let sum = receipt.actual_charge + receipt.runner_fee + receipt.refund;
        assert_eq!(sum, ESCROW);
    }
    let open = |budgets: UsageBreakdown, max_charge: i128| {
        let terms = OpenTerms { max_charge, ..w.terms(4) };
        flat(w.vault.try_open_run(&w.user, &w.runner, &w.agent, &1, &budgets, &terms))
    };
    for huge in [units(i128::MAX, 0, 0, 0), units(1 << 120, 1 << 120, 0, 0), units(0, 0, 0, -1)] {
        assert_eq!(open(huge, i128::MAX), Err(VaultError::InvalidAmount));
    }
    assert_eq!(open(budgets(), i128::MIN), Err(VaultError::MaxChargeExceeded));
    let manifest = include_str!("../../../../Cargo.toml");
    let profile = manifest.split("[profile.contract]").nth(1).unwrap();
    assert!(profile.contains("overflow-checks = true"));
}

#[test]
fn storage_growth_every_list_is_bounded() {
    let w = World::ready();
    let many = |count: u8| Vec::from_iter(&w.env, (0..count).map(|_| Address::generate(&w.env)));
    let register = w.registry.try_register_agent(&w.developer, &None, &many(17), &card(&w.env, 1));
    assert!(register.is_err(), "runners of an agent");
    let keys = Vec::from_iter(&w.env, (0..5).map(|key| w.bytes(key)));
    assert!(w.registry.try_set_attesters(&w.agent, &keys).is_err(), "keys of an agent");
    let run = batch::open_run(&w, 1);
    let runs: List<_> = (0..=crate::batch::MAX_OPENS).map(|_| run.clone()).collect();
    let (heads, items) = batch::openings(&w, &runs);
    let batch = flat(w.vault.try_open_runs(&w.runner, &u64::MAX, &heads, &items));
    assert_eq!(batch, Err(VaultError::InvalidBatchSize), "items of a batch");
    // Grants of a user: `grants`. Runs of a user, and all of a vault: `defects` C5, `growth`.
}

#[test]
fn ttl_is_no_boundary_of_what_is_allowed() {
    let w = World::ready();
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &Some(NOON + 100));
    let run = w.opened(1);
    let key = run.0.clone();
    w.env.as_contract(&w.vault.address, || {
        w.env.storage().temporary().extend_ttl(&key, 3_000_000, 3_000_000);
    });
    w.at(NOON + 100);
    let expired = w.try_open(&w.terms(2));
    assert_eq!(expired, Err(VaultError::UnauthorizedRunner), "a grant ends by time");
    w.at(NOON + 2 * DAY);
    assert_eq!(w.settle(&run), Err(VaultError::RunNotOpen), "a longer life revives no run");
    assert_eq!(w.vault.balance_of(&w.user), ALL);
}

#[test]
fn keys_of_different_people_agents_and_roles_never_meet() {
    let w = World::ready();
    let listed = vec![&w.env, w.runner.clone(), w.user.clone()];
    let other = w.registry.register_agent(&w.runner, &None, &listed, &card(&w.env, 10_000));
    assert!(!w.vault.is_runner_authorized(&w.user, &w.runner, &other));
    w.vault.grant_runner(&w.runner, &w.user, &other, &None);
    assert!(!w.vault.is_runner_authorized(&w.user, &w.runner, &other), "user and runner swapped");
    w.settle(&w.opened(1)).unwrap();
    assert_eq!(w.vault.developer_balance(&w.developer), CHARGE);
    assert_eq!(w.vault.runner_balance(&w.developer), 0, "one address, two roles");
    assert_eq!(w.vault.balance_of(&w.developer), 0, "and an account of its own");
}

#[test]
fn policy_holes_nobody_listed_or_granted_means_nobody() {
    let w = World::ready();
    let second = w.second_runner();
    w.registry.remove_runner(&w.agent, &w.runner);
    w.registry.remove_runner(&w.agent, &second);
    assert!(w.registry.get_agent(&w.agent).runners.is_empty());
    for runner in [&w.runner, &second, &w.developer, &w.user, &w.admin] {
        let open = w.vault.try_open_run(&w.user, runner, &w.agent, &1, &budgets(), &w.terms(1));
        assert_eq!(flat(open), Err(VaultError::UnauthorizedRunner));
    }
    w.registry.add_runner(&w.agent, &w.runner);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::UnauthorizedRunner));
}

#[test]
fn policy_holes_the_users_caps_hold_for_all_runners_together() {
    let w = World::ready();
    let second = w.second_runner();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: ESCROW, paused: false };
    w.vault.set_policy(&w.user, &policy);
    w.open(1);
    let open = w.vault.try_open_run(&w.user, &second, &w.agent, &1, &budgets(), &w.terms(1));
    assert_eq!(flat(open), Err(VaultError::DailyCapExceeded));
}

#[test]
fn token_calls_take_only_from_who_signed_and_the_amount_he_signed() {
    let w = World::new();
    w.vault.deposit(&w.user, &70);
    let auths = w.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &w.user));
    let inner = &auths[0].1.sub_invocations;
    let to = soroban_sdk::MuxedAddress::from(w.vault.address.clone());
    let transfer = AuthorizedFunction::Contract((
        w.token.address.clone(),
        Symbol::new(&w.env, "transfer"),
        (&w.user, to, 70i128).into_val(&w.env),
    ));
    assert_eq!((inner.len(), &inner[0].function), (1, &transfer));
    w.vault.withdraw(&w.user, &70);
    assert!(w.env.auths()[0].1.sub_invocations.is_empty(), "nobody signs for the vault's tokens");
}

/// A token and a registry that call back are in `hostile`. Here: what a call would find if it
/// could.
#[test]
fn reentrancy_the_books_are_written_before_the_token_is_called() {
    let source = include_str!("../custody.rs");
    let body = |name: &str| {
        let start = source.find(&format!("pub(crate) fn {name}(")).unwrap();
        let end = source[start..].find("\n}").unwrap();
        &source[start..start + end]
    };
    for (name, call) in
        [("deposit", "transfer(env"), ("withdraw", "pay_out("), ("claim", "pay_out(")]
    {
        let body = body(name);
        let call = body.find(call).unwrap();
        let write =
            ["touched.save(env)", "storage::set_payable("].iter().find_map(|w| body.find(w));
        assert!(write.unwrap() < call, "{name}");
        assert!(!body[call..].contains("storage::set"), "{name} writes after the call");
    }
}

/// Clippy denies `unwrap` in the workspace. What else panics is looked for here.
#[test]
fn panics_no_line_of_either_contract_can() {
    let banned = [
        ".unwrap()",
        ".expect(",
        "panic!",
        "unreachable!",
        "todo!",
        "unimplemented!",
        "assert!(",
        "assert_eq!",
        ".get_unchecked(",
        "panic_with_error",
        " as i128",
        " as u64",
        "unsafe",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lines = 0;
    for source in ["src", "../agent-registry/src", "../administration/src"] {
        for (name, text) in sources(&root.join(source)) {
            for line in text.lines() {
                let code = line.trim_start();
                // Checked when the contract is built, and no code afterwards.
                let constant = code.starts_with("const _: () = assert!(");
                let skipped = constant || code.starts_with("//") || code.starts_with("#!");
                let found = banned.iter().find(|banned| !skipped && code.contains(**banned));
                assert!(found.is_none(), "{name}: {line}");
                lines += 1;
            }
        }
    }
    assert!(lines > 1_500, "only {lines} lines were read");
}

/// The contract's sources in a folder, without its tests.
fn sources(folder: &Path) -> List<(Text, Text)> {
    let mut found = List::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            _ if name == "test" || name == "test.rs" => {}
            true => found.extend(sources(&path)),
            false => found.push((Text::from(name), fs::read_to_string(&path).unwrap())),
        }
    }
    found
}

#[test]
fn events_are_in_the_interface_and_name_who_acted() {
    let actors = ["user", "runner", "admin", "payee", "opened_by", "wasm_hash", "from"];
    let readme = include_str!("../../../README.md");
    let spec = Spec::of(wasm::VAULT);
    assert_eq!(spec.events.len(), 21);
    for event in &spec.events {
        let topics: List<_> =
            event.prefix_topics.iter().map(|topic| topic.to_utf8_string_lossy()).collect();
        let row = format!("`{}`", topics.join(","));
        assert!(readme.contains(&row), "README.md has no row for {row}");
        let names = || event.params.iter().map(|param| param.name.to_utf8_string_lossy());
        assert!(names().any(|name| actors.contains(&name.as_str())), "{row} names nobody");
        let old = ["runner,granted", "runner,revoked", "run,opened", "run,finalized"];
        let third = event
            .params
            .iter()
            .filter(|param| param.location == ScSpecEventParamLocationV0::TopicList)
            .count();
        let has_user = names().any(|name| name == "user");
        let expected = has_user && !old.contains(&topics.join(",").as_str());
        assert_eq!(third, usize::from(expected || topics[0] == "payee"), "{row}");
    }
}

#[test]
fn time_is_the_ledgers_clock_and_never_a_count_of_ledgers() {
    let w = World::ready();
    let run = w.opened(1);
    w.pass_ledgers(u32::try_from(HOUR).unwrap() + 1_000);
    assert!(w.settle(&run).is_ok(), "an hour's worth of ledgers, and no second, passed");
    let two = w.opened(2);
    w.at(NOON + HOUR);
    assert_eq!(w.settle(&two), Err(VaultError::RunNotOpen), "an hour, and no ledger, passed");
}

#[test]
fn supply_chain_the_wasm_names_its_compiler_and_its_sdk() {
    let recorded = include_str!("../../../wasm/RUSTC");
    let version = recorded.split(' ').nth(1).unwrap();
    for wasm in [wasm::VAULT, wasm::REGISTRY] {
        let has = |text: &str| wasm.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("rsver") && has(version) && has("rssdkver") && has("28."));
    }
}

#[test]
fn registry_failure_blocks_no_money_for_longer_than_a_deadline() {
    let w = World::ready();
    let (settled, open) = (w.opened(1), w.opened(2));
    w.settle(&settled).unwrap();
    let gone = (Symbol::new(&w.env, "Agent"), w.agent);
    w.env.as_contract(&w.registry.address, || w.env.storage().persistent().remove(&gone));
    assert_eq!(w.settle(&open), Err(VaultError::AgentNotFound));
    w.vault.withdraw(&w.user, &1);
    w.vault.claim_developer(&w.developer, &CHARGE);
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&open.0);
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE - 1);
}

#[test]
fn invariants_money_is_conserved_over_a_day_of_everything() {
    // `stateful` holds the vault to a model over 100,000 steps; this is the rule in one line.
    let w = World::ready();
    let (one, two) = (w.opened(1), w.open(2));
    w.settle(&one).unwrap();
    w.vault.void_run(&two, &w.runner, &0, &u64::MAX);
    w.open(3);
    w.at(NOON + DAY);
    w.vault.sweep(&w.user);
    let owed = w.vault.balance_of(&w.user) + w.vault.developer_balance(&w.developer);
    assert_eq!((owed, w.token.balance(&w.vault.address)), (ALL, ALL));
}
