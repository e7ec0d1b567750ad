//! Friendbot: funds accounts from the root account, many in one transaction, as real transactions.

use std::sync::Arc;
use std::time::Duration;

use soroban_env_host::xdr::{
    AccountId, Asset, CreateAccountOp, MuxedAccount, OperationBody, PaymentOp, PublicKey,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::error::Internal;
use crate::frame::account_of;
use crate::genesis::{root_key, root_transaction};
use crate::node::Node;
use crate::queue::Answer;
use crate::state::Lookup;

/// What friendbot brings an account to: 10,000 XLM in stroops.
pub const FRIENDBOT_BALANCE: i64 = 100_000_000_000;

/// Accounts funded by one transaction, and requests that may wait.
const BATCH: usize = 50;

/// How long a request waits for its ledger.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a transaction of the root account is tried, when somebody else uses that account too.
const ATTEMPTS: usize = 5;

/// Why an account was not funded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FundingError {
    /// The account has what friendbot would give it.
    #[error("account already funded to starting balance")]
    AlreadyFunded,
    /// Too many wait already.
    #[error("too many requests wait for friendbot; try again later")]
    Busy,
    /// No ledger took the transaction in time.
    #[error("no ledger closed in time; ask for the account and try again")]
    TimedOut,
    /// The network refused the transaction.
    #[error("{0}")]
    Refused(String),
}

type Reply = oneshot::Sender<Result<[u8; 32], FundingError>>;

/// The way to the worker that funds accounts.
#[derive(Clone)]
pub(crate) struct Friendbot {
    requests: mpsc::Sender<(AccountId, Reply)>,
}

impl Friendbot {
    /// Starts the worker; it ends when the last handle is gone.
    pub(crate) fn start(node: Arc<Node>) -> Self {
        let (requests, inbox) = mpsc::channel(BATCH);
        tokio::spawn(work(node, inbox));
        Self { requests }
    }

    /// Funds an account and answers the hash of the applied transaction.
    pub(crate) async fn fund(&self, account: AccountId) -> Result<[u8; 32], FundingError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send((account, reply)).map_err(|_| FundingError::Busy)?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(FundingError::TimedOut),
        }
    }
}

async fn work(node: Arc<Node>, mut inbox: mpsc::Receiver<(AccountId, Reply)>) {
    let mut batch = Vec::new();
    while inbox.recv_many(&mut batch, BATCH).await > 0 {
        let mut todo: Vec<(AccountId, Vec<Reply>)> = Vec::new();
        for (account, reply) in batch.drain(..) {
            match todo.iter_mut().find(|(other, _)| *other == account) {
                Some((_, replies)) => replies.push(reply),
                None => todo.push((account, vec![reply])),
            }
        }
        serve(&node, todo).await;
    }
}

async fn serve(node: &Node, mut todo: Vec<(AccountId, Vec<Reply>)>) {
    let chain = node.chain();
    todo.retain_mut(|(account, replies)| {
        let funded = chain.state.account(account).is_some_and(|a| a.balance >= FRIENDBOT_BALANCE);
        if funded {
            answer(std::mem::take(replies), &Err(FundingError::AlreadyFunded));
        }
        !funded
    });
    drop(chain);
    if todo.is_empty() {
        return;
    }
    let accounts: Vec<AccountId> = todo.iter().map(|(account, _)| account.clone()).collect();
    let outcome = fund_all(node, &accounts).await;
    if outcome.is_ok() || todo.len() == 1 {
        todo.into_iter().for_each(|(_, replies)| answer(replies, &outcome));
        return;
    }
    // One account must not spoil it for the others.
    for (account, replies) in todo {
        let outcome = fund_all(node, &[account]).await;
        answer(replies, &outcome);
    }
}

fn answer(replies: Vec<Reply>, outcome: &Result<[u8; 32], FundingError>) {
    for reply in replies {
        // Whoever asked may have gone.
        let _ = reply.send(outcome.clone());
    }
}

async fn fund_all(node: &Node, accounts: &[AccountId]) -> Result<[u8; 32], FundingError> {
    for _ in 0..ATTEMPTS {
        let mut closed = node.watch();
        let sent =
            send(node, accounts).map_err(|error| FundingError::Refused(error.to_string()))?;
        if let Some(hash) = sent {
            let applied = timeout(PATIENCE, async {
                loop {
                    if let Some(done) = node.chain().transactions.get(&hash) {
                        return Some(done.successful);
                    }
                    closed.changed().await.ok()?;
                }
            });
            match applied.await {
                Ok(Some(true)) => return Ok(hash),
                Ok(Some(false)) => {}
                Ok(None) | Err(_) => return Err(FundingError::TimedOut),
            }
        } else if timeout(PATIENCE, closed.changed()).await.is_err() {
            return Err(FundingError::TimedOut);
        }
    }
    Err(FundingError::Refused("the root account's transaction does not get through".to_owned()))
}

/// Queues one transaction; `None` if the queue does not take it now.
fn send(node: &Node, accounts: &[AccountId]) -> Result<Option<[u8; 32]>, Internal> {
    let chain = node.chain();
    let root = account_of(root_key(&chain.network_id).verifying_key().to_bytes());
    let sequence = chain.state.account(&root).map_or(0, |account| account.seq_num.0);
    let operations = accounts.iter().map(|account| match chain.state.account(account) {
        None => OperationBody::CreateAccount(CreateAccountOp {
            destination: account.clone(),
            starting_balance: FRIENDBOT_BALANCE,
        }),
        Some(existing) => OperationBody::Payment(PaymentOp {
            destination: muxed(account),
            asset: Asset::Native,
            amount: FRIENDBOT_BALANCE.saturating_sub(existing.balance).max(1),
        }),
    });
    let envelope = root_transaction(&chain, sequence + 1, operations.collect(), None)?;
    match node.submit(envelope)? {
        (hash, Answer::Pending | Answer::Duplicate) => Ok(Some(hash)),
        (_, Answer::TryAgainLater | Answer::Error { .. }) => Ok(None),
    }
}

fn muxed(account: &AccountId) -> MuxedAccount {
    let PublicKey::PublicKeyTypeEd25519(key) = &account.0;
    MuxedAccount::Ed25519(key.clone())
}
