//! One assertion that holds, and each way in which one does not.

extern crate std;

use std::format;
use std::string::String;
use std::vec::Vec as List;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};
use soroban_sdk::testutils::{BytesN as _, EnvTestConfig};
use soroban_sdk::{Address, IntoVal as _, InvokeError};

use super::*;

const WASM: &[u8] = include_bytes!("../../wasm/passkey_account.wasm");
const SITE: &str = "console.example";
/// The person is present and verified; the passkey may be backed up, and is.
const FLAGS: u8 = 0x01 | 0x04 | 0x08 | 0x10;

/// An account, the payload that the host asks it about, and what an authenticator would sign.
struct Fixture {
    env: Env,
    key: SigningKey,
    account: Address,
    payload: BytesN<32>,
    site: String,
    flags: u8,
    client: String,
}

impl Fixture {
    fn new() -> Self {
        Self::with(|env, args| env.register(PasskeyAccount, args))
    }

    fn with(register: impl Fn(&Env, (BytesN<65>, BytesN<32>)) -> Address) -> Self {
        let env = quiet();
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        let point: [u8; 65] = point.as_bytes().try_into().unwrap();
        let site: [u8; 32] = Sha256::digest(SITE).into();
        let args = (BytesN::from_array(&env, &point), BytesN::from_array(&env, &site));
        let account = register(&env, args);
        let payload = BytesN::random(&env);
        let client = client("webauthn.get", &payload);
        Self { env, key, account, payload, site: SITE.into(), flags: FLAGS, client }
    }

    fn data(&self) -> List<u8> {
        let mut data = Sha256::digest(&self.site).to_vec();
        data.push(self.flags);
        data.extend([0, 0, 0, 9]);
        data
    }

    fn sign(&self) -> WebAuthnSigData {
        let data = self.data();
        let signed = [data.as_slice(), &Sha256::digest(&self.client)].concat();
        let signature: Signature = self.key.sign(&signed);
        let signature = signature.normalize_s().unwrap_or(signature);
        WebAuthnSigData {
            signature: BytesN::from_array(&self.env, &signature.to_bytes().into()),
            authenticator_data: Bytes::from_slice(&self.env, &data),
            client_data: Bytes::from_slice(&self.env, self.client.as_bytes()),
        }
    }

    fn ask(&self, assertion: WebAuthnSigData) -> Result<(), u32> {
        let answer = self.env.try_invoke_contract_check_auth::<soroban_sdk::Error>(
            &self.account,
            &self.payload,
            assertion.into_val(&self.env),
            &Vec::new(&self.env),
        );
        answer.map_err(|refused| match refused {
            Ok(error) if error.is_type(soroban_sdk::xdr::ScErrorType::Contract) => error.get_code(),
            Err(InvokeError::Contract(code)) => code,
            Ok(_) | Err(InvokeError::Abort) => HOST,
        })
    }

    fn refused(&self) -> u32 {
        self.ask(self.sign()).unwrap_err()
    }
}

/// Stands for an error of the host, such as a wrong signature.
const HOST: u32 = 0;

/// A host that leaves no file behind.
fn quiet() -> Env {
    Env::new_with_config(EnvTestConfig { capture_snapshot_at_drop: false })
}

fn client(kind: &str, payload: &BytesN<32>) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(payload.to_array());
    format!(
        r#"{{"type":"{kind}","challenge":"{challenge}","origin":"https://{SITE}","crossOrigin":false}}"#
    )
}

#[test]
fn an_assertion_over_the_payload_is_accepted() {
    let fixture = Fixture::new();
    assert_eq!(fixture.ask(fixture.sign()), Ok(()));
    // A passkey that stays on its device.
    let alone = Fixture { flags: 0x01 | 0x04, ..Fixture::new() };
    assert_eq!(alone.ask(alone.sign()), Ok(()));
}

#[test]
fn the_committed_wasm_accepts_and_refuses_as_the_source_does() {
    let fixture = Fixture::with(|env, args| env.register(WASM, args));
    assert_eq!(fixture.ask(fixture.sign()), Ok(()));
    let other = Fixture { site: "other.example".into(), ..fixture };
    assert_eq!(other.refused(), Error::OtherSite as u32);
    let absent = Fixture { site: SITE.into(), flags: 0x04, ..other };
    assert_eq!(absent.refused(), 3116);
}

#[test]
fn an_assertion_for_another_site_is_refused() {
    let fixture = Fixture { site: "other.example".into(), ..Fixture::new() };
    assert_eq!(fixture.refused(), Error::OtherSite as u32);
}

#[test]
fn an_assertion_over_another_payload_is_refused() {
    let mut fixture = Fixture::new();
    let assertion = fixture.sign();
    fixture.payload = BytesN::random(&fixture.env);
    assert_eq!(fixture.ask(assertion), Err(3114));
}

#[test]
fn a_registration_is_no_assertion() {
    let mut fixture = Fixture::new();
    fixture.client = client("webauthn.create", &fixture.payload);
    assert_eq!(fixture.refused(), 3113);
}

#[test]
fn without_the_person_nothing_is_accepted() {
    assert_eq!(Fixture { flags: FLAGS & !0x01, ..Fixture::new() }.refused(), 3116);
    assert_eq!(Fixture { flags: FLAGS & !0x04, ..Fixture::new() }.refused(), 3117);
    assert_eq!(Fixture { flags: 0x01 | 0x04 | 0x10, ..Fixture::new() }.refused(), 3118);
}

#[test]
fn what_is_no_client_data_is_refused() {
    let unfinished = Fixture { client: r#"{"type":"webauthn.get""#.into(), ..Fixture::new() };
    assert_eq!(unfinished.refused(), 3112);
    let mut long = Fixture::new();
    long.client.push_str(&" ".repeat(1_024));
    assert_eq!(long.refused(), 3111);
}

#[test]
fn data_of_an_authenticator_that_is_cut_off_is_refused() {
    let fixture = Fixture::new();
    for length in [0, 31, 32, 36] {
        let whole = fixture.sign();
        let authenticator_data = whole.authenticator_data.slice(..length);
        assert_eq!(fixture.ask(WebAuthnSigData { authenticator_data, ..whole }), Err(3115));
    }
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let fixture = Fixture { key: SigningKey::from_slice(&[8; 32]).unwrap(), ..Fixture::new() };
    assert_eq!(fixture.refused(), HOST);
}

#[test]
fn what_was_changed_after_signing_is_refused() {
    let fixture = Fixture::new();
    let whole = fixture.sign();
    let mut authenticator_data = whole.authenticator_data.clone();
    authenticator_data.set(36, 8);
    assert_eq!(fixture.ask(WebAuthnSigData { authenticator_data, ..whole.clone() }), Err(HOST));

    let client = fixture.client.replace("crossOrigin\":false", "crossOrigin\":true ");
    let client_data = Bytes::from_slice(&fixture.env, client.as_bytes());
    assert_eq!(fixture.ask(WebAuthnSigData { client_data, ..whole.clone() }), Err(HOST));

    // The other root of the same signature: the host takes the smaller one alone.
    let signature = Signature::from_slice(&whole.signature.to_array()).unwrap();
    let (r, s) = signature.split_scalars();
    let high = Signature::from_scalars(r, -s).unwrap();
    let signature = BytesN::from_array(&fixture.env, &high.to_bytes().into());
    assert_eq!(fixture.ask(WebAuthnSigData { signature, ..whole }), Err(HOST));
}

#[test]
#[should_panic(expected = "Error(Contract, #1)")]
fn a_key_in_another_form_makes_no_account() {
    let env = quiet();
    let site = BytesN::<32>::random(&env);
    env.register(PasskeyAccount, (BytesN::from_array(&env, &[2; 65]), site));
}

#[test]
fn the_key_can_be_read_and_the_wasm_holds_no_path() {
    let fixture = Fixture::with(|env, args| env.register(WASM, args));
    let key = PasskeyAccountClient::new(&fixture.env, &fixture.account).public_key();
    let point = fixture.key.verifying_key().to_encoded_point(false);
    assert_eq!(key.to_array().as_slice(), point.as_bytes());
    for path in ["/root", "/home", "/work", "/Users", "/tmp", ".cargo"] {
        assert!(!WASM.windows(path.len()).any(|part| part == path.as_bytes()), "{path}");
    }
}
