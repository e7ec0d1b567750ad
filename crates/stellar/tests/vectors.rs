//! The ids that contract and client compute for themselves are the same: the contract's own
//! vectors.

use serde::Deserialize;
use stellar::ids::{self, RunIdentity};
use stellar::{Address, Network};
use uuid::Uuid;
use wire::{NetworkId, Nonce, VaultRunId};

const VECTORS: &str = include_str!("../../../contracts/vectors/run_id.json");

#[derive(Deserialize)]
struct Vector {
    network_passphrase: String,
    network_id: NetworkId,
    vault: Address,
    user: Address,
    caller: Address,
    uuid: Uuid,
    attempt: u32,
    nonce: Nonce,
    deadline: String,
    run_id: VaultRunId,
}

#[test]
fn the_contracts_vectors_hold() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 3);
    for vector in vectors {
        let network = Network::new(vector.network_passphrase);
        assert_eq!(*network.id(), vector.network_id);
        let nonce = ids::nonce(&vector.uuid, vector.attempt);
        assert_eq!(nonce, vector.nonce);
        let identity = RunIdentity {
            network: &network,
            vault: &vector.vault,
            user: &vector.user,
            caller: &vector.caller,
            nonce: &nonce,
            deadline: vector.deadline.parse().unwrap(),
        };
        assert_eq!(ids::run_id(&identity).unwrap(), vector.run_id);
    }
}
