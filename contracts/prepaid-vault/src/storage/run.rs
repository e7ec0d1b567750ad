//! Records of runs, and how long they live (V17).

use soroban_sdk::{Address, BytesN, Env, contracttype};

use crate::types::{RunLifecycle, RunRecord};

/// How long a record lives beyond twice the time to its deadline, in ledgers of one second: six
/// hours.
const RUN_EXTRA_LEDGERS: u64 = 21_600;

/// User, opener, agent, escrow, fee, deadline, day opened, grant serial, digest of terms, lifecycle
/// as number, digest, and what an end adds. The due day is the deadline's, so it is not stored
/// again.
type StoredRun = (
    Address,
    Address,
    u32,
    u64,
    u64,
    u64,
    u32,
    u32,
    BytesN<32>,
    u32,
    BytesN<32>,
    Option<StoredEnd>,
);

/// Charge and output hash of a settled run; reason and the digest of arguments of a voided one.
#[contracttype]
struct StoredEnd(u64, BytesN<32>);

const OPEN: u32 = 0;
const FINALIZED: u32 = 1;
const VOIDED: u32 = 2;
const RECLAIMED: u32 = 3;

/// A run's record, while it lives.
pub(crate) fn run(env: &Env, run_id: &BytesN<32>) -> Option<RunRecord> {
    let stored: StoredRun = env.storage().temporary().get(run_id)?;
    let digest = stored.10;
    let lifecycle = match (stored.9, stored.11) {
        (OPEN, _) => RunLifecycle::Open(digest),
        (FINALIZED, Some(StoredEnd(charge, output_hash))) => {
            RunLifecycle::Finalized(charge.into(), output_hash, digest)
        }
        (VOIDED, Some(StoredEnd(reason, _))) => {
            RunLifecycle::Voided(u32::try_from(reason).unwrap_or(u32::MAX))
        }
        _ => RunLifecycle::Reclaimed,
    };
    Some(RunRecord {
        user: stored.0,
        opened_by: stored.1,
        agent_id: stored.2,
        escrowed: stored.3.into(),
        runner_fee: stored.4.into(),
        deadline: stored.5,
        opened_day: stored.6,
        grant_serial: stored.7,
        terms_hash: stored.8,
        lifecycle,
    })
}

/// Writes a record; its life, once given, stays.
pub(crate) fn set_run(env: &Env, run_id: &BytesN<32>, record: RunRecord) {
    // No end but a settlement needs a digest: the terms' fills the place.
    let spare = record.terms_hash.clone();
    let (state, digest, end) = match record.lifecycle {
        RunLifecycle::Open(arguments) => (OPEN, arguments, None),
        RunLifecycle::Finalized(charge, output_hash, known_by) => {
            (FINALIZED, known_by, Some(StoredEnd(narrow(charge), output_hash)))
        }
        RunLifecycle::Voided(reason) => {
            (VOIDED, spare.clone(), Some(StoredEnd(reason.into(), spare)))
        }
        RunLifecycle::Reclaimed => (RECLAIMED, spare, None),
    };
    let stored: StoredRun = (
        record.user,
        record.opened_by,
        record.agent_id,
        narrow(record.escrowed),
        narrow(record.runner_fee),
        record.deadline,
        record.opened_day,
        record.grant_serial,
        record.terms_hash,
        state,
        digest,
        end,
    );
    env.storage().temporary().set(run_id, &stored);
}

/// Lets a new record live twice the time to its deadline and six hours more, counted in ledgers of
/// one second, the fastest considered: a record that was opened cannot end before its deadline, and
/// whoever finds it gone has a bound for when it was opened (V17, R13).
pub(crate) fn keep_run(env: &Env, run_id: &BytesN<32>, now: u64, deadline: u64) {
    let seconds = deadline.saturating_sub(now).saturating_mul(2).saturating_add(RUN_EXTRA_LEDGERS);
    let ledgers = u32::try_from(seconds).unwrap_or(u32::MAX).min(env.storage().max_ttl());
    env.storage().temporary().extend_ttl(run_id, ledgers, ledgers);
}

/// An amount of a run, which is never negative and at most 2^63 − 1 (V19).
fn narrow(amount: i128) -> u64 {
    u64::try_from(amount).unwrap_or(u64::MAX)
}
