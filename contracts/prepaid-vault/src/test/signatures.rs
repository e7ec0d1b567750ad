//! Who must sign what: exactly one address each, and nothing happens without it.

use super::*;

/// Makes the call and checks that exactly `who` had to sign.
fn signer(w: &World, who: &Address, call: impl FnOnce()) -> bool {
    call();
    let auths = w.env.auths();
    auths.len() == 1 && auths[0].0 == *who
}

#[test]
fn every_call_is_signed_by_its_owner_alone() {
    let w = World::new();
    let (user, runner) = (&w.user, &w.runner);
    assert!(signer(&w, user, || w.vault.deposit(user, &100_000_000)));
    assert!(signer(&w, user, || w.vault.withdraw(user, &1)));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: false };
    assert!(signer(&w, user, || w.vault.set_policy(user, &policy)));
    assert!(signer(&w, user, || w.vault.grant_runner(user, runner, &w.agent, &None)));
    let (terms, run) = (w.terms(1), w.pinned(&w.terms(1)));
    assert!(signer(&w, runner, || {
        w.vault.open_run(user, runner, &w.agent, &1, &budgets(), &terms);
    }));
    let id = w.open(1);
    let hash = w.bytes(9);
    let signed = Some(w.attest(&(id.clone(), run.clone()), &usage()));
    assert!(signer(&w, runner, || {
        w.vault.finalize_run(&id, runner, &run, &usage(), &hash, &0, &signed, &u64::MAX);
    }));
    let (second, third) = (w.open(2), w.open(3));
    assert!(signer(&w, runner, || w.vault.void_run(&second, runner, &0, &u64::MAX)));
    assert!(signer(&w, user, || w.vault.revoke_runner(user, runner, &w.agent)));
    assert!(signer(&w, &w.developer, || w.vault.claim_developer(&w.developer, &1)));
    w.at(NOON + HOUR);
    assert!(signer(&w, user, || w.vault.cancel_run(user, &third)));
    w.vault.reclaim_run(&third);
    assert!(w.env.auths().is_empty());
    w.vault.sweep(user);
    assert!(w.env.auths().is_empty());
}

#[test]
fn without_a_signature_nothing_happens() {
    let w = World::ready();
    let run = w.opened(1);
    w.settle(&w.opened(2)).unwrap();
    let before = (w.vault.account(&w.user), w.owed());
    w.env.set_auths(&[]);
    let (v, user, runner, hash) = (&w.vault, &w.user, &w.runner, w.bytes(9));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: true };
    assert!(v.try_deposit(user, &1).is_err());
    assert!(v.try_withdraw(user, &1).is_err());
    assert!(v.try_set_policy(user, &policy).is_err());
    assert!(v.try_grant_runner(user, &w.developer, &w.agent, &None).is_err());
    assert!(v.try_revoke_runner(user, runner, &w.agent).is_err());
    assert!(v.try_open_run(user, runner, &w.agent, &1, &budgets(), &w.terms(3)).is_err());
    let (id, terms, signed) = (&run.0, &run.1, Some(w.attest(&run, &usage())));
    let settled = v.try_finalize_run(id, runner, terms, &usage(), &hash, &0, &signed, &u64::MAX);
    assert!(settled.is_err());
    assert!(v.try_void_run(&run.0, runner, &0, &u64::MAX).is_err());
    assert!(v.try_claim_developer(&w.developer, &1).is_err());
    assert!(v.try_claim_runner(runner, &1).is_err());
    w.at(NOON + HOUR);
    assert!(v.try_cancel_run(user, &run.0).is_err());
    assert_eq!((w.vault.account(&w.user), w.owed()), before);
    w.vault.reclaim_run(&run.0);
}

#[test]
fn reads_write_nothing() {
    let w = World::ready();
    w.open(1);
    w.vault.grant_runner(&w.user, &w.second_listed(), &w.agent, &Some(NOON + 1));
    w.at(NOON + DAY);
    let stored =
        || w.env.as_contract(&w.vault.address, || crate::storage::account(&w.env, &w.user));
    let before = stored();
    w.vault.balance_of(&w.user);
    w.vault.account(&w.user);
    w.vault.get_policy(&w.user);
    w.vault.list_runner_grants(&w.user);
    w.vault.is_runner_authorized(&w.user, &w.runner, &w.agent);
    w.expect_events(&[]);
    assert_eq!(stored(), before);
}
