//! A step as the vault is asked it.

use super::super::std::vec::Vec as List;

use ed25519_dalek::{Signer as _, SigningKey};
use soroban_sdk::InvokeError;

use super::super::batch::{self, OpenRun, Settlement};
use super::super::reference_model::{self as model, Run, Settle, Signature};
use super::super::*;
use super::network::{Network, Outcome, Reply};
use super::step::{Stated, Step};

type Try<T, C> = Result<Result<T, C>, Result<VaultError, InvokeError>>;

impl Network {
    pub fn ask(&mut self, step: &Step) -> Outcome {
        let v = &self.f.vault;
        let (user, runner) = (&self.users, &self.runners);
        match step.clone() {
            Step::Deposit { user: at, amount } => done(v.try_deposit(&user[at], &amount)),
            Step::Withdraw { user: at, amount } => done(v.try_withdraw(&user[at], &amount)),
            Step::SetPolicy { user: at, per_run, daily, paused } => {
                let policy = PolicyInput { per_run_cap: per_run, daily_cap: daily, paused };
                done(v.try_set_policy(&user[at], &policy))
            }
            Step::SetLimits { user: at, runner: of, agent, per_run, total, fee } => {
                let limits =
                    GrantLimits { per_run_cap: per_run, total_cap: total, max_runner_fee: fee };
                let agent = self.agents[agent];
                done(v.try_set_grant_limits(&user[at], &runner[of], &agent, &limits))
            }
            Step::Grant { user: at, runner: of, agent, expires_in } => {
                let expires = expires_in.map(|seconds| self.model.now + seconds);
                done(v.try_grant_runner(&user[at], &runner[of], &self.agents[agent], &expires))
            }
            Step::Revoke { user: at, runner: of, agent } => {
                done(v.try_revoke_runner(&user[at], &runner[of], &self.agents[agent]))
            }
            Step::Open { asked, late } => {
                let asked = self.asked(&asked, asked.runner, self.nonce);
                self.open(&asked, late)
            }
            Step::OpenAgain { run, other_request } => match self.opened_again(run, other_request) {
                Some(asked) => self.open(&asked, false),
                None => Ok(Reply::Done),
            },
            Step::OpenBatch { late, runner: of, .. } => {
                let batch = self.batch(step);
                let runs: List<_> = batch.iter().map(|asked| self.open_run(asked)).collect();
                let (heads, items) = batch::openings(&self.f, &runs);
                codes(v.try_open_runs(&runner[of], &self.until(late), &heads, &items))
            }
            Step::Settle { run, stated, late } => self.on(run, |n, at| {
                let stated = n.stated(at, &stated, None);
                n.settle(at, &stated, late)
            }),
            Step::SettleAgain { run } => {
                self.on(run, |n, at| n.settle(at, &n.resettled(at), false))
            }
            Step::SettleBatch { runner: of, stated, late } => {
                let items = stated.iter().filter_map(|(back, stated)| {
                    let at = self.run(*back)?;
                    Some(self.settlement(at, &self.stated(at, stated, Some(of))))
                });
                let (heads, items) = batch::settlements(&self.f, &items.collect::<List<_>>());
                codes(v.try_finalize_runs(&runner[of], &self.until(late), &heads, &items))
            }
            Step::Void { run, by, reason, late } => self.on(run, |n, at| {
                let by = &n.runners[by.unwrap_or(n.model.runs[at].opener)];
                done(n.f.vault.try_void_run(&n.id(at), by, &reason, &n.until(late)))
            }),
            Step::Reclaim { run } => {
                self.on(run, |n, at| done(n.f.vault.try_reclaim_run(&n.id(at))))
            }
            Step::Cancel { run, by } => self.on(run, |n, at| {
                let by = &n.users[by.unwrap_or(n.model.runs[at].user)];
                done(n.f.vault.try_cancel_run(by, &n.id(at)))
            }),
            Step::Sweep { user: at } => done(v.try_sweep(&user[at])),
            Step::ClaimDeveloper { developer, amount } => {
                done(v.try_claim_developer(&self.developers[developer], &amount))
            }
            Step::ClaimRunner { runner: of, amount } => {
                done(v.try_claim_runner(&runner[of], &amount))
            }
            other => self.ask_others(other),
        }
    }

    /// Administration, and what happens around the vault.
    fn ask_others(&mut self, step: Step) -> Outcome {
        let f = &self.f;
        let hash = |code: u8| f.bytes(code);
        match step {
            Step::PauseOpens { paused: true } => return done(f.vault.try_pause_opens()),
            Step::PauseOpens { paused: false } => return done(f.vault.try_resume_opens()),
            Step::ProposeAdmin { who } => {
                return done(f.vault.try_propose_admin(&self.admins[who]));
            }
            Step::AcceptAdmin => return done(f.vault.try_accept_admin()),
            Step::Schedule { code } => return done(f.vault.try_schedule_upgrade(&hash(code))),
            Step::CancelUpgrade => return done(f.vault.try_cancel_upgrade()),
            Step::Upgrade { code } => return done(f.vault.try_upgrade(&hash(code))),
            Step::Migrate => return done(f.vault.try_migrate()),
            Step::Donate { amount } => f.mint.mint(&f.vault.address, &amount),
            Step::List { agent, runner } => {
                f.registry.add_runner(&self.agents[agent], &self.runners[runner]);
            }
            Step::Delist { agent, runner } => {
                let _ = f.registry.try_remove_runner(&self.agents[agent], &self.runners[runner]);
            }
            Step::Publish { agent, price } => {
                f.registry.publish_rate_card(&self.agents[agent], &Self::card(f, price));
            }
            Step::Pass { seconds } => self.pass(seconds),
            Step::PassToDeadline { run, before } => self.pass(self.to_deadline(run, before)),
            Step::Lose { run } => {
                if let Some(at) = self.run(run) {
                    let key = self.id(at);
                    let lose = || f.env.storage().temporary().remove(&key);
                    f.env.as_contract(&f.vault.address, lose);
                }
            }
            other => unreachable!("{other:?} is asked above"),
        }
        Ok(Reply::Done)
    }

    /// At a ledger a second, the fastest there is.
    fn pass(&self, seconds: u64) {
        self.f.at(self.model.now + seconds);
        self.f.pass_ledgers(u32::try_from(seconds).unwrap());
    }

    fn on(&self, run: usize, ask: impl FnOnce(&Self, usize) -> Outcome) -> Outcome {
        self.run(run).map_or(Ok(Reply::Done), |at| ask(self, at))
    }

    fn until(&self, late: bool) -> u64 {
        if late { self.model.now - 1 } else { self.model.now }
    }

    /// A run's opening once more, perhaps asking for something else.
    pub fn opened_again(&self, run: usize, other_request: bool) -> Option<model::Open> {
        let mut asked = self.model.runs[self.run(run)?].asked.clone();
        asked.request += u8::from(other_request);
        Some(asked)
    }

    /// The openings of a batch; the first once more at the end if the step says twice.
    pub fn batch(&self, step: &Step) -> List<model::Open> {
        let Step::OpenBatch { runner, asked, twice, .. } = step else { return List::new() };
        let nonces = (0u8..).map(|place| self.nonce.wrapping_add(place));
        // A batch states rates instead of a highest charge.
        let one = |(asked, nonce)| model::Open {
            max_charge: i128::MAX,
            ..self.asked(asked, *runner, nonce)
        };
        let mut batch: List<_> = asked.iter().zip(nonces).map(one).collect();
        if *twice {
            batch.extend(batch.first().cloned());
        }
        batch
    }

    fn open(&self, asked: &model::Open, late: bool) -> Outcome {
        let OpenRun { user, agent_id, rate_version, budgets, .. } = self.open_run(asked);
        let terms = OpenTerms {
            nonce: self.f.bytes(asked.nonce),
            max_charge: asked.max_charge,
            runner_fee: asked.fee,
            deadline: asked.deadline,
            request_hash: self.f.bytes(asked.request),
            valid_until: self.until(late),
        };
        let caller = &self.runners[asked.caller];
        let v = &self.f.vault;
        done(v.try_open_run(&user, caller, &agent_id, &rate_version, &budgets, &terms))
    }

    fn open_run(&self, asked: &model::Open) -> OpenRun {
        OpenRun {
            user: self.users[asked.user].clone(),
            agent_id: self.agents[asked.agent],
            rate_version: asked.version,
            budgets: asked.budgets.clone(),
            nonce: self.f.bytes(asked.nonce),
            runner_fee: asked.fee,
            deadline: asked.deadline,
            request_hash: self.f.bytes(asked.request),
        }
    }

    pub fn stated(&self, at: usize, stated: &Stated, batch: Option<usize>) -> Settle {
        let run = &self.model.runs[at];
        let UsageBreakdown { llm_in, llm_out, http_calls, runtime_ms } = run.asked.budgets;
        let part = |budget: i128| match stated.share {
            share @ 0..=100 => budget.saturating_mul(share) / 100,
            101.. => budget.saturating_add(1),
            ..0 => -1,
        };
        let usage = units(part(llm_in), part(llm_out), part(http_calls), part(runtime_ms));
        let runner = batch.or(stated.by).unwrap_or_else(|| self.able(at));
        let Stated { hash, honest, signature, .. } = *stated;
        Settle { runner, usage, hash, honest, signature }
    }

    /// A settled run's settlement once more; an open one's with nothing used.
    pub fn resettled(&self, at: usize) -> Settle {
        let run = &self.model.runs[at];
        match &run.state {
            &model::State::Settled { by, ref usage, hash, attested, .. } => Settle {
                runner: by,
                usage: usage.clone(),
                hash,
                honest: true,
                signature: if attested { Signature::Good } else { Signature::None },
            },
            _ => Settle {
                runner: run.opener,
                usage: units(0, 0, 0, 0),
                hash: 0,
                honest: true,
                signature: Signature::None,
            },
        }
    }

    fn settle(&self, at: usize, stated: &Settle, late: bool) -> Outcome {
        let Settlement { run_id, terms, usage, output_hash, attester, signature } =
            self.settlement(at, stated);
        let runner = &self.runners[stated.runner];
        let until = self.until(late);
        let v = &self.f.vault;
        let (hash, signed) = (&output_hash, &signature);
        let answer =
            v.try_finalize_run(&run_id, runner, &terms, &usage, hash, &attester, signed, &until);
        outcome(answer).map(|receipt| {
            Reply::Receipt(receipt.actual_charge, receipt.runner_fee, receipt.refund)
        })
    }

    fn settlement(&self, at: usize, stated: &Settle) -> Settlement {
        let run = (self.id(at), self.terms(&self.model.runs[at]));
        let signature = self.signature(&run, stated);
        let (run_id, mut terms) = run;
        terms.opened_at += u64::from(!stated.honest);
        Settlement {
            run_id,
            terms,
            usage: stated.usage.clone(),
            output_hash: self.f.bytes(stated.hash),
            attester: u32::from(stated.signature == Signature::NoSuchKey),
            signature,
        }
    }

    fn signature(&self, run: &(BytesN<32>, RunTerms), stated: &Settle) -> Option<BytesN<64>> {
        let usage = &stated.usage;
        Some(match stated.signature {
            Signature::None => return None,
            Signature::Good | Signature::NoSuchKey => self.f.attest(run, usage),
            Signature::OtherUsage => {
                let more = usage.runtime_ms.wrapping_add(1);
                self.f.attest(run, &UsageBreakdown { runtime_ms: more, ..usage.clone() })
            }
            Signature::OtherKey => {
                let message = attested::message(&run.0, &run.1, usage);
                let signed = SigningKey::from_bytes(&[6; 32]).sign(&message);
                BytesN::from_array(&self.f.env, &signed.to_bytes())
            }
        })
    }

    fn terms(&self, run: &Run) -> RunTerms {
        RunTerms {
            user: self.users[run.user].clone(),
            opened_by: self.runners[run.opener].clone(),
            agent_id: self.agents[run.agent],
            rate_version: run.asked.version,
            rates: run.rates.clone(),
            budgets: run.asked.budgets.clone(),
            max_charge: run.max_charge,
            runner_fee: run.asked.fee,
            deadline: run.deadline,
            opened_at: run.opened_at,
            developer: self.developers[run.agent].clone(),
            manifest_hash: self.f.bytes(7),
            request_hash: self.f.bytes(run.asked.request),
            attesters: vec![&self.f.env, attester(&self.f.env)],
        }
    }

    fn id(&self, at: usize) -> BytesN<32> {
        let &model::Open { user, caller, nonce, deadline, .. } = &self.model.runs[at].asked;
        let (user, caller) = (&self.users[user], &self.runners[caller]);
        let nonce = self.f.bytes(nonce);
        let id = || crate::digest::run_id(&self.f.env, user, caller, &nonce, deadline);
        self.f.env.as_contract(&self.f.vault.address, id)
    }
}

fn outcome<T, C: core::fmt::Debug>(answer: Try<T, C>) -> Result<T, Option<VaultError>> {
    match answer {
        Ok(value) => Ok(value.unwrap()),
        Err(Ok(code)) => Err(Some(code)),
        Err(Err(_)) => Err(None),
    }
}

fn done<T, C: core::fmt::Debug>(answer: Try<T, C>) -> Outcome {
    outcome(answer).map(|_| Reply::Done)
}

fn codes<C: core::fmt::Debug>(answer: Try<Vec<u32>, C>) -> Outcome {
    outcome(answer).map(|codes| Reply::Codes(codes.iter().collect()))
}
