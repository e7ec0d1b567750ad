//! From a call to a signed envelope, and from an envelope to its fate.
//!
//! [`prepare`] sends nothing: its result can be stored before [`Rpc::send`] sends exactly those
//! bytes, any number of times (R13). The transaction's source pays and gives the sequence number;
//! each account that the call demands signs an authorisation entry, and only for what was asked
//! for. Time is only ever ledger time.

mod auth;
mod bump;
mod margin;
mod payment;
mod submit;

use stellar_xdr::{ScVal, SorobanAuthorizationEntry};
use wire::TxHash;

pub use auth::{is_signed_by, sign_entry, sign_own};
pub(crate) use bump::as_text;
pub use bump::{Bumped, Offer, bump};
pub use margin::declared;
pub use payment::{Payment, PreparedPayment, prepare_payment};
pub use submit::submit_and_wait;

use crate::bridge::{self, TransactionParts};
use crate::rpc::{AccountState, Simulation};
use crate::{Address, Call, ChainError, Invocation, Network, Rpc, Signer};

/// How many ledgers an authorisation entry outlives its signing unless a caller says otherwise. The
/// call's own `valid_until` is what limits it in time.
pub const AUTH_LEDGERS: u32 = 1_000;

/// What is to become a transaction.
#[derive(Debug, Clone, Copy)]
pub struct PrepareRequest<'a> {
    /// The network that every signature binds to.
    pub network: &'a Network,
    /// Pays the fee, gives the sequence number, signs the transaction.
    pub source: &'a dyn Signer,
    /// What is asked of the host.
    pub call: &'a Call,
    /// Who signs authorisation entries; the source needs not be among them.
    pub signers: &'a [&'a dyn Signer],
    /// The transaction is dead after this ledger time, Unix seconds.
    pub max_time_unix: u64,
    /// How many ledgers authorisation entries live, such as [`AUTH_LEDGERS`].
    pub auth_valid_ledgers: u32,
    /// Most stroops the transaction may cost.
    pub fee_ceiling: u64,
}

/// A signed transaction that has not been sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The signed envelope, XDR.
    pub envelope: Vec<u8>,
    /// Its hash on its network.
    pub hash: TxHash,
    /// Whose sequence number it takes.
    pub source: Address,
    /// That sequence number.
    pub sequence: i64,
    /// Unix seconds of ledger time after which it cannot be applied.
    pub max_time: u64,
    /// The ledger it was signed at.
    pub ledger: u32,
    /// Most stroops it can cost.
    pub fee: u64,
    /// What the call answered in simulation; the applied transaction's answer is what counts.
    pub simulated: ScVal,
}

/// Builds, simulates, signs the authorisation entries, assembles with margin, signs. Sends nothing.
///
/// # Errors
///
/// [`ChainError::Contract`] and [`ChainError::Simulation`] when the call would fail now,
/// [`ChainError::FeeCeiling`], [`ChainError::Archived`], [`ChainError::Invalid`] when the source
/// has no account, a signature is missing, or the node proposes to sign something that was not
/// asked for; [`ChainError::Signer`], [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn prepare(rpc: &Rpc, request: &PrepareRequest<'_>) -> Result<Prepared, ChainError> {
    let source = request.source.address();
    let account = source_account(rpc, request).await?;
    let parts = TransactionParts {
        network: request.network,
        source,
        sequence: account.sequence,
        max_time: request.max_time_unix,
    };
    // Simulation does not judge the fee: the protocol's least takes the place of the one that
    // follows.
    let unsigned = parts.transaction(request.call, &[], None, 100)?;
    let mut simulation = rpc.simulate(request.call, &unsigned).await?;
    // Before anything is signed: signatures cover the nonces, and the footprint names them.
    auth::draw_nonces(&mut simulation.auth, &mut simulation.data.resources.footprint)?;
    // The host compares ledger numbers, so the life of the signatures counts from the simulated
    // one.
    let until = simulation.ledger.checked_add(request.auth_valid_ledgers);
    let until = until
        .ok_or_else(|| ChainError::invalid("the authorisation would outlive the ledger numbers"))?;
    let signed = auth::sign_all(request, &simulation.auth, until).await?;
    let inclusion = rpc.inclusion_fee().await?;
    let (data, fee) = margin::with_margin(request, &simulation, inclusion)?;
    let transaction = parts.transaction(request.call, &signed, Some(&data), fee)?;
    let (envelope, hash) = bridge::seal(request.network, request.source, transaction).await?;
    Ok(Prepared {
        envelope,
        hash,
        source,
        // `bridge` builds with the number after the account's, and refused `i64::MAX` there.
        sequence: account.sequence + 1,
        max_time: request.max_time_unix,
        ledger: simulation.ledger,
        fee: u64::from(fee),
        simulated: simulation.value,
    })
}

/// The source's account. Every signer's must exist too: the host takes no signature of an account
/// that is not on the ledger, and simulation does not check that.
async fn source_account(
    rpc: &Rpc,
    request: &PrepareRequest<'_>,
) -> Result<AccountState, ChainError> {
    let keys = std::iter::once(request.source).chain(request.signers.iter().copied());
    let addresses: Vec<_> = keys.map(Signer::address).collect();
    let mut source = None;
    // One read for all, in which the source comes first: what is found first is the source's.
    for (address, account) in addresses.iter().zip(rpc.accounts(&addresses).await?) {
        let account = account.ok_or_else(|| {
            ChainError::invalid(format!(
                "the account {address} does not exist on this network; fund it first"
            ))
        })?;
        source = source.or(Some(account));
    }
    source.ok_or_else(|| ChainError::invalid("no source account was asked for"))
}

/// What a read answers now. Nothing is signed or sent, and no account is needed.
///
/// # Errors
///
/// [`ChainError::Contract`], [`ChainError::Simulation`], [`ChainError::Archived`],
/// [`ChainError::Rpc`], [`ChainError::Decode`].
pub async fn view(rpc: &Rpc, invocation: &Invocation) -> Result<ScVal, ChainError> {
    Ok(simulate(rpc, invocation, &[]).await?.value)
}

/// What a call would do now. Nothing is sent, and no account is needed. Without `auth` the node
/// answers the authorisations that the call needs; with `auth` it checks exactly these, signatures
/// and the code of contract accounts included.
///
/// # Errors
///
/// As [`view`].
pub async fn simulate(
    rpc: &Rpc,
    invocation: &Invocation,
    auth: &[SorobanAuthorizationEntry],
) -> Result<Simulation, ChainError> {
    // Simulation reads neither the passphrase nor the source's account.
    let network = Network::standalone();
    let source = Address::Account([0; 32]);
    let parts = TransactionParts { network: &network, source, sequence: 0, max_time: 0 };
    let call = Call::from(invocation.clone());
    let transaction = parts.transaction(&call, auth, None, 100)?;
    rpc.simulate(&call, &transaction).await
}
