//! The vault's error numbers. A number is interface: never reused, never changed (V11).

use soroban_sdk::contracterror;

/// What the vault refuses. No other contract's code ever leaves it.
#[contracterror]
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd, Ord)]
#[repr(u32)]
pub enum VaultError {
    /// Kept for its number: the constructor runs once by itself (V2).
    AlreadyInitialized = 1,
    /// The instance holds no configuration.
    NotInitialized = 2,
    /// The run belongs to another user.
    Unauthorized = 3,
    /// A number is negative, zero where it must not be, or above 2^63 − 1 (V19).
    InvalidAmount = 4,
    /// The balance is less than the amount or the escrow.
    InsufficientBalance = 5,
    /// The user has paused new runs.
    PolicyPaused = 6,
    /// The escrow is more than the user allows one run.
    PerRunCapExceeded = 7,
    /// Spent, reserved and this escrow are more than the user allows a day.
    DailyCapExceeded = 8,
    /// Kept for its number: the constructor sets the registry (V2).
    AgentRegistryNotSet = 9,
    /// The registry knows no such agent.
    AgentNotFound = 10,
    /// No record of this run: never opened, or its life has ended (V17).
    RunNotFound = 11,
    /// The run is settled, voided, reclaimed or past its deadline.
    RunNotOpen = 12,
    /// The usage of a meter is above its budget.
    UsageExceedsBudget = 13,
    /// Neither the latest nor the previous rate version.
    InvalidRateVersion = 14,
    /// No live grant, not listed by the registry, or not this run's opener.
    UnauthorizedRunner = 15,
    /// A live grant for this runner and agent exists already.
    RunnerGrantExists = 16,
    /// No live grant for this runner and agent.
    RunnerGrantNotFound = 17,
    /// The call's `valid_until` has passed.
    Expired = 18,
    /// The deadline is not 10 minutes to 24 hours away, or no record can live that long.
    DeadlineOutOfRange = 19,
    /// The run cannot be reclaimed before its deadline.
    DeadlineNotReached = 20,
    /// The terms are not those the run was opened with, or a head is not what the registry says.
    RunTermsMismatch = 21,
    /// The registry could not be read; says nothing about agent or runner.
    RegistryUnavailable = 22,
    /// The token refused, or moved another amount than asked.
    TokenFailed = 23,
    /// Every meter's budget is zero.
    EmptyBudget = 24,
    /// Rates × budgets is more than the opener expected.
    MaxChargeExceeded = 25,
    /// The runner's fee is more than the grant's limits allow; without limits they allow none.
    RunnerFeeExceeded = 26,
    /// The grant's expiry is in the past.
    InvalidExpiry = 27,
    /// The user has 32 grants.
    TooManyGrants = 28,
    /// The books do not add up; nothing was changed.
    AccountingBroken = 29,
    /// The escrow is more than the grant's limits allow one run.
    GrantRunCapExceeded = 30,
    /// What the grant has used and this escrow are more than its limits allow.
    GrantTotalExceeded = 31,
    /// The admin has paused opens, or upgraded the vault and not migrated it yet.
    OpensPaused = 32,
    /// No one was proposed as admin.
    AdminNotProposed = 33,
    /// No upgrade to this Wasm is scheduled, or it lapsed 14 days after it became ready (V20).
    UpgradeNotScheduled = 34,
    /// The scheduled upgrade's time has not come.
    UpgradeNotReady = 35,
    /// A batch of no items, of more than one transaction holds, or of more heads than items.
    InvalidBatchSize = 36,
    /// Something would be taken without the signature of one of the run's attesters (V16).
    NotAttested = 37,
}
