//! The challenge of a contract account (SEP-45): authorisations of one call of the gateway's web
//! authentication contract, which is only ever simulated. The account's own code decides who may
//! sign for it.
//!
//! What is signed here is an authorisation on the network. It is therefore signed only for exactly
//! the call that a login is, and handed out only after a node has shown that the call changes
//! nothing but the notes that its signatures were used.

use stellar::web_auth::WebAuth;
use stellar::{Address, ChainError, Invocation, Keypair, Network, scval, tx};
use stellar_xdr::{
    LedgerKey, ReadXdr as _, ScAddress, ScVal, SorobanAddressCredentials,
    SorobanAuthorizationEntries, SorobanAuthorizationEntry, SorobanAuthorizedFunction,
    SorobanCredentials, WriteXdr as _,
};

use super::Terms;
use crate::context::Context;
use crate::error::{CliError, Result};

/// The longest challenge that is read, in bytes of base64.
const LONGEST: usize = 64 * 1024;

/// For how many ledgers the account's authorisation is good. The gateway uses it at once; anyone
/// who else saw it could only log in with it, where it was made for.
const LEDGERS: u32 = 100;

/// The arguments by their names in the standard.
const ACCOUNT: &str = "account";
const HOME_DOMAIN: &str = "home_domain";
const NONCE: &str = "nonce";
const WEB_AUTH_DOMAIN: &str = "web_auth_domain";
const WEB_AUTH_DOMAIN_ACCOUNT: &str = "web_auth_domain_account";

/// What a challenge was asked for.
pub(super) struct Asked<'a> {
    /// Domains and server.
    pub(super) terms: Terms<'a>,
    /// The contract account that logs in.
    pub(super) account: Address,
    /// The contract that `stellar.toml` names.
    pub(super) contract: WebAuth,
}

/// A challenge that is what it should be.
#[derive(Debug)]
pub(super) struct Checked {
    /// The call that both entries authorise, made anew here.
    call: Invocation,
    /// The account's entry, unsigned.
    own: SorobanAuthorizationEntry,
    /// The server's entry, with its signature.
    server: SorobanAuthorizationEntry,
}

/// Checks everything that a client must check before it signs. The error names the rule.
pub(super) fn check(
    network: &Network,
    text: &str,
    asked: &Asked<'_>,
) -> std::result::Result<Checked, String> {
    if text.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    let entries = SorobanAuthorizationEntries::from_xdr_base64(text, scval::limits())
        .map_err(|_| "its authorisation entries are not base64 of their XDR".to_owned())?;
    let entries = entries.0.as_slice();
    let [first, second] = entries else {
        return Err(format!(
            "it has {} authorisation entries, not those of the account and of the server alone",
            entries.len()
        ));
    };

    // One call for both: what the server has signed is what the account signs.
    if first.root_invocation != second.root_invocation {
        return Err("its entries authorise different calls".to_owned());
    }
    let call = call(first, asked)?;

    let server = of(entries, &asked.terms.server)
        .ok_or("it has no entry of the server's SIGNING_KEY".to_owned())?;
    let signed = credentials(server).map(|given| {
        tx::is_signed_by(network, &asked.terms.server, given, &server.root_invocation)
    });
    if !matches!(signed, Some(Ok(true))) {
        return Err("it is not signed by the server's SIGNING_KEY".to_owned());
    }
    let own = of(entries, &asked.account).ok_or("it has no entry of the account".to_owned())?;
    Ok(Checked { call, own: own.clone(), server: server.clone() })
}

/// The call that an entry authorises, if it is the login that was asked for and nothing beside it.
fn call(
    entry: &SorobanAuthorizationEntry,
    asked: &Asked<'_>,
) -> std::result::Result<Invocation, String> {
    let root = &entry.root_invocation;
    if !root.sub_invocations.is_empty() {
        return Err("it authorises further calls".to_owned());
    }
    let SorobanAuthorizedFunction::ContractFn(function) = &root.function else {
        return Err("it authorises no contract's function".to_owned());
    };
    if function.contract_address != asked.contract.0.to_sc() {
        return Err("it authorises a call of another contract than WEB_AUTH_CONTRACT_ID".to_owned());
    }
    if function.function_name.as_slice() != stellar::web_auth::FUNCTION.as_bytes() {
        return Err(format!("it authorises another function than {}", stellar::web_auth::FUNCTION));
    }
    let [ScVal::Map(Some(arguments))] = function.args.as_slice() else {
        return Err("its arguments are no map".to_owned());
    };
    let value = |name: &str| {
        arguments.iter().find_map(|entry| match (&entry.key, &entry.val) {
            (ScVal::Symbol(key), ScVal::String(value)) if key.as_slice() == name.as_bytes() => {
                std::str::from_utf8(value.as_slice()).ok()
            }
            _ => None,
        })
    };

    let (account, server) = (asked.account.to_string(), asked.terms.server.to_string());
    for (name, expected) in [
        (ACCOUNT, account.as_str()),
        (HOME_DOMAIN, asked.terms.home),
        (WEB_AUTH_DOMAIN, asked.terms.endpoint),
        (WEB_AUTH_DOMAIN_ACCOUNT, server.as_str()),
    ] {
        if value(name) != Some(expected) {
            return Err(format!("its {name} is not {expected}"));
        }
    }
    let nonce = value(NONCE).filter(|nonce| !nonce.is_empty());
    let nonce = nonce.ok_or_else(|| format!("it has no {NONCE}"))?;

    // Made anew from what was checked, so that there is nothing in it that was not looked at: a
    // further argument could name a further signer.
    let call = asked.contract.verify(&[
        (ACCOUNT, &account),
        (HOME_DOMAIN, asked.terms.home),
        (NONCE, nonce),
        (WEB_AUTH_DOMAIN, asked.terms.endpoint),
        (WEB_AUTH_DOMAIN_ACCOUNT, &server),
    ]);
    let call = call.map_err(|error| error.to_string())?;
    if call.to_xdr().map_err(|error| error.to_string())? != *function {
        return Err("it has arguments that a login has not".to_owned());
    }
    Ok(call)
}

/// Signs the account's entry and lets a node try both entries; what the gateway is sent.
///
/// # Errors
///
/// [`CliError::Usage`] when the account does not accept the signature, [`CliError::Bad`] when the
/// call would change something. Nothing is handed out then.
pub(super) async fn sign(
    context: &Context,
    key: &Keypair,
    checked: &Checked,
    asked: &Asked<'_>,
) -> Result<String> {
    let until = context.rpc.clock().await?.latest_ledger.saturating_add(LEDGERS);
    let own = tx::sign_entry(&context.network, key, &checked.own, until)?;
    let entries = [own, checked.server.clone()];

    let simulated = tx::simulate(&context.rpc, &checked.call, &entries).await;
    let simulated = simulated.map_err(|error| not_accepted(error, asked.account, key.address()))?;
    let written = &simulated.data.resources.footprint.read_write;
    if let Some(key) = written.iter().find(|key| !is_harmless(key, asked)) {
        return Err(CliError::bad(format!(
            "the gateway's login is refused: the call of {} would change {}, which a login must \
             not; nothing was sent",
            asked.contract.0,
            named(key)
        )));
    }

    let encoded = || CliError::Unknown("the signed entries have no XDR form".to_owned());
    SorobanAuthorizationEntries(entries.to_vec().try_into().map_err(|_| encoded())?)
        .to_xdr_base64(scval::limits())
        .map_err(|_| encoded())
}

/// Whether a login may write this entry: the notes that the two signatures were used, and the
/// contract's own instance, which a call restores where the network had archived it.
fn is_harmless(key: &LedgerKey, asked: &Asked<'_>) -> bool {
    let LedgerKey::ContractData(data) = key else { return false };
    let of = |address: &Address| data.contract == address.to_sc();
    match &data.key {
        ScVal::LedgerKeyNonce(_) => of(&asked.account) || of(&asked.terms.server),
        ScVal::LedgerKeyContractInstance => of(&asked.contract.0),
        _ => false,
    }
}

/// Whose entry it is, for a message.
fn named(key: &LedgerKey) -> String {
    match key {
        LedgerKey::ContractData(data) => {
            let owner = Address::try_from(&data.contract);
            owner.map_or_else(|_| "another entry".to_owned(), |owner| format!("data of {owner}"))
        }
        _ => "an entry that is no contract's data".to_owned(),
    }
}

fn not_accepted(error: ChainError, account: Address, key: Address) -> CliError {
    match error {
        ChainError::Contract { .. } | ChainError::Simulation { .. } => CliError::usage(format!(
            "the account {account}, or the gateway's contract, does not accept the login with a \
             signature of {key}: {error}; choose the key that signs for the account with --as. \
             Nothing was sent"
        )),
        ChainError::Archived { .. } => CliError::usage(format!(
            "the account {account}, or the gateway's login contract, is archived; restore it \
             first. Nothing was sent"
        )),
        error => error.into(),
    }
}

/// The entry of this address, where there is exactly one.
fn of<'a>(
    entries: &'a [SorobanAuthorizationEntry],
    address: &Address,
) -> Option<&'a SorobanAuthorizationEntry> {
    let address: ScAddress = address.to_sc();
    let mut found = entries
        .iter()
        .filter(|entry| credentials(entry).is_some_and(|given| given.address == address));
    found.next().filter(|_| found.next().is_none())
}

/// The address and signature of an entry; `None` for kinds that a login does not use.
const fn credentials(entry: &SorobanAuthorizationEntry) -> Option<&SorobanAddressCredentials> {
    match &entry.credentials {
        SorobanCredentials::Address(given) | SorobanCredentials::AddressV2(given) => Some(given),
        SorobanCredentials::SourceAccount | SorobanCredentials::AddressWithDelegates(_) => None,
    }
}

#[cfg(test)]
mod tests;
