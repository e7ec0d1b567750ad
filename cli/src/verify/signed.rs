//! The chain's facts as a signed statement: its signer vouches for what was on the chain.
//!
//! A bundle outlives what any node keeps. A user who verifies it then can only rely on a signer who
//! read the chain in time; the signature says who that was.

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use stellar::{Address, Keypair};
use wire::Digest;
use wire::statement::{Predicate, Statement, StatementError, Subject};

use super::facts::{self, ChainFacts};
use crate::context::Context;
use crate::error::{CliError, Result};

/// What was read from the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SeenFacts {
    facts: ChainFacts,
}

impl Predicate for SeenFacts {
    const TYPE: &'static str = "https://lumio.dev/attestation/chain-facts/v2";

    fn subject(&self) -> Vec<Subject> {
        // The same bytes as the file beside it, so that `sha256sum` compares the two.
        let text = serde_json::to_vec_pretty(&self.facts).unwrap_or_default();
        vec![Subject::new(facts::FILE, Digest::of(&text))]
    }

    fn check(&self) -> std::result::Result<(), StatementError> {
        if self.facts.kind == facts::FACTS_KIND {
            return Ok(());
        }
        Err(StatementError::Contradiction("the facts are of another kind than their statement"))
    }
}

/// The facts as their file has them.
///
/// # Errors
///
/// Never in practice: they have a JSON form.
pub fn facts_text(facts: &ChainFacts) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(facts)
        .map_err(|error| CliError::unknown("the chain's facts have no JSON form", error))
}

/// The facts in an envelope signed by `key`.
///
/// # Errors
///
/// [`CliError::Usage`] when the key's secret cannot be read.
pub fn sign(facts: &ChainFacts, key: &Keypair) -> Result<Vec<u8>> {
    let secret = stellar_strkey::ed25519::PrivateKey::from_string(&key.secret())
        .map_err(|_| CliError::usage("the key has no secret to sign with"))?;
    let statement = Statement::new(SeenFacts { facts: facts.clone() })
        .map_err(|error| CliError::unknown("the chain's facts cannot be stated", error))?;
    Ok(statement.sign(&SigningKey::from_bytes(&secret.0)).to_json())
}

/// The facts, if `key` signed them.
///
/// # Errors
///
/// [`CliError::Bad`] when it did not, or something else was signed.
pub fn open(envelope: &[u8], key: VerifyingKey) -> Result<ChainFacts> {
    let (statement, _) = Statement::<SeenFacts>::open(envelope, &[key]).map_err(|error| {
        CliError::bad(format!("{}: {}", facts::SIGNED_FILE, wire::causes(&error)))
    })?;
    Ok(statement.into_predicate().facts)
}

/// Reads a signer: an address, 64 hex digits, or the name of a key of this machine.
///
/// # Errors
///
/// [`CliError::Usage`] when it is none of these, or a key under which forgery is easy.
pub fn key(context: &Context, text: &str) -> Result<VerifyingKey> {
    if let Some(key) = wire::dsse::parse_key(text) {
        return Ok(key);
    }
    let Address::Account(bytes) = context.keys.resolve(text)? else {
        return Err(CliError::usage(format!(
            "--trust {text}: a contract signs nothing; expected G…"
        )));
    };
    wire::dsse::parse_key(&hex::encode(bytes)).ok_or_else(|| {
        CliError::usage(format!("--trust {text}: this is no key that can be trusted"))
    })
}

/// Whom the facts rest on.
pub fn rests_on(key: &VerifyingKey, ledger: u32, time: u64) -> String {
    let date = crate::times::date(time).unwrap_or_else(|| time.to_string());
    format!(
        "what the chain holds: the key {} (hex {}), whose holder read it at ledger {ledger}, \
         {date}",
        Address::Account(key.to_bytes()),
        wire::dsse::key_id(key)
    )
}
