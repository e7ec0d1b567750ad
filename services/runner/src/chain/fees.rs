//! What transactions may cost: ceilings per transaction, run and day, and when a transaction that
//! waits is offered again with a higher fee (V13, R16).
//!
//! A ceiling ends nothing: what would pass it waits with back-off, and the service is degraded.

use chassis::postgres;
use sqlx::PgConnection;
use stellar::ChainError;
use stellar::tx::{self, Offer};
use wire::RunId;

use crate::chain::client::ChainClient;
use crate::chain::outcomes::Shortage;
use crate::chain::store::fees::{self, Bump};
use crate::chain::store::{self, ChannelLease};
use crate::chain::transaction::{Kind, Transaction};
use crate::crash;
use crate::error::Result;

/// How many times the bid of a waiting transaction its replacement must bid (stellar-core's
/// `FEE_MULTIPLIER`).
const REPLACEMENT_FACTOR: u64 = 10;

/// The operator's ceilings, in stroops, and the patience before a fee bump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeLimits {
    /// Most that one transaction may cost, with all of its fee bumps.
    pub transaction: u64,
    /// Most that the transactions of one run may cost, by its share of each.
    pub run: Option<u64>,
    /// Most that all transactions of 24 hours may cost.
    pub day: Option<u64>,
    /// After how many ledgers that did not take a transaction a higher fee may be offered.
    pub bump_after: u32,
}

/// Which runs a ceiling stops, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// The runs.
    pub runs: Vec<RunId>,
    /// The ceiling, in words.
    pub words: String,
}

/// What follows for a transaction that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Raise {
    /// Its fee is not the reason, as far as the network's statistics say.
    No,
    /// It is offered with this bid.
    Bid(u64),
    /// The ceiling of a transaction allows no bid that would help.
    TooDear,
}

/// The next bid for a transaction that was `offered`, when others were `charged` for theirs.
const fn raise(offer: &Offer, offered: u64, charged: u64, ceiling: u64) -> Raise {
    if charged <= offered {
        return Raise::No;
    }
    // Less than this does not replace what still waits in a node's queue.
    let replacing = offered.saturating_mul(REPLACEMENT_FACTOR);
    // A full ledger takes the highest bids and charges the lowest of them: to be among them, the
    // next bid is a quarter above what was charged.
    let above = charged.saturating_add(charged / 4 + 1);
    let wanted = if replacing > above { replacing } else { above };
    let highest = offer.highest_bid(ceiling);
    let bid = if wanted < highest { wanted } else { highest };

    // A bid below the factor counts once the queue has dropped what it holds; a bid below what
    // others pay never does.
    if bid <= charged || bid <= offered { Raise::TooDear } else { Raise::Bid(bid) }
}

impl FeeLimits {
    /// Which of these runs a ceiling stops, if `more` stroops may be spent on a transaction that
    /// carries a call of each. Until the end of the database's transaction no other process spends.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn check(
        &self,
        conn: &mut PgConnection,
        kind: Kind,
        runs: &[RunId],
        more: u64,
    ) -> Result<Option<Exceeded>> {
        if let Some(day) = self.day {
            fees::lock_spending(conn).await?;
            let spent = fees::spent_in_a_day(conn).await?;
            // The last quarter is kept for what ends escrows: whatever was opened can be settled.
            let ceiling = if kind == Kind::Open { day - day / 4 } else { day };
            if spent.saturating_add(more) > ceiling {
                let words = format!(
                    "{more} stroops more would pass the ceiling of a day for this {kind} \
                     ({spent} of {ceiling} are spent or reserved): wait, or raise \
                     RUNNER_MAX_DAY_FEE_STROOPS"
                );
                return Ok(Some(Exceeded { runs: runs.to_vec(), words }));
            }
        }
        let Some(ceiling) = self.run else { return Ok(None) };
        let spent = fees::spent_by_runs(conn, runs).await?;
        let share = more.div_ceil(u64::try_from(runs.len()).unwrap_or(1).max(1));
        let passes = |run: &&RunId| {
            spent.get(*run).copied().unwrap_or_default().saturating_add(share) > ceiling
        };
        let stopped: Vec<RunId> = runs.iter().filter(passes).copied().collect();
        if stopped.is_empty() {
            return Ok(None);
        }
        let words = format!(
            "{share} stroops more would pass the ceiling of a run ({ceiling}): wait for lower \
             fees, or raise RUNNER_MAX_RUN_FEE_STROOPS"
        );
        Ok(Some(Exceeded { runs: stopped, words }))
    }
}

impl ChainClient {
    /// Signs and stores a fee bump of a transaction that `ledger` and those before it did not
    /// take, if its fee is the reason. `None`: nothing is to be sent. The transaction inside is
    /// the same, so that it lands once at most, by whichever envelope.
    pub(super) async fn raise_fee(
        &self,
        channel: &ChannelLease,
        transaction: &Transaction,
        bumps: &[Bump],
        ledger: u32,
    ) -> Result<Option<Bump>> {
        let newest = bumps.last();
        let since = newest.map_or(transaction.signed_ledger, |bump| bump.signed_ledger);
        // A payment has no resources to read the bid from, and bids enough from the beginning.
        let is_payment = transaction.kind == Kind::Channel;
        if is_payment || ledger < since.saturating_add(self.fees.bump_after) {
            return Ok(None);
        }
        // What a dead process left on its own channel is carried on without its key.
        let Ok(payer) = self.channel_key(channel) else { return Ok(None) };
        let charged = match self.rpc.surge_fee().await {
            Ok(charged) => charged,
            Err(error) => {
                tracing::warn!("what the network charges cannot be read: {error}");
                return Ok(None);
            }
        };
        let offer = Offer::of(&transaction.envelope)?;
        let offered = newest.map_or(offer.bid, |bump| bump.bid);
        let bid = match raise(&offer, offered, charged, self.fees.transaction) {
            Raise::No => return Ok(None),
            Raise::Bid(bid) => bid,
            Raise::TooDear => {
                let words = format!(
                    "the network charges {charged} stroops for inclusion, more than \
                     RUNNER_MAX_FEE_STROOPS allows: wait, or raise it"
                );
                self.shortages.note(Shortage::Fee, &words);
                return Ok(None);
            }
        };

        let bumped = tx::bump(&self.network, payer.signer(), &transaction.envelope, bid).await;
        let bumped = match bumped {
            Ok(bumped) => bumped,
            Err(error @ ChainError::Signer { .. }) => {
                // What was sent is followed meanwhile, and may land as it is.
                self.shortages.note(Shortage::Signer, &error.to_string());
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        crash::point("bump.before_persist");
        let mut bump = Bump {
            id: 0,
            hash: bumped.hash,
            envelope: bumped.envelope,
            bid,
            max_fee: bumped.fee,
            signed_ledger: ledger,
        };
        let reserved = newest.map_or(transaction.max_fee, |bump| bump.max_fee);
        let Some(id) = self.store_bump(channel, transaction, &bump, reserved).await? else {
            return Ok(None);
        };
        bump.id = id;
        tracing::info!(
            hash = %transaction.hash,
            bump = %bump.hash,
            "{} is offered with {bid} stroops for inclusion instead of {offered}",
            transaction.kind
        );
        crash::point("bump.after_persist");
        Ok(Some(bump))
    }

    /// Stores a fee bump, if the ceilings allow it and its transaction has not ended. Nothing is
    /// sent before.
    async fn store_bump(
        &self,
        channel: &ChannelLease,
        transaction: &Transaction,
        bump: &Bump,
        reserved: u64,
    ) -> Result<Option<i64>> {
        let members = store::calls::members(&self.db, transaction.id).await?;
        let runs: Vec<RunId> = members.iter().map(|member| member.run).collect();
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence_channel(&mut tx, channel).await?;
        let more = bump.max_fee.saturating_sub(reserved);
        if let Some(exceeded) = self.fees.check(&mut tx, transaction.kind, &runs, more).await? {
            self.shortages.note(Shortage::Ceiling, &exceeded.words);
            return Ok(None);
        }
        let id = fees::insert_bump(&mut tx, transaction.id, bump).await?;
        postgres::commit(tx).await?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Offer = Offer { bid: 100, resource_fee: 1_000 };

    #[test]
    fn a_fee_is_raised_only_when_others_pay_more_and_by_what_replaces_it() {
        assert_eq!(raise(&OFFER, 100, 100, 1_000_000), Raise::No);
        assert_eq!(raise(&OFFER, 100, 101, 1_000_000), Raise::Bid(1_000));
        assert_eq!(raise(&OFFER, 100, 5_000, 1_000_000), Raise::Bid(6_251));
    }

    #[test]
    fn no_bump_passes_the_ceiling_of_a_transaction() {
        // Two operations are paid beside the resources: 1,000 + 2 × 700.
        assert_eq!(raise(&OFFER, 100, 699, 2_400), Raise::Bid(700));
        assert_eq!(raise(&OFFER, 100, 700, 2_400), Raise::TooDear);
        for ceiling in [0, 1_000, 1_200, 5_000, 100_000] {
            if let Raise::Bid(bid) = raise(&OFFER, 100, 400, ceiling) {
                assert!(OFFER.cost(bid) <= ceiling, "{ceiling}");
            }
        }
    }
}
