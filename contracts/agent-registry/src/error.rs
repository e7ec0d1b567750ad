//! The registry's error numbers. A number is interface: never reused, never changed (V11).

use soroban_sdk::contracterror;

/// What the registry refuses.
#[contracterror]
#[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd, Ord)]
#[repr(u32)]
pub enum AgentRegistryError {
    /// Kept for its number: the constructor runs once by itself (V2).
    AlreadyInitialized = 1,
    /// No agent has this id.
    AgentNotFound = 2,
    /// The instance names no admin. A missing signature is the host's own error.
    Unauthorized = 3,
    /// No runner at registration, or more than 16.
    InvalidRunnerList = 4,
    /// A rate is negative or above 2^63 − 1 (V19).
    InvalidRates = 5,
    /// The agent does not list this runner.
    RunnerNotFound = 6,
    /// The agent has no rate card of this version.
    RateCardNotFound = 7,
    /// A metadata URI of more than 256 bytes.
    InvalidMetadataUri = 8,
    /// More than 4 attestation keys.
    InvalidAttesters = 9,
    /// No id or version is left to give.
    CounterExhausted = 10,
    /// No one was proposed as admin.
    AdminNotProposed = 11,
    /// No upgrade to this Wasm is scheduled, or it lapsed 14 days after it became ready (V20).
    UpgradeNotScheduled = 12,
    /// The scheduled upgrade's time has not come.
    UpgradeNotReady = 13,
}
