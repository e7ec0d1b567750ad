//! A step as the model judges it.

use super::super::reference_model::{Answer, Limits, Policy, Settle};
use super::super::std::vec::Vec as List;
use super::network::{Expected, Network, Reply, rates_of};
use super::step::Step;
use crate::VaultError;

impl Network {
    pub fn judge(&mut self, step: &Step) -> Expected {
        let o = &mut self.model;
        match step.clone() {
            Step::Deposit { user, amount } => simple(o.deposit(user, amount)),
            Step::Withdraw { user, amount } => simple(o.withdraw(user, amount)),
            Step::SetPolicy { user, per_run, daily, paused } => {
                simple(o.set_policy(user, Policy { per_run, daily, paused }))
            }
            Step::SetLimits { user, runner, agent, per_run, total, fee } => {
                simple(o.set_limits((user, runner, agent), Limits { per_run, total, fee }))
            }
            Step::Grant { user, runner, agent, expires_in } => {
                let expires = expires_in.map(|seconds| o.now + seconds);
                simple(o.grant((user, runner, agent), expires))
            }
            Step::Revoke { user, runner, agent } => simple(o.revoke((user, runner, agent))),
            Step::Open { late: true, .. }
            | Step::OpenBatch { late: true, .. }
            | Step::SettleBatch { late: true, .. } => simple(Err(VaultError::Expired)),
            Step::Open { asked, .. } => {
                let asked = self.asked(&asked, asked.runner, self.nonce);
                self.nonce = self.nonce.wrapping_add(1);
                changing(self.model.open(&asked))
            }
            Step::OpenAgain { run, other_request } => match self.opened_again(run, other_request) {
                Some(asked) => changing(self.model.open(&asked)),
                None => changing(Ok(false)),
            },
            Step::OpenBatch { .. } => {
                let batch = self.batch(step);
                self.nonce = self.nonce.wrapping_add(8);
                batched(batch.iter().map(|asked| self.model.open(asked)).collect())
            }
            Step::SettleBatch { runner, stated, .. } => {
                let at = stated.iter().filter_map(|(back, stated)| {
                    let at = self.run(*back)?;
                    Some((at, self.stated(at, stated, Some(runner))))
                });
                let all: List<_> = at.collect();
                let settle = |(at, stated): &(usize, Settle)| {
                    self.model.settle(*at, stated).map(|(.., changes)| changes)
                };
                batched(all.iter().map(settle).collect())
            }
            other => self.judge_runs(other),
        }
    }

    fn judge_runs(&mut self, step: Step) -> Expected {
        let run = match step {
            Step::Settle { run, .. }
            | Step::SettleAgain { run }
            | Step::Void { run, .. }
            | Step::Reclaim { run }
            | Step::Cancel { run, .. } => run,
            other => return self.judge_others(other),
        };
        let Some(at) = self.run(run) else { return changing(Ok(false)) };
        match step {
            Step::Settle { late: true, .. } | Step::Void { late: true, .. } => {
                simple(Err(VaultError::Expired))
            }
            Step::Settle { stated, .. } => {
                let stated = self.stated(at, &stated, None);
                self.judge_settle(at, &stated)
            }
            Step::SettleAgain { .. } => self.judge_settle(at, &self.resettled(at)),
            Step::Void { by, reason, .. } => {
                let by = by.unwrap_or(self.model.runs[at].opener);
                changing(self.model.void(at, by, reason))
            }
            Step::Cancel { by, .. } => {
                let by = by.unwrap_or(self.model.runs[at].user);
                changing(self.model.reclaim(at, Some(by)))
            }
            _ => changing(self.model.reclaim(at, None)),
        }
    }

    fn judge_settle(&mut self, at: usize, stated: &Settle) -> Expected {
        let outcome = self.model.settle(at, stated);
        let escrow = self.model.runs[at].escrow;
        Expected {
            changes: outcome.ok().map(|(.., changes)| changes),
            reply: outcome
                .map(|(charge, fee, _)| Reply::Receipt(charge, fee, escrow - charge - fee)),
        }
    }

    fn judge_others(&mut self, step: Step) -> Expected {
        let o = &mut self.model;
        match step {
            Step::ClaimDeveloper { developer, amount } => {
                return simple(o.claim_developer(developer, amount));
            }
            Step::ClaimRunner { runner, amount } => return simple(o.claim_runner(runner, amount)),
            Step::PauseOpens { paused } => return changing(Ok(o.set_opens_paused(paused))),
            Step::ProposeAdmin { who } => return simple(o.propose(who)),
            Step::AcceptAdmin => return simple(o.accept()),
            Step::Schedule { code } => return simple(o.schedule(code)),
            Step::CancelUpgrade => return simple(o.cancel_upgrade()),
            Step::Upgrade { code } => return simple(o.could_upgrade(code)),
            Step::Migrate => return changing(Ok(false)),
            Step::Donate { amount } => o.donate(amount),
            Step::List { agent, runner } => {
                o.agents[agent].runners.insert(runner);
            }
            Step::Delist { agent, runner } => {
                o.agents[agent].runners.remove(&runner);
            }
            Step::Publish { agent, price } => {
                o.agents[agent].cards.push(rates_of(price));
            }
            Step::Pass { seconds } => o.pass(seconds),
            Step::PassToDeadline { run, before } => {
                let seconds = self.to_deadline(run, before);
                self.model.pass(seconds);
            }
            Step::Lose { run } => {
                if let Some(at) = self.run(run) {
                    self.model.runs[at].recorded = false;
                }
            }
            _ => {}
        }
        Expected { reply: Ok(Reply::Done), changes: None }
    }
}

fn simple(answer: Answer<()>) -> Expected {
    changing(answer.map(|()| true))
}

fn changing(answer: Answer<bool>) -> Expected {
    Expected { changes: answer.ok(), reply: answer.map(|_| Reply::Done) }
}

fn batched(items: List<Answer<bool>>) -> Expected {
    if items.is_empty() {
        return simple(Err(VaultError::InvalidBatchSize));
    }
    let changes = items.iter().any(|item| matches!(item, Ok(true)));
    let code = |item: &Answer<bool>| item.err().map_or(0, |code| code as u32);
    Expected { reply: Ok(Reply::Codes(items.iter().map(code).collect())), changes: Some(changes) }
}
