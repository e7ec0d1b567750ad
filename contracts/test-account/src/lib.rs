//! An account contract for tests: one Ed25519 key signs for it. Not deployed anywhere but in tests.
#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]

use soroban_sdk::auth::{Context, CustomAccountInterface};
use soroban_sdk::crypto::Hash;
use soroban_sdk::{
    BytesN, Env, Vec, contract, contracterror, contractimpl, contracttype, symbol_short,
};

/// Why a signature is refused.
#[contracterror]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// There is not exactly one signature, or it is of another key.
    WrongSigner = 1,
}

/// One signature, in the form of a classic account's.
#[contracttype]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that signs.
    pub public_key: BytesN<32>,
    /// Its signature of the payload.
    pub signature: BytesN<64>,
}

/// The account.
#[contract]
pub struct TestAccount;

#[contractimpl]
impl TestAccount {
    /// Fixes the key that signs for the account.
    pub fn __constructor(env: Env, key: BytesN<32>) {
        env.storage().instance().set(&symbol_short!("key"), &key);
    }
}

#[contractimpl]
impl CustomAccountInterface for TestAccount {
    type Signature = Vec<Signature>;
    type Error = Error;

    fn __check_auth(
        env: Env,
        payload: Hash<32>,
        signatures: Vec<Signature>,
        _contexts: Vec<Context>,
    ) -> Result<(), Error> {
        let key: Option<BytesN<32>> = env.storage().instance().get(&symbol_short!("key"));
        let one = signatures.get(0).filter(|_| signatures.len() == 1).ok_or(Error::WrongSigner)?;
        if key != Some(one.public_key.clone()) {
            return Err(Error::WrongSigner);
        }
        env.crypto().ed25519_verify(&one.public_key, &payload.into(), &one.signature);
        Ok(())
    }
}
