//! The contracts of this release, as they are built in.

use clap::ValueEnum;

/// What one step of a deployment may cost where nothing else is said, in stroops: the vault's code
/// pays rent for months.
pub const DEPLOY_FEE: i128 = 400 * stellar::amount::STROOPS;

/// The contract by which contract accounts log in to a gateway (SEP-45). It has no administrator
/// and no state, so no command but `deploy` knows it.
pub const WEB_AUTH: &[u8] = include_bytes!("../../contracts/wasm/web_auth.wasm");

/// The account that a passkey signs for. Its code is uploaded; the console creates the accounts.
pub const PASSKEY_ACCOUNT: &[u8] = include_bytes!("../../contracts/wasm/passkey_account.wasm");

/// A contract with an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contract {
    /// The prepaid vault.
    Vault,
    /// The agent registry.
    Registry,
}

impl Contract {
    /// Every contract, in the order of deployment.
    pub const ALL: [Self; 2] = [Self::Registry, Self::Vault];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Registry => "registry",
        }
    }

    /// The name of its file in `contracts/wasm`.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Vault => "prepaid_vault.wasm",
            Self::Registry => "agent_registry.wasm",
        }
    }

    /// Its code.
    pub const fn wasm(self) -> &'static [u8] {
        match self {
            Self::Vault => include_bytes!("../../contracts/wasm/prepaid_vault.wasm"),
            Self::Registry => include_bytes!("../../contracts/wasm/agent_registry.wasm"),
        }
    }
}
