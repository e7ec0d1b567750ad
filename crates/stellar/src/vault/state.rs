//! The vault's entries in the ledger, which have no retention window as events have.

use stellar_xdr::{LedgerKey, ScVal};
use wire::{Digest, VaultRunId};

use super::calls::Vault;
use super::run::{Lifecycle, RunRecord};
use super::types::{Account, Config, Grant, GrantLimits, Policy, PolicyState};
use crate::rpc::Entry;
use crate::scval::{self, Reader};
use crate::{Address, ChainError, Rpc, tx};

/// A run's record as one ledger has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunState {
    /// The ledger that was read.
    pub ledger: u32,
    /// The record, and the last ledger that it lives in. Absence says nothing about a run whose
    /// record may have ended (R13).
    pub record: Option<(RunRecord, u32)>,
}

/// What decides, beside account and grant, whether a run opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRules {
    /// What the runner is allowed for the agent; `None` when the user set no limits.
    pub limits: Option<GrantLimits>,
    /// Whether the administrator has paused new runs.
    pub is_paused: bool,
}

/// A grant's entry as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredGrant {
    /// The grant's number; `None` where the entry only keeps the limits.
    pub serial: Option<u32>,
    /// From when it is dead, Unix seconds; `None` is never.
    pub expires_at: Option<u64>,
    /// What the runner is allowed for the agent, if the user set it.
    pub limits: Option<GrantLimits>,
}

impl Vault {
    /// The run's record.
    ///
    /// # Errors
    ///
    /// [`ChainError::Rpc`], [`ChainError::Decode`]. So for all that follow.
    pub async fn read_run(&self, rpc: &Rpc, run_id: &VaultRunId) -> Result<RunState, ChainError> {
        let key = self.run_key(run_id)?;
        let found = rpc.entries(std::slice::from_ref(&key)).await?;
        let record = match found.get(&key) {
            None => None,
            Some(entry) => {
                // Records are temporary entries (V3), and those always have an end.
                let end = entry
                    .live_until
                    .ok_or_else(|| ChainError::decode("run record", "no end of life"))?;
                Some((stored_run(entry)?, end))
            }
        };
        Ok(RunState { ledger: found.ledger, record })
    }

    /// The records of these runs (at most 200) as one ledger has them, with that ledger, in the
    /// order asked for.
    ///
    /// # Errors
    ///
    /// As [`Vault::read_run`].
    pub async fn read_runs(
        &self,
        rpc: &Rpc,
        ids: &[VaultRunId],
    ) -> Result<(u32, Vec<Option<RunRecord>>), ChainError> {
        let keys = ids.iter().map(|id| self.run_key(id)).collect::<Result<Vec<_>, _>>()?;
        let found = rpc.entries(&keys).await?;
        let records = keys.iter().map(|key| found.get(key).map(stored_run).transpose());
        Ok((found.ledger, records.collect::<Result<_, _>>()?))
    }

    /// The account as it is stored: sums of past days not returned yet. `None` for who never used
    /// the vault.
    ///
    /// # Errors
    ///
    /// As [`Vault::read_run`].
    pub async fn read_account(
        &self,
        rpc: &Rpc,
        user: &Address,
    ) -> Result<Option<Account>, ChainError> {
        let key = crate::state::data_key(&self.0, user.to_val(), true);
        let found = rpc.entries(std::slice::from_ref(&key)).await?;
        found.get(&key).map(stored_account).transpose()
    }

    /// The account as of today, past days' sums returned.
    ///
    /// # Errors
    ///
    /// Those of [`tx::view`]. So for all that follow.
    pub async fn account_now(&self, rpc: &Rpc, user: Address) -> Result<Account, ChainError> {
        Account::from_val(&tx::view(rpc, &self.account(user)).await?)
    }

    /// The user's policy and what of today's is used.
    ///
    /// # Errors
    ///
    /// As [`Vault::account_now`].
    pub async fn policy_now(&self, rpc: &Rpc, user: Address) -> Result<PolicyState, ChainError> {
        PolicyState::from_val(&tx::view(rpc, &self.get_policy(user)).await?)
    }

    /// The user's live grants.
    ///
    /// # Errors
    ///
    /// As [`Vault::account_now`].
    pub async fn grants_now(&self, rpc: &Rpc, user: Address) -> Result<Vec<Grant>, ChainError> {
        let value = tx::view(rpc, &self.list_runner_grants(user)).await?;
        Reader::new("grants", &value).items()?.iter().map(Grant::from_val).collect()
    }

    /// What the runner is allowed for the agent; `None` when the user set no limits.
    ///
    /// # Errors
    ///
    /// As [`Vault::account_now`].
    pub async fn limits_now(
        &self,
        rpc: &Rpc,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<Option<GrantLimits>, ChainError> {
        let value = tx::view(rpc, &self.grant_limits(user, runner, agent_id)).await?;
        GrantLimits::from_val(&Reader::new("grant limits", &value))
    }

    /// Whether the runner could open runs of the agent for the user now.
    ///
    /// # Errors
    ///
    /// As [`Vault::account_now`].
    pub async fn authorized_now(
        &self,
        rpc: &Rpc,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<bool, ChainError> {
        let value = tx::view(rpc, &self.is_runner_authorized(user, runner, agent_id)).await?;
        Reader::new("is_runner_authorized", &value).bool()
    }

    /// The limits of a grant and the administrator's pause, as one ledger has them.
    ///
    /// # Errors
    ///
    /// As [`Vault::read_run`]; [`ChainError::Decode`] when no contract has this id.
    pub async fn read_open_rules(
        &self,
        rpc: &Rpc,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<OpenRules, ChainError> {
        let limits = self.grant_key(user, runner, agent_id)?;
        let instance = crate::state::data_key(&self.0, ScVal::LedgerKeyContractInstance, true);
        // One read: rules of two ledgers may never have held together.
        let found = rpc.entries(&[limits.clone(), instance.clone()]).await?;
        let contract = found.get(&instance).map(|entry| crate::state::data_value("vault", entry));
        let Some(ScVal::ContractInstance(contract)) = contract.transpose()? else {
            return Err(ChainError::decode("vault", "no contract has this id"));
        };
        let paused = scval::variant("OpensPaused", vec![])?;
        // The key is in the instance while openings are paused, and is removed when they resume.
        let mut kept = contract.storage.iter().flat_map(|map| map.iter());
        Ok(OpenRules {
            limits: found.get(&limits).map(stored_limits).transpose()?.flatten(),
            is_paused: kept.any(|entry| entry.key == paused),
        })
    }

    /// The entries of these grants (at most 200) as one ledger has them, with that ledger, in the
    /// order asked for. `None` for those that never were.
    ///
    /// # Errors
    ///
    /// As [`Vault::read_run`].
    pub async fn read_grants(
        &self,
        rpc: &Rpc,
        grants: &[(Address, Address, u32)],
    ) -> Result<(u32, Vec<Option<StoredGrant>>), ChainError> {
        let key = |(user, runner, agent_id): &(Address, Address, u32)| {
            self.grant_key(*user, *runner, *agent_id)
        };
        let keys = grants.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        let found = rpc.entries(&keys).await?;
        let stored = keys.iter().map(|key| found.get(key).map(stored_grant).transpose());
        Ok((found.ledger, stored.collect::<Result<_, _>>()?))
    }

    /// Whom the vault was set up with, from its instance; `None` when no contract has this id.
    ///
    /// # Errors
    ///
    /// As [`Vault::read_run`].
    pub async fn read_config(&self, rpc: &Rpc) -> Result<Option<Config>, ChainError> {
        let Some(instance) = crate::state::instance(rpc, &self.0).await? else { return Ok(None) };
        let stored = |name: &str| {
            // Configuration is instance storage: it lives and is read with the contract itself.
            let key = scval::variant(name, vec![])?;
            let kept = instance.storage.as_ref();
            let found = kept.and_then(|map| map.iter().find(|entry| entry.key == key));
            found.map(|entry| &entry.val).ok_or_else(|| {
                ChainError::decode("contract", "it is no vault: no configuration in its instance")
            })
        };
        let (config, admin) = (stored("Config")?, stored("Admin")?);
        let config = Reader::new("vault configuration", config);
        Ok(Some(Config {
            admin: Reader::new("vault administrator", admin).address()?,
            registry: config.item(0)?.address()?,
            token: config.item(1)?.address()?,
        }))
    }

    /// The key of a run's record.
    ///
    /// # Errors
    ///
    /// Never in practice: 32 bytes fit.
    pub fn run_key(&self, run_id: &VaultRunId) -> Result<LedgerKey, ChainError> {
        Ok(crate::state::data_key(&self.0, scval::bytes(run_id.as_bytes())?, false))
    }

    /// The key of a grant's entry, which holds its limits too: SHA-256 of the XDR of user, runner
    /// and agent.
    fn grant_key(
        &self,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<LedgerKey, ChainError> {
        let parts = scval::vec(vec![user.to_val(), runner.to_val(), ScVal::U32(agent_id)])?;
        let digest = Digest::of(&scval::to_xdr(&parts)?);
        Ok(crate::state::data_key(&self.0, scval::bytes(digest.as_bytes())?, true))
    }
}

fn stored_run(entry: &Entry) -> Result<RunRecord, ChainError> {
    let value = crate::state::data_value("run record", entry)?;
    let run = Reader::new("run record", value);
    // By position, as the vault's `storage.rs` writes it: names would be half an entry's bytes.
    Ok(RunRecord {
        user: run.item(0)?.address()?,
        opened_by: run.item(1)?.address()?,
        agent_id: run.item(2)?.u32()?,
        escrowed: run.item(3)?.u64()?.into(),
        runner_fee: run.item(4)?.u64()?.into(),
        deadline: run.item(5)?.u64()?,
        opened_day: run.item(6)?.u32()?,
        grant_serial: run.item(7)?.u32()?,
        terms_hash: run.item(8)?.digest()?,
        lifecycle: stored_lifecycle(&run)?,
    })
}

/// A lifecycle is stored as a number, a digest, and what an end adds.
fn stored_lifecycle(run: &Reader<'_>) -> Result<Lifecycle, ChainError> {
    // What an end adds: charge or reason, and the output's digest.
    let end = |at: usize| {
        let end = run.item(11)?.optional();
        let end = end.ok_or_else(|| ChainError::decode("run record", "an end without its data"));
        end?.item(at)
    };
    match run.item(9)?.u32()? {
        0 => Ok(Lifecycle::Open),
        1 => Ok(Lifecycle::Finalized {
            charge: end(0)?.u64()?.into(),
            output_hash: end(1)?.digest()?,
            settlement: run.item(10)?.digest()?,
        }),
        2 => u32::try_from(end(0)?.u64()?)
            .map(Lifecycle::Voided)
            .map_err(|error| ChainError::decode("run record", error)),
        3 => Ok(Lifecycle::Reclaimed),
        other => Err(ChainError::decode("run record", format!("lifecycle {other} is unknown"))),
    }
}

fn stored_account(entry: &Entry) -> Result<Account, ChainError> {
    let value = crate::state::data_value("account", entry)?;
    let account = Reader::new("account", value);
    Ok(Account {
        balance: account.item(0)?.i128()?,
        due_today: account.item(1)?.i128()?,
        due_tomorrow: account.item(2)?.i128()?,
        day: account.item(3)?.u32()?,
        spent: account.item(4)?.i128()?,
        reserved: account.item(5)?.i128()?,
        policy: Policy {
            per_run_cap: account.item(6)?.i128()?,
            daily_cap: account.item(7)?.i128()?,
            paused: account.item(8)?.bool()?,
        },
        receipts: account.item(9)?.u64()?,
        receipts_hash: account.item(10)?.digest()?,
    })
}

fn stored_grant(entry: &Entry) -> Result<StoredGrant, ChainError> {
    let grant = Reader::new("grant", crate::state::data_value("grant", entry)?);
    let serial = grant.item(0)?.u32()?;
    Ok(StoredGrant {
        serial: (serial != 0).then_some(serial),
        expires_at: grant.item(1)?.optional().map(|at| at.u64()).transpose()?,
        limits: stored_limits(entry)?,
    })
}

/// The limits in a grant's entry; none if the user set none.
fn stored_limits(entry: &Entry) -> Result<Option<GrantLimits>, ChainError> {
    let grant = Reader::new("grant", crate::state::data_value("grant", entry)?);
    let read = |limits: Reader<'_>| {
        Ok(GrantLimits {
            per_run_cap: limits.item(0)?.i128()?,
            total_cap: limits.item(1)?.i128()?,
            max_runner_fee: limits.item(2)?.i128()?,
        })
    };
    grant.item(3)?.optional().map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: ScVal) -> Entry {
        let contract = Address::Contract([1; 32]);
        let key = crate::state::data_key(&contract, ScVal::Void, false);
        let data = crate::state::tests::data(&contract, value);
        Entry { key, data, modified: 1, live_until: Some(9) }
    }

    #[test]
    fn a_stored_record_is_read_by_position() {
        let user = Address::Account([2; 32]);
        let end = scval::vec(vec![ScVal::U64(7), scval::bytes(&[5; 32]).unwrap()]).unwrap();
        let value = scval::vec(vec![
            user.to_val(),
            Address::Account([3; 32]).to_val(),
            ScVal::U32(1),
            ScVal::U64(100),
            ScVal::U64(0),
            ScVal::U64(1_800_000_000),
            ScVal::U32(20_000),
            ScVal::U32(1),
            scval::bytes(&[4; 32]).unwrap(),
            ScVal::U32(1),
            scval::bytes(&[6; 32]).unwrap(),
            end,
        ]);
        let record = stored_run(&entry(value.unwrap())).unwrap();
        assert_eq!((record.user, record.escrowed), (user, 100));
        let Lifecycle::Finalized { charge, output_hash, .. } = record.lifecycle else {
            panic!("{record:?}")
        };
        assert_eq!((charge, *output_hash.as_bytes()), (7, [5; 32]));
    }

    #[test]
    fn another_shape_is_an_error_and_no_panic() {
        for value in [ScVal::Void, scval::vec(vec![]).unwrap(), scval::i128(1)] {
            assert!(stored_run(&entry(value.clone())).is_err());
            assert!(stored_account(&entry(value)).is_err());
        }
    }
}
