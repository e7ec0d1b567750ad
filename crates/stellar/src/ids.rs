//! The ids that both sides compute for themselves (V4).

use stellar_xdr::{
    ContractIdPreimage, ContractIdPreimageFromAddress, Hash, HashIdPreimage,
    HashIdPreimageContractId, Uint256,
};
use uuid::Uuid;
pub use wire::settlement::RequestParts as Request;
use wire::{Digest, Hasher, Nonce, VaultRunId};

use crate::{Address, ChainError, Network, scval};

const RUN_TAG: &[u8] = b"lumio-run-v1";

/// The nonce of one attempt of a run: SHA-256 of the 16 UUID bytes and the attempt, big-endian.
pub fn nonce(run: &Uuid, attempt: u32) -> Nonce {
    let mut hasher = Hasher::new();
    hasher.update(run.as_bytes());
    hasher.update(attempt.to_be_bytes());
    Nonce::from(*hasher.finish().as_bytes())
}

/// What a run's id on chain is derived from.
#[derive(Debug, Clone, Copy)]
pub struct RunIdentity<'a> {
    /// The network that the vault is on.
    pub network: &'a Network,
    /// The vault.
    pub vault: &'a Address,
    /// Whose balance pays.
    pub user: &'a Address,
    /// Who opens: the runner.
    pub caller: &'a Address,
    /// The attempt's [`nonce`].
    pub nonce: &'a Nonce,
    /// Unix seconds, ledger time.
    pub deadline: u64,
}

/// The id that the vault gives to the run of this identity.
///
/// # Errors
///
/// Never in practice: addresses always have an XDR form.
pub fn run_id(identity: &RunIdentity<'_>) -> Result<VaultRunId, ChainError> {
    // The vault computes the same in its `digest::run_id`. Nothing needs a length before it:
    // digests and numbers have fixed widths, and XDR says where it ends.
    let mut hasher = Hasher::new();
    hasher.update(RUN_TAG);
    hasher.update(identity.network.id().as_bytes());
    for address in [identity.vault, identity.user, identity.caller] {
        hasher.update(address.to_val_xdr()?);
    }
    hasher.update(identity.nonce.as_bytes());
    hasher.update(identity.deadline.to_be_bytes());
    Ok(VaultRunId::from(*hasher.finish().as_bytes()))
}

/// The digest of `request`, as a run's record and its opened event carry it.
///
/// # Errors
///
/// When the seed does not fit a JSON number exactly (R12).
pub fn request_hash(request: &Request<'_>) -> Result<Digest, ChainError> {
    wire::settlement::request_hash(request)
        .map_err(|error| ChainError::invalid(format!("cannot hash the request of a run: {error}")))
}

/// The id of the contract that `deployer` creates with `salt` on `network`.
///
/// # Errors
///
/// Never in practice: the preimage always has an XDR form.
pub fn contract_id(
    network: &Network,
    deployer: &Address,
    salt: &Digest,
) -> Result<Address, ChainError> {
    let preimage = ContractIdPreimage::Address(ContractIdPreimageFromAddress {
        address: deployer.to_sc(),
        salt: Uint256(*salt.as_bytes()),
    });
    contract_id_of(network, preimage)
}

/// The id of the contract of the network's native asset.
///
/// # Errors
///
/// Never in practice: the preimage always has an XDR form.
pub fn native_token_id(network: &Network) -> Result<Address, ChainError> {
    contract_id_of(network, ContractIdPreimage::Asset(stellar_xdr::Asset::Native))
}

fn contract_id_of(
    network: &Network,
    contract_id_preimage: ContractIdPreimage,
) -> Result<Address, ChainError> {
    // A contract's id follows from the network and what it was created from (CAP-46-2), so it is
    // known before the contract is.
    let network_id = Hash(*network.id().as_bytes());
    let preimage =
        HashIdPreimage::ContractId(HashIdPreimageContractId { network_id, contract_id_preimage });
    let id = Digest::of(&scval::to_xdr(&preimage)?);
    Ok(Address::Contract(*id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity<'a>(
        network: &'a Network,
        nonce: &'a Nonce,
        addresses: &'a [Address; 3],
    ) -> RunIdentity<'a> {
        let [vault, user, caller] = addresses;
        RunIdentity { network, vault, user, caller, nonce, deadline: 1_800_000_000 }
    }

    #[test]
    fn the_native_token_is_where_every_tool_says_it_is() {
        // The ids that Stellar's documents give for the native asset.
        let public = Network::new("Public Global Stellar Network ; September 2015");
        let testnet = Network::new("Test SDF Network ; September 2015");
        let id = |network| native_token_id(network).unwrap().to_string();
        assert_eq!(id(&public), "CAS3J7GYLGXMF6TDJBBYYSE3HQ6BBSMLNUQ34T6TZMYMW2EVH34XOWMA");
        assert_eq!(id(&testnet), "CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC");
    }

    #[test]
    fn another_request_has_another_hash() {
        let request = Request {
            input_digest: Digest::of(b"{}"),
            module_digest: Digest::of(b"module"),
            seed: 7,
            workflow_id: "profile",
        };
        let hash = request_hash(&request).unwrap();
        assert_ne!(hash, request_hash(&Request { seed: 8, ..request.clone() }).unwrap());
        assert_ne!(hash, request_hash(&Request { workflow_id: "", ..request.clone() }).unwrap());
        assert!(request_hash(&Request { seed: 1 << 53, ..request }).is_err());
    }

    proptest! {
        #[test]
        fn every_part_of_the_identity_counts(
            user: [u8; 32],
            other: [u8; 32],
            run: u128,
            attempt: u32,
        ) {
            prop_assume!(user != other);
            let network = Network::standalone();
            let nonce = nonce(&Uuid::from_u128(run), attempt);
            let (vault, runner) = (Address::Contract([1; 32]), Address::Account([3; 32]));
            let addresses = [vault, Address::Account(user), runner];
            let base = identity(&network, &nonce, &addresses);
            let id = run_id(&base).unwrap();

            let (another, as_contract) = (Address::Account(other), Address::Contract(user));
            let next = self::nonce(&Uuid::from_u128(run), attempt.wrapping_add(1));
            let elsewhere = Network::new("elsewhere");
            let others = [
                RunIdentity { user: &another, ..base },
                RunIdentity { user: &as_contract, ..base },
                RunIdentity { deadline: base.deadline + 1, ..base },
                RunIdentity { nonce: &next, ..base },
                RunIdentity { network: &elsewhere, ..base },
            ];
            for other in &others {
                prop_assert_ne!(run_id(other).unwrap(), id, "{:?}", other);
            }
        }
    }
}
