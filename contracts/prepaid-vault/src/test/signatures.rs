//! Who must sign what: exactly one address each, and nothing happens without it.

use super::*;

/// Makes the call and checks that exactly `who` had to sign.
fn signer(f: &Fixture, who: &Address, call: impl FnOnce()) -> bool {
    call();
    let auths = f.env.auths();
    auths.len() == 1 && auths[0].0 == *who
}

#[test]
fn every_call_is_signed_by_its_owner_alone() {
    let f = Fixture::new();
    let (user, runner) = (&f.user, &f.runner);
    assert!(signer(&f, user, || f.vault.deposit(user, &100_000_000)));
    assert!(signer(&f, user, || f.vault.withdraw(user, &1)));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: false };
    assert!(signer(&f, user, || f.vault.set_policy(user, &policy)));
    assert!(signer(&f, user, || f.vault.grant_runner(user, runner, &f.agent, &None)));
    let (terms, run) = (f.terms(1), f.pinned(&f.terms(1)));
    assert!(signer(&f, runner, || {
        f.vault.open_run(user, runner, &f.agent, &1, &budgets(), &terms);
    }));
    let id = f.open(1);
    let hash = f.bytes(9);
    let signed = Some(f.attest(&(id.clone(), run.clone()), &usage()));
    assert!(signer(&f, runner, || {
        f.vault.finalize_run(&id, runner, &run, &usage(), &hash, &0, &signed, &u64::MAX);
    }));
    let (second, third) = (f.open(2), f.open(3));
    assert!(signer(&f, runner, || f.vault.void_run(&second, runner, &0, &u64::MAX)));
    assert!(signer(&f, user, || f.vault.revoke_runner(user, runner, &f.agent)));
    assert!(signer(&f, &f.developer, || f.vault.claim_developer(&f.developer, &1)));
    f.at(NOON + HOUR);
    assert!(signer(&f, user, || f.vault.cancel_run(user, &third)));
    f.vault.reclaim_run(&third);
    assert!(f.env.auths().is_empty());
    f.vault.sweep(user);
    assert!(f.env.auths().is_empty());
}

#[test]
fn without_a_signature_nothing_happens() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.settle(&f.opened(2)).unwrap();
    let before = (f.vault.account(&f.user), f.owed());
    f.env.set_auths(&[]);
    let (v, user, runner, hash) = (&f.vault, &f.user, &f.runner, f.bytes(9));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: true };
    assert!(v.try_deposit(user, &1).is_err());
    assert!(v.try_withdraw(user, &1).is_err());
    assert!(v.try_set_policy(user, &policy).is_err());
    assert!(v.try_grant_runner(user, &f.developer, &f.agent, &None).is_err());
    assert!(v.try_revoke_runner(user, runner, &f.agent).is_err());
    assert!(v.try_open_run(user, runner, &f.agent, &1, &budgets(), &f.terms(3)).is_err());
    let (id, terms, signed) = (&run.0, &run.1, Some(f.attest(&run, &usage())));
    let settled = v.try_finalize_run(id, runner, terms, &usage(), &hash, &0, &signed, &u64::MAX);
    assert!(settled.is_err());
    assert!(v.try_void_run(&run.0, runner, &0, &u64::MAX).is_err());
    assert!(v.try_claim_developer(&f.developer, &1).is_err());
    assert!(v.try_claim_runner(runner, &1).is_err());
    f.at(NOON + HOUR);
    assert!(v.try_cancel_run(user, &run.0).is_err());
    assert_eq!((f.vault.account(&f.user), f.owed()), before);
    f.vault.reclaim_run(&run.0);
}

#[test]
fn reads_write_nothing() {
    let f = Fixture::ready();
    f.open(1);
    f.vault.grant_runner(&f.user, &f.second_listed(), &f.agent, &Some(NOON + 1));
    f.at(NOON + DAY);
    let stored =
        || f.env.as_contract(&f.vault.address, || crate::storage::account(&f.env, &f.user));
    let before = stored();
    f.vault.balance_of(&f.user);
    f.vault.account(&f.user);
    f.vault.get_policy(&f.user);
    f.vault.list_runner_grants(&f.user);
    f.vault.is_runner_authorized(&f.user, &f.runner, &f.agent);
    f.expect_events(&[]);
    assert_eq!(stored(), before);
}
