//! Where the contracts of a local deployment are, so that they need no configuration.
//!
//! The deployer's key follows from a public sentence: anybody has it, and nothing of worth may
//! depend on it. Everywhere else ids come from configuration.

use wire::Digest;

use crate::{Address, ChainError, Keypair, Network, ids};

const DEPLOYER: &[u8] = b"lumio local deployer";
const REGISTRY: &[u8] = b"lumio agent-registry v1";
const VAULT: &[u8] = b"lumio prepaid-vault v1";
const WEB_AUTH: &[u8] = b"lumio web-auth v1";

/// The account that deploys on the local network.
pub fn deployer() -> Keypair {
    Keypair::from_seed(Digest::of(DEPLOYER).as_bytes())
}

/// The salt of the registry's id.
pub fn registry_salt() -> Digest {
    Digest::of(REGISTRY)
}

/// The salt of the vault's id.
pub fn vault_salt() -> Digest {
    Digest::of(VAULT)
}

/// The salt of the web authentication contract's id.
pub fn web_auth_salt() -> Digest {
    Digest::of(WEB_AUTH)
}

/// The registry on the local network.
///
/// # Errors
///
/// Never in practice, as with those that follow: the ids' preimages always have an XDR form.
pub fn registry_id() -> Result<Address, ChainError> {
    ids::contract_id(&Network::standalone(), &deployer().address(), &registry_salt())
}

/// The vault on the local network.
///
/// # Errors
///
/// As [`registry_id`].
pub fn vault_id() -> Result<Address, ChainError> {
    ids::contract_id(&Network::standalone(), &deployer().address(), &vault_salt())
}

/// The native asset's contract on the local network, which the local vault holds.
///
/// # Errors
///
/// As [`registry_id`].
pub fn token_id() -> Result<Address, ChainError> {
    ids::native_token_id(&Network::standalone())
}

/// The contract by which contract accounts log in on the local network (SEP-45).
///
/// # Errors
///
/// As [`registry_id`].
pub fn web_auth_id() -> Result<Address, ChainError> {
    ids::contract_id(&Network::standalone(), &deployer().address(), &web_auth_salt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_never_move() {
        let ids = [registry_id(), vault_id(), token_id()].map(|id| id.unwrap().to_string());
        assert_eq!(ids[2], "CDMLFMKMMD7MWZP3FKUBZPVHTUEDLSX4BYGYKH4GCESXYHS3IHQ4EIG4");
        assert_ne!(ids[0], ids[1]);
    }
}
