//! Credentials: they go to the service they are for, and to nobody else (E1).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::scrub::Forms;

/// A shorter one would be found by chance.
pub const MIN_BYTES: usize = 8;

/// What proves to a service who asks.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
    /// What is looked for in answers.
    forms: Arc<Forms>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: …)", self.header)
    }
}

impl Credential {
    /// `secret`, sent as the value of `header` after `prefix`.
    ///
    /// # Errors
    /// It cannot be sent; the text does not repeat it.
    pub fn new(header: &str, prefix: &str, secret: Zeroizing<String>) -> Result<Self, String> {
        let header = HeaderName::try_from(header)
            .map_err(|_| format!("{header:?} is no name of a header"))?;
        if secret.len() < MIN_BYTES {
            return Err(format!("a credential has at least {MIN_BYTES} bytes"));
        }
        let whole = Zeroizing::new(format!("{prefix}{}", &*secret));
        let mut value = HeaderValue::from_str(&whole)
            .map_err(|_| "it holds a character that no header may hold".to_owned())?;
        // Keeps it out of debug output, and out of HTTP/2's tables.
        value.set_sensitive(true);
        let forms = Arc::new(Forms::new(forms(&secret)));
        Ok(Self { header, value, forms })
    }

    /// The header it is sent in.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's value.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }

    pub(crate) fn forms(&self) -> &Arc<Forms> {
        &self.forms
    }
}

/// Signs that encoders in use escape, and how: of JSON, of .NET's JSON, of JSON for pages (Go, PHP,
/// Rails), of HTML by Go, by Mustache and its kin, and by Python and most others.
#[expect(clippy::type_complexity, reason = "a table of two columns")]
const ESCAPES: &[(&str, fn(char) -> String)] = &[
    ("\"\\", |sign| format!("\\{sign}")),
    ("\"&'+<>`", |sign| format!("\\u{:04X}", u32::from(sign))),
    ("&<>", |sign| format!("\\u{:04x}", u32::from(sign))),
    ("\"&'+<>", |sign| match sign {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        other => format!("&#{};", u32::from(other)),
    }),
    ("\"&'/<=>`", |sign| match sign {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        other => format!("&#x{:X};", u32::from(other)),
    }),
    ("\"&'<>", |sign| match sign {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        other => format!("&#x{:x};", u32::from(other)),
    }),
];

/// Every form in which a service may give a credential back without meaning to: as it is, in
/// capital or small letters alone, escaped as JSON, HTML or a URL has it, in base64 or hexadecimal,
/// and, of a pair for HTTP's basic scheme, what the base64 encodes.
///
/// None holds the end of a line: no header's value has one, and no name or password of the basic
/// scheme (RFC 7617, section 2, forbids control characters).
fn forms(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let mut add = |form: Vec<u8>| {
        let form = Zeroizing::new(form);
        if form.len() >= MIN_BYTES && !forms.contains(&form) {
            forms.push(form);
        }
    };
    add(secret.as_bytes().to_vec());
    add(secret.replace('/', "\\/").into_bytes());
    // Names of headers are in small letters.
    add(secret.to_ascii_lowercase().into_bytes());
    add(secret.to_ascii_uppercase().into_bytes());
    for (signs, escape) in ESCAPES {
        let escaped =
            |sign: char| if signs.contains(sign) { escape(sign) } else { sign.to_string() };
        add(secret.chars().map(escaped).collect::<String>().into_bytes());
    }
    let hex = |form: fn(u8) -> String| secret.bytes().map(form).collect::<String>().into_bytes();
    add(hex(|byte| format!("{byte:02x}")));
    add(hex(|byte| format!("{byte:02X}")));
    let percent = utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string();
    add(percent.to_lowercase().into_bytes());
    add(percent.into_bytes());
    // What browsers leave as it is in a query.
    let query: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    add(query.into_bytes());
    in_base64(secret.as_bytes(), &mut add);
    if let Ok(pair) = STANDARD.decode(secret)
        && let Ok(pair) = String::from_utf8(pair).map(Zeroizing::new)
        && !pair.contains(char::is_control)
        && let Some((_, password)) = pair.split_once(':')
    {
        add(pair.as_bytes().to_vec());
        add(password.as_bytes().to_vec());
        in_base64(password.as_bytes(), &mut add);
    }
    forms
}

/// The part of a base64 text that is the same whatever is before and after the bytes: there are
/// three, by where among three bytes they begin.
fn in_base64(bytes: &[u8], add: &mut impl FnMut(Vec<u8>)) {
    let plain = GeneralPurpose::new(&ALPHABET, NO_PAD);
    for before in 0..3_usize {
        let shifted = Zeroizing::new([&[0; 3][..before], bytes].concat());
        let text = Zeroizing::new(plain.encode(&*shifted));
        // Signs that also hold bits of a neighbour are left out, at either end.
        let (first, last) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        let Some(core) = text.get(first..last) else { continue };
        add(core.as_bytes().to_vec());
        add(core.replace('+', "-").replace('/', "_").into_bytes());
        add(core.replace('/', "\\/").into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::Scrubber;

    fn credential() -> Credential {
        let secret = Zeroizing::new("sk-aaab-secret".to_owned());
        Credential::new("authorization", "Bearer ", secret).unwrap()
    }

    #[test]
    fn it_is_never_shown() {
        assert_eq!(format!("{:?}", credential()), "Credential(authorization: …)");
        assert!(!format!("{:?}", credential().value()).contains("sk-"));
        let bad = Zeroizing::new("line\nend-of-secret".to_owned());
        let error = Credential::new("authorization", "", bad).unwrap_err();
        assert!(!error.contains("secret"), "{error}");
    }

    fn scrubbed(secret: &str, text: &str) -> String {
        let secret = Zeroizing::new(secret.to_owned());
        let credential = Credential::new("authorization", "Basic ", secret).unwrap();
        Scrubber::new(Some(&credential)).text(text)
    }

    #[test]
    fn it_is_found_in_every_form_that_a_service_may_echo() {
        let secret = "sk-a/b+c=d.0123456789";
        for echo in [
            "sk-a\\/b+c=d.0123456789".to_owned(),
            "sk%2Da%2Fb%2Bc%3Dd%2E0123456789".to_owned(),
            "sk%2da%2fb%2bc%3dd%2e0123456789".to_owned(),
            "sk-a%2Fb%2Bc%3Dd.0123456789".to_owned(),
            "sk-a/b\\u002Bc=d.0123456789".to_owned(),
            "sk-a/b&#43;c=d.0123456789".to_owned(),
            "sk-a&#x2F;b+c&#x3D;d.0123456789".to_owned(),
            "SK-A/B+C=D.0123456789".to_owned(),
            "736b2d612f622b633d642e30313233343536373839".to_owned(),
        ] {
            assert_eq!(scrubbed(secret, &format!("<{echo}>")), "<[credential removed]>", "{echo}");
        }
        // In base64 together with what is before and after, at every place.
        for before in ["", "a", "ab", "Bearer "] {
            let whole = STANDARD.encode(format!("{before}{secret}!"));
            for text in [whole.clone(), whole.replace('+', "-").replace('/', "_")] {
                let out = scrubbed(secret, &text);
                assert!(out.contains("[credential removed]"), "{before:?}: {out}");
                let left = out.replace("[credential removed]", "");
                assert!(left.len() < 16, "{before:?}: {left}");
            }
        }
        assert_eq!(scrubbed("sk-\"a\\b\"-0123", r#"<sk-\"a\\b\"-0123>"#), "<[credential removed]>");
        // What no header may hold is no pair of the basic scheme.
        let other = STANDARD.encode("robot:correct\nhorse");
        assert_eq!(scrubbed(&other, "robot:correct\nhorse"), "robot:correct\nhorse");
        // Of HTTP's basic scheme: the pair and its password.
        let pair = STANDARD.encode("robot:correct-horse");
        for (echo, left) in [
            (&*format!("Basic {pair}"), "Basic [credential removed]"),
            ("user robot:correct-horse", "user [credential removed]"),
            ("password correct-horse.", "password [credential removed]."),
            ("robot alone", "robot alone"),
        ] {
            assert_eq!(scrubbed(&pair, echo), left);
        }
    }
}
