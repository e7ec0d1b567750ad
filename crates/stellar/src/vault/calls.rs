//! The vault's functions, as invocations.

use stellar_xdr::ScVal;
use wire::{Digest, Usage, VaultRunId};

use super::terms::{OpenTerms, RunTerms, usage_to};
use super::types::{GrantLimits, Policy};
use crate::{Address, ChainError, ContractKind, Invocation, scval, token};

/// A vault, by its contract id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vault(pub Address);

/// The arguments of `open_run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Who pays.
    pub user: Address,
    /// The runner; signs.
    pub caller: Address,
    /// Which agent runs.
    pub agent_id: u32,
    /// Which rate card holds.
    pub rate_version: u32,
    /// The most units that can be charged.
    pub budgets: Usage,
    /// The rest.
    pub terms: OpenTerms,
}

/// The arguments of `finalize_run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finalize {
    /// The run's id on chain.
    pub run_id: VaultRunId,
    /// The settler; signs.
    pub runner: Address,
    /// The terms that the opened event states.
    pub terms: RunTerms,
    /// What was metered.
    pub usage: Usage,
    /// Digest of the seal, or of the failure.
    pub output_hash: Digest,
    /// What an attester of the run signed about it. Without it nothing is taken (V16).
    pub attestation: Option<Attestation>,
    /// After this ledger time the call fails. Unix seconds.
    pub valid_until: u64,
}

/// An attester's signature over a settlement: [`wire::settlement::message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// The place of its key among the run's attesters, from 0.
    pub attester: u32,
    /// The signature.
    pub signature: [u8; 64],
}

impl Finalize {
    /// Place and signature as the vault takes them.
    pub(super) fn attestation_vals(&self) -> Result<(ScVal, ScVal), ChainError> {
        // Without a signature the vault ignores the place.
        let place = self.attestation.map_or(0, |attestation| attestation.attester);
        let signature = self.attestation.map(|attestation| scval::bytes(&attestation.signature));
        Ok((ScVal::U32(place), scval::option(signature.transpose()?)))
    }
}

impl Vault {
    /// Puts `amount` stroops of the user's token into the vault.
    ///
    /// # Errors
    ///
    /// Only when a value does not fit its XDR form, as with every call here.
    pub fn deposit(
        &self,
        user: Address,
        amount: i128,
        token: Address,
    ) -> Result<Invocation, ChainError> {
        let mut call = self.call("deposit", vec![user.to_val(), scval::i128(amount)]);
        // The vault moves the user's tokens by a call of its own, which the user's signature must
        // cover.
        call.covers = vec![token::transfer(token, user, self.0, amount)];
        Ok(call)
    }

    /// Takes `amount` stroops out again.
    pub fn withdraw(&self, user: Address, amount: i128) -> Invocation {
        self.call("withdraw", vec![user.to_val(), scval::i128(amount)])
    }

    /// Sets the user's caps.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn set_policy(&self, user: Address, policy: Policy) -> Result<Invocation, ChainError> {
        Ok(self.call("set_policy", vec![user.to_val(), policy.to_val()?]))
    }

    /// The caps and what is used of them; [`super::PolicyState::from_val`].
    pub fn get_policy(&self, user: Address) -> Invocation {
        self.call("get_policy", vec![user.to_val()])
    }

    /// Lets `runner` open runs of the agent for the user, until `expires_at` (Unix seconds) if
    /// given.
    pub fn grant_runner(
        &self,
        user: Address,
        runner: Address,
        agent_id: u32,
        expires_at: Option<u64>,
    ) -> Invocation {
        let expiry = scval::option(expires_at.map(ScVal::U64));
        self.call(
            "grant_runner",
            vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id), expiry],
        )
    }

    /// Sets what the runner is allowed for the agent, before the grant or after; survives
    /// revocation.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn set_grant_limits(
        &self,
        user: Address,
        runner: Address,
        agent_id: u32,
        limits: GrantLimits,
    ) -> Result<Invocation, ChainError> {
        let args = vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id), limits.to_val()?];
        Ok(self.call("set_grant_limits", args))
    }

    /// What the runner is allowed for the agent; void or [`GrantLimits::from_val`].
    pub fn grant_limits(&self, user: Address, runner: Address, agent_id: u32) -> Invocation {
        self.call("grant_limits", vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id)])
    }

    /// Ends a grant at once for new runs.
    pub fn revoke_runner(&self, user: Address, runner: Address, agent_id: u32) -> Invocation {
        self.call("revoke_runner", vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id)])
    }

    /// The user's grants; a vector of [`super::Grant::from_val`].
    pub fn list_runner_grants(&self, user: Address) -> Invocation {
        self.call("list_runner_grants", vec![user.to_val()])
    }

    /// Whether a live grant exists and the agent lists the runner; a bool.
    pub fn is_runner_authorized(
        &self,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Invocation {
        self.call(
            "is_runner_authorized",
            vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id)],
        )
    }

    /// Opens a run: escrows the highest price. Answers the run's id, which [`crate::ids::run_id`]
    /// computes too.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn open_run(&self, open: &Open) -> Result<Invocation, ChainError> {
        let args = vec![
            open.user.to_val(),
            open.caller.to_val(),
            ScVal::U32(open.agent_id),
            ScVal::U32(open.rate_version),
            usage_to(&open.budgets)?,
            open.terms.to_val()?,
        ];
        Ok(self.call("open_run", args))
    }

    /// Settles a run; [`super::RunReceipt::from_val`].
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`], and those of [`RunTerms::to_val`].
    pub fn finalize_run(&self, finalize: &Finalize) -> Result<Invocation, ChainError> {
        let (attester, signature) = finalize.attestation_vals()?;
        let args = vec![
            scval::bytes(finalize.run_id.as_bytes())?,
            finalize.runner.to_val(),
            finalize.terms.to_val()?,
            usage_to(&finalize.usage)?,
            scval::bytes(finalize.output_hash.as_bytes())?,
            attester,
            signature,
            ScVal::U64(finalize.valid_until),
        ];
        Ok(self.call("finalize_run", args))
    }

    /// Gives a run up before its deadline, with full refund.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn void_run(
        &self,
        run_id: &VaultRunId,
        runner: Address,
        reason: u32,
        valid_until: u64,
    ) -> Result<Invocation, ChainError> {
        let run_id = scval::bytes(run_id.as_bytes())?;
        Ok(self.call(
            "void_run",
            vec![run_id, runner.to_val(), ScVal::U32(reason), ScVal::U64(valid_until)],
        ))
    }

    /// Returns the escrow of a run whose deadline has passed. Anybody may.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn reclaim_run(&self, run_id: &VaultRunId) -> Result<Invocation, ChainError> {
        Ok(self.call("reclaim_run", vec![scval::bytes(run_id.as_bytes())?]))
    }

    /// The same with the user's signature, for the user's own runs only.
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn cancel_run(&self, user: Address, run_id: &VaultRunId) -> Result<Invocation, ChainError> {
        Ok(self.call("cancel_run", vec![user.to_val(), scval::bytes(run_id.as_bytes())?]))
    }

    /// Returns what past days owe the account. Anybody may.
    pub fn sweep(&self, user: Address) -> Invocation {
        self.call("sweep", vec![user.to_val()])
    }

    /// What can be withdrawn now, stroops.
    pub fn balance_of(&self, user: Address) -> Invocation {
        self.call("balance_of", vec![user.to_val()])
    }

    /// The user's account; [`super::Account::from_val`].
    pub fn account(&self, user: Address) -> Invocation {
        self.call("account", vec![user.to_val()])
    }

    /// The run's record; [`super::RunRecord::from_val`]. Gone when its life has ended (V17).
    ///
    /// # Errors
    ///
    /// As [`Vault::deposit`].
    pub fn get_run(&self, run_id: &VaultRunId) -> Result<Invocation, ChainError> {
        Ok(self.call("get_run", vec![scval::bytes(run_id.as_bytes())?]))
    }

    /// What a developer can claim, stroops.
    pub fn developer_balance(&self, developer: Address) -> Invocation {
        self.call("developer_balance", vec![developer.to_val()])
    }

    /// Pays a developer `amount` stroops of that.
    pub fn claim_developer(&self, developer: Address, amount: i128) -> Invocation {
        self.call("claim_developer", vec![developer.to_val(), scval::i128(amount)])
    }

    /// What a runner can claim of its fees, stroops.
    pub fn runner_balance(&self, runner: Address) -> Invocation {
        self.call("runner_balance", vec![runner.to_val()])
    }

    /// Pays a runner `amount` stroops of that.
    pub fn claim_runner(&self, runner: Address, amount: i128) -> Invocation {
        self.call("claim_runner", vec![runner.to_val(), scval::i128(amount)])
    }

    /// Stops new runs; nothing else. The administrator signs.
    pub fn pause_opens(&self) -> Invocation {
        self.call("pause_opens", vec![])
    }

    /// Lets runs open again. The administrator signs.
    pub fn resume_opens(&self) -> Invocation {
        self.call("resume_opens", vec![])
    }

    /// Tokens in the vault that it owes to no account, in stroops.
    pub fn surplus(&self) -> Invocation {
        self.call("surplus", vec![])
    }

    /// How much less than it owes the vault holds, stroops; alert on anything but 0 (V1).
    pub fn deficit(&self) -> Invocation {
        self.call("deficit", vec![])
    }

    pub(super) fn call(&self, function: &'static str, args: Vec<ScVal>) -> Invocation {
        Invocation::new(ContractKind::Vault, self.0, function, args)
    }
}
