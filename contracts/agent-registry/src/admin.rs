//! The registry's side of administration (V2, V20): its own error numbers and its view. The rules
//! are in `contract_administration`. None of them touches an agent.

use contract_administration::{self as administration, Failure, Scheduled, State};
use soroban_sdk::Env;

use crate::error::AgentRegistryError as Error;
use crate::types::Administration;

/// The form in which this code keeps its data.
pub(crate) const LAYOUT: u32 = 1;

/// The state of administration.
pub(crate) fn state(env: &Env) -> Result<Administration, Error> {
    let State { admin, proposed, scheduled, layout } = administration::state(env)?;
    let Scheduled(wasm_hash, ready_at, lapses_at) = match scheduled {
        Some(scheduled) => scheduled,
        None => {
            return Ok(Administration {
                admin,
                proposed,
                upgrade_to: None,
                upgrade_at: None,
                upgrade_until: None,
                layout,
            });
        }
    };
    Ok(Administration {
        admin,
        proposed,
        upgrade_to: Some(wasm_hash),
        upgrade_at: Some(ready_at),
        upgrade_until: Some(lapses_at),
        layout,
    })
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotInitialized => Self::Unauthorized,
            Failure::NotProposed => Self::AdminNotProposed,
            Failure::NotScheduled => Self::UpgradeNotScheduled,
            Failure::NotReady => Self::UpgradeNotReady,
        }
    }
}
