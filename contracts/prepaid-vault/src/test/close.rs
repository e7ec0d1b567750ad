//! Ends without a settlement: void, reclaim, the two due-day sums, records that vanish.

use soroban_sdk::testutils::storage::Temporary as _;

use super::*;

const ALL: i128 = 100_000_000;

fn void(f: &Fixture, run: &BytesN<32>, reason: u32) -> Result<(), VaultError> {
    flat(f.vault.try_void_run(run, &f.runner, &reason, &u64::MAX))
}

#[test]
fn the_opener_gives_a_run_up_with_a_full_refund() {
    let f = Fixture::ready();
    let run_id = f.open(1);
    void(&f, &run_id, 7).unwrap();
    f.expect_events(&[&RunVoided {
        user: f.user.clone(),
        run_id: run_id.clone(),
        runner: f.runner.clone(),
        reason: 7,
        refund: ESCROW,
        voided_at: NOON,
    }]);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
    assert_eq!(f.vault.get_run(&run_id).lifecycle, RunLifecycle::Voided(7));
    assert_eq!(void(&f, &run_id, 7), Ok(()));
    f.expect_events(&[]);
    assert_eq!(void(&f, &run_id, 8), Err(VaultError::RunNotOpen));
    assert_eq!(flat(f.vault.try_reclaim_run(&run_id)), Err(VaultError::RunNotOpen));
    assert_eq!(f.vault.balance_of(&f.user), ALL);
}

#[test]
fn void_checks_in_its_order() {
    let f = Fixture::ready();
    let second = f.second_runner();
    let run = f.opened(1);
    let void = |id: &BytesN<32>, runner: &Address, until: u64| {
        flat(f.vault.try_void_run(id, runner, &0, &until)).err()
    };
    assert_eq!(void(&run.0, &second, NOON), Some(VaultError::UnauthorizedRunner));
    assert_eq!(void(&f.bytes(1), &second, NOON), Some(VaultError::RunNotFound));
    assert_eq!(void(&f.bytes(1), &second, NOON - 1), Some(VaultError::Expired));
    f.at(NOON + HOUR);
    assert_eq!(void(&run.0, &f.runner, NOON + HOUR), Some(VaultError::RunNotOpen));
}

#[test]
fn a_delisted_and_revoked_opener_can_still_void() {
    let f = Fixture::ready();
    let run = f.open(1);
    f.vault.revoke_runner(&f.user, &f.runner, &f.agent);
    f.registry.remove_runner(&f.agent, &f.runner);
    assert_eq!(void(&f, &run, 0), Ok(()));
    assert_eq!(f.vault.balance_of(&f.user), ALL);
}

#[test]
fn a_run_is_reclaimed_from_its_deadline_on() {
    let f = Fixture::ready();
    let run_id = f.open(1);
    f.at(NOON + HOUR - 1);
    let early = Err(VaultError::DeadlineNotReached);
    assert_eq!(flat(f.vault.try_reclaim_run(&run_id)), early);
    assert_eq!(flat(f.vault.try_cancel_run(&f.user, &run_id)), early);
    f.at(NOON + HOUR);
    f.vault.reclaim_run(&run_id);
    f.expect_events(&[&RunReclaimed {
        user: f.user.clone(),
        run_id: run_id.clone(),
        refund: ESCROW,
        reclaimed_at: NOON + HOUR,
    }]);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
    assert_eq!(f.vault.get_policy(&f.user).reserved_today, 0);
    f.vault.reclaim_run(&run_id);
    f.expect_events(&[]);
    f.vault.cancel_run(&f.user, &run_id);
    f.expect_events(&[]);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
    assert_eq!(void(&f, &run_id, 0), Err(VaultError::RunNotOpen));
}

#[test]
fn only_the_owner_cancels() {
    let f = Fixture::ready();
    let run = f.open(1);
    f.at(NOON + HOUR);
    let other = flat(f.vault.try_cancel_run(&f.runner, &run));
    assert_eq!(other, Err(VaultError::Unauthorized));
    let unknown = flat(f.vault.try_cancel_run(&f.user, &f.bytes(1)));
    assert_eq!(unknown, Err(VaultError::RunNotFound));
    f.vault.cancel_run(&f.user, &run);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
}

#[test]
fn a_settled_run_is_not_reclaimed() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.settle(&run).unwrap();
    f.at(NOON + HOUR);
    assert_eq!(flat(f.vault.try_reclaim_run(&run.0)), Err(VaultError::RunNotOpen));
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE);
}

/// One run due today and one due tomorrow, over the days.
#[test]
fn escrow_returns_by_itself_when_its_due_day_is_past() {
    let f = Fixture::ready();
    f.open(1);
    f.try_open(&OpenTerms { deadline: NOON + DAY, ..f.terms(2) }).unwrap();
    let account = f.vault.account(&f.user);
    assert_eq!((account.due_today, account.due_tomorrow), (ESCROW, ESCROW));
    let midnight = (NOON / DAY + 1) * DAY;
    f.at(midnight - 1);
    assert_eq!(f.vault.balance_of(&f.user), ALL - 2 * ESCROW);
    assert_eq!(f.vault.sweep(&f.user), 0);
    f.expect_events(&[]);
    f.at(midnight);
    assert_eq!(f.vault.balance_of(&f.user), ALL - ESCROW);
    let account = f.vault.account(&f.user);
    assert_eq!((account.due_today, account.due_tomorrow), (ESCROW, 0));
    assert_eq!(f.vault.sweep(&f.user), ESCROW);
    f.expect_events(&[&AccountSwept {
        user: f.user.clone(),
        amount: ESCROW,
        balance: ALL - ESCROW,
        day: u32::try_from(midnight / DAY).unwrap(),
    }]);
    assert_eq!(f.vault.sweep(&f.user), 0);
    f.at(midnight + DAY);
    f.vault.withdraw(&f.user, &ALL);
    assert_eq!((f.owed(), f.vault.balance_of(&f.user)), (0, 0));
}

#[test]
fn both_sums_return_after_a_long_silence() {
    let f = Fixture::ready();
    f.open(1);
    f.try_open(&OpenTerms { deadline: NOON + DAY, ..f.terms(2) }).unwrap();
    f.at(NOON + 100 * DAY);
    assert_eq!(f.vault.sweep(&f.user), 2 * ESCROW);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
}

#[test]
fn a_run_whose_escrow_was_swept_is_over_and_pays_nobody_twice() {
    let f = Fixture::ready();
    let run = f.opened(1);
    f.at(NOON + DAY);
    f.vault.withdraw(&f.user, &ALL);
    assert_eq!(f.settle(&run), Err(VaultError::RunNotOpen));
    assert_eq!(void(&f, &run.0, 0), Err(VaultError::RunNotOpen));
    f.vault.reclaim_run(&run.0);
    f.expect_events(&[&RunReclaimed {
        user: f.user.clone(),
        run_id: run.0.clone(),
        refund: 0,
        reclaimed_at: NOON + DAY,
    }]);
    assert_eq!((f.vault.balance_of(&f.user), f.owed()), (0, 0));
}

#[test]
fn a_reclaim_the_day_after_sweeps_first() {
    let f = Fixture::ready();
    let run_id = f.open(1);
    f.at(NOON + DAY);
    f.vault.reclaim_run(&run_id);
    let day = u32::try_from(NOON / DAY + 1).unwrap();
    let user = f.user.clone();
    f.expect_events(&[
        &AccountSwept { user: user.clone(), amount: ESCROW, balance: ALL, day },
        &RunReclaimed { user, run_id, refund: 0, reclaimed_at: NOON + DAY },
    ]);
    assert_eq!(f.vault.balance_of(&f.user), ALL);
    assert_eq!(f.vault.list_runner_grants(&f.user).get(0).unwrap().used, 0);
}

#[test]
fn a_record_lives_as_long_as_promised_and_as_the_network_allows() {
    let f = Fixture::ready();
    let run = f.open(1);
    let key = run;
    let ttl = f.env.as_contract(&f.vault.address, || f.env.storage().temporary().get_ttl(&key));
    assert_eq!(u64::from(ttl), 2 * HOUR + 6 * HOUR);
    f.env.ledger().with_mut(|ledger| ledger.max_entry_ttl = 20_000);
    let run = f.open(2);
    let key = run;
    let ttl = f.env.as_contract(&f.vault.address, || f.env.storage().temporary().get_ttl(&key));
    assert_eq!(ttl, 19_999, "at most what the network allows");

    // A record that could not live until its run's deadline is not made (V17).
    f.env.ledger().with_mut(|ledger| ledger.max_entry_ttl = 3_600);
    let terms = OpenTerms { deadline: NOON + 3_600, ..f.terms(3) };
    assert_eq!(f.try_open(&terms), Err(VaultError::DeadlineOutOfRange));
    assert!(f.try_open(&OpenTerms { deadline: NOON + 3_599, ..terms }).is_ok());
}

#[test]
fn money_survives_the_loss_of_every_record() {
    let f = Fixture::ready();
    let (open, settled) = (f.opened(1), f.opened(2));
    f.settle(&settled).unwrap();
    f.pass_ledgers(u32::try_from(8 * HOUR).unwrap() + 1);
    for run in [&open, &settled] {
        assert_eq!(flat(f.vault.try_get_run(&run.0)), Err(VaultError::RunNotFound));
        assert_eq!(f.settle(run), Err(VaultError::RunNotFound));
        assert_eq!(flat(f.vault.try_reclaim_run(&run.0)), Err(VaultError::RunNotFound));
    }
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE - ESCROW);
    f.at(NOON + DAY);
    assert_eq!(f.vault.balance_of(&f.user), ALL - CHARGE);
    f.vault.withdraw(&f.user, &(ALL - CHARGE));
    f.vault.claim_developer(&f.developer, &CHARGE);
    assert_eq!((f.owed(), f.token.balance(&f.vault.address)), (0, 0));
}
