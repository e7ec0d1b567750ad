//! Friendbot: funds accounts and contracts from the root account, with real transactions.
//!
//! Accounts are funded many at once by one transaction. A contract needs a transaction of its own:
//! it is paid by calling the native asset's contract, and a transaction holds one such call.

use std::sync::Arc;
use std::time::Duration;

use soroban_env_host::xdr::{
    AccountId, Asset, ContractDataDurability, ContractId, CreateAccountOp, HostFunction,
    Int128Parts, InvokeContractArgs, InvokeHostFunctionOp, LedgerEntryData, LedgerKey,
    LedgerKeyContractData, MuxedAccount, OperationBody, PaymentOp, PublicKey, ScAddress, ScSymbol,
    ScVal, TransactionEnvelope, VecM,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::chain::Chain;
use crate::error::Internal;
use crate::frame::account_of;
use crate::genesis::{root_key, root_transaction};
use crate::node::Node;
use crate::queue::Answer;
use crate::simulate::{Request, simulate};
use crate::state::Lookup;
use crate::xdr::{self, vecm};

/// What friendbot gives: 10,000 XLM in stroops.
pub const FRIENDBOT_BALANCE: i64 = 100_000_000_000;

/// Accounts funded by one transaction; a transaction holds 100 operations.
const BATCH: usize = 100;

/// Requests that may wait.
const QUEUE: usize = 1_000;

/// How long a request waits for its ledger.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a transaction of the root account is tried, when others use that account too.
const ATTEMPTS: usize = 5;

/// Whom friendbot funds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    Account(AccountId),
    Contract(ContractId),
}

/// A transaction that funded somebody.
#[derive(Debug, Clone)]
pub(crate) struct Funded {
    pub(crate) hash: [u8; 32],
    /// Base64 XDR.
    pub(crate) envelope: String,
    pub(crate) ledger: u32,
}

/// Why a destination was not funded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FundingError {
    /// The destination has what friendbot would give it.
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

type Outcome = Result<Funded, FundingError>;
type Reply = oneshot::Sender<Outcome>;
type Job = (Destination, Vec<Reply>);

/// The way to the worker that funds accounts.
#[derive(Clone)]
pub(crate) struct Friendbot {
    requests: mpsc::Sender<(Destination, Reply)>,
}

impl Destination {
    /// Reads an address: `G…` or `C…`.
    pub(crate) fn parse(address: &str) -> Option<Self> {
        if let Ok(key) = stellar_strkey::ed25519::PublicKey::from_string(address) {
            return Some(Self::Account(account_of(key.0)));
        }
        let contract = stellar_strkey::Contract::from_string(address).ok()?;
        Some(Self::Contract(ContractId(contract.0.into())))
    }
}

impl Friendbot {
    /// Starts the worker; it ends when the last handle is gone.
    pub(crate) fn start(node: Arc<Node>) -> Self {
        let (requests, inbox) = mpsc::channel(QUEUE);
        tokio::spawn(work(node, inbox));
        Self { requests }
    }

    /// Funds an account or a contract and answers the applied transaction.
    pub(crate) async fn fund(&self, destination: Destination) -> Outcome {
        let (reply, answer) = oneshot::channel();

        // A full queue is answered at once: waiting here would hide the overload from the caller.
        self.requests.try_send((destination, reply)).map_err(|_| FundingError::Busy)?;
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(FundingError::TimedOut),
        }
    }
}

async fn work(node: Arc<Node>, mut inbox: mpsc::Receiver<(Destination, Reply)>) {
    while let Some(first) = inbox.recv().await {
        let mut requests = vec![first];

        // What has arrived meanwhile shares the next transactions.
        while let Ok(request) = inbox.try_recv() {
            requests.push(request);
        }

        // Several requests for one destination are one payment.
        let mut jobs: Vec<Job> = Vec::new();
        for (destination, reply) in requests {
            match jobs.iter_mut().find(|(other, _)| *other == destination) {
                Some((_, replies)) => replies.push(reply),
                None => jobs.push((destination, vec![reply])),
            }
        }
        let (mut accounts, contracts): (Vec<Job>, Vec<Job>) = jobs
            .into_iter()
            .partition(|(destination, _)| matches!(destination, Destination::Account(_)));

        while !accounts.is_empty() {
            let batch = accounts.drain(..accounts.len().min(BATCH)).collect();
            serve(&node, batch).await;
        }
        for contract in contracts {
            serve(&node, vec![contract]).await;
        }
    }
}

/// Funds what one transaction can.
async fn serve(node: &Node, mut jobs: Vec<Job>) {
    let chain = node.chain();
    jobs.retain_mut(|(destination, replies)| {
        let funded = balance(&chain, destination).is_some_and(|held| held >= FRIENDBOT_BALANCE);
        if funded {
            answer(std::mem::take(replies), &Err(FundingError::AlreadyFunded));
        }
        !funded
    });

    // Not held across the wait: an old chain keeps its history in memory.
    drop(chain);
    if jobs.is_empty() {
        return;
    }

    let destinations: Vec<Destination> =
        jobs.iter().map(|(destination, _)| destination.clone()).collect();
    let outcome = fund_all(node, &destinations).await;
    if outcome.is_ok() || jobs.len() == 1 {
        jobs.into_iter().for_each(|(_, replies)| answer(replies, &outcome));
        return;
    }

    // One destination must not spoil it for the others.
    for (destination, replies) in jobs {
        let outcome = fund_all(node, &[destination]).await;
        answer(replies, &outcome);
    }
}

fn answer(replies: Vec<Reply>, outcome: &Outcome) {
    for reply in replies {
        // The client may have gone.
        let _ = reply.send(outcome.clone());
    }
}

async fn fund_all(node: &Node, destinations: &[Destination]) -> Outcome {
    for _ in 0..ATTEMPTS {
        // Watched before sending: a ledger that closes in between has to wake the loop below.
        let mut closed = node.watch();
        let refused = |error: Internal| FundingError::Refused(error.to_string());
        let sent = send(node, destinations).map_err(refused)?;

        // If the queue did not take it, another transaction of the root account waits there; the
        // next ledger clears that.
        if let Some((hash, envelope)) = sent {
            let applied = timeout(PATIENCE, async {
                loop {
                    if let Some(done) = node.chain().transactions.get(&hash) {
                        return Some((done.successful, done.ledger));
                    }
                    closed.changed().await.ok()?;
                }
            });
            match applied.await {
                Ok(Some((true, ledger))) => return Ok(Funded { hash, envelope, ledger }),
                // Applied and failed, as when another transaction created the destination first:
                // built anew from the chain as it is then.
                Ok(Some((false, _))) => {}
                Ok(None) | Err(_) => return Err(FundingError::TimedOut),
            }
        } else if timeout(PATIENCE, closed.changed()).await.is_err() {
            return Err(FundingError::TimedOut);
        }
    }
    Err(FundingError::Refused("the root account's transaction does not get through".to_owned()))
}

/// Queues one transaction and answers its hash and envelope; `None` if the queue does not take it
/// now.
fn send(node: &Node, destinations: &[Destination]) -> Result<Option<([u8; 32], String)>, Internal> {
    let chain = node.chain();
    let envelope = match destinations {
        [Destination::Contract(contract)] => contract_payment(&chain, contract)?,
        _ => account_payments(&chain, destinations)?,
    };
    let text = xdr::base64(&envelope)?;
    match node.submit(envelope)? {
        // A duplicate is this very transaction, so that its ledger answers both callers.
        (hash, Answer::Pending | Answer::Duplicate) => Ok(Some((hash, text))),
        (_, Answer::TryAgainLater | Answer::Error { .. }) => Ok(None),
    }
}

fn account_payments(
    chain: &Chain,
    destinations: &[Destination],
) -> Result<TransactionEnvelope, Internal> {
    let operations = destinations.iter().filter_map(|destination| {
        let Destination::Account(account) = destination else { return None };
        Some(match chain.state.account(account) {
            None => OperationBody::CreateAccount(CreateAccountOp {
                destination: account.clone(),
                starting_balance: FRIENDBOT_BALANCE,
            }),
            Some(_) => OperationBody::Payment(PaymentOp {
                destination: muxed(account),
                asset: Asset::Native,
                amount: FRIENDBOT_BALANCE,
            }),
        })
    });
    root_transaction(chain, next_sequence(chain), operations.collect(), None)
}

/// A transfer in the native asset's contract, with the resources its simulation asks for.
fn contract_payment(chain: &Chain, contract: &ContractId) -> Result<TransactionEnvelope, Internal> {
    let args = vec![
        ScVal::Address(ScAddress::Account(root(chain))),
        ScVal::Address(ScAddress::Contract(contract.clone())),
        ScVal::I128(Int128Parts { hi: 0, lo: FRIENDBOT_BALANCE.cast_unsigned() }),
    ];
    let host_function = HostFunction::InvokeContract(InvokeContractArgs {
        contract_address: ScAddress::Contract(chain.native.clone()),
        function_name: ScSymbol("transfer".try_into()?),
        args: vecm(args)?,
    });
    let op = InvokeHostFunctionOp { host_function, auth: VecM::default() };
    let body = OperationBody::InvokeHostFunction(op.clone());
    let simulated = simulate(chain, &Request::recording(body, root(chain)));
    let (Some(data), Some((_, auth))) = (simulated.transaction_data, simulated.result) else {
        let error = simulated.error.unwrap_or_default();
        return Err(Internal::Other(format!("the payment cannot be simulated: {error}")));
    };
    let op = InvokeHostFunctionOp { auth: vecm(auth)?, ..op };
    let body = OperationBody::InvokeHostFunction(op);
    root_transaction(chain, next_sequence(chain), vec![body], Some(data))
}

/// What a destination holds of the native asset; `None` if it does not exist.
fn balance(chain: &Chain, destination: &Destination) -> Option<i64> {
    let contract = match destination {
        Destination::Account(account) => return Some(chain.state.account(account)?.balance),
        Destination::Contract(contract) => contract,
    };

    // The native asset's contract keeps `Balance(address)`, a map with the member `amount`.
    let symbol = |text: &str| Some(ScVal::Symbol(ScSymbol(text.try_into().ok()?)));
    let key = vec![symbol("Balance")?, ScVal::Address(ScAddress::Contract(contract.clone()))];
    let key = LedgerKey::ContractData(LedgerKeyContractData {
        contract: ScAddress::Contract(chain.native.clone()),
        key: ScVal::Vec(Some(key.try_into().ok()?)),
        durability: ContractDataDurability::Persistent,
    });
    let stored = chain.state.get(&key)?;
    let LedgerEntryData::ContractData(data) = &stored.entry.data else { return None };
    let ScVal::Map(Some(map)) = &data.val else { return None };
    let amount = map.iter().find(|entry| Some(&entry.key) == symbol("amount").as_ref())?;
    match &amount.val {
        ScVal::I128(parts) if parts.hi == 0 => i64::try_from(parts.lo).ok(),
        _ => None,
    }
}

fn root(chain: &Chain) -> AccountId {
    account_of(root_key(&chain.network_id).verifying_key().to_bytes())
}

fn next_sequence(chain: &Chain) -> i64 {
    chain.state.account(&root(chain)).map_or(0, |account| account.seq_num.0).saturating_add(1)
}

fn muxed(account: &AccountId) -> MuxedAccount {
    let PublicKey::PublicKeyTypeEd25519(key) = &account.0;
    MuxedAccount::Ed25519(key.clone())
}
