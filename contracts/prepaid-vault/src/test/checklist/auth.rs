//! Auth on every function that changes anything.

use super::super::std::collections::BTreeSet;
use super::super::std::string::String as Text;
use super::super::*;
use super::Spec;

/// What every account may call: reads, and what only gives a user back what is theirs.
const UNSIGNED: [&str; 16] = [
    "account",
    "administration",
    "balance_of",
    "config",
    "deficit",
    "developer_balance",
    "get_policy",
    "get_run",
    "grant_limits",
    "is_runner_authorized",
    "list_runner_grants",
    "reclaim_run",
    "runner_balance",
    "surplus",
    "sweep",
    "__constructor",
];

#[test]
fn auth_every_other_function_is_refused_without_a_signature() {
    let f = Fixture::built(true).prepared();
    f.vault.propose_admin(&f.developer);
    let (run, settled) = (f.opened(1), f.opened(2));
    f.settle(&settled).unwrap();
    let before = (f.vault.account(&f.user), f.vault.administration(), f.owed());
    f.env.set_auths(&[]);
    let (v, user, runner, hash) = (&f.vault, &f.user, &f.runner, f.bytes(9));
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 0, paused: true };
    let limits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 9 };
    let terms = f.terms(3);
    let (heads, opens) = batch::openings(&f, &[batch::open_run(&f, 4)]);
    let (_, settles) = batch::settlements(&f, &[batch::settlement(&f, run.clone())]);
    let (id, pinned, signed) = (&run.0, &run.1, Some(f.attest(&run, &usage())));
    let refused = [
        ("deposit", v.try_deposit(user, &1).is_err()),
        ("withdraw", v.try_withdraw(user, &1).is_err()),
        ("set_policy", v.try_set_policy(user, &policy).is_err()),
        ("set_grant_limits", v.try_set_grant_limits(user, runner, &f.agent, &limits).is_err()),
        ("grant_runner", v.try_grant_runner(user, &f.developer, &f.agent, &None).is_err()),
        ("revoke_runner", v.try_revoke_runner(user, runner, &f.agent).is_err()),
        ("open_run", v.try_open_run(user, runner, &f.agent, &1, &budgets(), &terms).is_err()),
        ("open_runs", v.try_open_runs(runner, &u64::MAX, &heads, &opens).is_err()),
        (
            "finalize_run",
            v.try_finalize_run(id, runner, pinned, &usage(), &hash, &0, &signed, &u64::MAX)
                .is_err(),
        ),
        ("finalize_runs", v.try_finalize_runs(runner, &u64::MAX, &heads, &settles).is_err()),
        ("void_run", v.try_void_run(&run.0, runner, &0, &u64::MAX).is_err()),
        ("cancel_run", v.try_cancel_run(user, &run.0).is_err()),
        ("claim_developer", v.try_claim_developer(&f.developer, &1).is_err()),
        ("claim_runner", v.try_claim_runner(runner, &1).is_err()),
        ("pause_opens", v.try_pause_opens().is_err()),
        ("resume_opens", v.try_resume_opens().is_err()),
        ("propose_admin", v.try_propose_admin(user).is_err()),
        ("accept_admin", v.try_accept_admin().is_err()),
        ("schedule_upgrade", v.try_schedule_upgrade(&hash).is_err()),
        ("cancel_upgrade", v.try_cancel_upgrade().is_err()),
        ("upgrade", v.try_upgrade(&hash).is_err()),
        ("migrate", v.try_migrate().is_err()),
    ];
    for (name, refused) in refused {
        assert!(refused, "{name}");
    }
    assert_eq!((f.vault.account(&f.user), f.vault.administration(), f.owed()), before);

    let tried = refused.iter().map(|(name, _)| *name).chain(UNSIGNED);
    let all: BTreeSet<Text> = Spec::of(wasm::VAULT).functions.into_iter().map(|of| of.0).collect();
    assert_eq!(tried.map(Text::from).collect::<BTreeSet<_>>(), all, "a function is missing here");
}
