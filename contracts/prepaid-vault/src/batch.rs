//! Many runs in one call (V9, V18). Items are taken strictly in order, each on the state the one
//! before left; each is checked whole before anything of it is written and nothing after its first
//! write can fail, so an item is done or leaves no trace, whatever becomes of its neighbours. Only
//! a wrong signature of an attester ends the whole call.

use soroban_sdk::{Address, BytesN, Env, Vec};

use crate::error::VaultError;
use crate::open::{self, Expected, Opening};
use crate::registry::Reader;
use crate::settle::{self, Attestation, Settling, Stated};
use crate::time;
use crate::types::{Head, OpenItem, SettleItem};

/// Most opens of one call. What binds is that events and return value may take 16,384 bytes
/// together: `test/sizes.rs` has the largest item.
pub(crate) const MAX_OPENS: u32 = 17;
/// Most settlements of one call, likewise.
pub(crate) const MAX_SETTLEMENTS: u32 = 25;

/// Opens runs; answers 0 for each that is open now, else its code. The caller must have signed.
pub(crate) fn open_runs(
    env: &Env,
    caller: &Address,
    valid_until: u64,
    heads: &Vec<Head>,
    items: &Vec<OpenItem>,
) -> Result<Vec<u32>, VaultError> {
    time::check_valid(time::now(env), valid_until)?;
    check_size(items.len(), heads.len(), MAX_OPENS)?;

    let mut registry = Reader::new(env);
    let mut codes = Vec::new(env);
    for item in items.iter() {
        let opened = opening(caller, heads, item)
            .and_then(|opening| open::open(env, &mut registry, opening));
        codes.push_back(code(opened));
    }
    registry.keep_contracts();
    Ok(codes)
}

/// Settles runs; answers 0 for each that is settled so, else its code. The runner must have signed.
pub(crate) fn finalize_runs(
    env: &Env,
    runner: &Address,
    valid_until: u64,
    heads: &Vec<Head>,
    items: &Vec<SettleItem>,
) -> Result<Vec<u32>, VaultError> {
    time::check_valid(time::now(env), valid_until)?;
    check_size(items.len(), heads.len(), MAX_SETTLEMENTS)?;

    let mut registry = Reader::new(env);
    let mut codes = Vec::new(env);
    for item in items.iter() {
        let settled = settling(runner, heads, item)
            .and_then(|settling| settle::finalize(env, &mut registry, settling));
        codes.push_back(code(settled));
    }
    registry.keep_contracts();
    Ok(codes)
}

fn opening(caller: &Address, heads: &Vec<Head>, item: OpenItem) -> Result<Opening, VaultError> {
    let OpenItem(index, user, budgets, nonce, runner_fee, deadline, request_hash) = item;
    let head = heads.get(index).ok_or(VaultError::RunTermsMismatch)?;
    Ok(Opening {
        caller: caller.clone(),
        user,
        agent_id: head.0,
        rate_version: head.1,
        budgets,
        nonce,
        runner_fee,
        deadline,
        request_hash,
        expected: Expected::Head(head),
    })
}

fn settling(runner: &Address, heads: &Vec<Head>, item: SettleItem) -> Result<Settling, VaultError> {
    let SettleItem(index, run_id, budgets, opened_at, request_hash, usage, output_hash, at, signed) =
        item;
    let head = heads.get(index).ok_or(VaultError::RunTermsMismatch)?;
    Ok(Settling {
        runner: runner.clone(),
        run_id,
        terms: Stated::Parts(head, budgets, opened_at, request_hash),
        usage,
        output_hash,
        attestation: attestation(at, signed),
    })
}

/// A signature and whose it is; the place alone says nothing.
pub(crate) fn attestation(at: u32, signature: Option<BytesN<64>>) -> Option<Attestation> {
    signature.map(|signature| Attestation(at, signature))
}

fn check_size(items: u32, heads: u32, most: u32) -> Result<(), VaultError> {
    if (1..=most).contains(&items) && heads <= items {
        Ok(())
    } else {
        Err(VaultError::InvalidBatchSize)
    }
}

#[expect(clippy::as_conversions, reason = "an error's number is its discriminant")]
fn code<T>(outcome: Result<T, VaultError>) -> u32 {
    match outcome {
        Ok(_) => 0,
        Err(refused) => refused as u32,
    }
}
