//! The vault's functions. Each asks for its signature and calls the module that has the rules. The
//! last paragraph of each comment names who signs, the errors and the events; every call on an
//! account may also publish account,swept.

mod admin;

use contract_administration as administration;
use soroban_sdk::{Address, BytesN, Env, IntoVal, Vec, contract, contractimpl};

use crate::admin::LAYOUT;
use crate::error::VaultError;
use crate::event::PolicySet;
use crate::open::{self, Expected, Opening};
use crate::registry::{self, Reader};
use crate::settle::{self, Settling, Stated};
use crate::storage::{self, Payee};
use crate::types::{
    Account, Config, GrantLimits, Head, Meters, OpenItem, OpenTerms, PolicyInput, RunReceipt,
    RunRecord, RunTerms, RunnerGrant, SettleItem, UsageBreakdown, UserPolicy,
};
use crate::{account, amount, batch, close, custody, digest, grants, time};

/// Custody, caps, grants and runs.
#[contract]
pub struct PrepaidVault;

#[contractimpl]
impl PrepaidVault {
    /// Sets the vault up. Registry and token never change afterwards (V2).
    pub fn __constructor(env: Env, admin: Address, registry: Address, token: Address) {
        storage::set_config(&env, registry, token);
        administration::initialize(&env, &admin, LAYOUT);
    }

    /// Takes `amount` of the token into the user's account.
    ///
    /// Signer: the user. Errors: InvalidAmount, TokenFailed. Events: account,deposited.
    pub fn deposit(env: Env, user: Address, amount: i128) -> Result<(), VaultError> {
        user.require_auth();
        custody::deposit(&env, &user, amount)
    }

    /// Gives `amount` of the free balance back. Nothing can stop it.
    ///
    /// Signer: the user. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
    /// account,withdrawn.
    pub fn withdraw(env: Env, user: Address, amount: i128) -> Result<(), VaultError> {
        user.require_auth();
        custody::withdraw(&env, &user, amount)
    }

    /// Sets the user's caps (0 is no cap) and pause.
    ///
    /// Signer: the user. Errors: InvalidAmount. Events: account,policy.
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
    ///
    /// Signer: none. Errors: AccountingBroken.
    pub fn get_policy(env: Env, user: Address) -> Result<UserPolicy, VaultError> {
        Ok(account::touch(&env, &user)?.account.policy())
    }

    /// Lets a runner that the registry lists open runs of an agent for the user.
    ///
    /// Signer: the user. Errors: InvalidAmount (the user's own address), InvalidExpiry,
    /// AgentNotFound, RegistryUnavailable, UnauthorizedRunner, RunnerGrantExists, TooManyGrants.
    /// Events: runner,granted; runner,expired for each expired grant that is cleared away.
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

    /// Ends a grant: no new runs from now on; open ones settle until their deadline. Limits stay.
    ///
    /// Signer: the user. Errors: RunnerGrantNotFound. Events: runner,revoked.
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
    /// later ones. Caps of 0 are no caps, a highest fee of 0 is no fee.
    ///
    /// Signer: the user. Errors: InvalidAmount. Events: runner,limits.
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

    /// What the runner is allowed for the agent, if the user ever set it.
    ///
    /// Signer: none. Errors: none.
    pub fn grant_limits(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Option<GrantLimits> {
        grants::limits(&env, &user, &runner, agent_id)
    }

    /// The user's live grants.
    ///
    /// Signer: none. Errors: none.
    pub fn list_runner_grants(env: Env, user: Address) -> Vec<RunnerGrant> {
        grants::list(&env, &user)
    }

    /// Whether the runner could open a run of the agent for the user now: a live grant, and listed.
    ///
    /// Signer: none. Errors: AgentNotFound, RegistryUnavailable.
    pub fn is_runner_authorized(
        env: Env,
        user: Address,
        runner: Address,
        agent_id: u32,
    ) -> Result<bool, VaultError> {
        let key = digest::grant(&env, &user, &runner, agent_id);
        let granted = grants::live(&env, &key, time::now(&env)).is_some();
        Ok(granted && registry::lists(&env, agent_id, &runner)?)
    }

    /// Escrows the highest price of a run and answers its id; the same call again answers the same
    /// id and changes nothing.
    ///
    /// Signer: the caller, a granted and listed runner. Errors: Expired, InvalidAmount,
    /// RunTermsMismatch, RunNotOpen, OpensPaused, UnauthorizedRunner, EmptyBudget,
    /// DeadlineOutOfRange, RunnerFeeExceeded, AgentNotFound, RegistryUnavailable,
    /// InvalidRateVersion, MaxChargeExceeded, GrantRunCapExceeded, GrantTotalExceeded,
    /// PolicyPaused, PerRunCapExceeded, DailyCapExceeded, InsufficientBalance. Events: run,opened.
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
        let OpenTerms { nonce, max_charge, runner_fee, deadline, request_hash, valid_until } =
            terms;
        time::check_valid(time::now(&env), valid_until)?;
        let opening = Opening {
            caller,
            user,
            agent_id,
            rate_version,
            budgets: Meters::try_from(&budgets)?,
            nonce,
            runner_fee: amount::bounded(runner_fee)?,
            deadline,
            request_hash,
            expected: Expected::MaxCharge(max_charge),
        };

        let mut registry = Reader::new(&env);
        let run_id = open::open(&env, &mut registry, opening)?;
        registry.keep_contracts();
        Ok(run_id)
    }

    /// Opens runs in their order and answers a code for each: 0 if it is open now, else the error
    /// of `open_run`; a head that is not what the registry says is RunTermsMismatch.
    ///
    /// Signer: the caller, once, for sha256 of the XDR of [caller, valid_until, heads, items].
    /// Errors: Expired, InvalidBatchSize. Events: run,opened for each.
    pub fn open_runs(
        env: Env,
        caller: Address,
        valid_until: u64,
        heads: Vec<Head>,
        items: Vec<OpenItem>,
    ) -> Result<Vec<u32>, VaultError> {
        let digest = digest::batch(&env, &caller, valid_until, &heads, &items);
        caller.require_auth_for_args((digest,).into_val(&env));
        batch::open_runs(&env, &caller, valid_until, &heads, &items)
    }

    /// Charges what was metered, by the signature of one of the run's attesters, and returns the
    /// rest; the same call again answers the same receipt. Without a signature the usage must be
    /// zero and everything goes back, the fee too. `terms` are those of the opened event.
    ///
    /// The attester, by its place in the terms, signs sha256("lumio-settle-v1" ‖ run_id ‖
    /// manifest_hash ‖ request_hash ‖ the four meters as u64, big-endian).
    ///
    /// Signer: the runner. Errors: Expired, InvalidAmount, RunNotFound, RunNotOpen,
    /// RunTermsMismatch, UsageExceedsBudget, UnauthorizedRunner, RegistryUnavailable, NotAttested;
    /// a wrong signature is an error of the host. Events: run,finalized.
    #[expect(clippy::too_many_arguments, reason = "the single call names each of its arguments")]
    pub fn finalize_run(
        env: Env,
        run_id: BytesN<32>,
        runner: Address,
        terms: RunTerms,
        usage: UsageBreakdown,
        output_hash: BytesN<32>,
        attester: u32,
        signature: Option<BytesN<64>>,
        valid_until: u64,
    ) -> Result<RunReceipt, VaultError> {
        runner.require_auth();
        time::check_valid(time::now(&env), valid_until)?;
        let settling = Settling {
            runner,
            run_id,
            terms: Stated::Terms(terms),
            usage: Meters::try_from(&usage)?,
            output_hash,
            attestation: batch::attestation(attester, signature),
        };

        let mut registry = Reader::new(&env);
        let receipt = settle::finalize(&env, &mut registry, settling)?;
        registry.keep_contracts();
        Ok(receipt)
    }

    /// Settles runs in their order and answers a code for each: 0 if it is settled so, else the
    /// error of `finalize_run`. A wrong signature of an attester fails the whole call.
    ///
    /// Signer: the runner, once, for sha256 of the XDR of [runner, valid_until, heads, items].
    /// Errors: Expired, InvalidBatchSize. Events: run,finalized for each.
    pub fn finalize_runs(
        env: Env,
        runner: Address,
        valid_until: u64,
        heads: Vec<Head>,
        items: Vec<SettleItem>,
    ) -> Result<Vec<u32>, VaultError> {
        let digest = digest::batch(&env, &runner, valid_until, &heads, &items);
        runner.require_auth_for_args((digest,).into_val(&env));
        batch::finalize_runs(&env, &runner, valid_until, &heads, &items)
    }

    /// Gives a run up before its deadline; the whole escrow goes back. The same reason again does
    /// nothing.
    ///
    /// Signer: the opener, listed or not. Errors: Expired, RunNotFound, UnauthorizedRunner,
    /// RunNotOpen. Events: run,voided.
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

    /// Ends a run from its deadline on; the whole escrow goes back.
    ///
    /// Signer: none. Errors: RunNotFound, DeadlineNotReached, RunNotOpen. Events: run,reclaimed.
    pub fn reclaim_run(env: Env, run_id: BytesN<32>) -> Result<(), VaultError> {
        close::reclaim(&env, &run_id, None)
    }

    /// `reclaim_run` for the signer's own runs only.
    ///
    /// Signer: the user. Errors: RunNotFound, Unauthorized, DeadlineNotReached, RunNotOpen. Events:
    /// run,reclaimed.
    pub fn cancel_run(env: Env, user: Address, run_id: BytesN<32>) -> Result<(), VaultError> {
        user.require_auth();
        close::reclaim(&env, &run_id, Some(&user))
    }

    /// Returns escrow whose due day is past to the user's balance and answers how much. Every other
    /// call on the account does the same.
    ///
    /// Signer: none. Errors: AccountingBroken. Events: account,swept.
    pub fn sweep(env: Env, user: Address) -> Result<i128, VaultError> {
        close::sweep(&env, &user)
    }

    /// What the user could withdraw now.
    ///
    /// Signer: none. Errors: AccountingBroken.
    pub fn balance_of(env: Env, user: Address) -> Result<i128, VaultError> {
        Ok(account::touch(&env, &user)?.account.balance)
    }

    /// The user's books as of today.
    ///
    /// Signer: none. Errors: AccountingBroken.
    pub fn account(env: Env, user: Address) -> Result<Account, VaultError> {
        Ok(account::touch(&env, &user)?.account)
    }

    /// A run's record, as long as it lives.
    ///
    /// Signer: none. Errors: RunNotFound.
    pub fn get_run(env: Env, run_id: BytesN<32>) -> Result<RunRecord, VaultError> {
        storage::run(&env, &run_id).ok_or(VaultError::RunNotFound)
    }

    /// What the developer can claim.
    ///
    /// Signer: none. Errors: none.
    pub fn developer_balance(env: Env, developer: Address) -> i128 {
        storage::payable(&env, Payee::Developer, &developer)
    }

    /// What the runner can claim.
    ///
    /// Signer: none. Errors: none.
    pub fn runner_balance(env: Env, runner: Address) -> i128 {
        storage::payable(&env, Payee::Runner, &runner)
    }

    /// Pays the developer.
    ///
    /// Signer: the developer. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
    /// payee,claimed.
    pub fn claim_developer(env: Env, developer: Address, amount: i128) -> Result<(), VaultError> {
        developer.require_auth();
        custody::claim(&env, Payee::Developer, &developer, amount)
    }

    /// Pays the runner.
    ///
    /// Signer: the runner. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
    /// payee,claimed.
    pub fn claim_runner(env: Env, runner: Address, amount: i128) -> Result<(), VaultError> {
        runner.require_auth();
        custody::claim(&env, Payee::Runner, &runner, amount)
    }

    /// Tokens in the vault that it owes to nobody: donations, which stay.
    ///
    /// Signer: none. Errors: TokenFailed, NotInitialized.
    pub fn surplus(env: Env) -> Result<i128, VaultError> {
        Ok(custody::difference(&env)?.max(0))
    }

    /// What the vault owes and does not have. Anything but 0 is an alarm.
    ///
    /// Signer: none. Errors: TokenFailed, NotInitialized.
    pub fn deficit(env: Env) -> Result<i128, VaultError> {
        let missing = custody::difference(&env)?.checked_neg();
        missing.map(|missing| missing.max(0)).ok_or(VaultError::AccountingBroken)
    }

    /// Whom the vault was set up with.
    ///
    /// Signer: none. Errors: NotInitialized.
    pub fn config(env: Env) -> Result<Config, VaultError> {
        storage::config(&env).ok_or(VaultError::NotInitialized)
    }
}
