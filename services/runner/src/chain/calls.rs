//! What is asked of the vault, made from what is kept of a run.

use std::str::FromStr as _;

use stellar::vault::{Attestation, Finalize, Open, OpenTerms, RunTerms, Vault};
use stellar::{Address, ChainError, Invocation};
use wire::Digest;

use crate::chain::client::ChainClient;
use crate::error::{Error, Result};
use crate::model::settlement::Settlement;
use crate::model::terms::Terms;

impl ChainClient {
    /// `open_run` under these terms.
    ///
    /// # Errors
    ///
    /// When an address can't be read.
    pub fn open_call(&self, terms: &Terms, nonce: Digest, valid_until: u64) -> Result<Invocation> {
        let open = Open {
            user: address(&terms.user)?,
            caller: address(&terms.opened_by)?,
            agent_id: terms.agent_id,
            rate_version: terms.rate_version,
            budgets: terms.budgets,
            terms: OpenTerms {
                nonce,
                max_charge: terms.max_charge,
                runner_fee: terms.runner_fee,
                deadline: terms.deadline,
                request_hash: terms.request_hash,
                valid_until,
            },
        };
        Ok(Vault(self.vault).open_run(&open)?)
    }

    /// `finalize_run` with this settlement.
    ///
    /// # Errors
    ///
    /// When the terms are not complete.
    pub fn finalize_call(
        &self,
        run_id: Digest,
        terms: &Terms,
        settlement: &Settlement,
        valid_until: u64,
    ) -> Result<Invocation> {
        let finalize = Finalize {
            run_id,
            runner: self.runner.address(),
            terms: on_chain(terms)?,
            usage: settlement.usage,
            output_hash: settlement.output_hash,
            attestation: settlement.attestation.map(|attestation| Attestation {
                attester: attestation.attester,
                signature: attestation.signature.signature,
            }),
            valid_until,
        };
        Ok(Vault(self.vault).finalize_run(&finalize)?)
    }

    /// `void_run`.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn void_call(&self, run_id: Digest, reason: u32, valid_until: u64) -> Result<Invocation> {
        Ok(Vault(self.vault).void_run(&run_id, self.runner.address(), reason, valid_until)?)
    }

    /// `reclaim_run`.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn reclaim_call(&self, run_id: Digest) -> Result<Invocation> {
        Ok(Vault(self.vault).reclaim_run(&run_id)?)
    }
}

/// The terms as the vault takes them.
///
/// # Errors
///
/// When they are not complete: the run was never seen open.
pub fn on_chain(terms: &Terms) -> Result<RunTerms> {
    let opened_at = terms.opened_at;
    let opened_at =
        opened_at.ok_or_else(|| Error::Broken("the run was never seen open".to_owned()))?;
    Ok(RunTerms {
        user: address(&terms.user)?,
        opened_by: address(&terms.opened_by)?,
        agent_id: terms.agent_id,
        rate_version: terms.rate_version,
        rates: terms.rates,
        budgets: terms.budgets,
        max_charge: terms.max_charge,
        runner_fee: terms.runner_fee,
        deadline: terms.deadline,
        opened_at,
        developer: address(&terms.developer)?,
        manifest_hash: terms.manifest_hash,
        request_hash: terms.request_hash,
        attesters: terms.attesters.iter().map(|key| *key.as_bytes()).collect(),
    })
}

/// Reads an address.
///
/// # Errors
///
/// When it is not one.
pub fn address(text: &str) -> Result<Address> {
    let read = Address::from_str(text).map_err(|error| ChainError::Invalid(error.to_string()));
    Ok(read?)
}
