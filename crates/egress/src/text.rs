//! Quoting and truncation of untrusted text, from a module's request or a service's answer, in
//! messages and evidence.
//!
//! Both may be as long as a body. What repeats them, answers, the list of calls and statements, has
//! a bound, so each repeats a beginning of them only.

use wire::escape::is_hidden;

/// Most characters of a text of others that a message repeats.
const MAX_QUOTED: usize = 200;
/// Most characters of a message.
pub const MAX_MESSAGE: usize = 600;

/// A text of others in quotes: escaped, and cut where it is long.
pub fn quoted(text: &str) -> String {
    let escape = |sign: char| match sign {
        '"' | '\\' => format!("\\{sign}"),
        sign => visible(sign),
    };
    match cut(text, MAX_QUOTED, escape) {
        (shown, true) => format!("\"{shown}\""),
        (shown, false) => format!("\"{shown}…\" (cut: it has {} bytes)", text.len()),
    }
}

/// A message of at most [`MAX_MESSAGE`] characters, none of them hidden (R18).
pub fn message(text: &str) -> String {
    const MARK: &str = "… (cut)";
    let (whole, fits) = cut(text, MAX_MESSAGE, visible);
    if fits {
        return whole;
    }
    let (beginning, _) = cut(text, MAX_MESSAGE - MARK.chars().count(), visible);
    beginning + MARK
}

fn visible(sign: char) -> String {
    if is_hidden(sign) { sign.escape_default().to_string() } else { sign.to_string() }
}

/// The beginning of a text that has at most `most` characters when it is escaped, and whether that
/// is all of it. No escape is cut within.
fn cut(text: &str, most: usize, escape: impl Fn(char) -> String) -> (String, bool) {
    let mut shown = String::new();
    let mut count = 0;
    for sign in text.chars() {
        let escaped = escape(sign);
        count += escaped.chars().count();
        if count > most {
            return (shown, false);
        }
        shown.push_str(&escaped);
    }
    (shown, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_said_to_be() {
        assert_eq!(quoted("a\"b\\c\nd'é"), r#""a\"b\\c\nd'é""#);
        let long = "é".repeat(1 << 20);
        let shown = quoted(&long);
        assert_eq!(shown, format!("\"{}…\" (cut: it has 2097152 bytes)", "é".repeat(200)));
        // An escape is there whole or not at all.
        let shown = quoted(&("x".repeat(199) + "\n"));
        assert_eq!(shown, format!("\"{}…\" (cut: it has 200 bytes)", "x".repeat(199)));

        assert_eq!(message("a \"b\""), "a \"b\"");
        let shown = message(&"\u{1}".repeat(9_000));
        assert!(shown.ends_with("\\u{1}… (cut)") && shown.len() <= MAX_MESSAGE + 2, "{shown}");
        assert_eq!(message(&"é".repeat(600)).chars().count(), MAX_MESSAGE);
        assert_eq!(message(&"é".repeat(601)).chars().count(), MAX_MESSAGE);
    }
}
