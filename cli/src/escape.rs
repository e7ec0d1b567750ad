//! Text that others wrote, made safe to show (R18); every command prints through it.

pub use wire::escape::{json as escape_json, line as escape};

/// As [`escape`], for a text of ours that has several lines and columns.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_of_our_own_stay() {
        assert_eq!(escape_lines("a\tb\nc\u{7}"), "a\tb\nc\\u{7}");
    }
}
