//! An account that one passkey signs for: a WebAuthn credential of the kind ES256.
//!
//! What is signed is the host's signature payload, which covers the network, the call with all its
//! arguments, the nonce and the ledger until which it holds. An authenticator gets it as the
//! challenge of an assertion. `stellar-accounts` checks the assertion; what it leaves to others,
//! that the assertion was made for this account's web site, is checked here.
//!
//! The key is fixed when the account is created. There is no administrator, no upgrade and no way
//! to replace the key: who loses the passkey loses the account.
#![no_std]
#![expect(missing_docs, reason = "the contract macros make public items of their own")]

use soroban_sdk::auth::{Context, CustomAccountInterface};
use soroban_sdk::crypto::Hash;
use soroban_sdk::{
    Bytes, BytesN, Env, Vec, contract, contracterror, contractimpl, panic_with_error, symbol_short,
};
use stellar_accounts::verifiers::webauthn::{self, WebAuthnSigData};

/// How many ledgers the account is kept when it is used: about 120 days of 5 seconds.
const KEEP_LEDGERS: u32 = 120 * 17_280;
/// It is renewed at most once in 30 days: a renewal costs rent.
const RENEW_BELOW_LEDGERS: u32 = 90 * 17_280;
/// The first bytes of the authenticator's data are the digest of the web site's name.
const RP_ID_HASH_BYTES: u32 = 32;

/// Why an account is not created, or a signature is refused. What is wrong with an assertion else
/// is said by the numbers 3110 to 3119 of `stellar-accounts`.
#[contracterror]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Error {
    /// The public key is not an uncompressed point (SEC 1, section 2.3.3).
    InvalidKey = 1,
    /// The assertion was made for another web site.
    OtherSite = 2,
    /// The account has no key: it was not created by its constructor.
    NotSetUp = 3,
}

/// The account.
#[contract]
pub struct PasskeyAccount;

#[contractimpl]
impl PasskeyAccount {
    /// Fixes the passkey: its public key, as an uncompressed point of the curve P-256, and the
    /// SHA-256 of the web site's name (the relying party's identifier) that it was made for.
    pub fn __constructor(env: Env, public_key: BytesN<65>, rp_id_hash: BytesN<32>) {
        if public_key.get(0) != Some(4) {
            panic_with_error!(&env, Error::InvalidKey);
        }
        env.storage().instance().set(&symbol_short!("key"), &public_key);
        env.storage().instance().set(&symbol_short!("site"), &rp_id_hash);
    }

    /// The public key that signs for the account.
    pub fn public_key(env: Env) -> Result<BytesN<65>, Error> {
        env.storage().instance().get(&symbol_short!("key")).ok_or(Error::NotSetUp)
    }
}

#[contractimpl]
impl CustomAccountInterface for PasskeyAccount {
    type Signature = WebAuthnSigData;
    type Error = Error;

    /// Accepts an assertion over exactly this payload, for this account's web site, by this
    /// account's key, with the person present and verified.
    fn __check_auth(
        env: Env,
        payload: Hash<32>,
        assertion: WebAuthnSigData,
        _contexts: Vec<Context>,
    ) -> Result<(), Error> {
        let public_key = Self::public_key(env.clone())?;
        let site: Option<BytesN<32>> = env.storage().instance().get(&symbol_short!("site"));
        let site = Bytes::from(site.ok_or(Error::NotSetUp)?);
        let data = &assertion.authenticator_data;
        // Data that is too short is refused below by the library, under its own number.
        if data.len() >= RP_ID_HASH_BYTES && data.slice(..RP_ID_HASH_BYTES) != site {
            return Err(Error::OtherSite);
        }
        // Ends the call with an error of the library or the host unless everything holds.
        if !webauthn::verify(&env, &payload.to_bytes().into(), &public_key, &assertion) {
            panic_with_error!(&env, webauthn::WebAuthnError::SignaturePayloadInvalid);
        }
        env.storage().instance().extend_ttl(RENEW_BELOW_LEDGERS, KEEP_LEDGERS);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
