//! What both contracts let their administrator do (V2): hand over in two steps, and replace the
//! code after a delay that everybody can see.

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

/// The state of administration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Administration {
    /// Who administers.
    pub admin: Address,
    /// Who may take over by accepting.
    pub proposed: Option<Address>,
    /// Announced code.
    pub upgrade: Option<ScheduledUpgrade>,
    /// Whether new runs are paused; `None` for the registry, which has no such switch.
    pub opens_paused: Option<bool>,
    /// The form of the data.
    pub layout: u32,
}

/// Announced code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduledUpgrade {
    /// SHA-256 of the new code.
    pub code: Digest,
    /// From when it may be put in place, Unix seconds of ledger time.
    pub ready_at: u64,
    /// From when the announcement has lapsed (V20), Unix seconds of ledger time.
    pub lapses_at: u64,
}

impl Administered {
    /// The contract's id.
    pub const fn id(&self) -> Address {
        self.contract
    }

    /// Names who may take over. The administrator signs, as with all that follow unless said
    /// otherwise.
    pub fn propose_admin(&self, proposed: Address) -> Invocation {
        self.call("propose_admin", vec![proposed.to_val()])
    }

    /// Takes over. The proposed administrator signs.
    pub fn accept_admin(&self) -> Invocation {
        self.call("accept_admin", vec![])
    }

    /// Announces new code; answers from when it may be put in place, a `u64`.
    ///
    /// # Errors
    ///
    /// Never in practice: 32 bytes fit.
    pub fn schedule_upgrade(&self, code: &Digest) -> Result<Invocation, ChainError> {
        Ok(self.call("schedule_upgrade", vec![scval::bytes(code.as_bytes())?]))
    }

    /// Withdraws announced code.
    pub fn cancel_upgrade(&self) -> Invocation {
        self.call("cancel_upgrade", vec![])
    }

    /// Puts the announced code in place within its time.
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

    /// The state of administration.
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
        let time = |name: &str| value.field(name)?.optional().map(|time| time.u64()).transpose();
        let code = value.field("upgrade_to")?.optional().map(|code| code.digest()).transpose()?;
        let times = time("upgrade_at")?.zip(time("upgrade_until")?);
        let upgrade = code.zip(times).map(|(code, (ready_at, lapses_at))| ScheduledUpgrade {
            code,
            ready_at,
            lapses_at,
        });
        Ok(Self {
            admin: value.field("admin")?.address()?,
            proposed: value.field("proposed")?.optional().map(|who| who.address()).transpose()?,
            upgrade,
            // The registry's answer lacks the field.
            opens_paused: value
                .field("opens_paused")
                .ok()
                .map(|paused| paused.bool())
                .transpose()?,
            layout: value.field("layout")?.u32()?,
        })
    }
}
