//! SEP-45: a contract account proves itself by authorising a call of the web authentication
//! contract, which is only ever simulated. The account's own code (`__check_auth`) decides who may
//! sign for it.
//!
//! The challenge needs no row in the database: its nonce begins with the time, and the server's own
//! authorisation covers every argument.

use rand::TryRngCore as _;
use stellar::web_auth::{FUNCTION, WebAuth};
use stellar::{Address, ChainError, scval, tx};
use stellar_xdr::{
    ContractId, Hash, ReadXdr as _, ScAddress, ScVal, SorobanAddressCredentials,
    SorobanAuthorizationEntries, SorobanAuthorizationEntry, SorobanAuthorizedFunction,
    SorobanAuthorizedInvocation, SorobanCredentials, VecM, WriteXdr as _,
};
use wire::{Digest, Problem};

use crate::auth::{CHALLENGE_SECS, Login, Proof, invalid, now, refused};
use crate::error::{Error, Result};

/// The longest list of entries that is read, in bytes of base64: passkeys and policies fit.
const LONGEST: usize = 64 * 1024;
/// How many ledgers the server's authorisation is good: longer than [`CHALLENGE_SECS`] on a network
/// that closes one each second, and what counts is the time in the nonce.
const LEDGERS: u32 = 1_000;
/// The arguments, in the order of the map.
const ACCOUNT: &str = "account";
const HOME_DOMAIN: &str = "home_domain";
const NONCE: &str = "nonce";
const WEB_AUTH_DOMAIN: &str = "web_auth_domain";
const WEB_AUTH_DOMAIN_ACCOUNT: &str = "web_auth_domain_account";

/// The contract of this gateway.
///
/// # Errors
///
/// [`Problem::NotFound`] when there is none.
pub fn contract(login: &Login) -> Result<WebAuth> {
    login.contract.ok_or_else(|| {
        let text = "this gateway has no web authentication contract, so contracts cannot log in";
        Error::refused(Problem::NotFound, text)
    })
}

/// A challenge for a contract account: the entries to sign, as base64.
///
/// # Errors
///
/// [`Problem::InvalidRequest`] for another kind of account, [`Error::Chain`] when the network does
/// not simulate it.
pub async fn challenge(login: &Login, account: &str) -> Result<String> {
    let contract = contract(login)?;
    let account = match account.parse() {
        Ok(account @ Address::Contract(_)) => account,
        Ok(Address::Account(_)) => {
            return Err(invalid("account: an account (G…) logs in by SEP-10, at /auth"));
        }
        Err(_) => return Err(invalid("account: expected a contract account (C…)")),
    };
    let mut random = [0; 24];
    rand::rngs::OsRng
        .try_fill_bytes(&mut random)
        .map_err(|error| Error::Broken(format!("the system gave no randomness: {error}")))?;
    let nonce = format!("{}-{}", now(), hex::encode(random));
    let (account_text, server) = (account.to_string(), login.signer.address());
    let server_text = server.to_string();
    let call = contract.verify(&[
        (ACCOUNT, &account_text),
        (HOME_DOMAIN, &login.home_domain),
        (NONCE, &nonce),
        (WEB_AUTH_DOMAIN, &login.web_auth_domain),
        (WEB_AUTH_DOMAIN_ACCOUNT, &server_text),
    ])?;

    // The network says which authorisations the contract asks for. Any other than these two would
    // be asked of an account that has no part in the login.
    let simulated = login.within_limits(async {
        tx::simulate(&login.rpc, &call, &[]).await.map_err(|error| unusable(error, contract))
    });
    let simulated = simulated.await?;
    let invocation = SorobanAuthorizedInvocation {
        function: SorobanAuthorizedFunction::ContractFn(call.to_xdr()?),
        sub_invocations: VecM::default(),
    };
    let until = simulated.ledger.saturating_add(LEDGERS);
    let mut entries = Vec::with_capacity(2);
    for wanted in [account, server] {
        let proposed = simulated
            .auth
            .iter()
            .find_map(|entry| credentials(entry).filter(|given| given.address == wanted.to_sc()));
        let proposed = proposed.ok_or_else(|| {
            Error::Broken(format!("the web authentication contract does not ask {wanted}"))
        })?;
        let unsigned = SorobanAddressCredentials {
            address: wanted.to_sc(),
            nonce: proposed.nonce,
            signature_expiration_ledger: 0,
            signature: ScVal::Void,
        };
        entries.push(if wanted == server {
            let credentials =
                SorobanAddressCredentials { signature_expiration_ledger: until, ..unsigned };
            tx::sign_own(&login.network, &login.signer, credentials, &invocation)?
        } else {
            SorobanAuthorizationEntry {
                credentials: SorobanCredentials::Address(unsigned),
                root_invocation: invocation.clone(),
            }
        });
    }
    if simulated.auth.len() != entries.len() {
        let text = "the web authentication contract asks another account for an authorisation";
        return Err(Error::Broken(text.to_owned()));
    }
    let entries = SorobanAuthorizationEntries(entries.try_into().map_err(|_| encode())?);
    entries.to_xdr_base64(scval::limits()).map_err(|_| encode())
}

/// Checks signed entries: that this server made them, that they are still good, and that the
/// network accepts the account's authorisation.
///
/// # Errors
///
/// [`Problem::Unauthenticated`] naming the rule that it breaks, [`Error::Chain`] when the network
/// does not answer.
pub async fn verify(login: &Login, text: &str) -> Result<Proof> {
    let contract = contract(login)?;
    if text.len() > LONGEST {
        return Err(refused("the authorisation entries are too long"));
    }
    let entries = SorobanAuthorizationEntries::from_xdr_base64(text, scval::limits())
        .map_err(|_| refused("the authorisation entries are not base64 of their XDR"))?;
    let entries = entries.0.as_slice();
    let claim = read(login, contract, entries, now())?;
    let server_text = login.signer.address().to_string();
    let account_text = claim.account.to_string();
    let call = contract.verify(&[
        (ACCOUNT, &account_text),
        (HOME_DOMAIN, &login.home_domain),
        (NONCE, &claim.nonce),
        (WEB_AUTH_DOMAIN, &login.web_auth_domain),
        (WEB_AUTH_DOMAIN_ACCOUNT, &server_text),
    ])?;
    let checked = login.within_limits(async { Ok(tx::simulate(&login.rpc, &call, entries).await) });
    match checked.await? {
        Ok(_) => {}
        // The node answered; the account's code, or the host, said no.
        Err(ChainError::Contract { .. } | ChainError::Simulation { .. }) => {
            return Err(refused("the network does not accept the account's authorisation"));
        }
        Err(ChainError::Archived { .. }) => {
            return Err(refused("the account or the contract is archived; restore it first"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Proof {
        subject: account_text,
        account: claim.account,
        challenge: (*Digest::of(claim.nonce.as_bytes()).as_bytes()).into(),
        expires_at: claim.expires_at,
    })
}

struct Claim {
    account: Address,
    nonce: String,
    expires_at: u64,
}

/// Every rule of the SEP that needs no network.
fn read(
    login: &Login,
    contract: WebAuth,
    entries: &[SorobanAuthorizationEntry],
    now: u64,
) -> Result<Claim> {
    let server = login.signer.address();
    let [first, second] = entries else {
        return Err(refused("expected the account's and the server's authorisation entries"));
    };
    if first.root_invocation != second.root_invocation {
        return Err(refused("the entries authorise different calls"));
    }
    let call = &first.root_invocation;
    let Address::Contract(id) = contract.0 else { return Err(encode()) };
    let SorobanAuthorizedFunction::ContractFn(function) = &call.function else {
        return Err(refused("the entries authorise no contract's function"));
    };
    if function.contract_address != ScAddress::Contract(ContractId(Hash(id)))
        || function.function_name.as_slice() != FUNCTION.as_bytes()
        || !call.sub_invocations.is_empty()
    {
        return Err(refused("the entries authorise something else than a login here"));
    }
    let [ScVal::Map(Some(map))] = function.args.as_slice() else {
        return Err(refused("the arguments are no map"));
    };
    let value = |name: &str| {
        map.iter().find_map(|entry| match (&entry.key, &entry.val) {
            (ScVal::Symbol(key), ScVal::String(value)) if key.as_slice() == name.as_bytes() => {
                std::str::from_utf8(value.as_slice()).ok()
            }
            _ => None,
        })
    };
    let ours = value(HOME_DOMAIN) == Some(login.home_domain.as_str())
        && value(WEB_AUTH_DOMAIN) == Some(login.web_auth_domain.as_str())
        && value(WEB_AUTH_DOMAIN_ACCOUNT) == Some(server.to_string().as_str())
        && map.len() == 5;
    if !ours {
        return Err(refused("the entries are for another domain or server"));
    }
    let account = value(ACCOUNT).and_then(|text| text.parse().ok());
    let Some(account @ Address::Contract(_)) = account else {
        return Err(refused("the account is no contract"));
    };
    let nonce = value(NONCE).unwrap_or_default().to_owned();

    // The server's signature covers the call, and with it the nonce and its time.
    let own = [first, second]
        .into_iter()
        .find_map(|entry| credentials(entry).filter(|given| given.address == server.to_sc()));
    let own = own.ok_or_else(|| refused("the server's entry is missing"))?;
    if !tx::is_signed_by(&login.network, &server, own, call)? {
        return Err(refused("the entries were not made by this server"));
    }
    let theirs = [first, second]
        .into_iter()
        .any(|entry| credentials(entry).is_some_and(|given| given.address == account.to_sc()));
    if !theirs {
        return Err(refused("the account's entry is missing"));
    }
    let made_at = nonce.split_once('-').and_then(|(time, _)| time.parse::<u64>().ok());
    let expires_at = made_at.unwrap_or_default().saturating_add(CHALLENGE_SECS);
    if now > expires_at {
        return Err(refused("the challenge has expired; ask for another one"));
    }
    Ok(Claim { account, nonce, expires_at })
}

/// The address and signature of an entry; `None` for kinds that a login does not use.
const fn credentials(entry: &SorobanAuthorizationEntry) -> Option<&SorobanAddressCredentials> {
    match &entry.credentials {
        SorobanCredentials::Address(given) | SorobanCredentials::AddressV2(given) => Some(given),
        SorobanCredentials::SourceAccount | SorobanCredentials::AddressWithDelegates(_) => None,
    }
}

/// What the operator has to mend is said in the log; the caller learns that it is not theirs.
fn unusable(error: ChainError, contract: WebAuth) -> Error {
    match error {
        ChainError::Contract { .. } | ChainError::Simulation { .. } => Error::Broken(format!(
            "RUNNER_WEB_AUTH_CONTRACT_ID: {} does not answer as SEP-45 demands: {error}",
            contract.0
        )),
        error => error.into(),
    }
}

fn encode() -> Error {
    Error::Broken("the challenge has no XDR form".to_owned())
}
