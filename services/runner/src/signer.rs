//! The keys of the chain: seeds that this process holds, or keys that a token keeps and uses for it.

use std::fmt;
use std::sync::Arc;

use stellar::{Address, Keypair, Signer};

use crate::signer::pkcs11::{Token, TokenKey};

pub mod pkcs11;

/// A key of the chain. Copies share it.
#[derive(Clone)]
pub enum Key {
    /// Its seed is here.
    Local(Arc<Keypair>),
    /// A token has it.
    Token(Arc<TokenKey>),
}

/// The keys of the chain.
#[derive(Debug, Clone)]
pub struct ChainKeys {
    /// Signs authorisation entries; what the registry lists.
    pub runner: Key,
    /// The channels: each pays fees and gives sequence numbers, for one transaction at a time.
    pub sources: Vec<Key>,
    /// What holds those of them whose seed is not here.
    pub token: Option<Arc<Token>>,
}

impl Key {
    /// Its account.
    pub fn address(&self) -> Address {
        self.signer().address()
    }

    /// What signs with it.
    pub fn signer(&self) -> &dyn Signer {
        match self {
            Self::Local(key) => key.as_ref(),
            Self::Token(key) => key.as_ref(),
        }
    }

    /// The key itself, if its seed is here: others can be derived from it.
    pub fn local(&self) -> Option<&Keypair> {
        match self {
            Self::Local(key) => Some(key.as_ref()),
            Self::Token(_) => None,
        }
    }

    /// The setting that names it; `local` is that of a seed.
    pub fn setting(&self, local: &'static str) -> &'static str {
        match self {
            Self::Local(_) => local,
            Self::Token(key) => key.setting(),
        }
    }
}

impl From<Keypair> for Key {
    fn from(key: Keypair) -> Self {
        Self::Local(Arc::new(key))
    }
}

impl ChainKeys {
    /// The accounts that pay for transactions.
    pub fn channels(&self) -> Vec<Address> {
        self.sources.iter().map(Key::address).collect()
    }

    /// Whether everything that a token keeps could sign now.
    ///
    /// # Errors
    ///
    /// What is away, or wrong, and what to do about it.
    pub async fn check(&self) -> Result<(), String> {
        for key in std::iter::once(&self.runner).chain(&self.sources) {
            if let Key::Token(key) = key {
                key.check().await?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(key) => key.fmt(f),
            Self::Token(key) => key.fmt(f),
        }
    }
}
