//! The vault's functions. Each asks for its signature and hands on; the rules are in the modules.

mod admin;

use soroban_sdk::{Address, BytesN, Env, Vec, contract, contractimpl};

use crate::admin::LAYOUT;
use crate::error::VaultError;
use crate::event::PolicySet;
use crate::open::{self, Opening};
use crate::registry::{self, Reader};
use crate::settle::{self, Settling};
use crate::storage::{self, Payee};
use crate::types::{
    Account, Config, GrantLimits, OpenRun, OpenTerms, PolicyInput, RunReceipt, RunRecord, RunTerms,
    RunnerGrant, Settlement, UsageBreakdown, UserPolicy,
};
use crate::{account, batch, close, custody, grants, time};

/// Custody, caps, grants and runs.
#[contract]
pub struct PrepaidVault;

#[contractimpl]
impl PrepaidVault {
    /// Registry and token never change afterwards (V2).
    pub fn __constructor(env: Env, admin: Address, registry: Address, token: Address) {
        storage::set_config(&env, &Config { admin, registry, token });
        storage::set_layout(&env, LAYOUT);
    }

    /// Takes `amount` of the token into the user's account. The user signs.
    pub fn deposit(env: Env, user: Address, amount: i128) -> Result<(), VaultError> {
        user.require_auth();
        custody::deposit(&env, &user, amount)
    }

    /// Gives `amount` of the free balance back. The user signs; nothing can stop it.
    pub fn withdraw(env: Env, user: Address, amount: i128) -> Result<(), VaultError> {
        user.require_auth();
        custody::withdraw(&env, &user, amount)
    }

    /// Sets the user's caps (0 is no cap) and pause. The user signs.
    pub fn set_policy(env: Env, user: Address, policy: PolicyInput) -> Result<(), VaultError> {
        user.require_auth();
        if policy.per_run_cap < 0 || policy.daily_cap < 0 {
            return Err(VaultError::InvalidAmount);
        }
        let mut touched = account::touch(&env, &user)?;
        touched.account.set_policy(&policy);
        touched.save(&env);
        storage::keep_instance(&env);
        let PolicyInput { per_run_cap, daily_cap, paused } = policy;
        PolicySet { user, per_run_cap, daily_cap, paused }.publish(&env);
        Ok(())
    }

    /// The user's caps, and what of today's is spent and reserved.
    pub fn get_policy(env: Env, user: Address) -> Result<UserPolicy, VaultError> {
        Ok(account::touch(&env, &user)?.account.policy())
    }

    /// Lets a runner that the registry lists open runs of an agent for the user. The user signs.
    pub fn grant_runner(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
        expires_at: Option<u64>,
    ) -> Result<(), VaultError> {
        user.require_auth();
        grants::grant(&env, user, runner, agent_id, expires_at)
    }

    /// Ends a grant: no new runs from now on; open ones settle until their deadline. The user signs.
    pub fn revoke_runner(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<(), VaultError> {
        user.require_auth();
        grants::revoke(&env, user, runner, agent_id)
    }

    /// Sets what a runner is allowed for an agent: before the grant or after, for this grant and
    /// later ones. Caps of 0 are no caps, a highest fee of 0 is no fee. The user signs.
    pub fn set_grant_limits(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
        limits: GrantLimits,
    ) -> Result<(), VaultError> {
        user.require_auth();
        grants::set_limits(&env, user, runner, agent_id, &limits)
    }

    /// What the runner is allowed for the agent, if the user ever said so.
    pub fn grant_limits(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Option<GrantLimits> {
        storage::limits(&env, &user, &runner, agent_id)
    }

    /// The user's live grants.
    pub fn list_runner_grants(env: Env, user: Address) -> Vec<RunnerGrant> {
        grants::list(&env, &user)
    }

    /// Whether the runner could open a run of the agent for the user now: a live grant, and listed.
    pub fn is_runner_authorized(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<bool, VaultError> {
        let granted = grants::live(&env, &user, &runner, agent_id, time::now(&env)).is_some();
        Ok(granted && registry::lists(&env, agent_id, &runner)?)
    }

    /// Escrows the highest price of a run and answers its id; the same call again answers the same
    /// id and changes nothing. The caller, a granted and listed runner, signs.
    pub fn open_run(
        env: Env,
        user: Address,
        caller: Address,
        agent_id: u32,
        rate_version: u32,
        budgets: UsageBreakdown,
        terms: OpenTerms,
    ) -> Result<BytesN<32>, VaultError> {
        caller.require_auth();
        time::check_valid(time::now(&env), terms.valid_until)?;
        let OpenTerms { nonce, max_charge, runner_fee, deadline, request_hash, .. } = terms;
        let run = OpenRun {
            user,
            agent_id,
            rate_version,
            budgets,
            nonce,
            max_charge,
            runner_fee,
            deadline,
            request_hash,
        };
        let mut registry = Reader::new(&env);
        let run_id = open::open(&env, &mut registry, &Opening { caller, run })?;
        registry.keep_contracts();
        Ok(run_id)
    }

    /// Opens runs in their order and answers a code for each: 0 if it is open now. The caller signs
    /// once for all.
    pub fn open_runs(
        env: Env,
        caller: Address,
        valid_until: u64,
        runs: Vec<OpenRun>,
    ) -> Result<Vec<u32>, VaultError> {
        caller.require_auth();
        batch::open_runs(&env, &caller, valid_until, &runs)
    }

    /// Charges what was metered and returns the rest; the same call again answers the same receipt.
    /// The runner signs. `terms` are those of the opened event.
    pub fn finalize_run(
        env: Env,
        run_id: BytesN<32>,
        runner: Address,
        terms: RunTerms,
        usage: UsageBreakdown,
        output_hash: BytesN<32>,
        valid_until: u64,
    ) -> Result<RunReceipt, VaultError> {
        runner.require_auth();
        time::check_valid(time::now(&env), valid_until)?;
        let settlement = Settlement { run_id, terms, usage, output_hash };
        let mut registry = Reader::new(&env);
        let receipt = settle::finalize(&env, &mut registry, Settling { runner, settlement })?;
        registry.keep_contracts();
        Ok(receipt)
    }

    /// Settles runs in their order and answers a code for each: 0 if it is settled so. The runner
    /// signs once for all.
    pub fn finalize_runs(
        env: Env,
        runner: Address,
        valid_until: u64,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<u32>, VaultError> {
        runner.require_auth();
        batch::finalize_runs(&env, &runner, valid_until, &settlements)
    }

    /// Gives a run up before its deadline; the whole escrow goes back. The opener signs, listed or
    /// not.
    pub fn void_run(
        env: Env,
        run_id: BytesN<32>,
        runner: Address,
        reason: u32,
        valid_until: u64,
    ) -> Result<(), VaultError> {
        runner.require_auth();
        close::void(&env, &run_id, runner, reason, valid_until)
    }

    /// Ends a run from its deadline on; the whole escrow goes back. Nobody need sign.
    pub fn reclaim_run(env: Env, run_id: BytesN<32>) -> Result<(), VaultError> {
        close::reclaim(&env, &run_id, None)
    }

    /// `reclaim_run` with the user's signature, for his own runs only.
    pub fn cancel_run(env: Env, user: Address, run_id: BytesN<32>) -> Result<(), VaultError> {
        user.require_auth();
        close::reclaim(&env, &run_id, Some(&user))
    }

    /// Returns escrow whose due day is past to the user's balance and answers how much. Nobody need
    /// sign; every other call on the account does the same.
    pub fn sweep(env: Env, user: Address) -> Result<i128, VaultError> {
        close::sweep(&env, &user)
    }

    /// What the user could withdraw now.
    pub fn balance_of(env: Env, user: Address) -> Result<i128, VaultError> {
        Ok(account::touch(&env, &user)?.account.balance)
    }

    /// The user's books as of today.
    pub fn account(env: Env, user: Address) -> Result<Account, VaultError> {
        Ok(account::touch(&env, &user)?.account)
    }

    /// A run's record, as long as it lives.
    pub fn get_run(env: Env, run_id: BytesN<32>) -> Result<RunRecord, VaultError> {
        storage::run(&env, &run_id).ok_or(VaultError::RunNotFound)
    }

    /// What the developer can claim.
    pub fn developer_balance(env: Env, developer: Address) -> i128 {
        storage::payable(&env, Payee::Developer, &developer)
    }

    /// What the runner can claim.
    pub fn runner_balance(env: Env, runner: Address) -> i128 {
        storage::payable(&env, Payee::Runner, &runner)
    }

    /// Pays the developer. He signs.
    pub fn claim_developer(env: Env, developer: Address, amount: i128) -> Result<(), VaultError> {
        developer.require_auth();
        custody::claim(&env, Payee::Developer, &developer, amount)
    }

    /// Pays the runner. It signs.
    pub fn claim_runner(env: Env, runner: Address, amount: i128) -> Result<(), VaultError> {
        runner.require_auth();
        custody::claim(&env, Payee::Runner, &runner, amount)
    }

    /// Tokens in the vault that it owes to nobody: donations, which stay.
    pub fn surplus(env: Env) -> Result<i128, VaultError> {
        Ok(custody::difference(&env)?.max(0))
    }

    /// What the vault owes and doesn't have. Anything but 0 is an alarm.
    pub fn deficit(env: Env) -> Result<i128, VaultError> {
        let missing = custody::difference(&env)?.checked_neg();
        missing.map(|missing| missing.max(0)).ok_or(VaultError::AccountingBroken)
    }

    /// Whom the vault was set up with.
    pub fn config(env: Env) -> Result<Config, VaultError> {
        storage::config(&env).ok_or(VaultError::NotInitialized)
    }
}
