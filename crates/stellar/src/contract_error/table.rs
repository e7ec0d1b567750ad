//! Every numbered error of the contracts (V11): the one table that the command line, the runner and
//! `docs/contract-errors.md` share. A test holds numbers and names equal to the committed Wasm's
//! interface.

/// One error of one contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its number; never given another meaning.
    pub number: u32,
    /// Its name; stable, and what people search for.
    pub name: &'static str,
    /// What it means for the person who reads it.
    pub meaning: &'static str,
    /// What to do.
    pub action: &'static str,
    /// Whether the same call may succeed later without anybody changing anything.
    pub retryable: bool,
}

macro_rules! rows {
    ($($number:literal $name:ident $(($flag:ident))?: $meaning:literal => $action:literal;)*) => {
        &[$(Row {
            number: $number,
            name: stringify!($name),
            meaning: $meaning,
            action: $action,
            retryable: false $(|| rows!(@$flag))?,
        },)*]
    };
    (@retryable) => { true };
}

/// The vault's errors. No other contract's number ever leaves it.
pub const VAULT: &[Row] = rows! {
    1 AlreadyInitialized: "the vault is set up already (never raised: the constructor runs once)"
        => "nothing";
    2 NotInitialized: "the vault has no configuration" => "check the contract id";
    3 Unauthorized: "the run belongs to another user"
        => "cancel your own runs only, or use reclaim_run";
    4 InvalidAmount:
        "an amount, cap, budget or usage is negative, zero or too large, or the runner is the user"
        => "correct the argument";
    5 InsufficientBalance: "the balance in the vault is less than the amount or the escrow"
        => "deposit, or lower the budget";
    6 PolicyPaused: "the user has paused new runs"
        => "the user resumes: lumio policy set --paused false";
    7 PerRunCapExceeded: "the escrow is more than the user allows one run"
        => "lower the budget, or the user raises the cap";
    8 DailyCapExceeded: "the escrow is more than is left of the user's daily cap"
        => "wait for the next UTC day, or the user raises the cap";
    9 AgentRegistryNotSet: "the vault names no registry (never raised: the constructor sets it)"
        => "nothing";
    10 AgentNotFound: "the registry knows no such agent" => "check the agent's number";
    11 RunNotFound: "no record of this run: never opened, or ended a day ago"
        => "look at events and the account's receipts hash; the absence alone proves nothing";
    12 RunNotOpen: "the run is settled, voided, reclaimed or past its deadline"
        => "read get_run; after the deadline the escrow is the user's again";
    13 UsageExceedsBudget: "the usage of a meter is above its budget"
        => "settle at most the budget";
    14 InvalidRateVersion: "neither the agent's latest nor its previous rate version"
        => "open with the latest version";
    15 UnauthorizedRunner:
        "no live grant for this runner, or the agent does not list it, or it did not open the run"
        => "the user grants the runner, or the agent's developer lists it";
    16 RunnerGrantExists: "a live grant for this runner and agent exists already"
        => "revoke it first";
    17 RunnerGrantNotFound: "no live grant for this runner and agent"
        => "nothing is left to revoke";
    18 Expired: "the call came too late: its valid_until has passed" => "sign and send anew";
    19 DeadlineOutOfRange: "the deadline is not 10 minutes to 24 hours away"
        => "choose another deadline";
    20 DeadlineNotReached (retryable): "the run cannot be reclaimed before its deadline"
        => "wait for the deadline";
    21 RunTermsMismatch: "the terms are not those that the run was opened with"
        => "take them from the opened event; another run needs another nonce";
    22 RegistryUnavailable (retryable):
        "the registry could not be read; says nothing about agent or runner"
        => "try again; restore archived entries of the registry";
    23 TokenFailed: "the token refused, or moved another amount"
        => "check the payer's balance and trustline";
    24 EmptyBudget: "every meter's budget is zero" => "state a budget";
    25 MaxChargeExceeded: "rates times budgets is more than the runner expected"
        => "read the rate card again";
    26 RunnerFeeExceeded:
        "the runner's fee is more than the grant's limits allow; without limits they allow none"
        => "lower the fee, or the user raises max_runner_fee";
    27 InvalidExpiry: "the grant's expiry is in the past" => "choose a later expiry";
    28 TooManyGrants: "the user has 32 grants" => "revoke one first";
    29 AccountingBroken: "the vault's books do not add up; nothing was changed"
        => "stop and report it: this is a defect";
    30 GrantRunCapExceeded: "the escrow is more than the grant's limits allow one run"
        => "lower the budget, or the user raises the limit";
    31 GrantTotalExceeded: "what the grant has used and this escrow are more than its limits allow"
        => "the user raises the limit, or grants anew";
    32 OpensPaused: "the vault's administrator has paused new runs; open ones go on"
        => "wait until new runs are resumed";
    33 AdminNotProposed: "no one was proposed as administrator"
        => "the administrator proposes first";
    34 UpgradeNotScheduled:
        "no upgrade to this code is scheduled, or it lapsed 14 days after it became ready"
        => "schedule it first, or check the hash";
    35 UpgradeNotReady (retryable): "the scheduled upgrade's time has not come"
        => "wait: an upgrade takes seven days";
    36 InvalidBatchSize:
        "a batch of no items, of more than one transaction holds, or of more heads than items"
        => "split the batch";
    37 NotAttested: "something would be taken without the signature of one of the run's attesters"
        => "settle with module-gate's signature, or with zero usage, which returns everything";
};

/// The registry's errors.
pub const REGISTRY: &[Row] = rows! {
    1 AlreadyInitialized: "the registry is set up already (never raised: the constructor runs once)"
        => "nothing";
    2 AgentNotFound: "no agent has this id" => "check the agent's number";
    3 Unauthorized: "the registry names no administrator" => "check the contract id";
    4 InvalidRunnerList: "no runner at registration, or more than 16" => "name 1 to 16 runners";
    5 InvalidRates: "a rate is negative or above 2^63 - 1" => "correct the rate";
    6 RunnerNotFound: "the agent does not list this runner" => "nothing is left to remove";
    7 RateCardNotFound: "the agent has no rate card of this version"
        => "versions are 1 to latest_rate_version";
    8 InvalidMetadataUri: "the metadata URI has more than 256 bytes" => "shorten it";
    9 InvalidAttesters: "more than 4 attestation keys" => "name at most 4";
    10 CounterExhausted: "no id or version is left to give" => "register another agent";
    11 AdminNotProposed: "no one was proposed as administrator"
        => "the administrator proposes first";
    12 UpgradeNotScheduled:
        "no upgrade to this code is scheduled, or it lapsed 14 days after it became ready"
        => "schedule it first, or check the hash";
    13 UpgradeNotReady (retryable): "the scheduled upgrade's time has not come"
        => "wait: an upgrade takes seven days";
};

/// The errors of the network's own asset contract (CAP-46-6) that our calls can meet.
pub const TOKEN: &[Row] = rows! {
    6 AccountMissing: "the account does not exist on this network" => "fund it first";
    8 NegativeAmount: "the amount is negative" => "correct the amount";
    9 AllowanceError: "the allowance is too small" => "approve more";
    10 BalanceError: "the account holds too little, its reserve counted" => "fund it, or move less";
    11 BalanceDeauthorized: "the issuer has frozen the account" => "ask the issuer";
    13 TrustlineMissing: "the account has no trustline to the asset" => "add the trustline first";
};

/// The whole table as the page `docs/contract-errors.md`.
pub fn guide() -> String {
    let mut text = String::from(concat!(
        "# Contract errors\n\nMade from the table in `crates/stellar/src/contract_error/table.rs` ",
        "by `lumio contract errors`; do not edit. Numbers never change (V11). A number counts for ",
        "the contract that was called: no other contract's number leaves the vault.\n\n",
        "The command line exits 1 with any of them and prints name, contract, number and meaning. ",
        "The runner ends a run that could not be opened with `errorCode` `OPEN_` and the name in ",
        "capitals, such as `OPEN_INSUFFICIENT_BALANCE`; what may pass by itself is tried again.\n",
    ));
    let tables = [
        ("VaultError (prepaid-vault)", VAULT),
        ("AgentRegistryError (agent-registry)", REGISTRY),
        ("The network's asset contract, where our calls can meet it", TOKEN),
    ];
    for (title, rows) in tables {
        text += &format!(
            "\n## {title}\n\n| number | name | meaning | what to do | may pass by itself |\n\
             |---|---|---|---|---|\n"
        );
        for Row { number, name, meaning, action, retryable } in rows {
            let retry = if *retryable { "yes" } else { "no" };
            text += &format!("| {number} | `{name}` | {meaning} | {action} | {retry} |\n");
        }
    }
    text
}
