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
    let f = Fixture::ready();
    let terms = f.terms(1);
    f.try_open(&terms).unwrap();
    let auths = f.env.auths();
    let arguments = (&f.user, &f.runner, f.agent, 1u32, budgets(), terms.clone());
    let expected = AuthorizedFunction::Contract((
        f.vault.address.clone(),
        Symbol::new(&f.env, "open_run"),
        arguments.into_val(&f.env),
    ));
    assert_eq!((auths.len(), &auths[0].0, &auths[0].1.function), (1, &f.runner, &expected));
    assert!(auths[0].1.sub_invocations.is_empty(), "a runner signs for no other contract");

    let id = |f: &Fixture, vault: &Address| {
        let of = || crate::digest::run_id(&f.env, &f.user, &f.runner, &terms.nonce, terms.deadline);
        f.env.as_contract(vault, of).to_array()
    };
    let here = id(&f, &f.vault.address);
    let arguments = (f.admin.clone(), f.registry.address.clone(), f.token.address.clone());
    let other_vault = f.env.register(PrepaidVault, arguments);
    assert_ne!(id(&f, &other_vault), here);
    f.env.ledger().with_mut(|ledger| ledger.network_id = [1; 32]);
    assert_ne!(id(&f, &f.vault.address), here);
}

#[test]
fn arithmetic_loses_no_stroop_and_never_overflows() {
    let f = Fixture::ready();
    for (nonce, used) in
        [(1, units(1, 1, 0, 1)), (2, units(99, 49, 1, 999)), (3, units(7, 0, 0, 3))]
    {
        let receipt = f.settle_as(&f.runner, &f.opened(nonce), &used).unwrap();
        let sum = receipt.actual_charge + receipt.runner_fee + receipt.refund;
        assert_eq!(sum, ESCROW);
    }
    let open = |budgets: UsageBreakdown, max_charge: i128| {
        let terms = OpenTerms { max_charge, ..f.terms(4) };
        flat(f.vault.try_open_run(&f.user, &f.runner, &f.agent, &1, &budgets, &terms))
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
    let f = Fixture::ready();
    let many = |count: u8| Vec::from_iter(&f.env, (0..count).map(|_| Address::generate(&f.env)));
    let register = f.registry.try_register_agent(&f.developer, &None, &many(17), &card(&f.env, 1));
    assert!(register.is_err(), "runners of an agent");
    let keys = Vec::from_iter(&f.env, (0..5).map(|key| f.bytes(key)));
    assert!(f.registry.try_set_attesters(&f.agent, &keys).is_err(), "keys of an agent");
    let run = batch::open_run(&f, 1);
    let runs: List<_> = (0..=crate::batch::MAX_OPENS).map(|_| run.clone()).collect();
    let (heads, items) = batch::openings(&f, &runs);
    let batch = flat(f.vault.try_open_runs(&f.runner, &u64::MAX, &heads, &items));
    assert_eq!(batch, Err(VaultError::InvalidBatchSize), "items of a batch");
    // Grants of a user: `grants`. Runs of a user, and all of a vault: `defects` C5, `growth`.
}

#[test]
fn ttl_is_no_boundary_of_what_is_allowed() {
    let f = Fixture::ready();
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &Some(NOON + 100));
    let run = f.opened(1);
    let key = run.0.clone();
    f.env.as_contract(&f.vault.address, || {
        f.env.storage().temporary().extend_ttl(&key, 3_000_000, 3_000_000);
    });
    f.at(NOON + 100);
    let expired = f.try_open(&f.terms(2));
    assert_eq!(expired, Err(VaultError::UnauthorizedRunner), "a grant ends by time");
    f.at(NOON + 2 * DAY);
    assert_eq!(f.settle(&run), Err(VaultError::RunNotOpen), "a longer life revives no run");
    assert_eq!(f.vault.balance_of(&f.user), ALL);
}

#[test]
fn keys_of_different_people_agents_and_roles_never_meet() {
    let f = Fixture::ready();
    let listed = vec![&f.env, f.runner.clone(), f.user.clone()];
    let other = f.registry.register_agent(&f.runner, &None, &listed, &card(&f.env, 10_000));
    assert!(!f.vault.is_runner_authorized(&f.user, &f.runner, &other));
    f.vault.grant_runner(&f.runner, &f.user, &other, &None);
    assert!(!f.vault.is_runner_authorized(&f.user, &f.runner, &other), "user and runner swapped");
    f.settle(&f.opened(1)).unwrap();
    assert_eq!(f.vault.developer_balance(&f.developer), CHARGE);
    assert_eq!(f.vault.runner_balance(&f.developer), 0, "one address, two roles");
    assert_eq!(f.vault.balance_of(&f.developer), 0, "and an account of its own");
}

#[test]
fn policy_holes_nobody_listed_or_granted_means_nobody() {
    let f = Fixture::ready();
    let second = f.second_runner();
    f.registry.remove_runner(&f.agent, &f.runner);
    f.registry.remove_runner(&f.agent, &second);
    assert!(f.registry.get_agent(&f.agent).runners.is_empty());
    for runner in [&f.runner, &second, &f.developer, &f.user, &f.admin] {
        let open = f.vault.try_open_run(&f.user, runner, &f.agent, &1, &budgets(), &f.terms(1));
        assert_eq!(flat(open), Err(VaultError::UnauthorizedRunner));
    }
    f.registry.add_runner(&f.agent, &f.runner);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::UnauthorizedRunner));
}

#[test]
fn policy_holes_the_users_caps_hold_for_all_runners_together() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: ESCROW, paused: false };
    f.vault.set_policy(&f.user, &policy);
    f.open(1);
    let open = f.vault.try_open_run(&f.user, &second, &f.agent, &1, &budgets(), &f.terms(1));
    assert_eq!(flat(open), Err(VaultError::DailyCapExceeded));
}

#[test]
fn token_calls_take_only_from_who_signed_and_the_amount_he_signed() {
    let f = Fixture::new();
    f.vault.deposit(&f.user, &70);
    let auths = f.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &f.user));
    let inner = &auths[0].1.sub_invocations;
    let to = soroban_sdk::MuxedAddress::from(f.vault.address.clone());
    let transfer = AuthorizedFunction::Contract((
        f.token.address.clone(),
        Symbol::new(&f.env, "transfer"),
        (&f.user, to, 70i128).into_val(&f.env),
    ));
    assert_eq!((inner.len(), &inner[0].function), (1, &transfer));
    f.vault.withdraw(&f.user, &70);
    assert!(f.env.auths()[0].1.sub_invocations.is_empty(), "nobody signs for the vault's tokens");
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
            ["touched.save(env)", "storage::set_payable("].iter().find_map(|f| body.find(f));
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
    let f = Fixture::ready();
    let run = f.opened(1);
    f.pass_ledgers(u32::try_from(HOUR).unwrap() + 1_000);
    assert!(f.settle(&run).is_ok(), "an hour's worth of ledgers, and no second, passed");
    let two = f.opened(2);
    f.at(NOON + HOUR);
    assert_eq!(f.settle(&two), Err(VaultError::RunNotOpen), "an hour, and no ledger, passed");
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
    let f = Fixture::ready();
    let (settled, open) = (f.opened(1), f.opened(2));
    f.settle(&settled).unwrap();
    let gone = (Symbol::new(&f.env, "Agent"), f.agent);
    f.env.as_contract(&f.registry.address, || f.env.storage().persistent().remove(&gone));
    assert_eq!(f.settle(&open), Err(VaultError::AgentNotFound));
    f.vault.withdraw(&f.user, &1);
    f.vault.claim_developer(&f.developer, &CHARGE);
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&open.0);
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE - 1);
}

#[test]
fn invariants_money_is_conserved_over_a_day_of_everything() {
    // `stateful` holds the vault to a model over 100,000 steps; this is the rule in one line.
    let f = Fixture::ready();
    let (one, two) = (f.opened(1), f.open(2));
    f.settle(&one).unwrap();
    f.vault.void_run(&two, &f.runner, &0, &u64::MAX);
    f.open(3);
    f.at(NOON + DAY);
    f.vault.sweep(&f.user);
    let owed = f.vault.balance_of(&f.user) + f.vault.developer_balance(&f.developer);
    assert_eq!((owed, f.token.balance(&f.vault.address)), (ALL, ALL));
}
