//! Who signs: a key of this process, or one that a device keeps and never gives away.

use std::fmt;

use async_trait::async_trait;
use stellar_xdr::{DecoratedSignature, Signature, SignatureHint};

use crate::{Address, ChainError, Keypair};

/// Signs for one account. What signs is asked after everything else is known and before anything
/// is stored, so that a refusal, or none at all, leaves nothing behind.
#[async_trait]
pub trait Signer: fmt::Debug + Send + Sync {
    /// The account.
    fn address(&self) -> Address;

    /// The Ed25519 signature of `message`.
    ///
    /// # Errors
    ///
    /// [`ChainError::Signer`] when whatever holds the key gave no signature.
    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], ChainError>;
}

#[async_trait]
impl Signer for Keypair {
    fn address(&self) -> Address {
        Self::address(self)
    }

    async fn signature(&self, message: &[u8]) -> Result<[u8; 64], ChainError> {
        Ok(self.sign(message))
    }
}

/// The signature of a transaction's hash, with the hint by which validators find its key.
pub(crate) async fn sign_decorated(
    signer: &dyn Signer,
    hash: &[u8; 32],
) -> Result<DecoratedSignature, ChainError> {
    decorated(&signer.address(), signer.signature(hash).await?)
}

pub(crate) fn decorated(
    signer: &Address,
    signature: [u8; 64],
) -> Result<DecoratedSignature, ChainError> {
    let key = signer.as_bytes();
    // A signature's hint is the last four bytes of its key.
    let hint = SignatureHint([key[28], key[29], key[30], key[31]]);
    let signature = signature.to_vec().try_into().map_err(|_| ChainError::encode("signature"))?;
    Ok(DecoratedSignature { hint, signature: Signature(signature) })
}
