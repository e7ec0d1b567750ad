//! Credentials: they go to the service they are for, and to nobody else (E1).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use http::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

/// What is put where a credential was.
const REMOVED: &[u8] = b"[credential removed]";
/// A shorter one would be found by chance.
pub const MIN_BYTES: usize = 8;

/// What proves to a service who asks.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
    /// What is looked for in answers; the longest first, so that none is found inside of another.
    forms: Arc<[Zeroizing<Vec<u8>>]>,
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
        let mut forms = forms(&secret);
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Ok(Self { header, value, forms: forms.into() })
    }

    /// The header it is sent in.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The header's value.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// Signs that encoders in use escape, and how: of .NET's JSON, of JSON for pages (Go, PHP, Rails),
/// of HTML by Go, by Mustache and its kin, and by Python and most others.
#[expect(clippy::type_complexity, reason = "a table of two columns")]
const ESCAPES: &[(&str, fn(char) -> String)] = &[
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

/// Removes a credential from what a service answers, which may echo what it was sent.
pub struct Scrubber {
    /// What is looked for.
    forms: Arc<[Zeroizing<Vec<u8>>]>,
    /// The end of the last piece, which may be the beginning of a form.
    carried: Vec<u8>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

impl Scrubber {
    /// For answers to requests with this credential.
    pub fn new(credential: Option<&Credential>) -> Self {
        let forms = credential.map(|one| Arc::clone(&one.forms)).unwrap_or_default();
        Self { forms, carried: Vec::new() }
    }

    /// The piece without the credential. What could be the beginning of one waits for the next.
    pub fn feed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.forms.is_empty() {
            return bytes;
        }
        let mut all = std::mem::take(&mut self.carried);
        all.extend(bytes);
        let mut out = self.replaced(&all);

        // The longest end that one of the forms begins with.
        let begun = |form: &Zeroizing<Vec<u8>>| {
            let end = &out[out.len() - out.len().min(form.len() - 1)..];
            let mut places = memchr::memchr_iter(form[0], end);
            places.find(|at| form.starts_with(&end[*at..])).map_or(0, |at| end.len() - at)
        };
        let kept = self.forms.iter().map(begun).max().unwrap_or(0);
        self.carried = out.split_off(out.len() - kept);
        out
    }

    /// What still waited.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carried)
    }

    /// A whole text without the credential.
    pub fn text(&self, text: &str) -> String {
        if self.finds(text.as_bytes()) {
            String::from_utf8_lossy(&self.replaced(text.as_bytes())).into_owned()
        } else {
            text.to_owned()
        }
    }

    /// Whether the bytes hold the credential.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| find(bytes, form).is_some())
    }

    fn replaced(&self, bytes: &[u8]) -> Vec<u8> {
        self.forms.iter().fold(bytes.to_vec(), |bytes, form| match find(&bytes, form) {
            Some(_) => replace(&bytes, form),
            None => bytes,
        })
    }
}

fn replace(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = find(rest, secret) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(REMOVED);
        rest = &rest[at + secret.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn find(bytes: &[u8], secret: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, secret)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        /// However an answer is cut into pieces, the credential is not in what comes out, and
        /// everything else is.
        #[test]
        fn no_piece_lets_it_through(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
            let text = "key sk-aaasksk-aaab-secret, sk-aaab-secretsk-aaab-secre!".as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            cuts.push(text.len());
            let mut scrubber = Scrubber::new(Some(&credential()));
            let mut out = Vec::new();
            let mut from = 0;
            for cut in cuts {
                out.extend(scrubber.feed(text[from..cut].to_vec()));
                from = cut;
            }
            out.extend(scrubber.finish());
            let expected = "key sk-aaask[credential removed], [credential removed]sk-aaab-secre!";
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
