//! What a user allows one runner for one agent: caps of a grant, and the runner's fee.

use super::*;

const FREE: GrantLimits = GrantLimits { per_run_cap: 0, total_cap: 0, max_runner_fee: 0 };

impl Fixture {
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
    let f = Fixture::new();
    let read = || f.vault.grant_limits(&f.user, &f.runner, &f.agent);
    assert_eq!(read(), None);

    let limits = GrantLimits { per_run_cap: 1, total_cap: 2, max_runner_fee: 3 };
    f.limit(&limits);
    let auths = f.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &f.user));
    f.expect_events(&[&RunnerLimitsSet {
        user: f.user.clone(),
        runner: f.runner.clone(),
        agent_id: f.agent,
        per_run_cap: 1,
        total_cap: 2,
        max_runner_fee: 3,
    }]);
    assert_eq!(read(), Some(limits));
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let f = Fixture::new();
    for bad in [
        GrantLimits { per_run_cap: -1, ..FREE },
        GrantLimits { total_cap: -1, ..FREE },
        GrantLimits { max_runner_fee: i128::MIN, ..FREE },
    ] {
        let set = f.vault.try_set_grant_limits(&f.user, &f.runner, &f.agent, &bad);
        assert_eq!(flat(set), Err(VaultError::InvalidAmount));
    }
    let own = f.vault.try_set_grant_limits(&f.user, &f.user, &f.agent, &FREE);
    assert_eq!(flat(own), Err(VaultError::InvalidAmount));
    assert_eq!(f.vault.grant_limits(&f.user, &f.runner, &f.agent), None);
}

#[test]
fn limits_come_before_the_grant_and_outlive_it() {
    let f = Fixture::new();
    f.limit(&GrantLimits { per_run_cap: ESCROW - 1, ..FREE });
    let f = f.prepared();
    let over = Err(VaultError::GrantRunCapExceeded);
    assert_eq!(f.try_open(&f.terms(1)), over);

    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    assert_eq!(f.try_open(&f.terms(1)), over);

    f.limit(&FREE);
    assert!(f.try_open(&f.terms(1)).is_ok());
}

#[test]
fn limits_are_for_one_runner_and_one_agent() {
    let f = Fixture::ready();
    let second = f.second_runner();
    f.limit(&GrantLimits { per_run_cap: 1, ..FREE });
    let open = f.vault.try_open_run(&f.user, &second, &f.agent, &1, &budgets(), &f.terms(1));
    assert!(flat(open).is_ok());
    assert_eq!(f.try_open(&f.terms(1)), Err(VaultError::GrantRunCapExceeded));
}

#[test]
fn the_total_counts_what_is_charged_and_reserved_under_a_serial() {
    let f = Fixture::ready();
    f.limit(&GrantLimits { total_cap: CHARGE + ESCROW, ..FREE });

    // An open run counts with its whole escrow, a settled one with its charge.
    let first = f.opened(1);
    assert_eq!(f.try_open(&f.terms(2)), Err(VaultError::GrantTotalExceeded));
    f.settle(&first).unwrap();
    let second = f.open(2);
    assert_eq!(f.try_open(&f.terms(3)), Err(VaultError::GrantTotalExceeded));

    // One that is voided or reclaimed counts no more.
    f.vault.void_run(&second, &f.runner, &0, &u64::MAX);
    let third = f.open(3);
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&third);
    f.open(4);
    assert_eq!(f.try_open(&f.terms(5)), Err(VaultError::GrantTotalExceeded));

    // A new grant has a serial of its own, and begins at nothing.
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    f.open(5);
}

#[test]
fn a_run_of_an_older_serial_gives_nothing_back_to_a_newer_grant() {
    let f = Fixture::ready();
    f.limit(&GrantLimits { total_cap: ESCROW, ..FREE });
    let old = f.opened(1);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.vault.grant_runner(&f.user, &f.runner, &f.agent, &None);
    f.open(2);

    // What the old run gives back would otherwise make room for a third one.
    f.settle_as(&f.runner, &old, &units(0, 0, 0, 0)).unwrap();
    assert_eq!(f.try_open(&f.terms(3)), Err(VaultError::GrantTotalExceeded));
}

#[test]
fn without_limits_no_fee_is_allowed() {
    let f = Fixture::ready();
    assert_eq!(f.open_for(1, 1), Err(VaultError::RunnerFeeExceeded));
    f.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    assert_eq!(f.open_for(1, 501), Err(VaultError::RunnerFeeExceeded));
    assert_eq!(f.open_for(1, -1), Err(VaultError::InvalidAmount));
    assert!(f.open_for(1, 500).is_ok());
}

#[test]
fn the_fee_is_escrowed_and_paid_to_the_opener_that_settles() {
    let f = Fixture::ready();
    f.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let run = f.opened_for(1, 500);
    assert_eq!(f.vault.balance_of(&f.user), 100_000_000 - ESCROW - 500);

    let receipt = f.settle(&run).unwrap();
    assert_eq!((receipt.actual_charge, receipt.runner_fee), (CHARGE, 500));
    assert_eq!(receipt.refund, ESCROW - CHARGE);
    assert_eq!(f.vault.runner_balance(&f.runner), 500);
    assert_eq!(f.vault.developer_balance(&f.developer), CHARGE);
    assert_eq!(f.vault.get_policy(&f.user).spent_today, CHARGE + 500);

    f.vault.claim_runner(&f.runner, &500);
    assert_eq!(f.token.balance(&f.runner), 500);
    assert_eq!(f.owed(), f.token.balance(&f.vault.address));
}

#[test]
fn the_fee_is_paid_even_when_the_module_failed() {
    let f = Fixture::ready();
    f.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let run = f.opened_for(1, 500);
    let receipt = f.settle_as(&f.runner, &run, &units(0, 0, 0, 0)).unwrap();
    assert_eq!((receipt.runner_fee, receipt.refund), (500, ESCROW));
}

#[test]
fn a_run_that_another_settles_or_that_is_given_up_pays_no_fee() {
    let f = Fixture::ready();
    let second = f.second_runner();
    f.limit(&GrantLimits { max_runner_fee: 500, ..FREE });
    let (first, given_up, lapsed) =
        (f.opened_for(1, 500), f.opened_for(2, 500), f.opened_for(3, 500));
    f.vault.void_run(&given_up.0, &f.runner, &0, &u64::MAX);
    f.registry.remove_runner(&f.agent, &f.runner);
    let receipt = f.settle_as(&second, &first, &usage()).unwrap();
    assert_eq!((receipt.runner_fee, receipt.refund), (0, ESCROW + 500 - CHARGE));
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&lapsed.0);
    assert_eq!(f.vault.runner_balance(&f.runner) + f.vault.runner_balance(&second), 0);
    assert_eq!(f.vault.balance_of(&f.user), 100_000_000 - CHARGE);
}

#[test]
fn every_cap_counts_the_fee() {
    let f = Fixture::ready();
    let fee = |caps: GrantLimits| GrantLimits { max_runner_fee: 500, ..caps };
    let policy = |per_run_cap, daily_cap| {
        f.vault.set_policy(&f.user, &PolicyInput { per_run_cap, daily_cap, paused: false });
    };
    f.limit(&fee(GrantLimits { per_run_cap: ESCROW, ..FREE }));
    assert_eq!(f.open_for(1, 1), Err(VaultError::GrantRunCapExceeded));
    f.limit(&fee(GrantLimits { total_cap: ESCROW, ..FREE }));
    assert_eq!(f.open_for(1, 1), Err(VaultError::GrantTotalExceeded));
    f.limit(&fee(FREE));
    policy(ESCROW, 0);
    assert_eq!(f.open_for(1, 1), Err(VaultError::PerRunCapExceeded));
    policy(0, ESCROW);
    assert_eq!(f.open_for(1, 1), Err(VaultError::DailyCapExceeded));
    policy(0, 0);
    f.vault.withdraw(&f.user, &(100_000_000 - ESCROW));
    assert_eq!(f.open_for(1, 1), Err(VaultError::InsufficientBalance));
    assert!(f.open_for(1, 0).is_ok());
}

#[test]
fn a_fee_that_overflows_is_an_invalid_amount() {
    let f = Fixture::ready();
    f.limit(&GrantLimits { max_runner_fee: i128::MAX, ..FREE });
    assert_eq!(f.open_for(1, i128::MAX), Err(VaultError::InvalidAmount));
    assert_eq!(f.open_for(1, i128::from(i64::MAX) + 1), Err(VaultError::InvalidAmount));
    // The fee fits, but fee and highest charge together do not (V19).
    assert_eq!(f.open_for(1, i128::from(i64::MAX)), Err(VaultError::InvalidAmount));
    let fits = f.open_for(1, i128::from(i64::MAX) - ESCROW);
    assert_eq!(fits, Err(VaultError::InsufficientBalance));
}
