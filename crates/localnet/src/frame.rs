//! A transaction as it was sent, with what the rules ask about it.

use soroban_env_host::xdr::{
    AccountId, DecoratedSignature, FeeBumpTransaction, FeeBumpTransactionInnerTx, Hash,
    MuxedAccount, OperationBody, Preconditions, PreconditionsV2, PublicKey, SorobanTransactionData,
    Transaction, TransactionEnvelope, TransactionExt, TransactionSignaturePayload,
    TransactionSignaturePayloadTaggedTransaction, TransactionV1Envelope, Uint256,
};

use crate::error::Internal;
use crate::settings::BASE_FEE;
use crate::xdr;

/// The largest resource fee that a transaction may declare, in stroops.
const MAX_RESOURCE_FEE: i64 = 1 << 50;

/// A decoded transaction.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The envelope as sent, or its successor in version 1.
    pub(crate) envelope: TransactionEnvelope,
    /// The network's hash of the whole, a fee bump included.
    pub(crate) hash: [u8; 32],
    /// The transaction that is carried out.
    pub(crate) tx: Transaction,
    /// The network's hash of [`Self::tx`]; what its signers signed.
    pub(crate) inner_hash: [u8; 32],
    /// Signatures over [`Self::inner_hash`].
    pub(crate) signatures: Vec<DecoratedSignature>,
    /// The fee bump around it, if there is one.
    pub(crate) bump: Option<Bump>,
    /// Length of the envelope of [`Self::tx`] in bytes.
    pub(crate) size: u32,
}

/// Who pays instead, and how much.
#[derive(Debug, Clone)]
pub(crate) struct Bump {
    pub(crate) source: AccountId,
    /// Stroops.
    pub(crate) fee: i64,
    pub(crate) signatures: Vec<DecoratedSignature>,
}

impl Frame {
    /// Reads an envelope. One of version 0 becomes the same transaction in version 1, whose hash is
    /// the same, as the network does since protocol 13.
    pub(crate) fn new(
        envelope: TransactionEnvelope,
        network_id: [u8; 32],
    ) -> Result<Self, Internal> {
        let envelope = modern(envelope);
        let (inner, bump) = match &envelope {
            TransactionEnvelope::Tx(inner) => (inner.clone(), None),
            TransactionEnvelope::TxFeeBump(outer) => {
                let FeeBumpTransactionInnerTx::Tx(inner) = &outer.tx.inner_tx;
                let bump = Bump {
                    source: account_id(&outer.tx.fee_source),
                    fee: outer.tx.fee,
                    signatures: outer.signatures.to_vec(),
                };
                let hash = bump_hash(&outer.tx, network_id)?;
                (inner.clone(), Some((bump, hash)))
            }
            TransactionEnvelope::TxV0(_) => {
                return Err(Internal::Other("an envelope kept its version 0".to_owned()));
            }
        };
        let inner_hash = transaction_hash(&inner.tx, network_id)?;
        let size = xdr::size(&TransactionEnvelope::Tx(inner.clone()))?;
        let (bump, hash) = match bump {
            Some((bump, hash)) => (Some(bump), hash),
            None => (None, inner_hash),
        };
        let signatures = inner.signatures.to_vec();
        Ok(Self { envelope, hash, tx: inner.tx, inner_hash, signatures, bump, size })
    }

    /// The account whose sequence number is used.
    pub(crate) fn source(&self) -> AccountId {
        account_id(&self.tx.source_account)
    }

    /// The account that pays.
    pub(crate) fn fee_source(&self) -> AccountId {
        self.bump.as_ref().map_or_else(|| self.source(), |bump| bump.source.clone())
    }

    /// The most the payer agreed to, in stroops.
    pub(crate) fn full_fee(&self) -> i64 {
        self.bump.as_ref().map_or(i64::from(self.tx.fee), |bump| bump.fee)
    }

    /// The bid for inclusion: the full fee without the resource fee, in stroops.
    pub(crate) fn inclusion_fee(&self) -> i64 {
        self.full_fee().saturating_sub(self.resource_fee())
    }

    /// The lowest inclusion fee the network takes for this transaction, in stroops.
    pub(crate) fn min_inclusion_fee(&self) -> i64 {
        // A fee bump pays for one operation more (CAP-15).
        let operations = self.tx.operations.len() + usize::from(self.bump.is_some());
        i64::from(BASE_FEE).saturating_mul(i64::try_from(operations.max(1)).unwrap_or(i64::MAX))
    }

    /// What is taken from the payer before anything runs, in stroops, when inclusion costs
    /// `base_fee` per operation: never more than the bid, and not the bid itself.
    pub(crate) fn charged_fee(&self, base_fee: i64) -> i64 {
        let operations = self.min_inclusion_fee() / i64::from(BASE_FEE);
        let inclusion = base_fee.saturating_mul(operations).min(self.inclusion_fee());
        inclusion.saturating_add(self.resource_fee())
    }

    /// The fee that the network would take at the least, in stroops.
    pub(crate) fn least_fee(&self) -> i64 {
        self.min_inclusion_fee().saturating_add(self.resource_fee())
    }

    /// The declared fee for resources, in stroops.
    pub(crate) fn resource_fee(&self) -> i64 {
        // What a classic transaction says about resources is malformed, and counts for nothing.
        let data = self.soroban().filter(|_| self.begins_with_soroban());
        data.map_or(0, |data| data.resource_fee)
    }

    /// Whether the fees can be fees at all, whatever the ledger says.
    pub(crate) fn has_possible_fees(&self) -> bool {
        let declares = || {
            let fee = self.soroban().map(|data| data.resource_fee);
            fee.is_some_and(|fee| (0..=MAX_RESOURCE_FEE).contains(&fee))
        };
        self.full_fee() >= 0 && (!self.begins_with_soroban() || declares())
    }

    /// The Soroban part, if the transaction has one.
    pub(crate) fn soroban(&self) -> Option<&SorobanTransactionData> {
        match &self.tx.ext {
            TransactionExt::V1(data) => Some(data),
            TransactionExt::V0 => None,
        }
    }

    /// Whether any operation is one of the Soroban operations.
    pub(crate) fn has_soroban_operation(&self) -> bool {
        self.tx.operations.iter().any(|operation| is_soroban(&operation.body))
    }

    /// Whether stellar-core takes the transaction for one that restores entries: by its first
    /// operation.
    pub(crate) fn begins_with_restore(&self) -> bool {
        let first = self.tx.operations.first().map(|operation| &operation.body);
        matches!(first, Some(OperationBody::RestoreFootprint(_)))
    }

    /// Whether stellar-core takes the transaction for one of Soroban: by its first operation.
    fn begins_with_soroban(&self) -> bool {
        self.tx.operations.first().is_some_and(|operation| is_soroban(&operation.body))
    }

    /// The preconditions in their full form.
    pub(crate) fn conditions(&self) -> PreconditionsV2 {
        let empty = || PreconditionsV2 {
            time_bounds: None,
            ledger_bounds: None,
            min_seq_num: None,
            min_seq_age: 0.into(),
            min_seq_ledger_gap: 0,
            extra_signers: soroban_env_host::xdr::VecM::default(),
        };
        match &self.tx.cond {
            Preconditions::None => empty(),
            Preconditions::Time(bounds) => {
                PreconditionsV2 { time_bounds: Some(bounds.clone()), ..empty() }
            }
            Preconditions::V2(conditions) => conditions.clone(),
        }
    }
}

/// The envelope in the form that the network keeps.
pub(crate) fn modern(envelope: TransactionEnvelope) -> TransactionEnvelope {
    let TransactionEnvelope::TxV0(old) = envelope else { return envelope };
    let tx = Transaction {
        source_account: MuxedAccount::Ed25519(old.tx.source_account_ed25519),
        fee: old.tx.fee,
        seq_num: old.tx.seq_num,
        cond: old.tx.time_bounds.map_or(Preconditions::None, Preconditions::Time),
        memo: old.tx.memo,
        operations: old.tx.operations,
        ext: TransactionExt::V0,
    };
    TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures: old.signatures })
}

/// The account behind a possibly muxed account.
pub(crate) fn account_id(muxed: &MuxedAccount) -> AccountId {
    let key = match muxed {
        MuxedAccount::Ed25519(key) => key.clone(),
        MuxedAccount::MuxedEd25519(muxed) => muxed.ed25519.clone(),
    };
    AccountId(PublicKey::PublicKeyTypeEd25519(key))
}

/// The account of an ed25519 public key.
pub(crate) fn account_of(key: [u8; 32]) -> AccountId {
    AccountId(PublicKey::PublicKeyTypeEd25519(Uint256(key)))
}

/// The hash a transaction's signers sign.
pub(crate) fn transaction_hash(
    tx: &Transaction,
    network_id: [u8; 32],
) -> Result<[u8; 32], Internal> {
    payload_hash(TransactionSignaturePayloadTaggedTransaction::Tx(tx.clone()), network_id)
}

/// Whether an operation needs the Soroban part of a transaction.
pub(crate) fn is_soroban(body: &OperationBody) -> bool {
    matches!(
        body,
        OperationBody::InvokeHostFunction(_)
            | OperationBody::ExtendFootprintTtl(_)
            | OperationBody::RestoreFootprint(_)
    )
}

fn bump_hash(tx: &FeeBumpTransaction, network_id: [u8; 32]) -> Result<[u8; 32], Internal> {
    payload_hash(TransactionSignaturePayloadTaggedTransaction::TxFeeBump(tx.clone()), network_id)
}

fn payload_hash(
    tagged_transaction: TransactionSignaturePayloadTaggedTransaction,
    network_id: [u8; 32],
) -> Result<[u8; 32], Internal> {
    let network_id = Hash(network_id);
    Ok(xdr::hash(&TransactionSignaturePayload { network_id, tagged_transaction })?)
}
