//! Budgets: what may leave, and what is charged (E4).
//!
//! Before a request leaves, the most that it can use is reserved, in the run's budget and in the
//! operator's limits. So requests under way at once can never pass a budget together. At its end
//! the reservation makes room for what is charged, which is never above the budget, whatever a
//! service reports.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wire::Usage;

use crate::record::Tokens;
use crate::route::Limits;

/// The budgets of one execution.
#[derive(Debug)]
pub struct Meter {
    state: Mutex<Accounts>,
    /// Reservations were given back.
    changed: Notify,
}

#[derive(Debug)]
struct Accounts {
    run: Account,
    routes: Vec<Account>,
}

/// One budget.
#[derive(Debug, Clone, Default)]
struct Account {
    budget: Usage,
    spent: Usage,
    reserved: Usage,
}

/// What is reserved for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    route: usize,
    /// Tokens read.
    pub llm_in: u64,
    /// Tokens written.
    pub llm_out: u64,
    /// Why these are fewer than were asked for.
    pub lowered: Lowered,
}

#[cfg(test)]
impl Reservation {
    /// Of no tokens, for the first service.
    pub const NOTHING: Self = Self { route: 0, llm_in: 0, llm_out: 0, lowered: Lowered::No };
}

/// Which limit reduced the output tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lowered {
    /// Nothing did.
    No,
    /// The run's budget.
    ByBudget,
    /// The operator's limit, below what the run's budget left.
    ByLimit,
}

/// Why nothing is reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The run's budget.
    Budget(String),
    /// The operator's limit.
    Limit(String),
}

/// What a request may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Tokens read.
    pub llm_in: u64,
    /// Tokens written, which may be lowered.
    pub llm_out: u64,
    /// Whether it writes at all: then one token at least has to be left.
    pub writes: bool,
}

/// What was charged for a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charged {
    /// Charged.
    pub tokens: Tokens,
    /// Reported above it.
    pub unbilled: u64,
}

enum Attempt {
    Granted(Reservation),
    /// It may fit when others have ended.
    Later,
    Refused(Refused),
}

impl Account {
    fn left(&self, of: fn(&Usage) -> u64) -> u64 {
        of(&self.budget).saturating_sub(of(&self.spent)).saturating_sub(of(&self.reserved))
    }

    /// What would be left if nothing were reserved.
    fn unspent(&self, of: fn(&Usage) -> u64) -> u64 {
        of(&self.budget).saturating_sub(of(&self.spent))
    }
}

const CALLS: fn(&Usage) -> u64 = |usage| usage.http_calls;
const IN: fn(&Usage) -> u64 = |usage| usage.llm_in;
const OUT: fn(&Usage) -> u64 = |usage| usage.llm_out;

impl Meter {
    /// Nothing is used yet. `limits` are those of each route, in their order.
    pub fn new<'l>(budgets: Usage, limits: impl IntoIterator<Item = &'l Limits>) -> Self {
        let account = |budget| Account { budget, ..Account::default() };
        let routes = limits.into_iter().map(|limits| {
            account(Usage {
                llm_in: limits.llm_in,
                llm_out: limits.llm_out,
                http_calls: limits.calls,
                runtime_ms: 0,
            })
        });
        let state = Accounts { run: account(budgets), routes: routes.collect() };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, Accounts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves one call and its tokens. Waits while it would fit once others have ended.
    ///
    /// # Errors
    /// [`Refused`]: it could pass a budget, so it must not leave.
    pub async fn reserve(&self, route: usize, asked: Asked) -> Result<Reservation, Refused> {
        loop {
            // Made before the look, so that nothing given back in between is missed.
            let changed = self.changed.notified();
            let attempt = self.state().reserve(route, asked);
            match attempt {
                Attempt::Granted(reservation) => return Ok(reservation),
                Attempt::Refused(why) => return Err(why),
                Attempt::Later => changed.await,
            }
        }
    }

    /// Gives back what was reserved for a request that did not leave.
    pub fn release(&self, reservation: Reservation) {
        self.state().release(reservation);
        self.changed.notify_waiters();
    }

    /// Charges a request that left, and gives the rest of its reservation back.
    pub fn settle(&self, reservation: Reservation, used: Tokens) -> Charged {
        let mut state = self.state();
        state.release(reservation);
        // Others' reservations stay theirs: what is charged here never takes room from them.
        let tokens = Tokens {
            llm_in: used.llm_in.min(state.run.left(IN)),
            llm_out: used.llm_out.min(state.run.left(OUT)),
        };
        let accounts = state.both(reservation.route);
        for account in accounts {
            account.spent.http_calls += 1;
            account.spent.llm_in = account.spent.llm_in.saturating_add(tokens.llm_in);
            account.spent.llm_out = account.spent.llm_out.saturating_add(tokens.llm_out);
        }
        drop(state);
        self.changed.notify_waiters();
        let above = |used: u64, charged: u64| used - charged;
        let unbilled =
            above(used.llm_in, tokens.llm_in).saturating_add(above(used.llm_out, tokens.llm_out));
        Charged { tokens, unbilled }
    }

    /// What is charged so far.
    pub fn spent(&self) -> Usage {
        self.state().run.spent
    }
}

impl Accounts {
    fn both(&mut self, route: usize) -> impl Iterator<Item = &mut Account> {
        std::iter::once(&mut self.run).chain(self.routes.get_mut(route))
    }

    fn release(&mut self, reservation: Reservation) {
        for account in self.both(reservation.route) {
            account.reserved.http_calls -= 1;
            account.reserved.llm_in -= reservation.llm_in;
            account.reserved.llm_out -= reservation.llm_out;
        }
    }

    fn reserve(&mut self, route: usize, asked: Asked) -> Attempt {
        let Some(own) = self.routes.get(route) else {
            return Attempt::Refused(Refused::Limit("there is no such service".to_owned()));
        };
        // Whether it fits into what is not spent, in each account; then into what is not reserved.
        for (account, is_run) in [(&self.run, true), (own, false)] {
            let text = if account.unspent(CALLS) == 0 {
                format!("all {} calls are made", account.budget.http_calls)
            } else if account.unspent(IN) < asked.llm_in {
                let left = account.unspent(IN);
                format!(
                    "the request may have up to {} tokens to read, and {left} are left",
                    asked.llm_in
                )
            } else if asked.writes && account.unspent(OUT) == 0 {
                format!("all {} tokens to write are used", account.budget.llm_out)
            } else {
                continue;
            };
            return Attempt::Refused(if is_run {
                Refused::Budget(format!("the run's budget: {text}"))
            } else {
                Refused::Limit(format!("the operator's limit: {text}"))
            });
        }
        let left = |of| self.run.left(of).min(own.left(of));
        let (run_out, own_out) = (self.run.unspent(OUT), own.unspent(OUT));
        let unspent_out = run_out.min(own_out);
        // As much as it asks for, or all there is; what others may still give back is waited for.
        let llm_out = if asked.writes { asked.llm_out.min(unspent_out) } else { 0 };
        if left(CALLS) == 0 || left(IN) < asked.llm_in || left(OUT) < llm_out {
            return Attempt::Later;
        }
        let lowered = match (asked.writes && asked.llm_out > unspent_out, run_out <= own_out) {
            (false, _) => Lowered::No,
            (true, true) => Lowered::ByBudget,
            (true, false) => Lowered::ByLimit,
        };
        for account in self.both(route) {
            account.reserved.http_calls += 1;
            account.reserved.llm_in += asked.llm_in;
            account.reserved.llm_out += llm_out;
        }
        Attempt::Granted(Reservation { route, llm_in: asked.llm_in, llm_out, lowered })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGETS: Usage = Usage { llm_in: 100, llm_out: 50, http_calls: 3, runtime_ms: 0 };

    fn asked(llm_in: u64, llm_out: u64) -> Asked {
        Asked { llm_in, llm_out, writes: true }
    }

    fn now(meter: &Meter, asked: Asked) -> Option<Result<Reservation, Refused>> {
        match meter.state().reserve(0, asked) {
            Attempt::Granted(reservation) => Some(Ok(reservation)),
            Attempt::Refused(why) => Some(Err(why)),
            Attempt::Later => None,
        }
    }

    #[test]
    fn what_could_pass_the_budget_does_not_leave() {
        let meter = Meter::new(BUDGETS, [&Limits::default()]);
        assert!(matches!(now(&meter, asked(101, 1)), Some(Err(Refused::Budget(_)))));
        let first = now(&meter, asked(100, 80)).unwrap().unwrap();
        assert_eq!(first.llm_out, 50, "lowered to what is left");
        // It may fit later, since the first may use less.
        assert_eq!(now(&meter, asked(1, 1)), None);
        meter.settle(first, Tokens { llm_in: 40, llm_out: 50 });
        assert!(matches!(now(&meter, asked(1, 1)), Some(Err(Refused::Budget(_)))), "none to write");
        let reading = Asked { writes: false, ..asked(60, 0) };
        assert!(matches!(now(&meter, reading), Some(Ok(_))));
    }

    #[test]
    fn calls_run_out_and_what_did_not_leave_costs_none() {
        let meter = Meter::new(BUDGETS, [&Limits { calls: 2, ..Limits::default() }]);
        for _ in 0..5 {
            let reservation = now(&meter, asked(1, 1)).unwrap().unwrap();
            meter.release(reservation);
        }
        for _ in 0..2 {
            let reservation = now(&meter, asked(1, 1)).unwrap().unwrap();
            meter.settle(reservation, Tokens::default());
        }
        assert!(matches!(now(&meter, asked(1, 1)), Some(Err(Refused::Limit(_)))));
        assert_eq!(meter.spent().http_calls, 2);
    }

    #[test]
    fn what_lowered_a_request_is_known() {
        let lowered = |limit, asked_out| {
            let meter = Meter::new(BUDGETS, [&Limits { llm_out: limit, ..Limits::default() }]);
            now(&meter, asked(1, asked_out)).unwrap().unwrap().lowered
        };
        assert_eq!(lowered(u64::MAX, 50), Lowered::No);
        assert_eq!(lowered(u64::MAX, 51), Lowered::ByBudget);
        assert_eq!(lowered(50, 51), Lowered::ByBudget);
        assert_eq!(lowered(49, 51), Lowered::ByLimit);
        assert_eq!(lowered(49, 49), Lowered::No);
    }

    #[tokio::test]
    async fn a_request_waits_for_what_others_give_back() {
        let meter = Meter::new(BUDGETS, [&Limits::default()]);
        let first = meter.reserve(0, asked(100, 50)).await.unwrap();
        let second = meter.reserve(0, asked(50, 10));
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        meter.settle(first, Tokens { llm_in: 10, llm_out: 10 });
        assert_eq!(second.await.unwrap().llm_out, 10);
    }

    proptest! {
        /// In any order of requests and reports, honest or not, nothing passes the budget, and
        /// what is charged adds up.
        #[test]
        fn never_above_the_budget(
            steps in proptest::collection::vec((0_u64..80, 0_u64..40, 0_u64..200, 0_u64..200), 1..40),
            at_once in 1_usize..4,
        ) {
            let budgets = Usage { http_calls: 20, ..BUDGETS };
            let meter = Meter::new(budgets, [&Limits::default()]);
            let mut under_way = Vec::new();
            let mut charged = Tokens::default();
            let mut settle = |(reservation, used): (Reservation, Tokens)| {
                let done = meter.settle(reservation, used);
                charged.llm_in += done.tokens.llm_in;
                charged.llm_out += done.tokens.llm_out;
                assert_eq!(done.tokens.llm_in + done.tokens.llm_out + done.unbilled,
                    used.llm_in + used.llm_out);
            };
            for (llm_in, llm_out, used_in, used_out) in steps {
                if let Some(Ok(reservation)) = now(&meter, asked(llm_in, llm_out)) {
                    under_way.push((reservation, Tokens { llm_in: used_in, llm_out: used_out }));
                }
                if under_way.len() >= at_once {
                    settle(under_way.remove(0));
                }
            }
            under_way.into_iter().for_each(&mut settle);
            let spent = meter.spent();
            prop_assert!(spent.is_within(&budgets));
            prop_assert_eq!((spent.llm_in, spent.llm_out), (charged.llm_in, charged.llm_out));
            let state = meter.state();
            prop_assert_eq!(state.run.reserved, Usage::default());
        }
    }
}
