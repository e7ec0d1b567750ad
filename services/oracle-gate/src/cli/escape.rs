//! Whatever comes from outside is shown so that it can do nothing to a terminal, and can pass for
//! nothing else than it is (R18): names of files, texts of documents, answers of stores.

/// Whether a character is not shown as itself: it controls the terminal, turns the direction of the
/// text (Unicode TR 9), breaks the line, or cannot be seen.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` on one line, with every hidden character spelled out.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// JSON in which every hidden character is spelled as JSON does: outside of texts there is none.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if is_hidden(char) {
            let mut units = [0; 2];
            // JSON escapes are UTF-16: a character beyond the basic plane takes two of them.
            for unit in char.encode_utf16(&mut units) {
                shown += &format!("\\u{unit:04x}");
            }
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_json_keeps_its_meaning(
            text in "(\\PC|\u{1b}|\u{9b}|\u{202e}|\u{2066}|\u{200f}|\u{e0041}|\n|\r|\u{7f}|a){0,12}",
        ) {
            for shown in [line(&text), json(&json!({ "detail": text, text.as_str(): 1 }))] {
                prop_assert!(!shown.chars().any(is_hidden), "{:?}", shown);
            }
            let value = json!([text]);
            prop_assert_eq!(serde_json::from_str::<Value>(&json(&value)).unwrap(), value);
        }
    }
}
