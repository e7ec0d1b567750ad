//! The token in the vault's keeping, and the one number of what it owes (V1).
//!
//! Liabilities change when money crosses the vault's border and at no other time; runs only move it
//! between owners inside. The token is not trusted to do what it says: its balance before and after
//! must differ by exactly the amount.

use soroban_sdk::token::TokenClient;
use soroban_sdk::{Address, Env, Symbol};

use crate::account;
use crate::error::VaultError;
use crate::event::{AccountDeposited, AccountWithdrawn, PayeeClaimed};
use crate::storage::{self, Payee};

/// Takes `amount` of the token from the user into their account. The user must have signed.
pub(crate) fn deposit(env: &Env, user: &Address, amount: i128) -> Result<(), VaultError> {
    check_positive(amount)?;
    let owed = storage::liabilities(env).checked_add(amount).ok_or(VaultError::InvalidAmount)?;
    let mut touched = account::touch(env, user)?;
    touched.account.balance = account::plus(touched.account.balance, amount)?;
    let balance = touched.account.balance;
    touched.save(env);
    storage::keep_account_long(env, user);
    storage::set_liabilities(env, owed);
    let vault = env.current_contract_address();
    transfer(env, user, &vault, amount)?;
    AccountDeposited { user: user.clone(), amount, balance }.publish(env);
    Ok(())
}

/// Gives `amount` back from the user's free balance. The user must have signed.
pub(crate) fn withdraw(env: &Env, user: &Address, amount: i128) -> Result<(), VaultError> {
    check_positive(amount)?;
    let mut touched = account::touch(env, user)?;
    let balance = less(touched.account.balance, amount)?;
    touched.account.balance = balance;
    touched.save(env);
    pay_out(env, user, amount)?;
    AccountWithdrawn { user: user.clone(), amount, balance }.publish(env);
    Ok(())
}

/// Pays `amount` of what a developer or runner has earned. The payee must have signed.
pub(crate) fn claim(
    env: &Env,
    payee: Payee,
    who: &Address,
    amount: i128,
) -> Result<(), VaultError> {
    check_positive(amount)?;
    let rest = less(storage::payable(env, payee, who), amount)?;
    storage::set_payable(env, payee, who, rest);
    pay_out(env, who, amount)?;
    PayeeClaimed { payee: who.clone(), role: role(env, payee), amount, balance: rest }.publish(env);
    Ok(())
}

/// Token balance minus liabilities: positive is a donation nobody can take out, negative is
/// missing.
pub(crate) fn difference(env: &Env) -> Result<i128, VaultError> {
    let held = balance(&token(env)?, &env.current_contract_address())?;
    held.checked_sub(storage::liabilities(env)).ok_or(VaultError::AccountingBroken)
}

fn role(env: &Env, payee: Payee) -> Symbol {
    Symbol::new(env, if payee == Payee::Developer { "developer" } else { "runner" })
}

fn pay_out(env: &Env, to: &Address, amount: i128) -> Result<(), VaultError> {
    storage::set_liabilities(env, account::minus(storage::liabilities(env), amount)?);
    let vault = env.current_contract_address();
    transfer(env, &vault, to, amount)
}

/// Moves the token and makes sure that the vault's balance followed, by neither more nor less.
fn transfer(env: &Env, from: &Address, to: &Address, amount: i128) -> Result<(), VaultError> {
    let token = token(env)?;
    let vault = env.current_contract_address();
    let before = balance(&token, &vault)?;
    match token.try_transfer(from, to, &amount) {
        Ok(Ok(())) => {}
        _ => return Err(VaultError::TokenFailed),
    }
    let after = balance(&token, &vault)?;
    let (low, high) = if *to == vault { (before, after) } else { (after, before) };
    if high.checked_sub(low) == Some(amount) { Ok(()) } else { Err(VaultError::TokenFailed) }
}

fn balance(token: &TokenClient<'_>, of: &Address) -> Result<i128, VaultError> {
    match token.try_balance(of) {
        Ok(Ok(amount)) => Ok(amount),
        _ => Err(VaultError::TokenFailed),
    }
}

fn token(env: &Env) -> Result<TokenClient<'_>, VaultError> {
    let token = storage::token(env).ok_or(VaultError::NotInitialized)?;
    Ok(TokenClient::new(env, &token))
}

fn check_positive(amount: i128) -> Result<(), VaultError> {
    if amount > 0 { Ok(()) } else { Err(VaultError::InvalidAmount) }
}

fn less(balance: i128, amount: i128) -> Result<i128, VaultError> {
    account::minus(balance, amount).map_err(|_| VaultError::InsufficientBalance)
}
