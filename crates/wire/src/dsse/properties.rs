//! Whatever an envelope's bytes are: no panic, one reading, and no payload but the one that was
//! signed.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn accepted() -> [VerifyingKey; 2] {
    [SigningKey::from_bytes(&[2; 32]).verifying_key(), key().verifying_key()]
}

/// A reader of the signed text. That it gives back what was written shows that no two pairs share
/// one.
fn read_back(signed: &[u8]) -> Option<(String, Vec<u8>)> {
    fn field(rest: &[u8]) -> Option<(&[u8], &[u8])> {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        let length = std::str::from_utf8(&rest[..end]).ok()?.parse::<usize>().ok()?;
        rest[end + 1..].split_at_checked(length)
    }
    let (kind, rest) = field(signed.strip_prefix(b"DSSEv1 ")?)?;
    let (payload, rest) = field(rest.strip_prefix(b" ")?)?;
    rest.is_empty().then(|| (String::from_utf8_lossy(kind).into_owned(), payload.to_vec()))
}

/// Types and payloads that look like pieces of the signed text.
fn pieces() -> impl Strategy<Value = (String, Vec<u8>)> {
    let text = "(DSSEv1 |[0-9]{1,2} |[a-z/ ]|é){0,6}";
    (text, text.prop_map(String::into_bytes))
}

#[derive(Debug, Clone)]
enum Edit {
    Overwrite(Index, u8),
    Remove(Index),
    Double(Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Overwrite(at, byte)),
        any::<Index>().prop_map(Edit::Remove),
        any::<Index>().prop_map(Edit::Double),
    ];
    prop::collection::vec(edit, 1..4)
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        match edit {
            Edit::Overwrite(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Edit::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Edit::Double(at) => {
                let at = at.index(bytes.len());
                bytes.insert(at, bytes[at]);
            }
        }
    }
    bytes
}

/// Which payload an envelope proves, and by whom; `None`: nothing.
fn proves(envelope: &Envelope) -> Option<(Vec<u8>, VerifyingKey)> {
    envelope.verify_as(&envelope.payload_type, &accepted()).ok()
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_envelope(bytes in any::<Vec<u8>>()) {
        prop_assert!(Envelope::parse(&bytes).is_err());
    }

    #[test]
    fn json_like_text_is_no_envelope(text in r#"[\[\]{}:,"a0.eE+\-1 tfrualsn\\\u{e9}]{0,64}"#) {
        prop_assert!(Envelope::parse(text.as_bytes()).is_err());
    }

    #[test]
    fn what_is_signed_comes_back((kind, payload) in pieces(), bytes in any::<Vec<u8>>()) {
        for payload in [payload, bytes] {
            let envelope = sign(&kind, &payload, &key());
            let read = Envelope::parse(&envelope.to_json()).unwrap();
            prop_assert_eq!(&read, &envelope);
            prop_assert_eq!(proves(&read), Some((payload, key().verifying_key())));
        }
    }

    #[test]
    fn no_two_pairs_of_type_and_payload_are_signed_alike((kind, payload) in pieces()) {
        let signed = pre_authentication_encoding(&kind, &payload);
        prop_assert_eq!(read_back(&signed), Some((kind, payload)));
    }

    /// A border moved between type and payload changes what is signed, so the signature no longer
    /// fits.
    #[test]
    fn a_moved_border_never_verifies((kind, payload) in pieces(), at in any::<Index>()) {
        let envelope = sign(&kind, &payload, &key());
        let whole = [kind.as_bytes(), &payload].concat();
        let at = at.index(whole.len() + 1);
        let Ok(other) = std::str::from_utf8(&whole[..at]) else { return Ok(()) };
        let moved = Envelope {
            payload_type: other.to_owned(),
            payload: STANDARD.encode(&whole[at..]),
            ..envelope
        };
        prop_assert_eq!(proves(&moved).is_some(), other == kind);
    }

    #[test]
    fn a_changed_bit_of_payload_type_or_signature_never_verifies(
        payload in prop::collection::vec(any::<u8>(), 1..64),
        at in any::<Index>(),
        bit in 0..8_u8,
        part in 0..3_u8,
    ) {
        let mut envelope = sign(IN_TOTO, &payload, &key());
        let flipped = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        };
        match part {
            0 => envelope.payload = STANDARD.encode(flipped(payload)),
            1 => {
                let signature = STANDARD.decode(&envelope.signatures[0].sig).unwrap();
                envelope.signatures[0].sig = STANDARD.encode(flipped(signature));
            }
            _ => match String::from_utf8(flipped(IN_TOTO.as_bytes().to_vec())) {
                Ok(kind) => envelope.payload_type = kind,
                Err(_) => return Ok(()),
            },
        }
        prop_assert_eq!(proves(&envelope), None);
        prop_assert_eq!(envelope.verify(&accepted()).ok(), None);
    }

    /// Whatever is done to the text of an envelope: it is refused, or proves nothing, or proves
    /// what was signed. And what is read prints as an envelope that proves the same.
    #[test]
    fn damage_never_proves_another_payload(
        payload in any::<Vec<u8>>(),
        damage in edits(),
    ) {
        let bytes = edited(sign(IN_TOTO, &payload, &key()).to_json(), &damage);
        let Ok(envelope) = Envelope::parse(&bytes) else { return Ok(()) };
        let again = Envelope::parse(&envelope.to_json()).unwrap();
        prop_assert_eq!(&again, &envelope);
        prop_assert_eq!(proves(&again), proves(&envelope));
        if let Some(proven) = proves(&envelope) {
            prop_assert_eq!(envelope.payload_type, IN_TOTO);
            prop_assert_eq!(proven, (payload, key().verifying_key()));
        }
    }

    /// A second member of a name is refused at any depth and whatever it holds, also one that
    /// is not known here.
    #[test]
    fn a_member_that_appears_twice_is_refused(
        name in "payload|payloadType|signatures|sig|keyid|later",
        (same, first) in any::<(bool, bool)>(),
    ) {
        let envelope = serde_json::to_value(sign(IN_TOTO, b"fact", &key())).unwrap();
        let of_signature = matches!(name.as_str(), "sig" | "keyid");
        let mut object =
            if of_signature { envelope["signatures"][0].clone() } else { envelope.clone() };
        object.as_object_mut().unwrap().entry(&name).or_insert("x".into());
        let value = if same { object[&name].clone() } else { "x".into() };
        let (text, member) = (object.to_string(), format!("{name:?}:{value}"));
        let inside = &text[1..text.len() - 1];
        let twice =
            if first { format!("{{{member},{inside}}}") } else { format!("{{{inside},{member}}}") };
        let twice = if of_signature {
            envelope.to_string().replace(&envelope["signatures"][0].to_string(), &twice)
        } else {
            twice
        };
        let error = Envelope::parse(twice.as_bytes()).unwrap_err();
        let names_it = |why: &dyn std::fmt::Display| why.to_string().contains("twice");
        prop_assert!(matches!(&error, DsseError::Malformed(why) if names_it(why)));
    }
}

#[test]
fn an_array_is_no_envelope_and_no_signature() {
    let envelope = sign(IN_TOTO, b"fact", &key());
    let EnvelopeSignature { keyid, sig } = &envelope.signatures[0];
    let whole = serde_json::json!([IN_TOTO, envelope.payload, [{"keyid": keyid, "sig": sig}]]);
    let inner = serde_json::json!({
        "payloadType": IN_TOTO, "payload": envelope.payload, "signatures": [[keyid, sig]],
    });
    for odd in [whole, inner] {
        let error = Envelope::parse(odd.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, DsseError::Malformed(_)), "{odd}");
    }
}

#[test]
fn members_that_are_not_known_are_ignored_as_the_specification_wants() {
    let mut envelope = serde_json::to_value(sign(IN_TOTO, b"fact", &key())).unwrap();
    envelope["later"] = serde_json::json!({"a": 1});
    envelope["signatures"][0]["later"] = serde_json::json!([1]);
    let read = Envelope::parse(envelope.to_string().as_bytes()).unwrap();
    assert!(proves(&read).is_some());
}

#[test]
fn base64_has_two_alphabets_and_no_other_freedom() {
    let payload = [0xfb, 0xff, 0xbf, 0xfe];
    let envelope = sign(IN_TOTO, &payload, &key());
    let with = |payload: String| proves(&Envelope { payload, ..envelope.clone() });
    assert_eq!(envelope.payload, "+/+//g==");
    assert!(with("-_-__g==".to_owned()).is_some(), "the other alphabet says the same bytes");
    for odd in ["+/-__g==", "+/+//g", "+/+//g=", "+/+//h==", "+/+/ /g==", "+/+//g==\n", "====", ""]
    {
        assert_eq!(with(odd.to_owned()), None, "{odd:?}");
    }
}
