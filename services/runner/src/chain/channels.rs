//! Channels that an operator adds, tops up and drains while runners run.
//!
//! Their keys follow from the key of the account that pays for them, so that every process with
//! that key can serve them and nothing secret is stored. Lumens move in transactions that are
//! stored before they are sent and followed like those of calls (R13): an order is done once.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use chassis::postgres;
use stellar::tx::{self, Payment};
use stellar::{Address, ChainError, Keypair};
use tokio::time::{MissedTickBehavior, interval};

use crate::chain::calls::address;
use crate::chain::client::ChainClient;
use crate::chain::outcomes::{self, Shortage};
use crate::chain::store::channels::{self, Channel, Order};
use crate::chain::store::{self, ChannelLease};
use crate::chain::transaction::{Kind, Transaction, TransactionState};
use crate::error::{Error, Result};
use crate::signer::Key;

/// Most stroops that a payment between own accounts offers for its inclusion; what is charged is
/// what the ledger asks, mostly 100.
const FEE: u32 = 100_000;

/// The keys of derived channels that this process serves.
#[derive(Debug, Default)]
pub struct DerivedKeys(RwLock<BTreeMap<String, Key>>);

impl DerivedKeys {
    /// The key of this channel, if it is served here.
    pub fn get(&self, account: &str) -> Option<Key> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned()
    }

    /// The accounts.
    pub fn accounts(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn add(&self, account: String, key: Keypair) {
        // The map is whole whatever a holder did when it panicked.
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(account, key.into());
    }
}

impl ChainClient {
    /// The key of the channel with this number that `payer` pays for, on this network.
    ///
    /// # Errors
    ///
    /// When the payer's key is not here.
    pub fn derived_key(&self, payer: &str, number: u32) -> Result<Keypair> {
        let mut sources = self.sources.iter();
        let parent = sources.find(|key| key.address().to_string() == payer).ok_or_else(|| {
            Error::Broken(format!("the key of {payer} is not in RUNNER_SOURCE_SECRET"))
        })?;
        let parent = parent.local().ok_or_else(|| {
            Error::Broken(format!(
                "no channel can be derived from the key of {payer}, which a token keeps"
            ))
        })?;
        let label = format!("channel {number} of {}", self.network.id());
        Ok(parent.derive(label.as_bytes()))
    }

    /// Makes the key of an added channel known to this process.
    ///
    /// # Errors
    ///
    /// When the payer's key is not here, or gives another account: the channel was added with
    /// another key or on another network.
    pub fn adopt(&self, channel: &Channel) -> Result<()> {
        let (Some(payer), Some(number)) = (&channel.payer, channel.number) else { return Ok(()) };
        let key = self.derived_key(payer, u32::try_from(number).unwrap_or_default())?;
        if key.address().to_string() != channel.account {
            return Err(Error::Broken(format!(
                "the channel {} does not follow from the key of {payer} on this network",
                channel.account
            )));
        }
        self.derived.add(channel.account.clone(), key);
        Ok(())
    }

    /// Keeps the lease of a channel alive; ends when it is lost. A database that does not answer is
    /// asked again: another process gets the channel only when the lease has ended there.
    pub async fn lease_lost(&self, channel: &ChannelLease, lease_ms: i64) {
        let beat = u64::try_from(lease_ms / 3).unwrap_or(1).max(1);
        let mut beat = interval(Duration::from_millis(beat));
        // A burst of late beats would prolong nothing.
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            match store::prolong_channel(&self.db, channel, lease_ms).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let (channel, why) = (&channel.account, error.logged());
                    tracing::warn!(channel, "no sign of life was kept: {why}");
                }
            }
        }
    }

    /// Signs and stores the next order of a channel that has no live transaction. `false` if there
    /// is none, or it cannot be signed now.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or the channel is another process's.
    pub async fn sign_order(&self, channel: &ChannelLease) -> Result<bool> {
        let Some(order) = channels::next_order(&self.db, &channel.account).await? else {
            return Ok(false);
        };
        // A node that does not answer is waited for below.
        if matches!(self.is_merged(&order).await, Ok(true)) {
            channels::conclude_merged(&self.db, order.id).await?;
            return Ok(true);
        }
        let transaction = match self.prepare_order(channel, &order).await {
            Ok(transaction) => transaction,
            Err(Error::Chain(error)) => {
                // What is lacking is waited for, and the command that gave the order says so.
                let words = error.to_string();
                channels::note_order(&self.db, order.id, &words).await?;
                match error {
                    ChainError::Rpc(_) => self.shortages.note(Shortage::Node, &words),
                    ChainError::Signer { .. } => self.shortages.note(Shortage::Signer, &words),
                    _ => {}
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.crash_point(Kind::Channel, "before_persist");
        let mut tx = chassis::postgres::begin(&self.db).await?;
        store::fence_channel(&mut tx, channel).await?;
        match channels::sign_order(&mut tx, &order, &transaction).await {
            Ok(()) => postgres::commit(tx).await?,
            // Another process was faster.
            Err(Error::CallGone) => return Ok(false),
            Err(error) => return Err(error),
        }
        tracing::info!(
            hash = %transaction.hash,
            "{} for the channel {} is signed",
            order.kind,
            order.destination
        );
        self.crash_point(Kind::Channel, "after_persist");
        Ok(true)
    }

    /// Whether the account of a merge is gone: an earlier merge of it has landed, and no further one
    /// can. A node that is behind does not count.
    async fn is_merged(&self, order: &Order) -> Result<bool> {
        if order.kind != "merge" {
            return Ok(false);
        }
        self.now().await?;
        let found = self.rpc.accounts(&[address(&order.source)?]).await?;
        Ok(found.iter().all(Option::is_none))
    }

    async fn prepare_order(&self, channel: &ChannelLease, order: &Order) -> Result<Transaction> {
        let to: Address = address(&order.destination)?;
        let stroops = order.stroops.unwrap_or_default();
        let payment = match order.kind.as_str() {
            "create" => Payment::Create { to, stroops },
            "pay" => Payment::Pay { to, stroops },
            "merge" => Payment::Merge { into: to },
            other => return Err(Error::Broken(format!("an order of the unknown kind {other}"))),
        };
        let max_time = self.now().await?.latest_close.saturating_add(self.transaction_secs);
        let source = self.channel_key(channel)?;
        let times = (max_time, FEE);
        let signed = tx::prepare_payment(&self.rpc, &self.network, source.signer(), payment, times);
        let signed = signed.await?;
        Ok(Transaction {
            id: 0,
            hash: signed.hash,
            kind: Kind::Channel,
            source: channel.account.clone(),
            sequence: signed.sequence,
            max_time,
            signed_ledger: signed.ledger,
            envelope: signed.envelope,
            max_fee: FEE.into(),
            state: TransactionState::Prepared,
            last_answer: None,
            contract_error: None,
            landed: None,
        })
    }

    /// Carries out what is ordered of a channel, by a command and without a running engine.
    ///
    /// # Errors
    ///
    /// When the database or the node does not answer.
    pub async fn work_off(&self, channel: &ChannelLease) -> Result<()> {
        loop {
            if let Some(live) = store::live(&self.db, &channel.account).await? {
                self.follow(channel, &live).await?;
            } else if !self.sign_order(channel).await? {
                return Ok(());
            }
        }
    }

    /// What a refused or failed payment lacks, in words for the operator.
    pub(super) fn order_words(state: TransactionState, words: &str) -> String {
        let lacks_money = outcomes::result(words) == Shortage::Money;
        match state {
            // The ledger names the operation's own reason in the result, and these are all of them.
            TransactionState::Failed => format!(
                "{words}: the paying account has too little beyond its reserve, or the other account \
                 does not exist (a payment), or exists already (a new channel)"
            ),
            _ if lacks_money => format!("{words}: the paying account has too little"),
            _ => words.to_owned(),
        }
    }
}
