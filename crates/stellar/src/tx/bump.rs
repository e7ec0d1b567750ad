//! A fee bump: the same signed transaction, offered to the network again with a higher fee.
//!
//! The transaction inside keeps its hash, its sequence number and its signatures, so that it lands
//! once at most, whichever of its envelopes a ledger takes.

use stellar_xdr::{
    FeeBumpTransaction, FeeBumpTransactionEnvelope, FeeBumpTransactionExt,
    FeeBumpTransactionInnerTx, MuxedAccount, TransactionEnvelope, TransactionExt,
    TransactionV1Envelope, Uint256, WriteXdr as _,
};
use wire::TxHash;

use crate::signer::sign_decorated;
use crate::{Address, ChainError, Network, Signer, scval};

/// A bump counts as one operation more than what it carries, and one is all that a call has (CAP
/// 15): what it bids a piece is offered twice.
const OPERATIONS: u64 = 2;

/// What a transaction's own envelope offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Stroops for inclusion.
    pub bid: u64,
    /// Stroops for what the call uses, at most.
    pub resource_fee: u64,
}

/// A signed fee bump that has not been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bumped {
    /// The signed envelope, XDR.
    pub envelope: Vec<u8>,
    /// Its own hash; the transaction inside keeps another.
    pub hash: TxHash,
    /// Most stroops that the transaction can cost with it.
    pub fee: u64,
}

impl Offer {
    /// Reads what a stored envelope of a transaction offers.
    ///
    /// # Errors
    ///
    /// When the bytes are not an envelope that [`super::prepare`] made.
    pub fn of(envelope: &[u8]) -> Result<Self, ChainError> {
        let inner = inner(envelope)?;
        let TransactionExt::V1(data) = &inner.tx.ext else { return Err(unfit()) };
        let resource_fee = u64::try_from(data.resource_fee).map_err(|_| unfit())?;
        let bid = u64::from(inner.tx.fee).saturating_sub(resource_fee);
        Ok(Self { bid, resource_fee })
    }

    /// Most stroops that a bump with this bid can cost.
    pub const fn cost(&self, bid: u64) -> u64 {
        self.resource_fee.saturating_add(bid.saturating_mul(OPERATIONS))
    }

    /// The highest bid of a bump that costs no more than `ceiling`.
    pub const fn highest_bid(&self, ceiling: u64) -> u64 {
        ceiling.saturating_sub(self.resource_fee) / OPERATIONS
    }
}

/// Signs a bump of a stored envelope. Sends nothing.
///
/// # Errors
///
/// [`ChainError::Invalid`] when the bytes are not one of our envelopes, or the payer is no account;
/// [`ChainError::Signer`].
pub async fn bump(
    network: &Network,
    payer: &dyn Signer,
    envelope: &[u8],
    bid: u64,
) -> Result<Bumped, ChainError> {
    let offer = Offer::of(envelope)?;
    let Address::Account(key) = payer.address() else {
        return Err(ChainError::invalid("only an account can pay for a fee bump"));
    };
    let fee = offer.cost(bid);
    let tx = FeeBumpTransaction {
        fee_source: MuxedAccount::Ed25519(Uint256(key)),
        fee: i64::try_from(fee).map_err(|_| ChainError::encode("the fee"))?,
        inner_tx: FeeBumpTransactionInnerTx::Tx(inner(envelope)?),
        ext: FeeBumpTransactionExt::V0,
    };
    let mut signed = FeeBumpTransactionEnvelope { tx, signatures: Default::default() };
    let hash = hash(network, &TransactionEnvelope::TxFeeBump(signed.clone()))?;
    let signatures = vec![sign_decorated(payer, &hash).await?];
    signed.signatures = signatures.try_into().map_err(|_| ChainError::encode("signatures"))?;
    let envelope = scval::to_xdr(&TransactionEnvelope::TxFeeBump(signed))?;
    Ok(Bumped { envelope, hash: TxHash::from(hash), fee })
}

pub(super) fn hash(
    network: &Network,
    envelope: &TransactionEnvelope,
) -> Result<[u8; 32], ChainError> {
    let hash = envelope.hash(*network.id().as_bytes());
    hash.map_err(|error| ChainError::decode("own envelope", error))
}

fn inner(envelope: &[u8]) -> Result<TransactionV1Envelope, ChainError> {
    match scval::from_xdr("stored envelope", envelope)? {
        TransactionEnvelope::Tx(inner) => Ok(inner),
        _ => Err(unfit()),
    }
}

fn unfit() -> ChainError {
    ChainError::invalid("the stored envelope is not one of our transactions; it is not bumped")
}

/// A fee bump or a payment as it is sent, in base64; `None` for bytes that are neither. What is sent
/// is exactly these bytes: others would have another hash.
pub(crate) fn as_text(bytes: &[u8]) -> Option<String> {
    let envelope: TransactionEnvelope = scval::from_xdr("envelope", bytes).ok()?;
    let is_ours = match &envelope {
        TransactionEnvelope::TxFeeBump(_) => true,
        // A call has resources, and goes its own way.
        TransactionEnvelope::Tx(inner) => inner.tx.ext == TransactionExt::V0,
        TransactionEnvelope::TxV0(_) => false,
    };
    let is_same = is_ours && scval::to_xdr(&envelope).is_ok_and(|again| again == bytes);
    is_same.then(|| envelope.to_xdr_base64(scval::limits()).ok())?
}

#[cfg(test)]
mod tests {
    use stellar_xdr::SorobanTransactionData;

    use super::*;
    use crate::bridge::{self, TransactionParts};
    use crate::{Call, ContractKind, Invocation, Keypair};

    async fn envelope(network: &Network, source: &Keypair, fee: u32) -> (Vec<u8>, TxHash) {
        let parts = TransactionParts {
            network,
            source: source.address(),
            sequence: 7,
            max_time: 1_800_000_000,
        };
        let vault = Address::Contract([1; 32]);
        let call = Call::from(Invocation::new(ContractKind::Vault, vault, "sweep", vec![]));
        let data = SorobanTransactionData { resource_fee: 1_000, ..Default::default() };
        let built = parts.transaction(&call, &[], Some(&data), fee).unwrap();
        bridge::seal(network, source, built).await.unwrap()
    }

    #[tokio::test]
    async fn a_bump_carries_the_same_bytes_and_bids_for_one_operation_more() {
        let (network, source) = (Network::standalone(), Keypair::from_seed(&[9; 32]));
        let (stored, inner_hash) = envelope(&network, &source, 1_100).await;
        assert_eq!(Offer::of(&stored).unwrap(), Offer { bid: 100, resource_fee: 1_000 });

        let bumped = bump(&network, &source, &stored, 1_500).await.unwrap();
        assert_eq!(bumped.fee, 4_000);
        assert_ne!(bumped.hash, inner_hash);
        assert!(as_text(&bumped.envelope).is_some() && as_text(&stored).is_none());
        assert!(as_text(&bumped.envelope[..bumped.envelope.len() - 4]).is_none());

        let read: TransactionEnvelope = scval::from_xdr("envelope", &bumped.envelope).unwrap();
        let TransactionEnvelope::TxFeeBump(read) = read else { panic!("{read:?}") };
        let FeeBumpTransactionInnerTx::Tx(carried) = read.tx.inner_tx;
        assert_eq!(scval::to_xdr(&TransactionEnvelope::Tx(carried)).unwrap(), stored);
    }

    #[test]
    fn the_highest_bid_stays_below_the_ceiling() {
        let offer = Offer { bid: 100, resource_fee: 1_000 };
        for ceiling in [0, 999, 1_000, 1_001, 5_000, u64::MAX] {
            let bid = offer.highest_bid(ceiling);
            assert!(offer.cost(bid) <= ceiling.max(1_000), "{ceiling}");
        }
    }
}
