//! The vault in plain Rust, written from its interface page and not from its code: no host, no
//! ledger, and books that are kept from first principles. A balance is what came in, less what went
//! out, less what each run holds or took; there are no due-day sums, no running totals and no order
//! of writes to get wrong. `stateful` asks the vault and this model the same questions.

mod admin;
mod runs;

use super::std::collections::{BTreeMap, BTreeSet};
use super::std::vec::Vec as List;

use crate::{UsageBreakdown, UsageMeterRates, VaultError};

pub(super) use runs::{Open, Run, Settle, Signature, State};

pub(super) const DAY: u64 = 86_400;
/// Number of users, runners, agents and admins in a sequence.
pub(super) const PEOPLE: usize = 3;
pub(super) const AGENTS: usize = 2;
/// What each user's wallet holds at first.
pub(super) const WALLET: i128 = 1_000_000_000;

pub(super) type Answer<T> = Result<T, VaultError>;

/// Who may run what for whom: user, runner, agent.
pub(super) type Between = (usize, usize, usize);

#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    pub per_run: i128,
    pub daily: i128,
    pub paused: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub per_run: i128,
    pub total: i128,
    pub fee: i128,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grant {
    pub between: Between,
    pub serial: u32,
    pub issued_at: u64,
    pub expires_at: Option<u64>,
}

/// The registry as far as the vault asks it. Agent `n` is developed by developer `n`.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub runners: BTreeSet<usize>,
    pub cards: List<UsageMeterRates>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub now: u64,
    pub agents: [Agent; AGENTS],
    pub runs: List<Run>,
    pub receipts: [u64; PEOPLE],
    deposited: [i128; PEOPLE],
    withdrawn: [i128; PEOPLE],
    policies: [Policy; PEOPLE],
    limits: BTreeMap<Between, Limits>,
    grants: [List<Grant>; PEOPLE],
    serials: [u32; PEOPLE],
    claimed_developer: [i128; AGENTS],
    claimed_runner: [i128; PEOPLE],
    donated: i128,
    admin: usize,
    proposed: Option<usize>,
    upgrade: Option<(u8, u64)>,
    /// Whether a call met a signature that is wrong, which ends it whole.
    pub trapped: bool,
    opens_paused: bool,
}

impl Model {
    pub fn new(now: u64, agents: [Agent; AGENTS]) -> Self {
        Self {
            now,
            agents,
            runs: List::new(),
            receipts: [0; PEOPLE],
            deposited: [0; PEOPLE],
            withdrawn: [0; PEOPLE],
            policies: Default::default(),
            limits: BTreeMap::new(),
            grants: Default::default(),
            serials: [0; PEOPLE],
            claimed_developer: [0; AGENTS],
            claimed_runner: [0; PEOPLE],
            donated: 0,
            admin: 0,
            proposed: None,
            upgrade: None,
            trapped: false,
            opens_paused: false,
        }
    }

    pub fn today(&self) -> u64 {
        self.now / DAY
    }

    /// Free balance: nothing but what moved and what each run holds or took.
    pub fn balance(&self, user: usize) -> i128 {
        let runs = self.runs.iter().filter(|run| run.user == user);
        let gone: i128 = runs.map(|run| run.held(self.today()) + run.taken()).sum();
        self.deposited[user] - self.withdrawn[user] - gone
    }

    /// Escrow of runs due on a day.
    pub fn due(&self, user: usize, day: u64) -> i128 {
        let runs = self.runs.iter().filter(|run| run.user == user && run.deadline / DAY == day);
        runs.map(|run| run.held(self.today())).sum()
    }

    /// What today's cap counts: spent and reserved by runs opened today.
    pub fn day(&self, user: usize) -> (i128, i128) {
        let today = self.today();
        let runs =
            || self.runs.iter().filter(move |run| run.user == user && run.opened_at / DAY == today);
        (runs().map(Run::taken).sum(), runs().map(|run| run.held(today)).sum())
    }

    /// What a grant has used: the runs under its serial, charged or not given back yet.
    pub fn used(&self, user: usize, serial: u32) -> i128 {
        let runs = self.runs.iter().filter(|run| run.user == user && run.serial == serial);
        runs.map(Run::counted).sum()
    }

    pub fn live_grants(&self, user: usize) -> impl Iterator<Item = &Grant> {
        self.grants[user].iter().filter(|grant| grant.is_live(self.now))
    }

    pub fn live(&self, between: Between) -> Option<&Grant> {
        self.live_grants(between.0).find(|grant| grant.between == between)
    }

    pub fn policy(&self, user: usize) -> &Policy {
        &self.policies[user]
    }

    pub fn developer_balance(&self, agent: usize) -> i128 {
        let runs = self.runs.iter().filter(|run| run.agent == agent);
        runs.map(Run::charge).sum::<i128>() - self.claimed_developer[agent]
    }

    pub fn runner_balance(&self, runner: usize) -> i128 {
        let runs = self.runs.iter().filter(|run| run.opener == runner);
        runs.map(Run::fee_paid).sum::<i128>() - self.claimed_runner[runner]
    }

    /// What the vault owes: all that came in and didn't leave.
    pub fn owed(&self) -> i128 {
        let out = self.withdrawn.iter().chain(&self.claimed_developer).chain(&self.claimed_runner);
        self.deposited.iter().sum::<i128>() - out.sum::<i128>()
    }

    /// What the token says the vault holds.
    pub fn held(&self) -> i128 {
        self.owed() + self.donated
    }

    pub fn deposit(&mut self, user: usize, amount: i128) -> Answer<()> {
        positive(amount)?;
        self.owed().checked_add(amount).ok_or(VaultError::InvalidAmount)?;
        if WALLET - self.deposited[user] + self.withdrawn[user] < amount {
            return Err(VaultError::TokenFailed);
        }
        self.deposited[user] += amount;
        Ok(())
    }

    pub fn withdraw(&mut self, user: usize, amount: i128) -> Answer<()> {
        covered(self.balance(user), amount)?;
        self.withdrawn[user] += amount;
        Ok(())
    }

    pub fn claim_developer(&mut self, agent: usize, amount: i128) -> Answer<()> {
        covered(self.developer_balance(agent), amount)?;
        self.claimed_developer[agent] += amount;
        Ok(())
    }

    pub fn claim_runner(&mut self, runner: usize, amount: i128) -> Answer<()> {
        covered(self.runner_balance(runner), amount)?;
        self.claimed_runner[runner] += amount;
        Ok(())
    }

    pub fn donate(&mut self, amount: i128) {
        self.donated += amount;
    }

    pub fn set_policy(&mut self, user: usize, policy: Policy) -> Answer<()> {
        if policy.per_run < 0 || policy.daily < 0 {
            return Err(VaultError::InvalidAmount);
        }
        self.policies[user] = policy;
        Ok(())
    }

    pub fn set_limits(&mut self, between: Between, limits: Limits) -> Answer<()> {
        if limits.per_run < 0 || limits.total < 0 || limits.fee < 0 {
            return Err(VaultError::InvalidAmount);
        }
        self.limits.insert(between, limits);
        Ok(())
    }

    pub fn grant(&mut self, between: Between, expires_at: Option<u64>) -> Answer<()> {
        let (user, runner, agent) = between;
        if expires_at.is_some_and(|at| at <= self.now) {
            return Err(VaultError::InvalidExpiry);
        }
        let agent = self.agents.get(agent).ok_or(VaultError::AgentNotFound)?;
        if !agent.runners.contains(&runner) {
            return Err(VaultError::UnauthorizedRunner);
        }
        if self.live(between).is_some() {
            return Err(VaultError::RunnerGrantExists);
        }
        let now = self.now;
        self.grants[user].retain(|grant| grant.is_live(now));
        self.serials[user] += 1;
        let serial = self.serials[user];
        self.grants[user].push(Grant { between, serial, issued_at: now, expires_at });
        Ok(())
    }

    pub fn revoke(&mut self, between: Between) -> Answer<()> {
        self.live(between).ok_or(VaultError::RunnerGrantNotFound)?;
        self.grants[between.0].retain(|grant| grant.between != between);
        Ok(())
    }
}

impl Grant {
    fn is_live(&self, now: u64) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

fn positive(amount: i128) -> Answer<()> {
    if amount > 0 { Ok(()) } else { Err(VaultError::InvalidAmount) }
}

fn covered(balance: i128, amount: i128) -> Answer<()> {
    positive(amount)?;
    if amount > balance { Err(VaultError::InsufficientBalance) } else { Ok(()) }
}

/// The highest number of a run (V19).
pub(super) const MOST: i128 = i64::MAX as i128;

/// The sum over the four meters, if it and its parts are within the bounds.
pub(super) fn cost(rates: &UsageMeterRates, units: &UsageBreakdown) -> Option<i128> {
    let meters = [
        (rates.llm_in, units.llm_in),
        (rates.llm_out, units.llm_out),
        (rates.http_calls, units.http_calls),
        (rates.runtime_ms, units.runtime_ms),
    ];
    meters.iter().try_fold(0i128, |sum, (rate, count)| {
        let part = rate.checked_mul(*count).filter(|_| (0..=MOST).contains(count))?;
        sum.checked_add(part).filter(|sum| *sum <= MOST)
    })
}
