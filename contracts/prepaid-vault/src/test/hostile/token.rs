//! Tokens that don't do what they say.

use soroban_sdk::testutils::{Address as _, Ledger as _};
use soroban_sdk::{Env, IntoVal, Val, contract, contractimpl, contracttype, symbol_short};

use super::super::*;

/// How a hostile token behaves.
#[contracttype]
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Honest,
    MovesTooLittle,
    MovesTooMuch,
    MovesBackwards,
    MovesNothing,
    Traps,
    BalanceTraps,
    BalanceNeverChanges,
    BalanceIsNoNumber,
    BalanceOverflows,
    CallsBackAndInsists,
    CallsBackAndShrugs,
}

#[contract]
pub struct HostileToken;

#[contractimpl]
impl HostileToken {
    pub fn mood(env: Env, mood: Mood) {
        env.storage().instance().set(&symbol_short!("mood"), &mood);
    }

    /// Whom to call back.
    pub fn vault(env: Env, vault: Address) {
        env.storage().instance().set(&symbol_short!("vault"), &vault);
    }

    pub fn balance(env: Env, id: Address) -> Val {
        let held: i128 = env.storage().instance().get(&id).unwrap_or(0);
        match Self::now(&env) {
            Mood::BalanceTraps => panic!("no"),
            Mood::BalanceNeverChanges => 1_000i128.into_val(&env),
            Mood::BalanceIsNoNumber => symbol_short!("much").into_val(&env),
            Mood::BalanceOverflows if held > 100 => i128::MAX.into_val(&env),
            Mood::BalanceOverflows => i128::MIN.into_val(&env),
            _ => held.into_val(&env),
        }
    }

    pub fn transfer(env: Env, from: Address, to: Address, amount: i128) {
        let moved = match Self::now(&env) {
            Mood::MovesTooLittle => amount - 1,
            Mood::MovesTooMuch => amount + 1,
            Mood::MovesBackwards => -amount,
            Mood::MovesNothing => 0,
            Mood::Traps => panic!("no"),
            Mood::CallsBackAndInsists => {
                Self::back(&env).sweep(&from);
                amount
            }
            Mood::CallsBackAndShrugs => {
                let vault = Self::back(&env);
                assert!(vault.try_withdraw(&from, &1).is_err());
                assert!(vault.try_sweep(&from).is_err());
                assert!(vault.try_balance_of(&from).is_err());
                amount
            }
            _ => amount,
        };
        for (who, change) in [(from, -moved), (to, moved)] {
            let held: i128 = env.storage().instance().get(&who).unwrap_or(0);
            env.storage().instance().set(&who, &(held + change));
        }
    }
}

impl HostileToken {
    fn now(env: &Env) -> Mood {
        env.storage().instance().get(&symbol_short!("mood")).unwrap()
    }

    fn back(env: &Env) -> PrepaidVaultClient<'_> {
        let vault: Address = env.storage().instance().get(&symbol_short!("vault")).unwrap();
        PrepaidVaultClient::new(env, &vault)
    }
}

struct Custody {
    mood: HostileTokenClient<'static>,
    vault: PrepaidVaultClient<'static>,
    user: Address,
}

/// A vault of a hostile token that was honest until 100 were deposited.
fn custody() -> Custody {
    let env = Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false });
    env.mock_all_auths();
    env.ledger().set_timestamp(NOON);
    let token = env.register(HostileToken, ());
    let mood = HostileTokenClient::new(&env, &token);
    let (admin, user) = (Address::generate(&env), Address::generate(&env));
    let id = env.register(PrepaidVault, (admin.clone(), admin, token));
    let vault = PrepaidVaultClient::new(&env, &id);
    mood.vault(&id);
    mood.mood(&Mood::Honest);
    vault.deposit(&user, &100);
    Custody { mood, vault, user }
}

#[test]
fn a_token_that_does_not_do_what_it_says_moves_no_balance() {
    let Custody { mood, vault, user } = custody();
    for lie in [
        Mood::MovesTooLittle,
        Mood::MovesTooMuch,
        Mood::MovesBackwards,
        Mood::MovesNothing,
        Mood::Traps,
        Mood::BalanceTraps,
        Mood::BalanceNeverChanges,
        Mood::BalanceIsNoNumber,
        Mood::BalanceOverflows,
        Mood::CallsBackAndInsists,
    ] {
        mood.mood(&lie);
        let failed = Err(VaultError::TokenFailed);
        assert_eq!(flat(vault.try_deposit(&user, &10)), failed, "{lie:?}");
        assert_eq!(flat(vault.try_withdraw(&user, &10)), failed, "{lie:?}");
        mood.mood(&Mood::Honest);
        assert_eq!(vault.balance_of(&user), 100, "{lie:?}");
        assert_eq!((vault.surplus(), vault.deficit()), (0, 0), "{lie:?}");
    }
}

#[test]
fn a_token_whose_balance_cannot_be_read_makes_no_surplus_and_no_deficit() {
    let Custody { mood, vault, .. } = custody();
    for lie in [Mood::BalanceTraps, Mood::BalanceIsNoNumber] {
        mood.mood(&lie);
        assert_eq!(flat(vault.try_surplus()), Err(VaultError::TokenFailed));
        assert_eq!(flat(vault.try_deficit()), Err(VaultError::TokenFailed));
    }
}

#[test]
fn a_token_that_calls_back_reaches_nothing() {
    let Custody { mood, vault, user } = custody();
    mood.mood(&Mood::CallsBackAndShrugs);
    vault.deposit(&user, &10);
    vault.withdraw(&user, &5);
    assert_eq!((vault.balance_of(&user), vault.surplus(), vault.deficit()), (105, 0, 0));
}
