//! One sequence: the contracts, the people, and the model beside them.

use super::super::std::format;
use super::super::std::string::String as Text;
use super::super::std::vec::Vec as List;

use soroban_sdk::testutils::{Address as _, Events as _};

use super::super::reference_model::{
    self as model, AGENTS, Agent, DAY, Model, PEOPLE, Run, WALLET,
};
use super::super::*;
use super::signer::is_vaults;
use super::step::{Asked, Call, Step};
use crate::storage::{self, Payee};
use crate::{account, grants};

pub(super) struct Network {
    pub f: Fixture,
    pub users: List<Address>,
    pub runners: List<Address>,
    pub developers: List<Address>,
    pub admins: List<Address>,
    pub agents: List<u32>,
    pub model: Model,
    pub nonce: u8,
}

/// What a call answered, as far as the model knows it too.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Done,
    Codes(List<u32>),
    /// Charge, fee and refund.
    Receipt(i128, i128, i128),
}

/// A refusal: the vault's code, or none if the host refused.
pub(super) type Outcome = Result<Reply, Option<VaultError>>;

/// What the model expects.
pub(super) struct Expected {
    pub reply: Result<Reply, VaultError>,
    /// Whether anything changes, where the model knows.
    pub changes: Option<bool>,
}

impl Network {
    pub fn new() -> Self {
        let f = Fixture::new();
        let people = |first: &Address| {
            let others = (1..PEOPLE).map(|_| Address::generate(&f.env));
            core::iter::once(first.clone()).chain(others).collect::<List<_>>()
        };
        let (users, runners, admins) = (people(&f.user), people(&f.runner), people(&f.admin));
        for user in &users[1..] {
            f.mint.mint(user, &WALLET);
        }
        let developers: List<_> = (0..AGENTS).map(|_| Address::generate(&f.env)).collect();
        let card = |price| Self::card(&f, price);
        let agents = developers.iter().map(|developer| {
            let listed = vec![&f.env, runners[0].clone(), runners[1].clone()];
            let agent = f.registry.register_agent(developer, &None, &listed, &card(10));
            f.registry.set_attesters(&agent, &vec![&f.env, attester(&f.env)]);
            // From the start there is a card too old to open with.
            f.registry.publish_rate_card(&agent, &card(10));
            f.registry.publish_rate_card(&agent, &card(10));
            agent
        });
        let agents: List<u32> = agents.chain([99]).collect();
        let agent = Agent { runners: [0, 1].into(), cards: [10; 3].map(rates_of).into() };
        let model = Model::new(NOON, [agent.clone(), agent]);
        let mut network = Self { users, runners, developers, admins, agents, model, nonce: 0, f };
        network.prepare();
        network
    }

    /// Every sequence starts with money and grants, so that most of it is about runs.
    fn prepare(&mut self) {
        for user in 0..PEOPLE - 1 {
            let step = Step::Deposit { user, amount: 80_000 };
            self.take(&Call { step, signed: true }).unwrap();
            for (runner, agent) in (0..2).flat_map(|runner| [(runner, 0), (runner, 1)]) {
                let limits = Step::SetLimits { user, runner, agent, per_run: 0, total: 0, fee: 20 };
                let grant = Step::Grant { user, runner, agent, expires_in: None };
                for step in [limits, grant] {
                    self.take(&Call { step, signed: true }).unwrap();
                }
            }
        }
    }

    /// Takes a step with the vault and the model; an error says what differs.
    pub fn take(&mut self, call: &Call) -> Result<(), Text> {
        let step = &call.step;
        if self.is_moot(step) {
            return Ok(());
        }
        let signer = self.signer(step);
        if signer.is_some() && !call.signed {
            self.f.env.set_auths(&[]);
            let outcome = self.ask(step);
            self.f.env.mock_all_auths();
            if outcome != Err(None) {
                return Err(format!("{step:?} unsigned answered {outcome:?}"));
            }
            return self.compare(step);
        }
        let outcome = self.ask(step);
        let auths = self.f.env.auths();
        let events = self.f.env.events().all().filter_by_contract(&self.f.vault.address);
        let emitted = !events.events().is_empty();
        let before = self.model.clone();
        let Expected { reply, changes } = self.judge(step);
        if self.model.trapped {
            // A wrong signature of an attester ends the whole call, with all of a batch's items.
            self.model = before;
            if outcome != Err(None) {
                return Err(format!("{step:?} with a wrong signature answered {outcome:?}"));
            }
            return self.compare(step);
        }
        if outcome != reply.map_err(Some) {
            return Err(format!(
                "{step:?} answered {outcome:?}, the model expected another answer"
            ));
        }
        if outcome.is_ok() && is_vaults(step) {
            let signers: List<_> = auths.iter().map(|(who, _)| who.clone()).collect();
            if signers != signer.into_iter().collect::<List<_>>() {
                return Err(format!("{step:?} was signed by {signers:?}"));
            }
            if changes.is_some_and(|changes| changes != emitted) {
                return Err(format!(
                    "{step:?} changed {changes:?} and emitted an event: {emitted}"
                ));
            }
        }
        self.compare(step)
    }

    /// Ends a sequence: when all deadlines are past, everybody gets everything out.
    pub fn end(&mut self) -> Result<(), Text> {
        let mut last = |step| self.take(&Call { step, signed: true });
        last(Step::Pass { seconds: 3 * DAY })?;
        for at in 0..PEOPLE {
            last(Step::Sweep { user: at })?;
        }
        for at in 0..PEOPLE {
            let amount = self.model.balance(at);
            self.take(&Call { step: Step::Withdraw { user: at, amount }, signed: true })?;
            let amount = self.model.runner_balance(at);
            self.take(&Call { step: Step::ClaimRunner { runner: at, amount }, signed: true })?;
        }
        for developer in 0..AGENTS {
            let amount = self.model.developer_balance(developer);
            let step = Step::ClaimDeveloper { developer, amount };
            self.take(&Call { step, signed: true })?;
        }
        if self.model.owed() == 0 { Ok(()) } else { Err("something stayed behind".into()) }
    }

    /// The run counted back from the newest; the newest of its id, if an id came twice because the
    /// first record was lost.
    pub fn run(&self, back: usize) -> Option<usize> {
        let runs = &self.model.runs;
        let at = runs.len().checked_sub(1)? - back % runs.len();
        let id = |run: &Run| {
            let asked = &run.asked;
            (asked.user, asked.caller, asked.nonce, asked.deadline)
        };
        runs.iter().rposition(|run| id(run) == id(&runs[at]))
    }

    /// Who may settle a run now: its opener if it is listed, else somebody listed and granted.
    pub fn able(&self, at: usize) -> usize {
        let run = &self.model.runs[at];
        let listed = &self.model.agents[run.agent].runners;
        let granted = |who: &usize| self.model.live((run.user, *who, run.agent)).is_some();
        let other = || listed.iter().copied().find(granted).unwrap_or(run.opener);
        if listed.contains(&run.opener) { run.opener } else { other() }
    }

    /// Seconds to a run's deadline, or to the second before; none if it is past.
    pub fn to_deadline(&self, back: usize, before: bool) -> u64 {
        let deadline = self.run(back).map_or(0, |at| self.model.runs[at].deadline);
        deadline.saturating_sub(self.model.now).saturating_sub(u64::from(before))
    }

    /// Who settled a run, or could.
    pub fn settler(&self, back: usize) -> usize {
        let Some(at) = self.run(back) else { return 0 };
        match self.model.runs[at].state {
            model::State::Settled { by, .. } => by,
            _ => self.model.runs[at].opener,
        }
    }

    pub fn card(f: &Fixture, price: i128) -> RateCardInput {
        let UsageMeterRates { llm_in, llm_out, http_calls, runtime_ms } = rates_of(price);
        let rates = Prices { llm_in, llm_out, http_calls, runtime_ms };
        RateCardInput { rates, manifest_hash: f.bytes(7) }
    }

    /// A step's wish as the model and the vault are asked it.
    pub fn asked(&self, asked: &Asked, runner: usize, nonce: u8) -> model::Open {
        let cards = self.model.agents.get(asked.agent).map(|agent| agent.cards.as_slice());
        let latest = cards.map_or(0, <[_]>::len) as u32;
        let version = latest.saturating_sub(asked.back);
        let rates = cards.and_then(|cards| cards.get(version.checked_sub(1)? as usize));
        let price = rates.and_then(|rates| model::cost(rates, &asked.budgets)).unwrap_or(0);
        model::Open {
            user: asked.user,
            caller: runner,
            agent: asked.agent,
            version,
            budgets: asked.budgets.clone(),
            nonce,
            max_charge: price.saturating_add(asked.slack),
            fee: asked.fee,
            deadline: self.model.now + asked.deadline_in,
            request: 42,
        }
    }

    /// The vault's books beside the model's.
    fn compare(&self, step: &Step) -> Result<(), Text> {
        let Self { f, model, .. } = self;
        let same = |what: &str, vault: &dyn core::fmt::Debug, model: &dyn core::fmt::Debug| {
            let (vault, model) = (format!("{vault:?}"), format!("{model:?}"));
            if vault == model {
                return Ok(());
            }
            Err(format!("after {step:?} {what}: the vault has {vault}, the model {model}"))
        };
        same("the token's balance", &f.token.balance(&f.vault.address), &model.held())?;
        f.env.as_contract(&f.vault.address, || {
            same("liabilities", &storage::liabilities(&f.env), &model.owed())?;
            let mut parts = 0;
            for user in 0..PEOPLE {
                let a = account::touch(&f.env, &self.users[user]).unwrap().account;
                parts += a.balance + a.due_today + a.due_tomorrow;
                let today = model.today();
                let due = (model.due(user, today), model.due(user, today + 1));
                let money = (model.balance(user), due, model.day(user));
                let vault = (a.balance, (a.due_today, a.due_tomorrow), (a.spent, a.reserved));
                same("account", &vault, &money)?;
                same("receipts", &a.receipts, &model.receipts[user])?;
                let policy = model.policy(user);
                let caps = (policy.per_run, policy.daily, policy.paused);
                same("policy", &(a.per_run_cap, a.daily_cap, a.paused), &caps)?;
                same("grants", &self.grants(user), &self.expected_grants(user))?;
                let earned = storage::payable(&f.env, Payee::Runner, &self.runners[user]);
                same("runner balance", &earned, &model.runner_balance(user))?;
                parts += earned;
            }
            for agent in 0..AGENTS {
                let who = &self.developers[agent];
                let earned = storage::payable(&f.env, Payee::Developer, who);
                same("developer balance", &earned, &model.developer_balance(agent))?;
                parts += earned;
            }
            same("the sum of all parts", &parts, &model.owed())?;
            same("pause", &storage::opens_paused(&f.env), &model.opens_paused())
        })
    }

    fn grants(&self, user: usize) -> List<(usize, u32, u64, Option<u64>, u32, i128)> {
        let listed = grants::list(&self.f.env, &self.users[user]);
        let runner = |who: &Address| self.runners.iter().position(|runner| runner == who);
        listed
            .iter()
            .map(|g| {
                let who = runner(&g.runner).unwrap();
                (who, g.agent_id, g.issued_at, g.expires_at, g.serial, g.used)
            })
            .collect()
    }

    fn expected_grants(&self, user: usize) -> List<(usize, u32, u64, Option<u64>, u32, i128)> {
        let one = |g: &model::Grant| {
            let (_, runner, agent) = g.between;
            let used = self.model.used(user, g.serial);
            (runner, self.agents[agent], g.issued_at, g.expires_at, g.serial, used)
        };
        self.model.live_grants(user).map(one).collect()
    }
}

pub(super) fn rates_of(price: i128) -> UsageMeterRates {
    UsageMeterRates { llm_in: price, llm_out: 20, http_calls: 1000, runtime_ms: 1 }
}
