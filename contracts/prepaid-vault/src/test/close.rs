//! Ends without a settlement: void, reclaim, the two due-day sums, records that vanish.

use soroban_sdk::testutils::storage::Temporary as _;

use super::*;

const ALL: i128 = 100_000_000;

fn void(w: &World, run: &BytesN<32>, reason: u32) -> Result<(), VaultError> {
    flat(w.vault.try_void_run(run, &w.runner, &reason, &u64::MAX))
}

#[test]
fn the_opener_gives_a_run_up_with_a_full_refund() {
    let w = World::ready();
    let run_id = w.open(1);
    void(&w, &run_id, 7).unwrap();
    w.expect_events(&[&RunVoided {
        user: w.user.clone(),
        run_id: run_id.clone(),
        runner: w.runner.clone(),
        reason: 7,
        refund: ESCROW,
        voided_at: NOON,
    }]);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
    assert_eq!(w.vault.get_run(&run_id).lifecycle, RunLifecycle::Voided(7));
    assert_eq!(void(&w, &run_id, 7), Ok(()));
    w.expect_events(&[]);
    assert_eq!(void(&w, &run_id, 8), Err(VaultError::RunNotOpen));
    assert_eq!(flat(w.vault.try_reclaim_run(&run_id)), Err(VaultError::RunNotOpen));
    assert_eq!(w.vault.balance_of(&w.user), ALL);
}

#[test]
fn void_checks_in_its_order() {
    let w = World::ready();
    let second = w.second_runner();
    let run = w.opened(1);
    let void = |id: &BytesN<32>, runner: &Address, until: u64| {
        flat(w.vault.try_void_run(id, runner, &0, &until)).err()
    };
    assert_eq!(void(&run.0, &second, NOON), Some(VaultError::UnauthorizedRunner));
    assert_eq!(void(&w.bytes(1), &second, NOON), Some(VaultError::RunNotFound));
    assert_eq!(void(&w.bytes(1), &second, NOON - 1), Some(VaultError::Expired));
    w.at(NOON + HOUR);
    assert_eq!(void(&run.0, &w.runner, NOON + HOUR), Some(VaultError::RunNotOpen));
}

#[test]
fn a_delisted_and_revoked_opener_can_still_void() {
    let w = World::ready();
    let run = w.open(1);
    w.vault.revoke_runner(&w.user, &w.runner, &w.agent);
    w.registry.remove_runner(&w.agent, &w.runner);
    assert_eq!(void(&w, &run, 0), Ok(()));
    assert_eq!(w.vault.balance_of(&w.user), ALL);
}

#[test]
fn a_run_is_reclaimed_from_its_deadline_on() {
    let w = World::ready();
    let run_id = w.open(1);
    w.at(NOON + HOUR - 1);
    let early = Err(VaultError::DeadlineNotReached);
    assert_eq!(flat(w.vault.try_reclaim_run(&run_id)), early);
    assert_eq!(flat(w.vault.try_cancel_run(&w.user, &run_id)), early);
    w.at(NOON + HOUR);
    w.vault.reclaim_run(&run_id);
    w.expect_events(&[&RunReclaimed {
        user: w.user.clone(),
        run_id: run_id.clone(),
        refund: ESCROW,
        reclaimed_at: NOON + HOUR,
    }]);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
    assert_eq!(w.vault.get_policy(&w.user).reserved_today, 0);
    w.vault.reclaim_run(&run_id);
    w.expect_events(&[]);
    w.vault.cancel_run(&w.user, &run_id);
    w.expect_events(&[]);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
    assert_eq!(void(&w, &run_id, 0), Err(VaultError::RunNotOpen));
}

#[test]
fn only_the_owner_cancels() {
    let w = World::ready();
    let run = w.open(1);
    w.at(NOON + HOUR);
    let other = flat(w.vault.try_cancel_run(&w.runner, &run));
    assert_eq!(other, Err(VaultError::Unauthorized));
    let unknown = flat(w.vault.try_cancel_run(&w.user, &w.bytes(1)));
    assert_eq!(unknown, Err(VaultError::RunNotFound));
    w.vault.cancel_run(&w.user, &run);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
}

#[test]
fn a_settled_run_is_not_reclaimed() {
    let w = World::ready();
    let run = w.opened(1);
    w.settle(&run).unwrap();
    w.at(NOON + HOUR);
    assert_eq!(flat(w.vault.try_reclaim_run(&run.0)), Err(VaultError::RunNotOpen));
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE);
}

/// One run due today and one due tomorrow, over the days.
#[test]
fn escrow_returns_by_itself_when_its_due_day_is_past() {
    let w = World::ready();
    w.open(1);
    w.try_open(&OpenTerms { deadline: NOON + DAY, ..w.terms(2) }).unwrap();
    let account = w.vault.account(&w.user);
    assert_eq!((account.due_today, account.due_tomorrow), (ESCROW, ESCROW));
    let midnight = (NOON / DAY + 1) * DAY;
    w.at(midnight - 1);
    assert_eq!(w.vault.balance_of(&w.user), ALL - 2 * ESCROW);
    assert_eq!(w.vault.sweep(&w.user), 0);
    w.expect_events(&[]);
    w.at(midnight);
    assert_eq!(w.vault.balance_of(&w.user), ALL - ESCROW);
    let account = w.vault.account(&w.user);
    assert_eq!((account.due_today, account.due_tomorrow), (ESCROW, 0));
    assert_eq!(w.vault.sweep(&w.user), ESCROW);
    w.expect_events(&[&AccountSwept {
        user: w.user.clone(),
        amount: ESCROW,
        balance: ALL - ESCROW,
        day: u32::try_from(midnight / DAY).unwrap(),
    }]);
    assert_eq!(w.vault.sweep(&w.user), 0);
    w.at(midnight + DAY);
    w.vault.withdraw(&w.user, &ALL);
    assert_eq!((w.owed(), w.vault.balance_of(&w.user)), (0, 0));
}

#[test]
fn both_sums_return_after_a_long_silence() {
    let w = World::ready();
    w.open(1);
    w.try_open(&OpenTerms { deadline: NOON + DAY, ..w.terms(2) }).unwrap();
    w.at(NOON + 100 * DAY);
    assert_eq!(w.vault.sweep(&w.user), 2 * ESCROW);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
}

#[test]
fn a_run_whose_escrow_was_swept_is_over_and_pays_nobody_twice() {
    let w = World::ready();
    let run = w.opened(1);
    w.at(NOON + DAY);
    w.vault.withdraw(&w.user, &ALL);
    assert_eq!(w.settle(&run), Err(VaultError::RunNotOpen));
    assert_eq!(void(&w, &run.0, 0), Err(VaultError::RunNotOpen));
    w.vault.reclaim_run(&run.0);
    w.expect_events(&[&RunReclaimed {
        user: w.user.clone(),
        run_id: run.0.clone(),
        refund: 0,
        reclaimed_at: NOON + DAY,
    }]);
    assert_eq!((w.vault.balance_of(&w.user), w.owed()), (0, 0));
}

#[test]
fn a_reclaim_the_day_after_sweeps_first() {
    let w = World::ready();
    let run_id = w.open(1);
    w.at(NOON + DAY);
    w.vault.reclaim_run(&run_id);
    let day = u32::try_from(NOON / DAY + 1).unwrap();
    let user = w.user.clone();
    w.expect_events(&[
        &AccountSwept { user: user.clone(), amount: ESCROW, balance: ALL, day },
        &RunReclaimed { user, run_id, refund: 0, reclaimed_at: NOON + DAY },
    ]);
    assert_eq!(w.vault.balance_of(&w.user), ALL);
    assert_eq!(w.vault.list_runner_grants(&w.user).get(0).unwrap().used, 0);
}

#[test]
fn a_record_lives_as_long_as_promised_and_as_the_network_allows() {
    let w = World::ready();
    let run = w.open(1);
    let key = run;
    let ttl = w.env.as_contract(&w.vault.address, || w.env.storage().temporary().get_ttl(&key));
    assert_eq!(u64::from(ttl), 2 * HOUR + 6 * HOUR);
    w.env.ledger().with_mut(|ledger| ledger.max_entry_ttl = 20_000);
    let run = w.open(2);
    let key = run;
    let ttl = w.env.as_contract(&w.vault.address, || w.env.storage().temporary().get_ttl(&key));
    assert_eq!(ttl, 19_999, "at most what the network allows");

    // A record that could not live until its run's deadline is not made (V17).
    w.env.ledger().with_mut(|ledger| ledger.max_entry_ttl = 3_600);
    let terms = OpenTerms { deadline: NOON + 3_600, ..w.terms(3) };
    assert_eq!(w.try_open(&terms), Err(VaultError::DeadlineOutOfRange));
    assert!(w.try_open(&OpenTerms { deadline: NOON + 3_599, ..terms }).is_ok());
}

#[test]
fn money_survives_the_loss_of_every_record() {
    let w = World::ready();
    let (open, settled) = (w.opened(1), w.opened(2));
    w.settle(&settled).unwrap();
    w.pass_ledgers(u32::try_from(8 * HOUR).unwrap() + 1);
    for run in [&open, &settled] {
        assert_eq!(flat(w.vault.try_get_run(&run.0)), Err(VaultError::RunNotFound));
        assert_eq!(w.settle(run), Err(VaultError::RunNotFound));
        assert_eq!(flat(w.vault.try_reclaim_run(&run.0)), Err(VaultError::RunNotFound));
    }
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE - ESCROW);
    w.at(NOON + DAY);
    assert_eq!(w.vault.balance_of(&w.user), ALL - CHARGE);
    w.vault.withdraw(&w.user, &(ALL - CHARGE));
    w.vault.claim_developer(&w.developer, &CHARGE);
    assert_eq!((w.owed(), w.token.balance(&w.vault.address)), (0, 0));
}
