//! What a user allows one runner for one agent: caps of a grant, and the runner's fee.

use super::*;

const FREE: GrantLimits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 0 };

impl World {
    fn limit(&self, limits: &GrantLimits) {
        self.vault.set_grant_limits(&self.user, &self.runner, &self.agent, limits);
    }

    fn open_for(&self, nonce: u8, fee: i128) -> Result<BytesN<32>, VaultError> {
        self.try_open(&OpenTerms { runner_fee: fee, ..self.terms(nonce) })
    }

    fn opened_for(&self, nonce: u8, fee: i128) -> (BytesN<32>, RunTerms) {
        let terms = RunTerms { runner_fee: fee, ..self.pinned(&self.terms(nonce)) };
        (self.open_for(nonce, fee).unwrap(), terms)
    }
}

#[test]
fn limits_are_kept_emitted_and_signed_for() {
    let w = World::new();
    let read = || w.vault.grant_limits(&w.user, &w.runner, &w.agent);
    assert_eq!(read(), None);

    let limits = GrantLimits { per_run_cap: 1, total_cap: 2, max_runner_fee: 3 };
    w.limit(&limits);
    let auths = w.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &w.user));
    w.expect_events(&[&RunnerLimitsSet {
        user: w.user.clone(),
        runner: w.runner.clone(),
        agent_id: w.agent,
        per_run_cap: 1,
        total_cap: 2,
        max_runner_fee: 3,
    }]);
    assert_eq!(read(), Some(limits));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let w = World::new();
    for bad in [
        GrantLimits { per_run_cap: -1, ..FREE },
        GrantLimits { total_cap: -1, ..FREE },
        GrantLimits { max_runner_fee: i128::MIN, ..FREE },
    ] {
        let set = w.vault.try_set_grant_limits(&w.user, &w.runner, &w.agent, &bad);
        assert_eq!(flat(set), Err(VaultError::InvalidAmount));
    }
    let own = w.vault.try_set_grant_limits(&w.user, &w.user, &w.agent, &FREE);
    assert_eq!(flat(own), Err(VaultError::InvalidAmount));
    assert_eq!(w.vault.grant_limits(&w.user, &w.runner, &w.agent), None);
}

#[test]
fn limits_come_before_the_grant_and_outlive_it() {
    let w = World::new();
    w.limit(&GrantLimits { per_run_cap: ESCROW - 1, ..FREE });
    let w = w.prepared();
    let over = Err(VaultError::GrantRunCapExceeded);
    assert_eq!(w.try_open(&w.terms(1)), over);

    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    assert_eq!(w.try_open(&w.terms(1)), over);

    w.limit(&FREE);
    assert!(w.try_open(&w.terms(1)).is_ok());
}

#[test]
fn limits_are_for_one_runner_and_one_agent() {
    let w = World::ready();
    let second = w.second_runner();
    w.limit(&GrantLimits { per_run_cap: 1, ..FREE });
    let open = w.vault.try_open_run(&w.user, &second, &w.agent, &1, &budgets(), &w.terms(1));
    assert!(flat(open).is_ok());
    assert_eq!(w.try_open(&w.terms(1)), Err(VaultError::GrantRunCapExceeded));
}

#[test]
fn the_total_counts_what_is_charged_and_reserved_under_a_serial() {
    let w = World::ready();
    w.limit(&GrantLimits { total_cap: CHARGE + ESCROW, ..FREE });

    // An open run counts with its whole escrow, a settled one with its charge.
    let first = w.opened(1);
    assert_eq!(w.try_open(&w.terms(2)), Err(VaultError::GrantTotalExceeded));
    w.settle(&first).unwrap();
    let second = w.open(2);
    assert_eq!(w.try_open(&w.terms(3)), Err(VaultError::GrantTotalExceeded));

    // One that is voided or reclaimed counts no more.
    w.vault.void_run(&second, &w.runner, &0, &u64::MAX);
    let third = w.open(3);
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&third);
    w.open(4);
    assert_eq!(w.try_open(&w.terms(5)), Err(VaultError::GrantTotalExceeded));

    // A new grant has a serial of its own, and begins at nothing.
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    w.open(5);
}

#[test]
fn a_run_of_an_older_serial_gives_nothing_back_to_a_newer_grant() {
    let w = World::ready();
    w.limit(&GrantLimits { total_cap: ESCROW, ..FREE });
    let old = w.opened(1);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.vault.grant_runner(&w.user, &w.runner, &w.agent, &None);
    w.open(2);

    // What the old run gives back would otherwise make room for a third one.
    w.settle_as(&w.runner, &old, &units(0, 0, 0, 0)).unwrap();
    assert_eq!(w.try_open(&w.terms(3)), Err(VaultError::GrantTotalExceeded));
}

#[test]
fn without_limits_no_fee_is_allowed() {
    let w = World::ready();
    assert_eq!(w.open_for(1, 1), Err(VaultError::RunnerFeeExceeded));
    w.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    assert_eq!(w.open_for(1, 501), Err(VaultError::RunnerFeeExceeded));
    assert_eq!(w.open_for(1, -1), Err(VaultError::InvalidAmount));
    assert!(w.open_for(1, 500).is_ok());
}

#[test]
fn the_fee_is_escrowed_and_paid_to_the_opener_that_settles() {
    let w = World::ready();
    w.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let run = w.opened_for(1, 500);
    assert_eq!(w.vault.balance_of(&w.user), 100_000_000 - ESCROW - 500);

    let receipt = w.settle(&run).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (CHARGE, 500));
    assert_eq!(receipt.refund, ESCROW - CHARGE);
    assert_eq!(w.vault.runner_balance(&w.runner), 500);
    assert_eq!(w.vault.developer_balance(&w.developer), CHARGE);
    assert_eq!(w.vault.get_policy(&w.user).spent_today, CHARGE + 500);

    w.vault.claim_runner(&w.runner, &500);
    assert_eq!(w.token.balance(&w.runner), 500);
    assert_eq!(w.owed(), w.token.balance(&w.vault.address));
}

#[test]
fn the_fee_is_paid_even_when_the_module_failed() {
    let w = World::ready();
    w.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let run = w.opened_for(1, 500);
    let receipt = w.settle_as(&w.runner, &run, &units(0, 0, 0, 0)).unwrap();
    assert_eq!((receipt.runner_fee, receipt.refund), (500, ESCROW));
}

#[test]
fn a_run_that_another_settles_or_that_is_given_up_pays_no_fee() {
    let w = World::ready();
    let second = w.second_runner();
    w.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let (first, given_up, lapsed) =
        (w.opened_for(1, 500), w.opened_for(2, 500), w.opened_for(3, 500));
    w.vault.void_run(&given_up.0, &w.runner, &0, &u64::MAX);
    w.registry.remove_runner(&w.agent, &w.runner);
    let receipt = w.settle_as(&second, &first, &usage()).unwrap();
    assert_eq!((receipt.runner_fee, receipt.refund), (0, ESCROW + 500 - CHARGE));
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&lapsed.0);
    assert_eq!(w.vault.runner_balance(&w.runner) + w.vault.runner_balance(&second), 0);
    assert_eq!(w.vault.balance_of(&w.user), 100_000_000 - CHARGE);
}

#[test]
fn every_cap_counts_the_fee() {
    let w = World::ready();
    let fee = |caps: GrantLimits| GrantLimits { max_runner_fee: 500, ..caps };
    let policy = |per_run_cap, daily_cap| {
        w.vault.set_policy(&w.user, &PolicyInput { per_run_cap, daily_cap, paused: false });
    };
    w.limit(&fee(GrantLimits { per_run_cap: ESCROW, ..FREE }));
    assert_eq!(w.open_for(1, 1), Err(VaultError::GrantRunCapExceeded));
    w.limit(&fee(GrantLimits { total_cap: ESCROW, ..FREE }));
    assert_eq!(w.open_for(1, 1), Err(VaultError::GrantTotalExceeded));
    w.limit(&fee(FREE));
    policy(ESCROW, 0);
    assert_eq!(w.open_for(1, 1), Err(VaultError::PerRunCapExceeded));
    policy(0, ESCROW);
    assert_eq!(w.open_for(1, 1), Err(VaultError::DailyCapExceeded));
    policy(0, 0);
    w.vault.withdraw(&w.user, &(100_000_000 - ESCROW));
    assert_eq!(w.open_for(1, 1), Err(VaultError::InsufficientBalance));
    assert!(w.open_for(1, 0).is_ok());
}

#[test]
fn a_fee_that_overflows_is_an_invalid_amount() {
    let w = World::ready();
    w.limit(&GrantLimits { max_runner_fee: i128::MAX, ..FREE });
    assert_eq!(w.open_for(1, i128::MAX), Err(VaultError::InvalidAmount));
    assert_eq!(w.open_for(1, i128::from(i64::MAX) + 1), Err(VaultError::InvalidAmount));
    // The fee fits, but fee and highest charge together do not (V19).
    assert_eq!(w.open_for(1, i128::from(i64::MAX)), Err(VaultError::InvalidAmount));
    let fits = w.open_for(1, i128::from(i64::MAX) - ESCROW);
    assert_eq!(fits, Err(VaultError::InsufficientBalance));
}
