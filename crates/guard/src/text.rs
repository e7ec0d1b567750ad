//! Bytes as text without loss: paths need not be UTF-8, output need not be text.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};

/// Writes bytes as reversible text: invalid UTF-8 and control, bidirectional and invisible
/// characters (R18) become `\xNN` for each byte, and a backslash becomes `\\`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        // What is not escaped is copied in one piece: nearly always all of it.
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(|one: char| one == '\\' || is_hidden(one)) {
            let (before, found) = rest.split_at(at);
            text.push_str(before);
            let length = found.chars().next().map_or(1, char::len_utf8);
            let (one, after) = found.split_at(length);
            match one {
                "\\" => text.push_str("\\\\"),
                hidden => hidden.bytes().for_each(|byte| push_hex(&mut text, byte)),
            }
            rest = after;
        }
        text.push_str(rest);
        chunk.invalid().iter().for_each(|byte| push_hex(&mut text, *byte));
    }
    text
}

/// Whether a character is not shown as itself: it controls the terminal, turns the direction of the
/// text (Unicode TR 9), breaks the line, or cannot be seen.
fn is_hidden(one: char) -> bool {
    if one.is_ascii() {
        return one.is_ascii_control();
    }
    one.is_control()
        || matches!(one,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// [`escape`] for a path or argument.
pub(crate) fn escape_os(value: impl AsRef<OsStr>) -> String {
    escape(value.as_ref().as_bytes())
}

/// Longest text of one effect, in bytes.
pub(crate) const MAX_TEXT: usize = 4_096;

/// Cuts what is longer than a report should carry. A digest of the whole takes the place of the
/// rest, so that two long texts that differ anywhere stay different.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let digest = Sha256::digest(text.as_bytes());
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("… sha256 ");
        digest[..16].iter().for_each(|byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        });
    }
    text
}

fn push_hex(text: &mut String, byte: u8) {
    write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail");
}

/// Output bytes as base64 in serialized reports.
pub(crate) mod base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_and_invisible_characters_are_spelled_out() {
        let hidden = ["\u{202e}", "\u{9b}", "\u{85}", "\u{2066}", "\u{200b}", "\u{1b}", "\u{7f}"];
        for hidden in hidden {
            let bytes: String = hidden.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            assert_eq!(super::escape(format!("a{hidden}b").as_bytes()), format!("a{bytes}b"));
        }
        assert_eq!(super::escape("naïve — 日本".as_bytes()), "naïve — 日本");
    }

    #[test]
    fn names_that_are_no_utf8_keep_every_byte() {
        assert_eq!(super::escape(b"a\xff\xfe\\b\n\xc3\xa9"), "a\\xff\\xfe\\\\b\\x0aé");
    }
}
