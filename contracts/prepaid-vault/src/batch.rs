//! Many runs in one call (V9). Items are taken strictly in order, each on the state the one before
//! left; each is checked whole before anything of it is written and nothing after its first write can
//! fail, so an item is done or leaves no trace, whatever becomes of its neighbours.

use soroban_sdk::{Address, Env, Vec};

use crate::error::VaultError;
use crate::open::{self, Opening};
use crate::registry::Reader;
use crate::settle::{self, Settling};
use crate::time;
use crate::types::{OpenRun, Settlement};

/// Most opens of one call. What binds is that events and return value may take 16,384 bytes together:
/// the largest opened event with a sweep's event before it and its code takes 1,441.
pub(crate) const MAX_OPENS: u32 = 11;
/// Most settlements of one call, likewise: the largest takes 1,001.
pub(crate) const MAX_SETTLEMENTS: u32 = 16;

/// Opens runs; answers 0 for each that is open now, else its code. The caller must have signed.
pub(crate) fn open_runs(
    env: &Env,
    caller: &Address,
    valid_until: u64,
    runs: &Vec<OpenRun>,
) -> Result<Vec<u32>, VaultError> {
    time::check_valid(time::now(env), valid_until)?;
    check_size(runs.len(), MAX_OPENS)?;
    let mut registry = Reader::new(env);
    let mut codes = Vec::new(env);
    for run in runs.iter() {
        let opening = Opening { caller: caller.clone(), run };
        codes.push_back(code(open::open(env, &mut registry, &opening)));
    }
    registry.keep_contracts();
    Ok(codes)
}

/// Settles runs; answers 0 for each that is settled so, else its code. The runner must have signed.
pub(crate) fn finalize_runs(
    env: &Env,
    runner: &Address,
    valid_until: u64,
    settlements: &Vec<Settlement>,
) -> Result<Vec<u32>, VaultError> {
    time::check_valid(time::now(env), valid_until)?;
    check_size(settlements.len(), MAX_SETTLEMENTS)?;
    let mut registry = Reader::new(env);
    let mut codes = Vec::new(env);
    for settlement in settlements.iter() {
        let settling = Settling { runner: runner.clone(), settlement };
        codes.push_back(code(settle::finalize(env, &mut registry, settling)));
    }
    registry.keep_contracts();
    Ok(codes)
}

fn check_size(items: u32, most: u32) -> Result<(), VaultError> {
    if (1..=most).contains(&items) { Ok(()) } else { Err(VaultError::InvalidBatchSize) }
}

#[expect(clippy::as_conversions, reason = "an error's number is its discriminant")]
fn code<T>(outcome: Result<T, VaultError>) -> u32 {
    match outcome {
        Ok(_) => 0,
        Err(refused) => refused as u32,
    }
}
