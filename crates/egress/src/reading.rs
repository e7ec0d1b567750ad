//! A text with its escapes undone, as readers of URLs, JSON, HTML and mail see it.

/// The bytes of a text, and where in the text each of them comes from.
pub(crate) struct Reading {
    pub(crate) bytes: Vec<u8>,
    /// Where each byte begins in the text, and the length of the text at the end.
    pub(crate) from: Vec<usize>,
}

/// Most bytes of an HTML character reference, for which the search for its end is bounded.
const MAX_REFERENCE: usize = 12;

impl Reading {
    /// A text as it is.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self { bytes: text.to_vec(), from: (0..=text.len()).collect() }
    }

    /// One layer of escapes undone: percent-encoding, backslashes, and HTML's character references.
    /// Nothing if there are none.
    pub(crate) fn unescaped(&self) -> Option<Self> {
        self.undone(unescape)
    }

    /// Quoted-printable undone (RFC 2045). It is apart from the other escapes because `=` also
    /// stands before values that are not escaped. Nothing if it changes nothing.
    pub(crate) fn unquoted(&self) -> Option<Self> {
        self.undone(unquote)
    }

    /// `undo` appends what the escape at the beginning of a text stands for and returns how long
    /// the escape is: always longer than what it stands for, and 0 where there is none.
    fn undone(&self, undo: fn(&[u8], &mut Vec<u8>) -> usize) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut from = Vec::with_capacity(self.from.len());
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let length = match undo(&self.bytes[at..], &mut bytes) {
                0 => {
                    bytes.push(*byte);
                    1
                }
                length => length,
            };
            from.resize(bytes.len(), self.from[at]);
            at += length;
        }
        from.push(self.from[at]);
        (bytes.len() < self.bytes.len()).then_some(Self { bytes, from })
    }
}

fn unescape(rest: &[u8], out: &mut Vec<u8>) -> usize {
    match rest {
        [b'%', ..] => byte(rest.get(1..3), 16, 3, out),
        [b'\\', b'x', ..] => byte(rest.get(2..4), 16, 4, out),
        [b'\\', b'0'..=b'7', ..] => byte(rest.get(1..4), 8, 4, out),
        [b'\\', b'u', b'{', ..] => delimited(rest, 3, b'}', 16, out),
        [b'\\', b'u', ..] => character(rest.get(2..6), 16, 6, out),
        [b'\\', b'U', ..] => character(rest.get(2..10), 16, 10, out),
        // Blanks, of which none is a part of a form.
        [b'\\', b'b' | b'f' | b'n' | b'r' | b't' | b'v', ..] => put(b' ', 2, out),
        [b'\\', escaped, ..] => put(*escaped, 2, out),
        [b'&', b'#', b'x' | b'X', ..] => delimited(rest, 3, b';', 16, out),
        [b'&', b'#', ..] => delimited(rest, 2, b';', 10, out),
        [b'&', ..] => named(rest, out),
        // What a stream of events has in place of a line end within its data.
        [b'\n' | b'\r', b'd', b'a', b't', b'a', b':', ..] => put(b' ', 6, out),
        _ => 0,
    }
}

fn unquote(rest: &[u8], out: &mut Vec<u8>) -> usize {
    match rest {
        [b'=', b'\r', b'\n', ..] => 3,
        [b'=', b'\n', ..] => 2,
        [b'=', ..] => byte(rest.get(1..3), 16, 3, out),
        _ => 0,
    }
}

fn put(byte: u8, length: usize, out: &mut Vec<u8>) -> usize {
    out.push(byte);
    length
}

/// An escape that stands for one byte.
fn byte(digits: Option<&[u8]>, radix: u32, length: usize, out: &mut Vec<u8>) -> usize {
    let number = digits.and_then(|digits| number(digits, radix));
    match number.and_then(|number| u8::try_from(number).ok()) {
        Some(byte) => put(byte, length, out),
        None => 0,
    }
}

/// An escape that stands for a Unicode character.
fn character(digits: Option<&[u8]>, radix: u32, length: usize, out: &mut Vec<u8>) -> usize {
    let number = digits.and_then(|digits| number(digits, radix));
    match number.and_then(char::from_u32) {
        Some(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            length
        }
        None => 0,
    }
}

/// The same, with digits from `begin` to the sign `end`.
fn delimited(rest: &[u8], begin: usize, end: u8, radix: u32, out: &mut Vec<u8>) -> usize {
    match rest.iter().take(MAX_REFERENCE).position(|byte| *byte == end) {
        Some(at) if at > begin => character(rest.get(begin..at), radix, at + 1, out),
        _ => 0,
    }
}

/// A named reference of HTML. Those that an escape may begin with again are told apart; all others
/// that a credential may hold stand for punctuation.
fn named(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let Some(end) = rest.iter().take(MAX_REFERENCE).position(|byte| *byte == b';') else {
        return 0;
    };
    let name = &rest[1..end];
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphabetic) {
        return 0;
    }
    let sign = match name {
        b"amp" => b'&',
        b"lt" => b'<',
        b"gt" => b'>',
        b"quot" => b'"',
        b"apos" => b'\'',
        b"bsol" => b'\\',
        b"percnt" => b'%',
        _ => b' ',
    };
    put(sign, end + 1, out)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescaped(text: &str) -> String {
        let reading = Reading::of(text.as_bytes()).unescaped();
        reading.map_or_else(|| text.to_owned(), |one| String::from_utf8(one.bytes).unwrap())
    }

    #[test]
    fn one_layer_is_undone_at_a_time() {
        for (text, expected) in [
            ("a%2Fb%2f%zz%2", "a/b/%zz%2"),
            (r"\x2f\057\u002F\u{2f}\U0000002F\/", "//////"),
            (r"\\u002f\n\8\", "\\u002f 8\\"),
            ("&#47;&#x2F;&#X0002f;&sol;&amp;#47;&#;&;&no", "/// &#47;&#;&;&no"),
            (r"\u00e9&#233;%C3%A9\303\251", "éééé"),
            ("data: a\r\ndata: b\ndata:c", "data: a\r  b c"),
            ("%252D", "%2D"),
            ("plain = text", "plain = text"),
            // Of a character above U+FFFF each half stays as it is.
            (r"\ud83d", r"\ud83d"),
        ] {
            assert_eq!(unescaped(text), expected, "{text}");
        }
        let quoted = Reading::of(b"key=3Dab=\r\nc=\nd=zz").unquoted().unwrap();
        assert_eq!(quoted.bytes, b"key=abcd=zz");
    }

    #[test]
    fn each_byte_is_known_by_where_it_comes_from() {
        let text = Reading::of(b"a%252Fb");
        let once = text.unescaped().unwrap();
        assert_eq!(
            (once.bytes.as_slice(), once.from.as_slice()),
            (&b"a%2Fb"[..], &[0, 1, 4, 5, 6, 7][..])
        );
        let twice = once.unescaped().unwrap();
        assert_eq!(
            (twice.bytes.as_slice(), twice.from.as_slice()),
            (&b"a/b"[..], &[0, 1, 6, 7][..])
        );
        assert!(twice.unescaped().is_none());
    }

    proptest! {
        /// No text makes it panic, and it never has more than the text.
        #[test]
        fn any_text_is_read(text in r"[%\\&#;xu=0-9a-f{}\r\ndat:]{0,60}") {
            let reading = Reading::of(text.as_bytes());
            for read in [reading.unescaped(), reading.unquoted()].into_iter().flatten() {
                prop_assert!(read.bytes.len() < text.len());
                prop_assert_eq!(read.from.len(), read.bytes.len() + 1);
                prop_assert!(read.from.is_sorted());
                prop_assert_eq!(read.from.last(), Some(&text.len()));
            }
        }
    }
}
