//! Credentials: they go to the service they are for, and nowhere else (E1).

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use crate::scrub::Forms;

/// A shorter one would be found by chance. Blanks do not count, since forms are looked for without.
pub const MIN_BYTES: usize = 8;

/// The operator's credential for one service.
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
        if secret.bytes().filter(|byte| !byte.is_ascii_whitespace()).count() < MIN_BYTES {
            return Err(format!("a credential has at least {MIN_BYTES} bytes that are no blanks"));
        }
        let whole = Zeroizing::new(format!("{prefix}{}", &*secret));
        let mut value = HeaderValue::from_str(&whole)
            .map_err(|_| "it holds a character that no header may hold".to_owned())?;
        // Keeps it out of debug output, and out of HTTP/2's tables.
        value.set_sensitive(true);
        let forms = Arc::new(Forms::new(&forms(&secret), secret.len()));
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

/// Digits that encodings write bytes with: the signs, how many bits each stands for, and how many
/// bytes make whole digits.
const ENCODINGS: &[(&[u8], usize, usize)] = &[
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 6, 3),
    (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 5, 5),
    (b"0123456789abcdef", 4, 1),
];

/// Every form in which a service may give a credential back without meaning to: as it is, in
/// base64, base32 or hexadecimal, as a list of numbers, and, of a pair for HTTP's basic scheme,
/// what the base64 encodes. Their escapes, the size of their letters and what separates their parts
/// make no other forms: [`Forms`] looks for them in a text without these.
fn forms(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = encoded(secret.as_bytes());
    // RFC 7617, section 2, forbids control characters in names and passwords.
    if let Ok(pair) = STANDARD.decode(secret)
        && let Ok(pair) = String::from_utf8(pair).map(Zeroizing::new)
        && !pair.contains(char::is_control)
        && let Some((_, password)) = pair.split_once(':')
    {
        forms.push(Zeroizing::new(pair.as_bytes().to_vec()));
        forms.extend(encoded(password.as_bytes()));
    }
    forms
}

fn encoded(bytes: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    if bytes.len() < MIN_BYTES {
        return Vec::new();
    }
    let mut forms = vec![Zeroizing::new(bytes.to_vec())];
    for (alphabet, bits, group) in ENCODINGS {
        forms.extend((0..*group).map(|before| digits(bytes, before, *bits, alphabet)));
    }
    let listed = |number: fn(u8) -> String| {
        let text: String = bytes.iter().map(|byte| number(*byte)).collect();
        Zeroizing::new(text.into_bytes())
    };
    forms.push(listed(|byte| format!("0x{byte:02x}")));
    forms.push(listed(|byte| byte.to_string()));
    forms
}

/// The digits of an encoded text that are the same whatever comes after the bytes, and whatever the
/// `before` bytes before them are: those that hold bits of these bytes alone.
fn digits(bytes: &[u8], before: usize, bits: usize, alphabet: &[u8]) -> Zeroizing<Vec<u8>> {
    let bit = |at: usize| usize::from((bytes[at / 8] >> (7 - at % 8)) & 1);
    let digit = |first: usize| {
        let value = (first..first + bits).fold(0_usize, |value, at| (value << 1) | bit(at));
        alphabet[value]
    };
    let first = (bits - 8 * before % bits) % bits;
    let ends = (first + bits..=8 * bytes.len()).step_by(bits);
    Zeroizing::new(ends.map(|end| digit(end - bits)).collect())
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
        let each = |form: fn(u8) -> String| secret.bytes().map(form).collect::<String>();
        for echo in [
            // Escaped in part, as common libraries do, each in its own way.
            r"sk-a\/b+c=d.0123456789",
            "sk%2Da%2Fb%2Bc%3Dd%2E0123456789",
            "sk%2da%2fb%2bc%3dd%2e0123456789",
            "sk-a%2Fb%2Bc%3Dd.0123456789",
            "sk-a/b%2Bc%3Dd.0123456789",
            "sk-a/b%2bc=d.0123456789",
            r"sk-a/b\u002Bc\u003Dd.0123456789",
            r"sk-a/b\u002bc\u003dd.0123456789",
            r"sk\x2da\x2fb\x2bc=d.0123456789",
            r"sk\055a\057b\053c=d.0123456789",
            "sk-a/b&#43;c=d.0123456789",
            "sk-a&#x2F;b+c&#x3D;d.0123456789",
            "sk-a&#0047;b&plus;c&equals;d&period;0123456789",
            "sk-a/b+c=3Dd.0123456789",
            "sk=2Da=2Fb=2Bc=3Dd=2E01234=\r\n56789",
            // Twice, or in two ways.
            "sk%252Da%252Fb%252Bc%253Dd%252E0123456789",
            r"sk-a\\/b\\u002bc=d.0123456789",
            "sk-a/b&amp;#43;c=d.0123456789",
            r"sk-a\u0026#47;b+c=d.0123456789",
            // Made into a name, or into lines.
            "SK-A/B+C=D.0123456789",
            "sk_a_b_c_d_0123456789",
            "sk-a/b+c=d.01\r\n 23456789",
            // In numbers.
            &each(|byte| format!("{byte:02x}")),
            &each(|byte| format!("{byte:02X}")),
            each(|byte| format!("{byte:02x}:")).trim_end_matches(':'),
            each(|byte| format!("{byte:02x} ")).trim_end(),
            each(|byte| format!("0x{byte:02x}, ")).trim_end_matches(", "),
            each(|byte| format!("{byte},")).trim_end_matches(','),
            each(|byte| format!("{byte},\n  ")).trim_end_matches(",\n  "),
            &each(|byte| format!("%{byte:02X}")),
            &each(|byte| format!("\\x{byte:02x}")),
            &each(|byte| format!("\\u{byte:04x}")),
            &each(|byte| format!("\\{byte:03o}")),
            &each(|byte| format!("&#{byte};")),
            &each(|byte| format!("={byte:02X}")),
        ] {
            assert_eq!(scrubbed(secret, &format!("<{echo}>")), "<[credential removed]>", "{echo}");
        }
        assert_eq!(scrubbed("sk-\"a\\b\"-0123", r#"<sk-\"a\\b\"-0123>"#), "<[credential removed]>");
    }

    /// In base64 and base32 together with what is before and after, at every place, and in lines.
    #[test]
    fn it_is_found_within_what_is_encoded_as_a_whole() {
        let secret = "sk-a/b+c=d.0123456789";
        let mut texts = Vec::new();
        for before in ["", "a", "ab", "Bearer "] {
            texts.push(STANDARD.encode(format!("{before}{secret}!")));
        }
        // Of the secret after no, one, two, three, four and seven bytes; with `!` after it but for
        // the last.
        texts.extend(
            [
                "ONVS2YJPMIVWGPLEFYYDCMRTGQ2TMNZYHEQQ====",
                "IJZWWLLBF5RCWYZ5MQXDAMJSGM2DKNRXHA4SC===",
                "IJSXG2ZNMEXWEK3DHVSC4MBRGIZTINJWG44DSII=",
                "IJSWC43LFVQS6YRLMM6WILRQGEZDGNBVGY3TQOJB",
                "IJSWC4TTNMWWCL3CFNRT2ZBOGAYTEMZUGU3DOOBZEE======",
                "IJSWC4TFOIQHG2ZNMEXWEK3DHVSC4MBRGIZTINJWG44DS===",
            ]
            .map(str::to_owned),
        );
        for whole in texts {
            let lines = |width: usize, end: &str| {
                let lines: Vec<&str> = whole
                    .as_bytes()
                    .chunks(width)
                    .map(|line| str::from_utf8(line).unwrap())
                    .collect();
                lines.join(end)
            };
            for text in [
                whole.clone(),
                whole.replace('+', "-").replace('/', "_"),
                whole.replace('/', "\\/").replace('+', "\\u002b"),
                whole.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
                lines(4, "\n"),
                lines(20, "\r\n"),
                lines(20, "\r\n\t"),
                lines(20, "\\n"),
                lines(20, "\\r\\n"),
                lines(20, "%0D%0A"),
                lines(20, "&#10;"),
                lines(20, "\ndata: "),
            ] {
                let out = scrubbed(secret, &text);
                assert!(out.contains("[credential removed]"), "{text}: {out}");
                let left = out.replace("[credential removed]", "");
                let left = left.chars().filter(char::is_ascii_alphanumeric).count();
                assert!(left < 24, "{text}: {out}");
            }
        }
    }

    #[test]
    fn of_a_pair_for_the_basic_scheme_its_parts_are_found_too() {
        let pair = STANDARD.encode("robot:correct-horse");
        for (echo, left) in [
            (&*format!("Basic {pair}"), "Basic [credential removed]"),
            ("user robot:correct-horse", "user [credential removed]"),
            ("password correct-horse.", "password [credential removed]."),
            ("password correct%2Dhorse.", "password [credential removed]."),
            ("robot alone", "robot alone"),
        ] {
            assert_eq!(scrubbed(&pair, echo), left);
        }
        // What no header may hold is no pair of the basic scheme.
        let other = STANDARD.encode("robot:correct\nhorse");
        assert_eq!(scrubbed(&other, "robot:correct\nhorse"), "robot:correct\nhorse");
    }

    /// Punctuation at the ends of a credential goes with it, and one that is mostly punctuation is
    /// found by all its signs.
    #[test]
    fn signs_of_punctuation_belong_to_it() {
        assert_eq!(scrubbed("$!secret-word?#", "<$!secret-word?#>"), "<[credential removed]>");
        assert_eq!(scrubbed("$!secret-word?#", "<%24!secret-word%3f#>"), "<[credential removed]>");
        let signs = "p@$$/w0rd!?";
        for echo in [signs, "P@$$\\/W0RD!?", "p%40%24%24%2Fw0rd%21%3F", "p@$$&#47;w0rd!?"] {
            assert_eq!(scrubbed(signs, &format!("<{echo}>")), "<[credential removed]>", "{echo}");
        }
        assert_eq!(scrubbed(signs, "password, w0rd and p w0rd"), "password, w0rd and p w0rd");
        let blanks = Zeroizing::new("abc        ".to_owned());
        assert!(Credential::new("authorization", "", blanks).is_err());
    }
}
