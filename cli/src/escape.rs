//! Text that others wrote, made safe to show (R18).
//!
//! A terminal obeys control characters: they move the cursor, recolour, and hide what was printed
//! before. Marks of writing direction and invisible characters change what a line seems to say. One
//! function spells all of them out; every command prints through it.

use std::fmt::Write as _;

/// The text with every character spelled out that could change how it, or anything around it, is
/// shown. Line ends count: a foreign text has one line.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            unsafe_one if is_unsafe(unsafe_one) => {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(unsafe_one));
            }
            plain => safe.push(plain),
        }
    }
    safe
}

/// The same for a text of ours that has several lines and columns.
pub fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| {
            let columns: Vec<_> = line.split('\t').map(escape).collect();
            columns.join("\t")
        })
        .collect();
    lines.join("\n")
}

/// JSON with the same characters as JSON escapes. They can only be inside of texts there, and a
/// reader of JSON gets exactly the text that was meant.
pub fn escape_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && is_unsafe(character) {
            // The escapes of JSON are UTF-16 units: a character beyond the first 65,536 needs two.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

/// C0, DEL and C1; marks of direction and their isolates; what is invisible or ends a line
/// elsewhere.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(escape("\u{1b}[2Jproven"), "\\u{1b}[2Jproven");
        assert_eq!(escape("a\nok\r\u{9b}1m"), "a\\nok\\r\\u{9b}1m");
        assert_eq!(escape("\u{202e}txt\u{2066}"), "\\u{202e}txt\\u{2066}");
        assert_eq!(escape("grüße 日本"), "grüße 日本");
        assert_eq!(escape_lines("a\tb\nc\u{7}"), "a\tb\nc\\u{7}");
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left_and_json_keeps_its_meaning(text in ".*") {
            prop_assert!(!escape(&text).chars().any(is_unsafe));
            let json = serde_json::to_string(&text).unwrap();
            let safe = escape_json(&json);
            prop_assert!(!safe.chars().any(is_unsafe));
            let again: String = serde_json::from_str(&safe).unwrap();
            prop_assert_eq!(again, text);
        }
    }
}
