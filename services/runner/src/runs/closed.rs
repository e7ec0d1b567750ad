//! What a run comes to whose escrow was closed on chain by a call that is not this database's own:
//! another listed runner settled it (V14), its user reclaimed it, somebody voided it by hand.
//!
//! Only the vault's record and its events say so; nothing of it is concluded from a refusal (R13).

use sqlx::PgConnection;
use stellar::Address;
use stellar::vault::{Lifecycle, RunRecord, settlement_hash};
use time::OffsetDateTime;
use wire::event::Finalized;
use wire::{Digest, Usage};

use crate::chain::calls::address;
use crate::error::{Error, Result};
use crate::model::run::{Escrow, Snapshot};
use crate::model::settlement::{Failure, Receipt};
use crate::model::state::Status;
use crate::runs::store;
use crate::sight::proof::Returned;

/// A settlement as the vault has it, whichever account made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Who settled it.
    pub settled_by: Address,
    /// What was metered.
    pub usage: Usage,
    /// What it commits to.
    pub output_hash: Digest,
    /// What the developer got, stroops.
    pub charge: i128,
    /// What the settler got, stroops.
    pub fee: i128,
    /// What went back to the user, stroops.
    pub refund: i128,
    /// When its ledger closed. Only the event says it, so that it is absent where the record alone
    /// is left.
    pub finalized_at: Option<OffsetDateTime>,
}

impl Settled {
    /// What the vault's event says.
    ///
    /// # Errors
    ///
    /// When its settler is no address, or its time is invalid.
    pub fn of_event(event: &Finalized) -> Result<Self> {
        Ok(Self {
            settled_by: address(&event.runner)?,
            usage: event.usage,
            output_hash: event.output_hash,
            charge: event.actual_charge,
            fee: event.runner_fee,
            refund: event.refund,
            finalized_at: Some(time_of(event.finalized_at)?),
        })
    }

    /// What follows from the record alone. It has charge and output hash, and a digest of settler,
    /// usage and whether an attester signed: the settlement is known if one of these settlers and
    /// usages gives that digest.
    pub fn of_record(record: &RunRecord, settlers: &[Address], usages: &[Usage]) -> Option<Self> {
        let Lifecycle::Finalized { charge, output_hash, settlement } = record.lifecycle else {
            return None;
        };
        for settler in settlers {
            for usage in usages {
                for is_attested in [true, false] {
                    if settlement_hash(settler, usage, is_attested).ok() != Some(settlement) {
                        continue;
                    }
                    // The opener alone earns the fee (V13), and only if an attester signed (V16).
                    let earns_fee = *settler == record.opened_by && is_attested;
                    let fee = if earns_fee { record.runner_fee } else { 0 };
                    return Some(Self {
                        settled_by: *settler,
                        usage: *usage,
                        output_hash,
                        charge,
                        fee,
                        refund: record.escrowed.checked_sub(charge.checked_add(fee)?)?,
                        finalized_at: None,
                    });
                }
            }
        }
        None
    }

    /// Whether the record is of this settlement.
    pub fn fits(&self, record: &RunRecord) -> bool {
        let known = Self::of_record(record, &[self.settled_by], &[self.usage]);
        known.is_some_and(|known| Self { finalized_at: self.finalized_at, ..known } == *self)
    }

    fn receipt(&self, snapshot: &Snapshot) -> Result<Receipt> {
        let (vault_run_id, _) = snapshot.pinned()?;
        Ok(Receipt {
            run_id: vault_run_id,
            actual_charge: self.charge,
            runner_fee: Some(self.fee),
            refund: self.refund,
            developer: snapshot.terms()?.developer.to_string(),
            output_hash: self.output_hash,
            finalized_at: self.finalized_at,
            settled_by: Some(self.settled_by.to_string()),
        })
    }
}

/// Closes the attempt as it was settled; what its run comes to. The caller has locked the run.
///
/// A settlement of exactly what was frozen here delivers what was sealed here, whichever account
/// sent it. Any other one is of an output that this runner does not have.
///
/// # Errors
///
/// When the database does not answer, or the attempt has ended.
pub async fn settled(
    conn: &mut PgConnection,
    snapshot: &Snapshot,
    settled: &Settled,
) -> Result<Status> {
    let key = snapshot.key();
    let frozen = snapshot.attempt.settlement.as_ref();
    let frozen = frozen.filter(|frozen| {
        (frozen.output_hash, frozen.usage) == (settled.output_hash, settled.usage)
    });
    let status = match frozen.map(|frozen| frozen.failure.as_ref()) {
        Some(None) => {
            // A reason to give up may have been noted before it was known that the run is settled.
            store::forget_failure(conn, key).await?;
            Status::Finalized
        }
        Some(Some(_)) => Status::Failed,
        None => {
            let words =
                format!("{} settled the run with other terms than this runner", settled.settled_by);
            store::note_failure(conn, key, &Failure::new("SETTLED_OTHERWISE", words)).await?;
            Status::Failed
        }
    };
    // Returned means that nothing at all was taken, no fee either.
    let is_taken = settled.charge != 0 || settled.fee != 0;
    let escrow = if is_taken { Escrow::Settled } else { Escrow::Returned };
    let receipt = settled.receipt(snapshot)?;
    store::close(conn, key, escrow, Some((&settled.usage, &receipt)), chassis::clock::now())
        .await?;
    Ok(status)
}

/// Why a run failed whose escrow went back.
pub fn failure_of(how: Returned) -> Failure {
    match how {
        Returned::Voided => Failure::new(
            "ESCROW_VOIDED",
            "the run was voided by another command of its runner; the escrow went back",
        ),
        Returned::Reclaimed | Returned::Expired => Failure::new(
            "DEADLINE_PASSED",
            "the run was not settled before its deadline; the escrow went back",
        ),
    }
}

/// Ledger time as receipts have it.
///
/// # Errors
///
/// When it is no time.
pub fn time_of(seconds: u64) -> Result<OffsetDateTime> {
    let closed_at = i64::try_from(seconds).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(closed_at)
        .map_err(|error| Error::Broken(format!("a ledger closed at {seconds}: {error}")))
}

#[cfg(test)]
mod tests {
    use stellar::Keypair;

    use super::*;

    const FEE: i128 = 7;
    const USAGE: Usage = Usage { llm_in: 3, llm_out: 0, http_calls: 0, runtime_ms: 9 };

    fn key(seed: u8) -> Address {
        Keypair::from_seed(&[seed; 32]).address()
    }

    fn record(settler: Address, is_attested: bool) -> RunRecord {
        let settlement = settlement_hash(&settler, &USAGE, is_attested).unwrap();
        let output_hash = Digest::from([5; 32]);
        RunRecord {
            user: key(1),
            opened_by: key(2),
            agent_id: 1,
            escrowed: 100,
            runner_fee: FEE,
            deadline: 10,
            opened_day: 0,
            grant_serial: 1,
            terms_hash: Digest::from([6; 32]),
            lifecycle: Lifecycle::Finalized { charge: 40, output_hash, settlement },
        }
    }

    #[test]
    fn a_record_names_its_settler_and_only_the_opener_earns_the_fee() {
        let settlers = [key(2), key(3)];
        for (settler, is_attested, fee) in
            [(key(2), true, FEE), (key(2), false, 0), (key(3), true, 0)]
        {
            let record = record(settler, is_attested);
            let known = Settled::of_record(&record, &settlers, &[Usage::default(), USAGE]);
            let known = known.unwrap();
            assert_eq!((known.settled_by, known.fee), (settler, fee));
            assert_eq!((known.charge, known.refund), (40, 60 - fee));
            assert!(known.fits(&record));
        }
    }

    #[test]
    fn a_record_of_an_unknown_settler_or_usage_proves_no_settlement() {
        let record = record(key(3), true);
        assert_eq!(Settled::of_record(&record, &[key(2)], &[USAGE]), None);
        assert_eq!(Settled::of_record(&record, &[key(3)], &[Usage::default()]), None);
        let open = RunRecord { lifecycle: Lifecycle::Open, ..record };
        assert_eq!(Settled::of_record(&open, &[key(3)], &[USAGE]), None);
    }

    #[test]
    fn an_event_that_contradicts_the_record_does_not_fit() {
        let record = record(key(3), true);
        let known = Settled::of_record(&record, &[key(3)], &[USAGE]).unwrap();
        assert!(Settled { finalized_at: Some(time_of(7).unwrap()), ..known.clone() }.fits(&record));
        assert!(!Settled { charge: 41, ..known.clone() }.fits(&record));
        assert!(!Settled { settled_by: key(2), ..known }.fits(&record));
    }
}
