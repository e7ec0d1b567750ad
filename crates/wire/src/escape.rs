//! Text of others, made safe to show (R18): names of files, answers of services, texts of documents.
//!
//! A terminal obeys control characters: they move the cursor, recolour, and hide what was printed
//! before. Marks of writing direction and invisible characters change what a line seems to say.

use std::fmt::Write as _;

/// Whether a character is not shown as itself: it controls a terminal, turns the direction of the
/// text (Unicode TR 9), ends the line, or cannot be seen.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
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

/// The text on one line, with every hidden character spelled out: `\n`, `\u{202e}`.
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// A JSON document with the same characters as JSON escapes; its own line ends stay. Hidden
/// characters can only be inside of its texts, and a reader of JSON gets exactly those texts.
pub fn json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for character in document.chars() {
        if character != '\n' && is_hidden(character) {
            // The escapes of JSON are UTF-16 units: a character beyond the first 65,536 needs two.
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(line("\u{1b}[2Jproven"), "\\u{1b}[2Jproven");
        assert_eq!(line("a\nok\r\u{9b}1m"), "a\\nok\\r\\u{9b}1m");
        assert_eq!(line("\u{202e}txt\u{2066}"), "\\u{202e}txt\\u{2066}");
        assert_eq!(line("grüße 日本 \\ \"'"), "grüße 日本 \\ \"'");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_json_keeps_its_meaning(
            text in "(\\PC|\u{1b}|\u{9b}|\u{202e}|\u{2066}|\u{200f}|\u{e0041}|\n|\r|\u{7f}|a){0,12}",
        ) {
            prop_assert!(!line(&text).chars().any(is_hidden));
            let safe = json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!safe.chars().any(is_hidden));
            prop_assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        }
    }
}
