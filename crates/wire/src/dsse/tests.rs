use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

#[test]
fn a_signed_payload_comes_back_with_its_signer() {
    let envelope = Envelope::parse(&sign(IN_TOTO, b"fact", &key(1)).to_json()).unwrap();
    let accepted = [key(2).verifying_key(), key(1).verifying_key()];

    let (payload, signer) = envelope.verify(&accepted).unwrap();

    assert_eq!((payload.as_slice(), signer), (b"fact".as_slice(), key(1).verifying_key()));
}

#[test]
fn the_signed_text_is_the_one_of_the_specification() {
    // The example of the DSSE protocol document.
    let text = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
    assert_eq!(text, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}

#[test]
fn no_accepted_key_means_no_trust() {
    let envelope = sign(IN_TOTO, b"fact", &key(1));
    for accepted in [vec![], vec![key(2).verifying_key()]] {
        assert!(matches!(envelope.verify(&accepted), Err(DsseError::Untrusted(_))));
    }
}

#[test]
fn a_key_hint_is_not_trusted() {
    let mut envelope = sign(IN_TOTO, b"fact", &key(1));
    envelope.signatures[0].keyid = key_id(&key(2).verifying_key());

    assert!(matches!(envelope.verify(&[key(2).verifying_key()]), Err(DsseError::Untrusted(_))));
    assert!(envelope.verify(&[key(1).verifying_key()]).is_ok());
}

#[test]
fn a_changed_payload_type_or_payload_is_refused() {
    let accepted = [key(1).verifying_key()];
    let mut other = sign("text/plain", b"fact", &key(1));
    assert!(matches!(other.verify(&accepted), Err(DsseError::PayloadType { .. })));
    other.payload_type = IN_TOTO.to_owned();
    assert!(matches!(other.verify(&accepted), Err(DsseError::Untrusted(_))));

    let mut changed = sign(IN_TOTO, b"fact", &key(1));
    changed.payload = STANDARD.encode(b"fake");
    assert!(matches!(changed.verify(&accepted), Err(DsseError::Untrusted(_))));
    changed.payload = "***".to_owned();
    assert!(matches!(changed.verify(&accepted), Err(DsseError::Encoding(_))));
}

#[test]
fn a_weak_or_misspelt_key_is_no_key() {
    let good = key_id(&key(1).verifying_key());
    assert!(parse_key(&good).is_some());
    // The neutral element: under it, some signatures fit every message.
    let weak = format!("01{}", "00".repeat(31));
    for text in [&good[2..], "", weak.as_str(), "zz"] {
        assert!(parse_key(text).is_none(), "{text}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let blank = vec![b' '; MAX_ENVELOPE_BYTES + 1];
    assert!(matches!(Envelope::parse(&blank), Err(DsseError::TooLarge(_))));

    let mut envelope = sign(IN_TOTO, b"fact", &key(1));
    envelope.signatures = vec![envelope.signatures[0].clone(); MAX_SIGNATURES + 1];
    let accepted = [key(1).verifying_key()];
    assert!(matches!(envelope.verify(&accepted), Err(DsseError::TooManySignatures(_))));
    assert!(matches!(Envelope::parse(&envelope.to_json()), Err(DsseError::TooManySignatures(_))));
}
