//! What both contracts let their administrator do (V2): hand over in two steps, and replace the code after
//! a delay that everybody can see.

use stellar_xdr::ScVal;
use wire::Digest;

use crate::registry::Registry;
use crate::scval::{self, Reader};
use crate::vault::Vault;
use crate::{Address, ChainError, ContractKind, Invocation, Rpc, tx};

/// A contract with an administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Administered {
    kind: ContractKind,
    contract: Address,
}

/// Where administration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Administration {
    /// Who administers.
    pub admin: Address,
    /// Who may take over by accepting.
    pub proposed: Option<Address>,
    /// New code that waits for its time.
    pub upgrade: Option<ScheduledUpgrade>,
    /// Whether new runs are paused; `None` for the registry, which has no such switch.
    pub opens_paused: Option<bool>,
    /// The form in which the data stand.
    pub layout: u32,
}

/// New code that waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledUpgrade {
    /// SHA-256 of the new code.
    pub code: Digest,
    /// From when it may be put in place, Unix seconds of ledger time.
    pub ready_at: u64,
}

impl Administered {
    /// The contract's id.
    pub const fn id(&self) -> Address {
        self.contract
    }

    /// Names who may take over. The administrator signs, as with all that follow unless said otherwise.
    pub fn propose_admin(&self, proposed: Address) -> Invocation {
        self.call("propose_admin", vec![proposed.to_val()])
    }

    /// Takes over. The proposed administrator signs.
    pub fn accept_admin(&self) -> Invocation {
        self.call("accept_admin", vec![])
    }

    /// Lets new code wait for its time, which is answered, a `u64`.
    ///
    /// # Errors
    ///
    /// Never in practice: 32 bytes fit.
    pub fn schedule_upgrade(&self, code: &Digest) -> Result<Invocation, ChainError> {
        Ok(self.call("schedule_upgrade", vec![scval::bytes(code.as_bytes())?]))
    }

    /// Lets it wait no longer.
    pub fn cancel_upgrade(&self) -> Invocation {
        self.call("cancel_upgrade", vec![])
    }

    /// Puts the scheduled code in place once its time has come.
    ///
    /// # Errors
    ///
    /// As [`Administered::schedule_upgrade`].
    pub fn upgrade(&self, code: &Digest) -> Result<Invocation, ChainError> {
        Ok(self.call("upgrade", vec![scval::bytes(code.as_bytes())?]))
    }

    /// Brings the data to the form that new code keeps them in.
    pub fn migrate(&self) -> Invocation {
        self.call("migrate", vec![])
    }

    /// Where administration stands.
    ///
    /// # Errors
    ///
    /// Those of [`tx::view`], and [`ChainError::Decode`].
    pub async fn read(&self, rpc: &Rpc) -> Result<Administration, ChainError> {
        let value = tx::view(rpc, &self.call("administration", vec![])).await?;
        Administration::from_val(&value)
    }

    fn call(&self, function: &'static str, args: Vec<ScVal>) -> Invocation {
        Invocation::new(self.kind, self.contract, function, args)
    }
}

impl From<Vault> for Administered {
    fn from(vault: Vault) -> Self {
        Self { kind: ContractKind::Vault, contract: vault.0 }
    }
}

impl From<Registry> for Administered {
    fn from(registry: Registry) -> Self {
        Self { kind: ContractKind::Registry, contract: registry.0 }
    }
}

impl Administration {
    fn from_val(value: &ScVal) -> Result<Self, ChainError> {
        let value = Reader::new("administration", value);
        let code = value.field("upgrade_to")?.optional().map(|it| it.digest()).transpose()?;
        let ready_at = value.field("upgrade_at")?.optional().map(|it| it.u64()).transpose()?;
        let upgrade =
            code.zip(ready_at).map(|(code, ready_at)| ScheduledUpgrade { code, ready_at });
        Ok(Self {
            admin: value.field("admin")?.address()?,
            proposed: value.field("proposed")?.optional().map(|it| it.address()).transpose()?,
            upgrade,
            // The registry's answer lacks the field.
            opens_paused: value.field("opens_paused").ok().map(|it| it.bool()).transpose()?,
            layout: value.field("layout")?.u32()?,
        })
    }
}
