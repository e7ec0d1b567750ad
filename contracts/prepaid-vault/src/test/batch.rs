//! Many runs in one call: each item is judged by itself, in order, on the state the one before
//! left.

use soroban_sdk::IntoVal;
use soroban_sdk::testutils::AuthorizedFunction;
use soroban_sdk::xdr::ToXdr;

use super::*;
use crate::batch::{MAX_OPENS, MAX_SETTLEMENTS};

/// An opening by name, of which a batch's head and item are made.
#[derive(Clone)]
pub(super) struct OpenRun {
    pub user: Address,
    pub agent_id: u32,
    pub rate_version: u32,
    pub budgets: UsageBreakdown,
    pub nonce: BytesN<32>,
    pub runner_fee: i128,
    pub deadline: u64,
    pub request_hash: BytesN<32>,
}

/// A settlement by name, of which a batch's head and item are made.
#[derive(Clone)]
pub(super) struct Settlement {
    pub run_id: BytesN<32>,
    pub terms: RunTerms,
    pub usage: UsageBreakdown,
    pub output_hash: BytesN<32>,
    pub attester: u32,
    pub signature: Option<BytesN<64>>,
}

pub(super) fn open_run(f: &Fixture, nonce: u8) -> OpenRun {
    let OpenTerms { nonce, runner_fee, deadline, request_hash, .. } = f.terms(nonce);
    OpenRun {
        user: f.user.clone(),
        agent_id: f.agent,
        rate_version: 1,
        budgets: budgets(),
        nonce,
        runner_fee,
        deadline,
        request_hash,
    }
}

/// The standard settlement, signed by the attester.
pub(super) fn settlement(f: &Fixture, run: (BytesN<32>, RunTerms)) -> Settlement {
    let signature = Some(f.attest(&run, &usage()));
    let (run_id, terms) = run;
    Settlement { run_id, terms, usage: usage(), output_hash: f.bytes(9), attester: 0, signature }
}

/// A number of a batch; a negative one becomes one beyond every bound.
fn word(number: i128) -> u64 {
    number as u64
}

fn meters(of: &UsageBreakdown) -> Meters {
    let UsageBreakdown { llm_in, llm_out, http_calls, runtime_ms } = *of;
    Meters(word(llm_in), word(llm_out), word(http_calls), word(runtime_ms))
}

/// The head of an agent's rate card; what the registry does not know is made up.
fn head(f: &Fixture, agent_id: u32, version: u32) -> Head {
    let (mut rates, mut manifest) = (Meters(1, 1, 1, 1), f.bytes(0));
    if let Ok(Ok(card)) = f.registry.try_get_rate_card(&agent_id, &version) {
        let Prices { llm_in, llm_out, http_calls, runtime_ms } = card.rates;
        rates = meters(&units(llm_in, llm_out, http_calls, runtime_ms));
        manifest = card.manifest_hash;
    }
    let (mut developer, mut attesters) = (f.user.clone(), Vec::new(&f.env));
    if let Ok(Ok(agent)) = f.registry.try_get_agent(&agent_id) {
        developer = agent.developer;
        attesters = agent.attesters;
    }
    Head(agent_id, version, rates, developer, manifest, attesters)
}

/// The place of a head in the list, where it is put if it is not there.
fn place(heads: &mut Vec<Head>, head: Head) -> u32 {
    if let Some(at) = heads.first_index_of(&head) {
        return at;
    }
    heads.push_back(head);
    heads.len() - 1
}

pub(super) fn openings(f: &Fixture, runs: &[OpenRun]) -> (Vec<Head>, Vec<OpenItem>) {
    let (mut heads, mut items) = (Vec::new(&f.env), Vec::new(&f.env));
    for run in runs {
        let run = run.clone();
        items.push_back(OpenItem(
            place(&mut heads, head(f, run.agent_id, run.rate_version)),
            run.user,
            meters(&run.budgets),
            run.nonce,
            word(run.runner_fee),
            run.deadline,
            run.request_hash,
        ));
    }
    (heads, items)
}

pub(super) fn settlements(f: &Fixture, runs: &[Settlement]) -> (Vec<Head>, Vec<SettleItem>) {
    let (mut heads, mut items) = (Vec::new(&f.env), Vec::new(&f.env));
    for run in runs {
        let Settlement { run_id, terms, usage, output_hash, attester, signature } = run.clone();
        let UsageMeterRates { llm_in, llm_out, http_calls, runtime_ms } = terms.rates;
        let head = Head(
            terms.agent_id,
            terms.rate_version,
            meters(&units(llm_in, llm_out, http_calls, runtime_ms)),
            terms.developer,
            terms.manifest_hash,
            terms.attesters,
        );
        items.push_back(SettleItem(
            place(&mut heads, head),
            run_id,
            meters(&terms.budgets),
            terms.opened_at,
            terms.request_hash,
            meters(&usage),
            output_hash,
            attester,
            signature,
        ));
    }
    (heads, items)
}

fn open_all(f: &Fixture, runs: &[OpenRun]) -> Result<std::vec::Vec<u32>, VaultError> {
    let (heads, items) = openings(f, runs);
    flat(f.vault.try_open_runs(&f.runner, &NOON, &heads, &items))
        .map(|codes| codes.iter().collect())
}

fn settle_all(f: &Fixture, runs: &[Settlement]) -> Result<std::vec::Vec<u32>, VaultError> {
    let (heads, items) = settlements(f, runs);
    let codes = flat(f.vault.try_finalize_runs(&f.runner, &u64::MAX, &heads, &items));
    codes.map(|codes| codes.iter().collect())
}

#[test]
fn a_batch_opens_what_single_calls_would() {
    let (single, batched) = (Fixture::ready(), Fixture::ready());
    let ids = [single.open(1), single.open(2)];
    let runs = [open_run(&batched, 1), open_run(&batched, 2)];
    assert_eq!(open_all(&batched, &runs), Ok([0, 0].into()));
    let auths = batched.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &batched.runner));
    let books = |f: &Fixture| {
        let account = f.vault.account(&f.user);
        (account.balance, account.due_today, account.reserved)
    };
    assert_eq!(books(&batched), books(&single));
    for id in ids {
        let id = BytesN::from_array(&batched.env, &id.to_array());
        assert!(batched.vault.try_get_run(&id).is_ok());
    }
}

#[test]
fn a_batch_settles_what_single_calls_would() {
    let f = Fixture::ready();
    let (one, two) = (f.opened(1), f.opened(2));
    assert_eq!(settle_all(&f, &[settlement(&f, one), settlement(&f, two)]), Ok([0, 0].into()));
    let auths = f.env.auths();
    assert_eq!((auths.len(), &auths[0].0), (1, &f.runner));
    assert_eq!(f.vault.developer_balance(&f.developer), 2 * CHARGE);
    let account = f.vault.account(&f.user);
    assert_eq!((account.receipts, account.spent), (2, 2 * CHARGE));
    assert_eq!(account.balance, 100_000_000 - 2 * CHARGE);
}

#[test]
fn each_item_has_its_own_code_and_a_refused_one_leaves_no_trace() {
    let f = Fixture::ready();
    f.vault.withdraw(&f.user, &(100_000_000 - ESCROW));
    let good = open_run(&f, 1);
    let runs = [
        OpenRun { rate_version: 9, ..good.clone() },
        OpenRun { agent_id: 99, ..good.clone() },
        OpenRun { budgets: units(0, 0, 0, 0), ..good.clone() },
        good.clone(),
        OpenRun { nonce: f.bytes(2), ..good.clone() },
        OpenRun { request_hash: f.bytes(0), ..good.clone() },
        good,
    ];
    let expected = [
        VaultError::InvalidRateVersion as u32,
        VaultError::UnauthorizedRunner as u32,
        VaultError::EmptyBudget as u32,
        0,
        VaultError::InsufficientBalance as u32,
        VaultError::RunTermsMismatch as u32,
        0,
    ];
    assert_eq!(open_all(&f, &runs), Ok(expected.into()));
    let events = f.env.events().all().filter_by_contract(&f.vault.address);
    assert_eq!(events.events().len(), 1);
    let account = f.vault.account(&f.user);
    assert_eq!((account.balance, account.due_today), (0, ESCROW));
}

#[test]
fn items_are_judged_on_what_the_one_before_left() {
    let f = Fixture::ready();
    let policy = PolicyInput { per_run_cap: 0, daily_cap: 2 * ESCROW, paused: false };
    f.vault.set_policy(&f.user, &policy);
    let runs = [1, 2, 3].map(|nonce| open_run(&f, nonce));
    let codes = [0, 0, VaultError::DailyCapExceeded as u32];
    assert_eq!(open_all(&f, &runs), Ok(codes.into()));
}

#[test]
fn one_settlement_twice_in_a_batch_is_one_settlement() {
    let f = Fixture::ready();
    let run = f.opened(1);
    let item = settlement(&f, run);
    let other = Settlement { usage: units(0, 0, 0, 0), signature: None, ..item.clone() };
    let lie = Settlement { terms: RunTerms { opened_at: 1, ..item.terms.clone() }, ..item.clone() };
    let codes = [
        VaultError::RunTermsMismatch as u32,
        0,
        0,
        VaultError::RunNotOpen as u32,
        VaultError::RunNotFound as u32,
    ];
    let unknown = Settlement { run_id: f.bytes(1), ..item.clone() };
    assert_eq!(settle_all(&f, &[lie, item.clone(), item, other, unknown]), Ok(codes.into()));
    assert_eq!(f.vault.account(&f.user).receipts, 1);
    assert_eq!(f.vault.developer_balance(&f.developer), CHARGE);
}

#[test]
fn a_batch_that_is_empty_too_long_or_late_is_refused_whole() {
    let f = Fixture::ready();
    let size = Err(VaultError::InvalidBatchSize);
    assert_eq!(open_all(&f, &[]), size);
    assert_eq!(settle_all(&f, &[]), size);
    let run = open_run(&f, 1);
    let too_many: std::vec::Vec<_> = (0..=MAX_OPENS).map(|_| run.clone()).collect();
    assert_eq!(open_all(&f, &too_many), size);
    let item = settlement(&f, f.opened(2));
    let too_many: std::vec::Vec<_> = (0..=MAX_SETTLEMENTS).map(|_| item.clone()).collect();
    assert_eq!(settle_all(&f, &too_many), size);
    f.at(NOON + 1);
    assert_eq!(open_all(&f, &[run]), Err(VaultError::Expired));
    let (heads, items) = settlements(&f, &[item]);
    let late = f.vault.try_finalize_runs(&f.runner, &NOON, &heads, &items);
    assert_eq!(flat(late), Err(VaultError::Expired));
    assert_eq!(f.vault.account(&f.user).receipts, 0);
}

#[test]
fn a_batch_opens_for_many_users_and_agents() {
    let f = Fixture::ready();
    let second = Address::generate(&f.env);
    f.mint.mint(&second, &100_000_000);
    f.vault.deposit(&second, &100_000_000);
    let listed = vec![&f.env, f.runner.clone()];
    let other = f.registry.register_agent(&f.developer, &None, &listed, &card(&f.env, 10_000));
    f.registry.set_attesters(&other, &vec![&f.env, attester(&f.env)]);
    f.vault.grant_runner(&second, &f.runner, &other, &None);
    let runs = [
        open_run(&f, 1),
        OpenRun { user: second.clone(), agent_id: other, ..open_run(&f, 1) },
        OpenRun { user: second.clone(), ..open_run(&f, 2) },
    ];
    let codes = [0, 0, VaultError::UnauthorizedRunner as u32];
    assert_eq!(open_all(&f, &runs), Ok(codes.into()));
    assert_eq!(f.vault.account(&second).due_today, ESCROW);
}

/// What is signed is one digest, which covers every part of the batch (V18).
#[test]
fn a_batch_is_signed_as_one_digest_of_everything_in_it() {
    let f = Fixture::ready();
    let (heads, items) = openings(&f, &[open_run(&f, 1), open_run(&f, 2)]);
    f.vault.open_runs(&f.runner, &NOON, &heads, &items);
    let all: soroban_sdk::Val =
        (f.runner.clone(), NOON, heads.clone(), items.clone()).into_val(&f.env);
    let digest = f.env.crypto().sha256(&all.to_xdr(&f.env)).to_bytes();
    let expected = AuthorizedFunction::Contract((
        f.vault.address.clone(),
        soroban_sdk::Symbol::new(&f.env, "open_runs"),
        (digest,).into_val(&f.env),
    ));
    let auths = f.env.auths();
    assert_eq!((auths.len(), &auths[0].0, &auths[0].1.function), (1, &f.runner, &expected));
    assert!(auths[0].1.sub_invocations.is_empty());
}

#[test]
fn an_item_whose_head_is_missing_or_not_the_registrys_is_refused() {
    let f = Fixture::ready();
    let (heads, items) = openings(&f, &[open_run(&f, 1)]);
    let (head, item) = (heads.get_unchecked(0), items.get_unchecked(0));
    let lies: [fn(&Fixture, &mut Head); 4] = [
        |_, head| head.2.0 -= 1,
        |f, head| head.3 = f.runner.clone(),
        |f, head| head.4 = f.bytes(0),
        |f, head| head.5 = Vec::new(&f.env),
    ];
    let refused = vec![&f.env, VaultError::RunTermsMismatch as u32];
    for lie in lies {
        let mut wrong = head.clone();
        lie(&f, &mut wrong);
        let heads = vec![&f.env, wrong];
        assert_eq!(f.vault.open_runs(&f.runner, &NOON, &heads, &items), refused);
    }
    let beyond = vec![&f.env, {
        let mut item = item.clone();
        item.0 = 1;
        item
    }];
    assert_eq!(f.vault.open_runs(&f.runner, &NOON, &heads, &beyond), refused);
    let unused = vec![&f.env, head.clone(), head];
    let too_many = f.vault.try_open_runs(&f.runner, &NOON, &unused, &items);
    assert_eq!(flat(too_many), Err(VaultError::InvalidBatchSize));
    assert_eq!(f.vault.account(&f.user).reserved, 0);
}
