//! Which network: its passphrase and the id that every signature binds to.

use wire::{Digest, NetworkId};

/// The passphrase of a stand-alone network, the local one's default.
pub const STANDALONE: &str = "Standalone Network ; February 2017";

/// A network, known by its passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    passphrase: String,
    id: NetworkId,
}

impl Network {
    /// The network with this passphrase.
    pub fn new(passphrase: impl Into<String>) -> Self {
        let passphrase = passphrase.into();
        let id = NetworkId::from(*Digest::of(passphrase.as_bytes()).as_bytes());
        Self { passphrase, id }
    }

    /// The local network.
    pub fn standalone() -> Self {
        Self::new(STANDALONE)
    }

    /// Whether this is the local network, where weaker settings are allowed (R4).
    pub fn is_standalone(&self) -> bool {
        self.passphrase == STANDALONE
    }

    /// The passphrase.
    pub fn passphrase(&self) -> &str {
        &self.passphrase
    }

    /// The SHA-256 of the passphrase.
    pub const fn id(&self) -> &NetworkId {
        &self.id
    }
}
