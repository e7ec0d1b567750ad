//! Challenges that are not what they should be: each is refused with the rule that it breaks.

use stellar_xdr::{
    ContractDataDurability, LedgerKeyAccount, LedgerKeyContractData, ScNonceKey,
    SorobanAuthorizedInvocation, VecM,
};

use super::*;

const HOME: &str = "gateway.example";
const ENDPOINT: &str = "login.example:8443";
const ENTRY_NONCE: i64 = 5;

fn network() -> Network {
    Network::standalone()
}

fn server() -> Keypair {
    Keypair::from_seed(&[1; 32])
}

fn account() -> Address {
    Address::Contract([2; 32])
}

fn contract() -> WebAuth {
    WebAuth(Address::Contract([3; 32]))
}

fn asked() -> Asked<'static> {
    let terms = Terms { home: HOME, endpoint: ENDPOINT, server: server().address() };
    Asked { terms, account: account(), contract: contract() }
}

/// The arguments of a challenge, of which one may be another.
fn arguments(changed: Option<(&'static str, &str)>) -> Vec<(&'static str, String)> {
    let mut arguments = vec![
        (ACCOUNT, account().to_string()),
        (HOME_DOMAIN, HOME.to_owned()),
        (NONCE, "1-abc".to_owned()),
        (WEB_AUTH_DOMAIN, ENDPOINT.to_owned()),
        (WEB_AUTH_DOMAIN_ACCOUNT, server().address().to_string()),
    ];
    if let Some((name, value)) = changed {
        arguments.retain(|(known, _)| *known != name);
        arguments.push((name, value.to_owned()));
    }
    arguments
}

fn root(call: &Invocation) -> SorobanAuthorizedInvocation {
    SorobanAuthorizedInvocation {
        function: SorobanAuthorizedFunction::ContractFn(call.to_xdr().unwrap()),
        sub_invocations: VecM::default(),
    }
}

fn login(arguments: &[(&'static str, String)]) -> SorobanAuthorizedInvocation {
    let arguments: Vec<_> = arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
    root(&contract().verify(&arguments).unwrap())
}

fn unsigned(
    address: Address,
    root_invocation: &SorobanAuthorizedInvocation,
) -> SorobanAuthorizationEntry {
    let credentials = SorobanAddressCredentials {
        address: address.to_sc(),
        nonce: ENTRY_NONCE,
        signature_expiration_ledger: 0,
        signature: ScVal::Void,
    };
    SorobanAuthorizationEntry {
        credentials: SorobanCredentials::Address(credentials),
        root_invocation: root_invocation.clone(),
    }
}

/// What a server gives for a call: the account's entry and its own, signed by `signer`.
fn entries(call: &SorobanAuthorizedInvocation, signer: &Keypair) -> Vec<SorobanAuthorizationEntry> {
    let own = unsigned(server().address(), call);
    let signed = tx::sign_entry(&network(), signer, &own, 1_000).unwrap();
    vec![unsigned(account(), call), signed]
}

fn text(entries: Vec<SorobanAuthorizationEntry>) -> String {
    let entries = SorobanAuthorizationEntries(entries.try_into().unwrap());
    entries.to_xdr_base64(scval::limits()).unwrap()
}

/// What a challenge with these entries is refused for.
fn refusal(entries: Vec<SorobanAuthorizationEntry>) -> String {
    check(&network(), &text(entries), &asked()).unwrap_err()
}

#[test]
fn a_challenge_of_this_gateway_is_taken_whatever_the_order_of_its_entries() {
    let mut whole = entries(&login(&arguments(None)), &server());
    check(&network(), &text(whole.clone()), &asked()).unwrap();
    whole.reverse();
    let checked = check(&network(), &text(whole), &asked()).unwrap();
    assert_eq!(credentials(&checked.own).unwrap().address, account().to_sc());
    assert_eq!(root(&checked.call), checked.own.root_invocation);
}

#[test]
fn every_argument_is_what_was_asked_for() {
    let other = Keypair::from_seed(&[9; 32]).address().to_string();
    for (name, value) in [
        (ACCOUNT, Address::Contract([8; 32]).to_string()),
        (HOME_DOMAIN, "evil.example".to_owned()),
        (WEB_AUTH_DOMAIN, "evil.example".to_owned()),
        (WEB_AUTH_DOMAIN_ACCOUNT, other.clone()),
        (NONCE, String::new()),
    ] {
        let why = refusal(entries(&login(&arguments(Some((name, &value)))), &server()));
        assert!(why.contains(name), "{why}");
    }

    // A further signer, or anything else that the standard does not name for this login.
    for name in ["client_domain_account", "amount"] {
        let why = refusal(entries(&login(&arguments(Some((name, &other)))), &server()));
        assert!(why.contains("arguments that a login has not"), "{why}");
    }
}

#[test]
fn another_call_is_never_authorised() {
    let honest = login(&arguments(None));
    let mut transfer = honest.clone();
    let SorobanAuthorizedFunction::ContractFn(function) = &mut transfer.function else {
        panic!("no contract's function")
    };
    function.function_name = stellar_xdr::ScSymbol("transfer".try_into().unwrap());
    let elsewhere = WebAuth(Address::Contract([4; 32]));
    let named = arguments(None);
    let named: Vec<_> = named.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let elsewhere = root(&elsewhere.verify(&named).unwrap());

    let mut nested = honest.clone();
    nested.sub_invocations = vec![transfer.clone()].try_into().unwrap();
    for (call, rule) in [
        (nested, "further calls"),
        (elsewhere, "WEB_AUTH_CONTRACT_ID"),
        (transfer.clone(), "another function"),
    ] {
        let why = refusal(entries(&call, &server()));
        assert!(why.contains(rule), "{why}");
    }

    // The server signs a login, and the account is to sign something else.
    let mut two = entries(&honest, &server());
    two[0] = unsigned(account(), &transfer);
    assert!(refusal(two).contains("different calls"));
}

#[test]
fn entries_are_the_accounts_and_the_servers_and_the_server_has_signed() {
    let call = login(&arguments(None));
    let whole = entries(&call, &server());

    let why = refusal(entries(&call, &Keypair::from_seed(&[9; 32])));
    assert!(why.contains("not signed"), "{why}");
    let never = vec![unsigned(account(), &call), unsigned(server().address(), &call)];
    assert!(refusal(never).contains("not signed"));

    // The signature is of these arguments, not of others.
    let other = login(&arguments(Some((NONCE, "2-def"))));
    let mut moved = entries(&other, &server());
    moved[1].root_invocation = call.clone();
    moved[0].root_invocation = call.clone();
    assert!(refusal(moved).contains("not signed"));

    for count in [0, 1] {
        assert!(refusal(whole[..count].to_vec()).contains("authorisation entries"));
    }
    let third = [whole.clone(), vec![unsigned(Address::Contract([6; 32]), &call)]].concat();
    assert!(refusal(third).contains("3 authorisation entries"));
    assert!(refusal(vec![whole[1].clone(), whole[1].clone()]).contains("SIGNING_KEY"));
    let stranger = unsigned(Address::Contract([6; 32]), &call);
    assert!(refusal(vec![stranger, whole[1].clone()]).contains("no entry of the account"));
}

#[test]
fn what_is_no_list_of_entries_is_refused() {
    for text in ["", "AAAA", "no base64!", &"A".repeat(LONGEST + 1)] {
        assert!(check(&network(), text, &asked()).is_err());
    }
}

#[test]
fn a_login_writes_nothing_but_that_its_signatures_were_used() {
    let data = |contract: &Address, key: ScVal| {
        LedgerKey::ContractData(LedgerKeyContractData {
            contract: contract.to_sc(),
            key,
            durability: ContractDataDurability::Persistent,
        })
    };
    let nonce = || ScVal::LedgerKeyNonce(ScNonceKey { nonce: ENTRY_NONCE });
    let asked = asked();
    for harmless in [
        data(&account(), nonce()),
        data(&server().address(), nonce()),
        data(&contract().0, ScVal::LedgerKeyContractInstance),
    ] {
        assert!(is_harmless(&harmless, &asked), "{harmless:?}");
    }
    let Address::Account(server) = server().address() else { panic!("no account") };
    for harmful in [
        data(&account(), ScVal::LedgerKeyContractInstance),
        data(&account(), scval::symbol("balance").unwrap()),
        data(&Address::Contract([6; 32]), nonce()),
        data(&contract().0, scval::symbol("logins").unwrap()),
        LedgerKey::Account(LedgerKeyAccount {
            account_id: stellar_xdr::AccountId(stellar_xdr::PublicKey::PublicKeyTypeEd25519(
                stellar_xdr::Uint256(server),
            )),
        }),
    ] {
        assert!(!is_harmless(&harmful, &asked), "{harmful:?}");
        assert!(!named(&harmful).is_empty());
    }
}
