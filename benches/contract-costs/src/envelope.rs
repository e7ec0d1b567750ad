//! Signed authorisations and the size of a transaction, as a client makes them.

use anyhow::{Context as _, Result};
use stellar::{Address, Call, Keypair, Network, scval};
use stellar_xdr::{
    DecoratedSignature, Hash, HashIdPreimage, HashIdPreimageSorobanAuthorizationWithAddress,
    InvokeHostFunctionOp, Limits, Memo, Operation, OperationBody, Preconditions, ScVal,
    SequenceNumber, Signature, SignatureHint, SorobanAddressCredentials, SorobanAuthorizationEntry,
    SorobanCredentials, SorobanResources, SorobanTransactionData, SorobanTransactionDataExt,
    TimeBounds, TimePoint, Transaction, TransactionEnvelope, TransactionExt, TransactionV1Envelope,
    WriteXdr as _,
};
use wire::Digest;

/// Signs what was asked for, valid until ledger `until`.
pub fn sign(
    keys: &[Keypair],
    network: &Network,
    entry: &SorobanAuthorizationEntry,
    until: u32,
) -> Result<SorobanAuthorizationEntry> {
    let SorobanCredentials::AddressV2(asked) = &entry.credentials else {
        return Ok(entry.clone());
    };
    let signer = Address::try_from(&asked.address)?;
    let key = keys.iter().find(|key| key.address() == signer).context("a key is missing")?;
    let preimage = HashIdPreimage::SorobanAuthorizationWithAddress(
        HashIdPreimageSorobanAuthorizationWithAddress {
            network_id: Hash(*network.id().as_bytes()),
            nonce: asked.nonce,
            signature_expiration_ledger: until,
            address: asked.address.clone(),
            invocation: entry.root_invocation.clone(),
        },
    );
    let payload = Digest::of(&preimage.to_xdr(Limits::none())?);
    let signature = scval::map([
        ("public_key", scval::bytes(signer.as_bytes())?),
        ("signature", scval::bytes(&key.sign(payload.as_bytes()))?),
    ])?;
    let credentials = SorobanAddressCredentials {
        signature_expiration_ledger: until,
        signature: ScVal::Vec(Some(vec![signature].try_into()?)),
        ..asked.clone()
    };
    Ok(SorobanAuthorizationEntry {
        credentials: SorobanCredentials::AddressV2(credentials),
        root_invocation: entry.root_invocation.clone(),
    })
}

/// Bytes of the signed envelope with this one operation.
pub fn size(
    source: Address,
    call: &Call,
    auth: Vec<SorobanAuthorizationEntry>,
    resources: &SorobanResources,
) -> Result<u32> {
    let operation = InvokeHostFunctionOp { host_function: call.to_xdr()?, auth: auth.try_into()? };
    let operation =
        Operation { source_account: None, body: OperationBody::InvokeHostFunction(operation) };
    let bounds = TimeBounds { min_time: TimePoint(0), max_time: TimePoint(1) };
    let transaction = Transaction {
        source_account: source.muxed()?,
        fee: 0,
        seq_num: SequenceNumber(1),
        cond: Preconditions::Time(bounds),
        memo: Memo::None,
        operations: vec![operation].try_into()?,
        ext: TransactionExt::V1(SorobanTransactionData {
            ext: SorobanTransactionDataExt::V0,
            resources: resources.clone(),
            resource_fee: 0,
        }),
    };
    let signature = DecoratedSignature {
        hint: SignatureHint([0; 4]),
        signature: Signature(vec![0; 64].try_into()?),
    };
    let envelope = TransactionEnvelope::Tx(TransactionV1Envelope {
        tx: transaction,
        signatures: vec![signature].try_into()?,
    });
    Ok(u32::try_from(envelope.to_xdr(Limits::none())?.len())?)
}
