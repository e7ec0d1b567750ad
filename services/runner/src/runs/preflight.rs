//! Whether a run can succeed, judged before any money moves (R8). Pure.
//!
//! What is judged here was read a moment ago and may have changed when the transaction lands; the
//! vault judges again. So a pass promises nothing, and a refusal saves a transaction and says whose
//! it is.

use stellar::Address;
use stellar::vault::GrantLimits;
use wire::{Digest, PublicKey, Rates, Usage, usage};

use crate::model::settlement::Failure;

/// The highest number of a run that the vault takes (V19): rates, budgets, fee, charge, and charge
/// with fee are each at most this.
const MOST: i128 = i64::MAX as i128;

/// What the chain says about the run's surroundings.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The agent, or nothing if the registry has no such agent.
    pub agent: Option<Agent>,
    /// Whether the registry lists this runner for the agent.
    pub runner_listed: bool,
    /// The user's grant to this runner for this agent: `None` if there is none, else its expiry.
    pub grant: Option<Option<u64>>,
    /// Other runners that the agent lists and that the user has granted for it.
    pub others: Vec<Address>,
    /// Stroops that runs under the grant were charged or still reserve.
    pub grant_used: i128,
    /// What the user allows this runner for this agent; all zero, no cap and no fee, if there are
    /// no limits.
    pub limits: GrantLimits,
    /// Whether the vault's administrator has paused new runs.
    pub opens_paused: bool,
    /// Stroops that can be escrowed.
    pub balance: i128,
    /// The user's policy with the day's sums as of `now`.
    pub policy: Policy,
    /// Ledger time, Unix seconds.
    pub now: u64,
}

/// An agent as the registry has it.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Who is paid.
    pub developer: Address,
    /// Who may open and settle its runs.
    pub runners: Vec<Address>,
    /// The newest rate card.
    pub latest_rate_version: u32,
    /// The asked rate card (or the newest), if there is one: prices and module.
    pub card: Option<(Rates, Digest)>,
    /// Raw Ed25519 keys whose execution statements the developer accepts (V12).
    pub attesters: Vec<PublicKey>,
}

/// The user's caps. 0 means no cap (V8).
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// Most one run may escrow.
    pub per_run_cap: i128,
    /// Most that may be spent and reserved in one UTC day.
    pub daily_cap: i128,
    /// While true no run opens.
    pub paused: bool,
    /// Spent and reserved of the present UTC day.
    pub used_today: i128,
}

/// What a run that may be opened is opened under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The rate card.
    pub rate_version: u32,
    /// Its prices.
    pub rates: Rates,
    /// Its module.
    pub manifest_hash: Digest,
    /// Who is paid.
    pub developer: Address,
    /// Whose statements count.
    pub attesters: Vec<PublicKey>,
    /// rates × budgets, in stroops.
    pub max_charge: i128,
}

/// Judges the run of `budgets` under `asked` (or the newest) rate version, for which the runner
/// asks `fee` stroops.
///
/// # Errors
///
/// The first reason for which the vault would refuse, with the name of its error.
pub fn judge(
    facts: &Facts,
    asked: Option<u32>,
    budgets: &Usage,
    fee: i128,
) -> Result<Pinned, Failure> {
    let Some(agent) = &facts.agent else {
        return Err(refuse("AGENT_NOT_FOUND", "registry AgentNotFound: there is no such agent"));
    };
    let rate_version = rate_version(agent, asked)?;
    let Some((rates, manifest_hash)) = agent.card else {
        return Err(refuse("INVALID_RATE_VERSION", "vault InvalidRateVersion: no such rate card"));
    };
    right_to_run(facts)?;
    let max_charge = price(&rates, budgets)?;
    if fee > facts.limits.max_runner_fee {
        let most = facts.limits.max_runner_fee;
        return Err(refuse(
            "RUNNER_FEE_EXCEEDED",
            format!(
                "vault RunnerFeeExceeded: this runner asks {fee} stroops a run, the user allows \
                 {most}"
            ),
        ));
    }
    let escrow = escrow(max_charge, fee)?;
    within_limits(facts, escrow)?;
    affordable(facts, escrow)?;
    Ok(Pinned {
        rate_version,
        rates,
        manifest_hash,
        developer: agent.developer,
        attesters: agent.attesters.clone(),
        max_charge,
    })
}

/// The rate version that will be opened: only the latest or the one before (V5).
///
/// # Errors
///
/// `PREFLIGHT_INVALID_RATE_VERSION`.
pub fn rate_version(agent: &Agent, asked: Option<u32>) -> Result<u32, Failure> {
    let latest = agent.latest_rate_version;
    let version = asked.unwrap_or(latest);
    if version == latest || version.checked_add(1) == Some(latest) {
        return Ok(version);
    }
    Err(refuse(
        "INVALID_RATE_VERSION",
        format!(
            "vault InvalidRateVersion: version {version} asked for, only {latest} and the one \
             before can be opened"
        ),
    ))
}

fn right_to_run(facts: &Facts) -> Result<(), Failure> {
    if facts.opens_paused {
        return Err(refuse(
            "OPENS_PAUSED",
            "vault OpensPaused: the vault's administrator has paused new runs",
        ));
    }
    if !facts.runner_listed {
        return Err(refuse(
            "UNAUTHORIZED_RUNNER",
            "vault UnauthorizedRunner: the agent's developer does not list this runner",
        ));
    }
    match facts.grant {
        None => Err(refuse(
            "UNAUTHORIZED_RUNNER",
            "vault UnauthorizedRunner: the user has not granted this runner for this agent",
        )),
        Some(Some(expires_at)) if expires_at <= facts.now => Err(refuse(
            "UNAUTHORIZED_RUNNER",
            format!("vault UnauthorizedRunner: the user's grant expired at {expires_at}"),
        )),
        Some(_) => Ok(()),
    }
}

/// The highest charge of a run with these budgets, in stroops: what is escrowed beside the fee.
///
/// # Errors
///
/// `PREFLIGHT_EMPTY_BUDGET`, `PREFLIGHT_INVALID_AMOUNT`.
pub fn price(rates: &Rates, budgets: &Usage) -> Result<i128, Failure> {
    if budgets.is_zero() {
        return Err(refuse("EMPTY_BUDGET", "vault EmptyBudget: every budget is zero"));
    }
    let Rates { llm_in, llm_out, http_calls, runtime_ms } = *rates;
    let counts = [budgets.llm_in, budgets.llm_out, budgets.http_calls, budgets.runtime_ms];
    let counts = counts.map(i128::from);
    if [llm_in, llm_out, http_calls, runtime_ms].into_iter().chain(counts).any(is_out_of_range) {
        let text = format!("vault InvalidAmount: a rate or a budget is not between 0 and {MOST}");
        return Err(refuse("INVALID_AMOUNT", text));
    }
    let charge = usage::charge(rates, budgets).filter(|charge| !is_out_of_range(*charge));
    charge.ok_or_else(|| {
        let text = format!("vault InvalidAmount: rates × budgets is more than {MOST} stroops");
        refuse("INVALID_AMOUNT", text)
    })
}

/// What is taken when a run is opened, in stroops: its highest charge and the runner's fee.
///
/// # Errors
///
/// `PREFLIGHT_INVALID_AMOUNT`.
pub fn escrow(max_charge: i128, fee: i128) -> Result<i128, Failure> {
    let escrow = max_charge.checked_add(fee).filter(|escrow| !is_out_of_range(*escrow));
    escrow.ok_or_else(|| {
        let text = format!("vault InvalidAmount: charge and fee are more than {MOST} stroops");
        refuse("INVALID_AMOUNT", text)
    })
}

/// Whether a value is outside 0 to 2^63-1, the range of the vault (V19).
fn is_out_of_range(number: i128) -> bool {
    !(0..=MOST).contains(&number)
}

/// What the grant allows beyond the user's own caps. The sums include the fee.
fn within_limits(facts: &Facts, escrow: i128) -> Result<(), Failure> {
    let GrantLimits { per_run_cap, total_cap, .. } = facts.limits;
    if per_run_cap != 0 && escrow > per_run_cap {
        return Err(refuse(
            "GRANT_RUN_CAP_EXCEEDED",
            format!(
                "vault GrantRunCapExceeded: {escrow} stroops are needed, the grant allows \
                 {per_run_cap} a run"
            ),
        ));
    }
    let used = facts.grant_used.saturating_add(escrow);
    if total_cap != 0 && used > total_cap {
        return Err(refuse(
            "GRANT_TOTAL_EXCEEDED",
            format!(
                "vault GrantTotalExceeded: the grant would come to {used} stroops, it allows \
                 {total_cap}"
            ),
        ));
    }
    Ok(())
}

fn affordable(facts: &Facts, escrow: i128) -> Result<(), Failure> {
    let policy = facts.policy;
    if policy.paused {
        return Err(refuse("POLICY_PAUSED", "vault PolicyPaused: the user has paused new runs"));
    }
    if policy.per_run_cap != 0 && escrow > policy.per_run_cap {
        let cap = policy.per_run_cap;
        return Err(refuse(
            "PER_RUN_CAP_EXCEEDED",
            format!(
                "vault PerRunCapExceeded: {escrow} stroops are needed, the user allows {cap} a run"
            ),
        ));
    }
    let day = policy.used_today.saturating_add(escrow);
    if policy.daily_cap != 0 && day > policy.daily_cap {
        let cap = policy.daily_cap;
        return Err(refuse(
            "DAILY_CAP_EXCEEDED",
            format!(
                "vault DailyCapExceeded: the day would come to {day} stroops, the user allows {cap}"
            ),
        ));
    }
    if facts.balance < escrow {
        let balance = facts.balance;
        return Err(refuse(
            "INSUFFICIENT_BALANCE",
            format!(
                "vault InsufficientBalance: {escrow} stroops are needed, the user has {balance}"
            ),
        ));
    }
    Ok(())
}

/// A refusal before opening: codes begin with `PREFLIGHT_`.
pub fn refuse(code: &str, reason: impl Into<String>) -> Failure {
    Failure::new(format!("PREFLIGHT_{code}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates =
        Rates { llm_in: 10_000, llm_out: 20_000, http_calls: 10_000_000, runtime_ms: 1 };
    const BUDGETS: Usage = Usage { llm_in: 100, llm_out: 50, http_calls: 1, runtime_ms: 1_000 };
    /// rates × budgets of the two above.
    const PRICE: i128 = 12_001_000;

    fn facts() -> Facts {
        Facts {
            agent: Some(Agent {
                developer: Address::Account([1; 32]),
                runners: Vec::new(),
                latest_rate_version: 3,
                card: Some((RATES, Digest::of(b"module"))),
                attesters: vec![PublicKey::from([5; 32])],
            }),
            runner_listed: true,
            grant: Some(None),
            others: Vec::new(),
            grant_used: 0,
            limits: GrantLimits { max_runner_fee: 7, ..GrantLimits::default() },
            opens_paused: false,
            balance: PRICE,
            policy: Policy::default(),
            now: 1_000,
        }
    }

    fn code(facts: &Facts, asked: Option<u32>, budgets: &Usage) -> String {
        judge(facts, asked, budgets, 0).map_or_else(|failure| failure.code, |_| "pass".to_owned())
    }

    #[test]
    fn what_is_covered_passes_at_its_price() {
        let pinned = judge(&facts(), None, &BUDGETS, 0).unwrap();
        assert_eq!((pinned.max_charge, pinned.rate_version), (PRICE, 3));
        assert_eq!(judge(&facts(), Some(2), &BUDGETS, 0).unwrap().rate_version, 2);
    }

    #[test]
    fn each_reason_has_its_name() {
        let mut cases: Vec<(&str, Facts)> = Vec::new();
        let mut case = |name, change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            cases.push((name, facts));
        };
        case("PREFLIGHT_AGENT_NOT_FOUND", &|facts| facts.agent = None);
        case("PREFLIGHT_UNAUTHORIZED_RUNNER", &|facts| facts.runner_listed = false);
        case("PREFLIGHT_UNAUTHORIZED_RUNNER", &|facts| facts.grant = None);
        case("PREFLIGHT_UNAUTHORIZED_RUNNER", &|facts| facts.grant = Some(Some(1_000)));
        case("pass", &|facts| facts.grant = Some(Some(1_001)));
        case("PREFLIGHT_POLICY_PAUSED", &|facts| facts.policy.paused = true);
        case("PREFLIGHT_PER_RUN_CAP_EXCEEDED", &|facts| facts.policy.per_run_cap = PRICE - 1);
        case("pass", &|facts| facts.policy.per_run_cap = PRICE);
        case("PREFLIGHT_DAILY_CAP_EXCEEDED", &|facts| {
            facts.policy = Policy { daily_cap: PRICE, used_today: 1, ..facts.policy };
        });
        case("pass", &|facts| facts.policy.daily_cap = PRICE);
        case("PREFLIGHT_INSUFFICIENT_BALANCE", &|facts| facts.balance = PRICE - 1);
        case("PREFLIGHT_OPENS_PAUSED", &|facts| facts.opens_paused = true);
        case("PREFLIGHT_GRANT_RUN_CAP_EXCEEDED", &|facts| facts.limits.per_run_cap = PRICE - 1);
        case("pass", &|facts| facts.limits.per_run_cap = PRICE);
        case("PREFLIGHT_GRANT_TOTAL_EXCEEDED", &|facts| {
            (facts.limits.total_cap, facts.grant_used) = (PRICE, 1);
        });
        case("pass", &|facts| facts.limits.total_cap = PRICE);
        for (name, facts) in cases {
            assert_eq!(code(&facts, None, &BUDGETS), name, "{facts:?}");
            assert!(name == "pass" || is_in_the_table(name), "{name} is no error of the vault");
        }
    }

    /// Whether the code is one of the vault's errors in capitals.
    fn is_in_the_table(code: &str) -> bool {
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        let name = plain(code.trim_start_matches("PREFLIGHT_"));
        stellar::contract_error::VAULT.iter().any(|row| plain(row.name) == name)
    }

    #[test]
    fn a_fee_counts_like_the_charge_and_needs_leave() {
        let with_fee = |facts: &Facts, fee| {
            judge(facts, None, &BUDGETS, fee)
                .map_or_else(|failure| failure.code, |_| "pass".to_owned())
        };
        let mut rich = facts();
        rich.balance = PRICE + 7;
        assert_eq!(with_fee(&rich, 7), "pass");
        assert_eq!(with_fee(&rich, 8), "PREFLIGHT_RUNNER_FEE_EXCEEDED");
        assert_eq!(with_fee(&facts(), 7), "PREFLIGHT_INSUFFICIENT_BALANCE");
        rich.limits.per_run_cap = PRICE + 6;
        assert_eq!(with_fee(&rich, 7), "PREFLIGHT_GRANT_RUN_CAP_EXCEEDED");
    }

    #[test]
    fn old_cards_empty_budgets_and_overflows_are_refused() {
        assert_eq!(code(&facts(), Some(1), &BUDGETS), "PREFLIGHT_INVALID_RATE_VERSION");
        assert_eq!(code(&facts(), Some(4), &BUDGETS), "PREFLIGHT_INVALID_RATE_VERSION");
        assert_eq!(code(&facts(), None, &Usage::default()), "PREFLIGHT_EMPTY_BUDGET");
        let mut dear = facts();
        if let Some(agent) = &mut dear.agent {
            agent.card = Some((Rates { llm_in: i128::MAX, ..RATES }, Digest::of(b"module")));
        }
        assert_eq!(code(&dear, None, &BUDGETS), "PREFLIGHT_INVALID_AMOUNT");
    }

    #[test]
    fn what_the_vault_does_not_count_is_refused_by_its_name() {
        let rates = |llm_in| Rates { llm_in, llm_out: 0, http_calls: 0, runtime_ms: 1 };
        let tokens = |llm_in| Usage { llm_in, ..Usage::default() };
        let refused = |outcome: Result<i128, Failure>| outcome.unwrap_err().code;
        let invalid = "PREFLIGHT_INVALID_AMOUNT";
        assert_eq!(price(&rates(MOST), &tokens(1)).unwrap(), MOST);
        assert_eq!(price(&rates(1), &tokens(u64::try_from(MOST).unwrap())).unwrap(), MOST);
        // Beyond it: the sum, a rate that is not even used, a budget whose rate is 0.
        assert_eq!(refused(price(&rates(MOST / 2 + 1), &tokens(2))), invalid);
        let both = Usage { runtime_ms: 1, ..tokens(1) };
        assert_eq!(refused(price(&rates(MOST), &both)), invalid);
        let unused = Usage { runtime_ms: 1, ..Usage::default() };
        assert_eq!(refused(price(&rates(MOST + 1), &unused)), invalid);
        assert_eq!(refused(price(&rates(-1), &tokens(1))), invalid);
        assert_eq!(refused(price(&rates(0), &tokens(u64::MAX))), invalid);

        assert_eq!(escrow(MOST - 7, 7).unwrap(), MOST);
        assert_eq!(refused(escrow(MOST - 6, 7)), invalid);
        let mut dear = facts();
        dear.balance = i128::MAX;
        if let Some(agent) = &mut dear.agent {
            agent.card = Some((rates(MOST), Digest::of(b"module")));
        }
        assert!(judge(&dear, None, &tokens(1), 0).is_ok());
        assert_eq!(judge(&dear, None, &tokens(1), 7).unwrap_err().code, invalid);
    }
}
