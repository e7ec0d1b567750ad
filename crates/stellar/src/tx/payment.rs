//! Transactions that move lumens between the operator's own accounts: no contract takes part.

use stellar_xdr::{
    Asset, CreateAccountOp, Memo, Operation, OperationBody, PaymentOp, Preconditions,
    SequenceNumber, TimeBounds, TimePoint, Transaction, TransactionEnvelope, TransactionExt,
    TransactionV1Envelope,
};
use wire::TxHash;

use super::bump::hash;
use crate::signer::sign_decorated;
use crate::{Address, ChainError, Network, Rpc, Signer, scval};

/// What is done with lumens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// Makes an account.
    Create {
        /// The new account.
        to: Address,
        /// What it begins with.
        stroops: i64,
    },
    /// Pays to an account.
    Pay {
        /// The account.
        to: Address,
        /// How much.
        stroops: i64,
    },
    /// Ends the source's account; all that it has goes to the other.
    Merge {
        /// The account that gets it.
        into: Address,
    },
}

/// A signed payment that has not been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPayment {
    /// The signed envelope, XDR.
    pub envelope: Vec<u8>,
    /// Its hash on its network.
    pub hash: TxHash,
    /// The source's sequence number that it takes.
    pub sequence: i64,
    /// The ledger at which the source's account was read.
    pub ledger: u32,
}

/// Signs a payment by `source`, which offers `fee` stroops at most. Sends nothing.
///
/// # Errors
///
/// [`ChainError::Invalid`] when the source has no account or an address is no account;
/// [`ChainError::Signer`], [`ChainError::Rpc`].
pub async fn prepare_payment(
    rpc: &Rpc,
    network: &Network,
    source: &dyn Signer,
    payment: Payment,
    (max_time, fee): (u64, u32),
) -> Result<PreparedPayment, ChainError> {
    let address = source.address();
    let account = rpc.account(&address).await?.ok_or_else(|| {
        ChainError::invalid(format!(
            "the account {address} does not exist on this network; fund it first"
        ))
    })?;
    let next = account.sequence.checked_add(1);
    let sequence =
        next.ok_or_else(|| ChainError::invalid("the source account has no sequence number left"))?;
    let operation = Operation { source_account: None, body: body(payment)? };
    let tx = Transaction {
        source_account: address.muxed()?,
        fee,
        seq_num: SequenceNumber(sequence),
        // Only the end is bounded, as for calls: the ledger's clock may be behind ours.
        cond: Preconditions::Time(TimeBounds {
            min_time: TimePoint(0),
            max_time: TimePoint(max_time),
        }),
        memo: Memo::None,
        operations: vec![operation].try_into().map_err(|_| ChainError::encode("operations"))?,
        ext: TransactionExt::V0,
    };
    let mut signed = TransactionV1Envelope { tx, signatures: Default::default() };
    let hash = hash(network, &TransactionEnvelope::Tx(signed.clone()))?;
    let signatures = vec![sign_decorated(source, &hash).await?];
    signed.signatures = signatures.try_into().map_err(|_| ChainError::encode("signatures"))?;
    Ok(PreparedPayment {
        envelope: scval::to_xdr(&TransactionEnvelope::Tx(signed))?,
        hash: TxHash::from(hash),
        sequence,
        ledger: account.ledger,
    })
}

fn body(payment: Payment) -> Result<OperationBody, ChainError> {
    Ok(match payment {
        Payment::Create { to, stroops } => OperationBody::CreateAccount(CreateAccountOp {
            destination: to.account_id()?,
            starting_balance: stroops,
        }),
        Payment::Pay { to, stroops } => OperationBody::Payment(PaymentOp {
            destination: to.muxed()?,
            asset: Asset::Native,
            amount: stroops,
        }),
        Payment::Merge { into } => OperationBody::AccountMerge(into.muxed()?),
    })
}
