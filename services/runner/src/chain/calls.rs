//! What is asked of the vault, made from what is kept of a run.

use std::str::FromStr as _;

use stellar::vault::{Attestation, Finalize, Head, Open, OpenTerms, RunTerms, Vault};
use stellar::{Address, ChainError, Invocation};
use wire::settlement::Settled;
use wire::{Nonce, VaultRunId};

use crate::chain::call::{Arguments, SignedCall, WantedCall};
use crate::chain::client::ChainClient;
use crate::chain::transaction::Kind;
use crate::error::{Error, Result};
use crate::model::settlement::Settlement;
use crate::model::terms::Terms;

impl ChainClient {
    /// The calls as they are to be signed: openings get their deadline now, and so their ids.
    ///
    /// # Errors
    ///
    /// When an address can't be read, or a call that is no opening has no deadline.
    pub(super) fn to_sign(&self, calls: &[WantedCall], deadline: u64) -> Result<Vec<SignedCall>> {
        calls.iter().map(|call| self.signed_call(call, deadline)).collect()
    }

    fn signed_call(&self, call: &WantedCall, deadline: u64) -> Result<SignedCall> {
        let (vault_run_id, deadline, terms) = match &call.arguments {
            Arguments::Open { terms, nonce, .. } => {
                let terms = Terms { deadline, ..terms.clone() };
                // Computed here as the vault does (V4), so that it is known before anything is
                // sent.
                (self.vault_run_id(&terms, *nonce)?, deadline, Some(terms))
            }
            Arguments::Finalize { run, .. }
            | Arguments::Void { run, .. }
            | Arguments::Reclaim { run } => {
                let deadline = call.deadline;
                let deadline = deadline
                    .ok_or_else(|| Error::Broken("a call was wanted without a deadline".into()))?;
                (*run, deadline, None)
            }
        };
        Ok(SignedCall {
            call: call.id,
            run: call.run,
            attempt: call.attempt,
            vault_run_id,
            deadline,
            terms,
        })
    }

    /// The id that the vault gives a run under these terms.
    fn vault_run_id(&self, terms: &Terms, nonce: Nonce) -> Result<VaultRunId> {
        let identity = stellar::ids::RunIdentity {
            network: &self.network,
            vault: &self.vault,
            user: &terms.user,
            caller: &terms.opened_by,
            nonce: &nonce,
            deadline: terms.deadline,
        };
        Ok(stellar::ids::run_id(&identity)?)
    }

    /// What is asked of the vault: the single function for one call, the batch for several (V9).
    ///
    /// # Errors
    ///
    /// When a value does not fit, or the calls are not of one kind that has a batch.
    pub(super) fn invocation(
        &self,
        calls: &[WantedCall],
        signed: &[SignedCall],
        valid_until: u64,
    ) -> Result<Invocation> {
        let vault = Vault(self.vault);
        if let [call] = calls {
            let terms = signed.first().and_then(|signed| signed.terms.as_ref());
            return match (&call.arguments, terms) {
                (Arguments::Open { nonce, .. }, Some(terms)) => {
                    Ok(vault.open_run(&open(terms, *nonce, valid_until))?)
                }
                (Arguments::Finalize { run, terms, settlement }, _) => Ok(
                    vault.finalize_run(&self.finalize(*run, terms, settlement, valid_until)?)?
                ),
                (Arguments::Void { run, reason }, _) => {
                    Ok(vault.void_run(run, self.runner.address(), *reason, valid_until)?)
                }
                (Arguments::Reclaim { run }, _) => Ok(vault.reclaim_run(run)?),
                (Arguments::Open { .. }, None) => {
                    Err(Error::Broken("an opening is signed without its terms".into()))
                }
            };
        }
        let (mut opens, mut settlements) = (Vec::new(), Vec::new());
        for (call, signed) in calls.iter().zip(signed) {
            match (&call.arguments, &signed.terms) {
                (Arguments::Open { nonce, .. }, Some(terms)) => {
                    opens.push((head(terms), open(terms, *nonce, valid_until)));
                }
                (Arguments::Finalize { run, terms, settlement }, _) => {
                    settlements.push(self.finalize(*run, terms, settlement, valid_until)?);
                }
                _ => {
                    return Err(Error::Broken("only openings and settlements have batches".into()));
                }
            }
        }
        let runner = self.runner.address();
        match (opens.is_empty(), settlements.is_empty()) {
            (false, true) => Ok(vault.open_runs(runner, valid_until, &opens)?),
            (true, false) => Ok(vault.finalize_runs(runner, valid_until, &settlements)?),
            _ => Err(Error::Broken("a batch carries calls of one kind".into())),
        }
    }

    fn finalize(
        &self,
        run_id: VaultRunId,
        terms: &Terms,
        settlement: &Settlement,
        valid_until: u64,
    ) -> Result<Finalize> {
        Ok(Finalize {
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
        })
    }
}

/// `open_run` under these terms.
fn open(terms: &Terms, nonce: Nonce, valid_until: u64) -> Open {
    Open {
        user: terms.user,
        caller: terms.opened_by,
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
    }
}

fn head(terms: &Terms) -> Head {
    Head {
        agent_id: terms.agent_id,
        rate_version: terms.rate_version,
        rates: terms.rates,
        developer: terms.developer,
        manifest_hash: terms.manifest_hash,
        attesters: terms.attesters.iter().map(|key| *key.as_bytes()).collect(),
    }
}

/// Whether a settlement may go together with others: a signature that is wrong makes the host end
/// the whole call, with everything in it (V16).
pub(super) fn may_share(call: &WantedCall) -> bool {
    let Arguments::Finalize { run, terms, settlement } = &call.arguments else {
        return call.arguments.kind() == Kind::Open;
    };
    let Some(attestation) = &settlement.attestation else { return true };
    let settled = Settled {
        run_id: *run,
        manifest_hash: terms.manifest_hash,
        request_hash: terms.request_hash,
        usage: settlement.usage,
    };
    let key = usize::try_from(attestation.attester).ok().and_then(|at| terms.attesters.get(at));
    key.is_some_and(|key| *key == attestation.signature.attester)
        && attestation.signature.verifies(&settled)
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
        user: terms.user,
        opened_by: terms.opened_by,
        agent_id: terms.agent_id,
        rate_version: terms.rate_version,
        rates: terms.rates,
        budgets: terms.budgets,
        max_charge: terms.max_charge,
        runner_fee: terms.runner_fee,
        deadline: terms.deadline,
        opened_at,
        developer: terms.developer,
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
