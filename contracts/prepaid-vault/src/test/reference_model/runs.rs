//! Runs in the model: opening, settling, giving up, taking back.

use super::{Answer, MOST, Model, cost};
use crate::{UsageBreakdown, UsageMeterRates, VaultError};

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum State {
    Open,
    Settled {
        by: usize,
        usage: UsageBreakdown,
        hash: u8,
        /// Whether an attester's signature was given.
        attested: bool,
        charge: i128,
        fee: i128,
    },
    Voided(u32),
    Reclaimed,
}

/// What an opener asks for.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Open {
    pub user: usize,
    pub caller: usize,
    pub agent: usize,
    pub version: u32,
    pub budgets: UsageBreakdown,
    pub nonce: u8,
    pub max_charge: i128,
    pub fee: i128,
    pub deadline: u64,
    pub request: u8,
}

/// What a settler states.
#[derive(Clone, Debug)]
pub(in super::super) struct Settle {
    pub runner: usize,
    pub usage: UsageBreakdown,
    pub hash: u8,
    /// Whether the terms are those of the opened event.
    pub honest: bool,
    pub signature: Signature,
}

/// What of an attester a settlement carries (V16).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Signature {
    /// The pinned attester's, over exactly this settlement.
    Good,
    None,
    /// A good one, named by a place at which no key is pinned.
    NoSuchKey,
    /// Over one unit more.
    OtherUsage,
    /// Of a key that the agent does not name.
    OtherKey,
}

#[derive(Clone, Debug)]
pub(in super::super) struct Run {
    pub asked: Open,
    pub user: usize,
    pub opener: usize,
    pub agent: usize,
    pub rates: UsageMeterRates,
    pub max_charge: i128,
    pub escrow: i128,
    pub deadline: u64,
    pub opened_at: u64,
    pub serial: u32,
    pub state: State,
    /// Whether its record is still there.
    pub recorded: bool,
}

impl Run {
    /// Escrow that is still held: an open run's, until its due day is past.
    pub fn held(&self, today: u64) -> i128 {
        if self.state == State::Open && self.deadline / super::DAY >= today {
            self.escrow
        } else {
            0
        }
    }

    pub fn charge(&self) -> i128 {
        if let State::Settled { charge, .. } = self.state { charge } else { 0 }
    }

    pub fn fee_paid(&self) -> i128 {
        if let State::Settled { fee, .. } = self.state { fee } else { 0 }
    }

    /// What a settlement took from the user.
    pub fn taken(&self) -> i128 {
        self.charge() + self.fee_paid()
    }

    /// What the grant's allowance counts: an open run's escrow until somebody ends the run.
    pub fn counted(&self) -> i128 {
        if self.state == State::Open { self.escrow } else { self.taken() }
    }

    fn is_of(&self, asked: &Open) -> bool {
        let key = |open: &Open| (open.user, open.caller, open.nonce, open.deadline);
        self.recorded && key(&self.asked) == key(asked)
    }
}

impl Model {
    /// Records end after twice the time to the deadline and six hours (V17).
    pub fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        for run in &mut self.runs {
            let life = 2 * (run.deadline - run.opened_at) + 6 * 3_600;
            run.recorded &= self.now <= run.opened_at + life;
        }
    }

    /// Answers whether anything changed.
    pub fn open(&mut self, asked: &Open) -> Answer<bool> {
        let in_bounds = |number: &i128| (0..=MOST).contains(number);
        if !meters(&asked.budgets).iter().chain([&asked.fee]).all(in_bounds) {
            return Err(VaultError::InvalidAmount);
        }
        if let Some(run) = self.runs.iter().rfind(|run| run.is_of(asked)) {
            return match run.state {
                State::Open
                    if self.now < run.deadline
                        && run.max_charge <= asked.max_charge
                        && run.asked
                            == Open { max_charge: run.asked.max_charge, ..asked.clone() } =>
                {
                    Ok(false)
                }
                State::Open if self.now < run.deadline => Err(VaultError::RunTermsMismatch),
                _ => Err(VaultError::RunNotOpen),
            };
        }
        let run = self.judge_open(asked)?;
        self.runs.push(run);
        Ok(true)
    }

    fn judge_open(&self, asked: &Open) -> Answer<Run> {
        let between = (asked.user, asked.caller, asked.agent);
        if self.opens_paused {
            return Err(VaultError::OpensPaused);
        }
        let grant = self.live(between).ok_or(VaultError::UnauthorizedRunner)?;
        let meters = meters(&asked.budgets);
        if meters == [0; 4] {
            return Err(VaultError::EmptyBudget);
        }
        if asked.deadline < self.now + 600 || asked.deadline > self.now + super::DAY {
            return Err(VaultError::DeadlineOutOfRange);
        }
        let limits = self.limits.get(&between).cloned().unwrap_or_default();
        if asked.fee > limits.fee {
            return Err(VaultError::RunnerFeeExceeded);
        }
        let agent = self.agents.get(asked.agent).ok_or(VaultError::AgentNotFound)?;
        if !agent.runners.contains(&asked.caller) {
            return Err(VaultError::UnauthorizedRunner);
        }
        let latest = agent.cards.len();
        let version = asked.version as usize;
        if version == 0 || version > latest || version + 1 < latest {
            return Err(VaultError::InvalidRateVersion);
        }
        let rates = agent.cards[version - 1].clone();
        let max_charge = cost(&rates, &asked.budgets).ok_or(VaultError::InvalidAmount)?;
        if max_charge > asked.max_charge {
            return Err(VaultError::MaxChargeExceeded);
        }
        let escrow = max_charge + asked.fee;
        if escrow > MOST {
            return Err(VaultError::InvalidAmount);
        }
        let over = |cap: i128, sum: i128| cap != 0 && sum > cap;
        if over(limits.per_run, escrow) {
            return Err(VaultError::GrantRunCapExceeded);
        }
        let used = self.used(asked.user, grant.serial);
        if over(limits.total, used.saturating_add(escrow)) {
            return Err(VaultError::GrantTotalExceeded);
        }
        let policy = self.policy(asked.user);
        let (spent, reserved) = self.day(asked.user);
        if policy.paused {
            return Err(VaultError::PolicyPaused);
        }
        if over(policy.per_run, escrow) {
            return Err(VaultError::PerRunCapExceeded);
        }
        if over(policy.daily, (spent + reserved).saturating_add(escrow)) {
            return Err(VaultError::DailyCapExceeded);
        }
        if escrow > self.balance(asked.user) {
            return Err(VaultError::InsufficientBalance);
        }
        Ok(Run {
            user: asked.user,
            opener: asked.caller,
            agent: asked.agent,
            rates,
            max_charge,
            escrow,
            deadline: asked.deadline,
            opened_at: self.now,
            serial: grant.serial,
            state: State::Open,
            recorded: true,
            asked: asked.clone(),
        })
    }

    /// Answers charge and fee, and whether anything changed.
    pub fn settle(&mut self, at: usize, stated: &Settle) -> Answer<(i128, i128, bool)> {
        let Settle { runner, usage, hash, honest, signature } = stated.clone();
        let attested = signature != Signature::None;
        if meters(&usage).iter().any(|units| !(0..=MOST).contains(units)) {
            return Err(VaultError::InvalidAmount);
        }
        let run = self.recorded(at)?;
        match &run.state {
            State::Open if self.now < run.deadline => {}
            State::Settled { by, usage: was, hash: of, attested: signed, charge, fee }
                if honest && (*by, was, *of, *signed) == (runner, &usage, hash, attested) =>
            {
                return Ok((*charge, *fee, false));
            }
            _ => return Err(VaultError::RunNotOpen),
        }
        if !honest {
            return Err(VaultError::RunTermsMismatch);
        }
        let (used, budgets) = (meters(&usage), meters(&run.asked.budgets));
        if used.iter().zip(&budgets).any(|(used, budget)| used > budget) {
            return Err(VaultError::UsageExceedsBudget);
        }
        let listed = &self.agents[run.agent].runners;
        let may = if runner == run.opener {
            listed.contains(&runner)
        } else {
            !listed.contains(&run.opener)
                && listed.contains(&runner)
                && self.live((run.user, runner, run.agent)).is_some()
        };
        if !may {
            return Err(VaultError::UnauthorizedRunner);
        }
        let takes = used != [0; 4];
        if signature == Signature::NoSuchKey || (takes && !attested) {
            return Err(VaultError::NotAttested);
        }
        let charge = cost(&run.rates, &usage).ok_or(VaultError::InvalidAmount)?;
        let fee = if runner == run.opener && attested { run.asked.fee } else { 0 };
        let user = run.user;
        self.trapped |= matches!(signature, Signature::OtherUsage | Signature::OtherKey);
        self.runs[at].state = State::Settled { by: runner, usage, hash, attested, charge, fee };
        self.receipts[user] += 1;
        Ok((charge, fee, true))
    }

    /// Answers whether anything changed. So do the next two.
    pub fn void(&mut self, at: usize, runner: usize, reason: u32) -> Answer<bool> {
        let run = self.recorded(at)?;
        if run.opener != runner {
            return Err(VaultError::UnauthorizedRunner);
        }
        match run.state {
            State::Open if self.now < run.deadline => {}
            State::Voided(given) if given == reason => return Ok(false),
            _ => return Err(VaultError::RunNotOpen),
        }
        self.runs[at].state = State::Voided(reason);
        Ok(true)
    }

    pub fn reclaim(&mut self, at: usize, owner: Option<usize>) -> Answer<bool> {
        let run = self.recorded(at)?;
        if owner.is_some_and(|owner| owner != run.user) {
            return Err(VaultError::Unauthorized);
        }
        match run.state {
            State::Open if self.now >= run.deadline => {}
            State::Open => return Err(VaultError::DeadlineNotReached),
            State::Reclaimed => return Ok(false),
            _ => return Err(VaultError::RunNotOpen),
        }
        self.runs[at].state = State::Reclaimed;
        Ok(true)
    }

    fn recorded(&self, at: usize) -> Answer<&Run> {
        self.runs.get(at).filter(|run| run.recorded).ok_or(VaultError::RunNotFound)
    }
}

fn meters(units: &UsageBreakdown) -> [i128; 4] {
    [units.llm_in, units.llm_out, units.http_calls, units.runtime_ms]
}
