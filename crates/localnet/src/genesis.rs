//! The first ledger: settings, the root account, and what funds others from it.

use ed25519_dalek::{Signer, SigningKey};
use soroban_env_host::xdr::{
    Asset, ContractExecutable, ContractIdPreimage, CreateContractArgs, DecoratedSignature,
    HostFunction, InvokeHostFunctionOp, Memo, MuxedAccount, Operation, OperationBody,
    Preconditions, SequenceNumber, Signature, SignatureHint, SorobanTransactionData, Transaction,
    TransactionEnvelope, TransactionExt, TransactionV1Envelope, Uint256, VecM,
};

use crate::accounts::new_account;
use crate::chain::{Chain, TOTAL_COINS};
use crate::error::Internal;
use crate::frame::{account_of, transaction_hash};
use crate::settings::{BASE_FEE, Lifetimes, Profile, write_settings};
use crate::simulate::{Request, simulate};
use crate::state::{LedgerState, Overlay};
use crate::xdr::{sha256, vecm};

/// The network's id: the hash of its passphrase.
pub(crate) fn network_id(passphrase: &str) -> [u8; 32] {
    sha256(passphrase.as_bytes())
}

/// The key of the account that holds all lumens at first; its seed is the network's id.
pub(crate) fn root_key(network_id: &[u8; 32]) -> SigningKey {
    SigningKey::from_bytes(network_id)
}

/// A chain of one ledger, at `now` seconds of Unix time.
pub(crate) fn first_chain(
    network_id: [u8; 32],
    (profile, lifetimes): (Profile, Lifetimes),
    now: u64,
    retention: u32,
) -> Result<Chain, Internal> {
    let mut state = LedgerState::default();
    let root = account_of(root_key(&network_id).verifying_key().to_bytes());
    let changes = {
        let mut overlay = Overlay::new(&state, 1);
        write_settings(&mut overlay, lifetimes, profile)?;
        overlay.put_account(new_account(root, TOTAL_COINS, 0));
        overlay.finish()
    };
    state.commit(changes);
    let mut chain = Chain::genesis(state, network_id, now, retention)?;
    chain.set_max_classic_operations(profile.max_classic_operations())?;
    Ok(chain)
}

/// A transaction of the root account that deploys the native asset's contract.
pub(crate) fn deploy_native(chain: &Chain) -> Result<TransactionEnvelope, Internal> {
    let op = InvokeHostFunctionOp {
        host_function: HostFunction::CreateContract(CreateContractArgs {
            contract_id_preimage: ContractIdPreimage::Asset(Asset::Native),
            executable: ContractExecutable::StellarAsset,
        }),
        auth: VecM::default(),
    };
    let body = OperationBody::InvokeHostFunction(op);
    let source = account_of(root_key(&chain.network_id).verifying_key().to_bytes());
    let request = Request::recording(body.clone(), source);
    let simulated = simulate(chain, &request);
    let data = simulated
        .transaction_data
        .ok_or_else(|| Internal::Other(simulated.error.unwrap_or_default()))?;
    // The root account begins at sequence number 0.
    root_transaction(chain, 1, vec![body], Some(data))
}

/// A signed transaction of the root account.
pub(crate) fn root_transaction(
    chain: &Chain,
    sequence: i64,
    operations: Vec<OperationBody>,
    data: Option<SorobanTransactionData>,
) -> Result<TransactionEnvelope, Internal> {
    let key = root_key(&chain.network_id);
    let resource_fee = data.as_ref().map_or(0, |data| data.resource_fee);
    let count = u32::try_from(operations.len()).unwrap_or(u32::MAX);
    let fee = u32::try_from(resource_fee).unwrap_or(u32::MAX);
    let operations =
        operations.into_iter().map(|body| Operation { source_account: None, body }).collect();
    let tx = Transaction {
        source_account: MuxedAccount::Ed25519(Uint256(key.verifying_key().to_bytes())),
        fee: fee.saturating_add(BASE_FEE.saturating_mul(count)),
        seq_num: SequenceNumber(sequence),
        cond: Preconditions::None,
        memo: Memo::None,
        operations: vecm(operations)?,
        ext: data.map_or(TransactionExt::V0, TransactionExt::V1),
    };
    let signature = sign(&key, &transaction_hash(&tx, chain.network_id)?)?;
    let signatures = vecm(vec![signature])?;
    Ok(TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures }))
}

fn sign(key: &SigningKey, hash: &[u8; 32]) -> Result<DecoratedSignature, Internal> {
    // A signature's hint is the last four bytes of its key.
    let public = key.verifying_key().to_bytes();
    let hint = SignatureHint([public[28], public[29], public[30], public[31]]);
    let signature = Signature(key.sign(hash).to_bytes().to_vec().try_into()?);
    Ok(DecoratedSignature { hint, signature })
}
