//! Every SQL statement about signed transactions, the channels that carry them and the networks
//! they went to. [`calls`] has those about calls.
//!
//! Locks are taken in one order everywhere: a channel, then runs by their id, then transactions,
//! then calls. Who holds a later one never waits for an earlier one.

use chassis::postgres::in_time;
use sqlx::{PgConnection, PgPool};
use wire::NetworkId;

use crate::chain::call::SignedCall;
use crate::chain::history::{INNER_LEDGERS, Landmark};
use crate::chain::network::LedgerMark;
use crate::chain::transaction::{Landed, Transaction, TransactionState};
use crate::error::{Error, Result};
use crate::rows;

pub mod calls;
pub mod channels;
pub mod fees;

/// A process's right to sign for a channel and to send what was signed.
#[derive(Debug, Clone)]
pub struct ChannelLease {
    /// The source account.
    pub account: String,
    /// The fencing token.
    pub token: i64,
}

/// A row of `chain_transactions`.
struct TransactionRow {
    id: i64,
    hash: Vec<u8>,
    kind: String,
    source: String,
    sequence: i64,
    max_time: i64,
    signed_ledger: i64,
    envelope: Vec<u8>,
    max_fee: Option<i64>,
    state: String,
    last_answer: Option<String>,
    contract_error: Option<i64>,
    result: Option<Vec<u8>>,
    ledger: Option<i64>,
    closed_at: Option<i64>,
    fee_charged: Option<i64>,
}

impl TransactionRow {
    fn read(self) -> sqlx::Result<Transaction> {
        let landed = match (self.ledger, self.closed_at) {
            (Some(ledger), Some(closed_at)) => Some(Landed {
                result: self.result,
                ledger: rows::number(ledger, "ledger")?,
                closed_at: rows::number(closed_at, "closed_at")?,
                fee_charged: self.fee_charged,
            }),
            (None, _) => None,
            (Some(_), None) => {
                return Err(sqlx::Error::ColumnDecode {
                    index: "closed_at".to_owned(),
                    source: "it is empty, but the ledger is known".into(),
                });
            }
        };
        Ok(Transaction {
            id: self.id,
            hash: rows::bytes32(&self.hash, "hash")?,
            kind: rows::parsed(&self.kind, "kind")?,
            source: self.source,
            sequence: self.sequence,
            max_time: rows::number(self.max_time, "max_time")?,
            signed_ledger: rows::number(self.signed_ledger, "signed_ledger")?,
            envelope: self.envelope,
            max_fee: rows::number(self.max_fee.unwrap_or_default(), "max_fee")?,
            state: rows::parsed(&self.state, "state")?,
            last_answer: self.last_answer,
            contract_error: rows::optional_number(self.contract_error, "contract_error")?,
            landed,
        })
    }
}

/// Makes a channel known. Repeating it changes nothing.
pub async fn add_channel(db: &PgPool, account: &str) -> Result<()> {
    let done =
        sqlx::query!("INSERT INTO channels (account) VALUES ($1) ON CONFLICT DO NOTHING", account);
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Takes a channel that no process holds.
pub async fn lease_channel(
    db: &PgPool,
    account: &str,
    owner: &str,
    lease_ms: i64,
) -> Result<Option<ChannelLease>> {
    let token = sqlx::query_scalar!(
        "UPDATE channels SET lease_owner = $2, lease_token = lease_token + 1,
            lease_until = now() + $3::bigint * interval '1 millisecond'
         WHERE account = $1 AND (lease_until IS NULL OR lease_until < now())
         RETURNING lease_token",
        account,
        owner,
        lease_ms,
    );
    let token = token.fetch_optional(in_time(db)).await?;
    Ok(token.map(|token| ChannelLease { account: account.to_owned(), token }))
}

/// Channels of which a transaction may still land, and that no process holds.
pub async fn abandoned_channels(db: &PgPool) -> Result<Vec<String>> {
    let found = sqlx::query_scalar!(
        "SELECT c.account FROM channels c WHERE (c.lease_until IS NULL OR c.lease_until < now())
            AND EXISTS (SELECT 1 FROM chain_transactions t WHERE t.source = c.account
                AND t.state IN ('prepared', 'sent', 'unknown'))",
    );
    Ok(found.fetch_all(in_time(db)).await?)
}

/// Prolongs the lease. `false` if another process holds the channel by now.
pub async fn prolong_channel(db: &PgPool, lease: &ChannelLease, lease_ms: i64) -> Result<bool> {
    let done = sqlx::query!(
        "UPDATE channels SET lease_until = now() + $3::bigint * interval '1 millisecond'
         WHERE account = $1 AND lease_token = $2 AND lease_until IS NOT NULL",
        lease.account,
        lease.token,
        lease_ms,
    );
    Ok(done.execute(in_time(db)).await?.rows_affected() == 1)
}

/// Gives the channel back. Nothing happens if another process has it by now.
pub async fn release_channel(db: &PgPool, lease: &ChannelLease) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE channels SET lease_owner = NULL, lease_until = NULL
         WHERE account = $1 AND lease_token = $2",
        lease.account,
        lease.token,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// Locks the channel, or fails if it is another process's by now.
pub async fn fence_channel(conn: &mut PgConnection, lease: &ChannelLease) -> Result<()> {
    let found = sqlx::query_scalar!(
        "SELECT account FROM channels WHERE account = $1 AND lease_token = $2 FOR UPDATE",
        lease.account,
        lease.token,
    );
    let found = found.fetch_optional(in_time(conn)).await?;
    found.map(drop).ok_or_else(|| Error::ChannelLost(lease.account.clone()))
}

/// Stores a signed envelope that was not sent yet, with the calls that it carries.
///
/// The caller has locked the channel and the calls' runs. A call that is not wanted any more, or
/// the channel's other live transaction, makes it fail: then nothing was stored and nothing is
/// sent.
pub async fn insert(
    conn: &mut PgConnection,
    transaction: &Transaction,
    members: &[SignedCall],
) -> Result<i64> {
    let id = sqlx::query_scalar!(
        "INSERT INTO chain_transactions (hash, kind, source, sequence, max_time, signed_ledger,
            envelope, max_fee, state, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'prepared', now(), now()) RETURNING id",
        transaction.hash.as_bytes().as_slice(),
        transaction.kind.name(),
        transaction.source,
        transaction.sequence,
        to_i64(transaction.max_time),
        i64::from(transaction.signed_ledger),
        transaction.envelope,
        to_i64(transaction.max_fee),
    );
    let id = id.fetch_one(in_time(&mut *conn)).await?;

    let calls: Vec<i64> = members.iter().map(|member| member.call).collect();
    let runs: Vec<Vec<u8>> =
        members.iter().map(|member| member.vault_run_id.as_bytes().to_vec()).collect();
    let deadlines: Vec<i64> = members.iter().map(|member| to_i64(member.deadline)).collect();
    let signed = sqlx::query!(
        "UPDATE calls c SET state = 'signed', deadline = s.deadline, reserved_until = NULL,
            updated_at = now()
         FROM UNNEST($1::bigint[], $2::bigint[]) AS s (id, deadline)
         WHERE c.id = s.id AND c.state = 'wanted'",
        &calls,
        &deadlines,
    );
    let signed = signed.execute(in_time(&mut *conn)).await?.rows_affected();
    if signed != calls.len() as u64 {
        return Err(Error::CallGone);
    }
    let carried = sqlx::query!(
        "INSERT INTO transaction_calls (transaction_id, call_id, position, vault_run_id, live)
         SELECT $1, m.call, (m.place - 1)::integer, m.run, true
         FROM UNNEST($2::bigint[], $3::bytea[]) WITH ORDINALITY AS m (call, run, place)",
        id,
        &calls,
        &runs,
    );
    carried.execute(in_time(conn)).await?;
    Ok(id)
}

/// The transaction of this channel that may still land, if there is one.
pub async fn live(db: &PgPool, account: &str) -> Result<Option<Transaction>> {
    let row = sqlx::query_as!(
        TransactionRow,
        "SELECT id, hash, kind, source, sequence, max_time, signed_ledger, envelope, max_fee,
            state, last_answer, contract_error, result, ledger, closed_at, fee_charged
         FROM chain_transactions
         WHERE source = $1 AND state IN ('prepared', 'sent', 'unknown')",
        account,
    );
    Ok(row.fetch_optional(in_time(db)).await?.map(TransactionRow::read).transpose()?)
}

/// Transactions that have ended, and of which a call still waits to be judged: an older release
/// ended them, or an operator lets an unknown outcome be judged again.
pub async fn unjudged(db: &PgPool) -> Result<Vec<Transaction>> {
    let found = sqlx::query_as!(
        TransactionRow,
        "SELECT id, hash, kind, source, sequence, max_time, signed_ledger, envelope, max_fee,
            state, last_answer, contract_error, result, ledger, closed_at, fee_charged
         FROM chain_transactions t
         WHERE t.state NOT IN ('prepared', 'sent', 'unknown')
            AND EXISTS (SELECT 1 FROM transaction_calls m
                WHERE m.transaction_id = t.id AND m.live)
         ORDER BY t.id LIMIT 100",
    );
    let found = found.fetch_all(in_time(db)).await?;
    Ok(found.into_iter().map(TransactionRow::read).collect::<sqlx::Result<_>>()?)
}

/// Counts a send, before it happens. Returns how many there were with this one. A process that lost
/// the channel must not send: the next holder counts its own sends.
pub async fn count_send(db: &PgPool, lease: &ChannelLease, id: i64) -> Result<u32> {
    let sends = sqlx::query_scalar!(
        "UPDATE chain_transactions SET sends = sends + 1, state = 'sent', updated_at = now()
         WHERE id = $1 AND state IN ('prepared', 'sent', 'unknown')
            AND EXISTS (SELECT 1 FROM channels WHERE account = $2 AND lease_token = $3)
         RETURNING sends",
        id,
        lease.account,
        lease.token,
    );
    let sends = sends.fetch_optional(in_time(db)).await?;
    let sends = sends.ok_or_else(|| Error::ChannelLost(lease.account.clone()))?;
    Ok(rows::number(i64::from(sends), "sends")?)
}

/// Notes what is known of a transaction that has not ended.
pub async fn note(db: &PgPool, id: i64, answer: &str) -> Result<()> {
    let done = sqlx::query!(
        "UPDATE chain_transactions SET state = 'unknown', last_answer = $2, updated_at = now()
         WHERE id = $1 AND state IN ('prepared', 'sent', 'unknown')",
        id,
        answer,
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

/// How a transaction ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// One of the states in which nothing more happens.
    pub state: TransactionState,
    /// The last words about it.
    pub words: String,
    /// The number of the vault's error by which it did nothing.
    pub contract_error: Option<u32>,
    /// Where and when it landed.
    pub landed: Option<Landed>,
}

/// Ends a transaction. Its channel is free from here on. `false` if it was ended by another
/// process, or, for a rejection, sent by another meanwhile: then the refusal proves nothing any
/// more.
pub async fn end(conn: &mut PgConnection, id: i64, end: &Ended) -> Result<bool> {
    let landed = end.landed.as_ref();
    let done = sqlx::query!(
        "UPDATE chain_transactions SET state = $2, result = $3, ledger = $4, closed_at = $5,
            last_answer = $6, contract_error = $7, fee_charged = $8, updated_at = now()
         WHERE id = $1 AND state IN ('prepared', 'sent', 'unknown')
            AND ($2 <> 'rejected' OR sends = 1)",
        id,
        end.state.name(),
        landed.and_then(|landed| landed.result.clone()),
        landed.map(|landed| i64::from(landed.ledger)),
        landed.map(|landed| to_i64(landed.closed_at)),
        end.words,
        end.contract_error.map(i64::from),
        landed.and_then(|landed| landed.fee_charged),
    );
    Ok(done.execute(in_time(conn)).await?.rows_affected() == 1)
}

/// The newest ledger ever seen of the network.
pub async fn high_water(db: &PgPool, network: NetworkId) -> Result<Option<LedgerMark>> {
    let row = sqlx::query!(
        "SELECT ledger, closed_at FROM networks WHERE network_id = $1",
        network.as_bytes().as_slice(),
    );
    let Some(row) = row.fetch_optional(in_time(db)).await? else { return Ok(None) };
    Ok(Some(LedgerMark {
        ledger: rows::number(row.ledger, "ledger")?,
        closed_at: rows::number(row.closed_at, "closed_at")?,
    }))
}

/// The newest transaction that landed, but not in one of the newest ledgers that were seen of the
/// network. None that had a fee bump: a node may know it by the bump's hash alone.
pub async fn landmark(db: &PgPool, network: NetworkId) -> Result<Option<Landmark>> {
    let row = sqlx::query!(
        "SELECT t.hash, t.ledger FROM chain_transactions t
         WHERE t.state IN ('succeeded', 'failed')
            AND t.ledger <= (SELECT n.ledger - $2::bigint FROM networks n WHERE n.network_id = $1)
            AND NOT EXISTS (SELECT FROM fee_bumps b WHERE b.transaction_id = t.id)
         ORDER BY t.id DESC LIMIT 1",
        network.as_bytes().as_slice(),
        i64::from(INNER_LEDGERS),
    );
    let Some(row) = row.fetch_optional(in_time(db)).await? else { return Ok(None) };
    let ledger: Option<u32> = rows::optional_number(row.ledger, "ledger")?;
    let hash = rows::bytes32(&row.hash, "hash")?;
    Ok(ledger.map(|ledger| Landmark { hash, ledger }))
}

/// Raises the high-water mark. A lower one changes nothing.
pub async fn raise_high_water(
    db: &PgPool,
    network: NetworkId,
    passphrase: &str,
    seen: &LedgerMark,
) -> Result<()> {
    let done = sqlx::query!(
        "INSERT INTO networks (network_id, passphrase, ledger, closed_at, updated_at)
         VALUES ($1, $2, $3, $4, now()) ON CONFLICT (network_id) DO UPDATE SET
            ledger = EXCLUDED.ledger, closed_at = EXCLUDED.closed_at, updated_at = now()
         WHERE networks.ledger < EXCLUDED.ledger",
        network.as_bytes().as_slice(),
        passphrase,
        i64::from(seen.ledger),
        to_i64(seen.closed_at),
    );
    done.execute(in_time(db)).await?;
    Ok(())
}

pub(super) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
