//! Random lives of a vault with two users and two runners. After every step the books add up: what
//! the vault owes is what stands in its accounts, and what the token says it holds (V1); and each run
//! is paid for at most once (V4).

use std::collections::BTreeMap;
use std::vec::Vec as List;

use proptest::prelude::*;
use proptest::test_runner::Config as Cases;
use soroban_sdk::testutils::Address as _;

use super::*;
use crate::storage;

/// One step: which call, by or on whom, with what number.
type Step = (u8, usize, usize, i64);

struct Life {
    w: World,
    users: [Address; 2],
    runners: [Address; 2],
    runs: List<(BytesN<32>, RunTerms)>,
    /// The charge of each run that was settled, by its place.
    paid: BTreeMap<usize, i128>,
    claimed: i128,
    donated: i128,
    nonce: u8,
}

impl Life {
    fn new() -> Self {
        let w = World::new();
        let second = Address::generate(&w.env);
        w.mint.mint(&second, &1_000_000_000);
        let other = w.second_listed();
        let (users, runners) = ([w.user.clone(), second], [w.runner.clone(), other]);
        Self {
            w,
            users,
            runners,
            runs: List::new(),
            paid: BTreeMap::new(),
            claimed: 0,
            donated: 0,
            nonce: 0,
        }
    }

    fn step(&mut self, (call, one, two, number): Step) -> Result<(), VaultError> {
        let (user, runner) = (self.users[one % 2].clone(), self.runners[two % 2].clone());
        let amount = i128::from(number);
        let Self { w, .. } = self;
        match call {
            0 => flat(w.vault.try_deposit(&user, &amount)),
            1 => flat(w.vault.try_withdraw(&user, &amount)),
            2 => {
                let expires = (number % 3 == 0).then(|| w.env.ledger().timestamp() + 50_000);
                flat(w.vault.try_grant_runner(&user, &runner, &w.agent, &expires))
            }
            3 => flat(w.vault.try_revoke_runner(&user, &runner, &w.agent)),
            4 => {
                let daily_cap = if number % 2 == 0 { 0 } else { 3 * ESCROW };
                let policy = PolicyInput { per_run_cap: 0, daily_cap, paused: number % 7 == 0 };
                flat(w.vault.try_set_policy(&user, &policy))
            }
            5..=9 => self.open(&user, &runner, number),
            10..=14 => self.settle(&runner, two, number),
            15 => self.on_run(two, |w, run| {
                flat(w.vault.try_void_run(&run.0, &run.1.opened_by, &1, &u64::MAX))
            }),
            16 => self.on_run(two, |w, run| flat(w.vault.try_reclaim_run(&run.0))),
            17 => self.on_run(two, |w, run| flat(w.vault.try_cancel_run(&run.1.user, &run.0))),
            18 => flat(w.vault.try_sweep(&user)).map(|_| ()),
            19 => self.pass(number),
            20 => self.claim(amount),
            21 => {
                w.mint.mint(&w.vault.address, &amount.abs());
                self.donated += amount.abs();
                Ok(())
            }
            22 if w.registry.is_runner(&w.agent, &runner) => {
                w.registry.remove_runner(&w.agent, &runner);
                Ok(())
            }
            _ => {
                w.registry.add_runner(&w.agent, &runner);
                Ok(())
            }
        }
    }

    fn open(&mut self, user: &Address, runner: &Address, number: i64) -> Result<(), VaultError> {
        let Self { w, .. } = self;
        self.nonce = self.nonce.wrapping_add(u8::from(number % 5 != 0));
        let deadline = w.env.ledger().timestamp() + 600 + number.unsigned_abs() % 85_800;
        let terms = OpenTerms { deadline, ..w.terms(self.nonce) };
        let mut pinned = w.pinned(&terms);
        pinned.user = user.clone();
        pinned.opened_by = runner.clone();
        let before = w.vault.get_policy(user);
        let id = flat(w.vault.try_open_run(user, runner, &w.agent, &1, &budgets(), &terms))?;
        let after = w.vault.get_policy(user);
        let in_use = after.spent_today + after.reserved_today;
        assert!(after == before || after.daily_cap == 0 || in_use <= after.daily_cap);
        if self.runs.iter().all(|run| run.0 != id) {
            self.runs.push((id, pinned));
        }
        Ok(())
    }

    fn settle(&mut self, runner: &Address, at: usize, number: i64) -> Result<(), VaultError> {
        if self.runs.is_empty() {
            return Ok(());
        }
        let at = at % self.runs.len();
        let run = &self.runs[at];
        let runner = if number % 4 == 0 { runner } else { &run.1.opened_by };
        let share = i128::from(number).rem_euclid(100);
        let receipt = self.w.settle_as(runner, run, &units(share, share / 2, 0, share))?;
        let charge = receipt.actual_charge;
        assert_eq!(charge + receipt.refund, ESCROW);
        let first = *self.paid.entry(at).or_insert(charge);
        assert_eq!(first, charge, "a run was settled twice");
        Ok(())
    }

    fn on_run(
        &self,
        at: usize,
        call: impl FnOnce(&World, &(BytesN<32>, RunTerms)) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        if self.runs.is_empty() { Ok(()) } else { call(&self.w, &self.runs[at % self.runs.len()]) }
    }

    /// Time passes, at one ledger a second, now and then for days.
    fn pass(&self, number: i64) -> Result<(), VaultError> {
        let longer = if number % 5 == 0 { 5 } else { 1 };
        let seconds = number.unsigned_abs() % 60_000 * longer;
        self.w.at(self.w.env.ledger().timestamp() + seconds);
        self.w.pass_ledgers(u32::try_from(seconds).unwrap());
        Ok(())
    }

    fn claim(&mut self, amount: i128) -> Result<(), VaultError> {
        let amount = amount.min(self.w.vault.developer_balance(&self.w.developer));
        flat(self.w.vault.try_claim_developer(&self.w.developer, &amount))?;
        self.claimed += amount;
        Ok(())
    }

    fn check(&self) {
        let Self { w, .. } = self;
        let earned = w.vault.developer_balance(&w.developer);
        assert_eq!(earned + self.claimed, self.paid.values().sum::<i128>());
        let accounts: i128 = w.env.as_contract(&w.vault.address, || {
            let of = |user| storage::account(&w.env, user);
            self.users
                .iter()
                .filter_map(of)
                .inspect(|account| {
                    let parts = [account.balance, account.due_today, account.due_tomorrow];
                    let day = [account.spent, account.reserved];
                    assert!(parts.iter().chain(&day).all(|part| *part >= 0));
                })
                .map(|account| account.balance + account.due_today + account.due_tomorrow)
                .sum()
        });
        assert_eq!(w.owed(), accounts + earned);
        assert_eq!(w.token.balance(&w.vault.address), w.owed() + self.donated);
    }
}

proptest! {
    #![proptest_config(Cases { cases: 48, failure_persistence: None, ..Cases::default() })]

    #[test]
    fn the_books_add_up_whatever_happens(
        steps in prop::collection::vec((0u8..24, 0usize..2, 0usize..64, -50i64..60_000_000), 60..140)
    ) {
        let mut life = Life::new();
        for user in 0..2 {
            life.step((0, user, 0, 80_000_000)).unwrap();
            for runner in 0..2 {
                life.step((2, user, runner, 1)).unwrap();
            }
        }
        for step in steps {
            if let Err(code) = life.step(step) {
                prop_assert_ne!(code, VaultError::AccountingBroken);
                prop_assert_ne!(code, VaultError::TokenFailed);
            }
            life.check();
        }
    }
}
