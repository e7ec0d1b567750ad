//! Credentials: they go to the service they are for, and to nobody else (E1).

use std::fmt;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// What stands where a credential was.
const REMOVED: &[u8] = b"[credential removed]";
/// A shorter one would be found by chance.
pub const MIN_BYTES: usize = 8;

/// What proves to a service who asks.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
    secret: Zeroizing<String>,
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
        Ok(Self { header, value, secret })
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

/// Removes a credential from what a service answers, which may echo what it was sent.
#[derive(Debug)]
pub struct Scrubber {
    secret: Option<Zeroizing<Vec<u8>>>,
    /// The end of the last piece, which may be the beginning of the credential.
    carried: Vec<u8>,
}

impl Scrubber {
    /// For answers to requests with this credential.
    pub fn new(credential: Option<&Credential>) -> Self {
        let secret = credential.map(|one| Zeroizing::new(one.secret.as_bytes().to_vec()));
        Self { secret, carried: Vec::new() }
    }

    /// The piece without the credential. What could be the beginning of one waits for the next.
    pub fn feed(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(secret) = &self.secret else { return bytes };
        let mut all = std::mem::take(&mut self.carried);
        all.extend(bytes);
        let mut out = replace(&all, secret);
        // The longest end that the credential begins with.
        let longest = out.len().min(secret.len() - 1);
        let kept =
            (1..=longest).rev().find(|length| out.ends_with(&secret[..*length])).unwrap_or(0);
        self.carried = out.split_off(out.len() - kept);
        out
    }

    /// What still waited.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carried)
    }

    /// A whole text without the credential.
    pub fn text(&self, text: &str) -> String {
        match &self.secret {
            None => text.to_owned(),
            Some(secret) => String::from_utf8_lossy(&replace(text.as_bytes(), secret)).into_owned(),
        }
    }

    /// Whether the bytes hold the credential.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.secret.as_ref().is_some_and(|secret| find(bytes, secret).is_some())
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
    let first = *secret.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(secret) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
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
