//! An error and its causes as one line of text.

use std::error::Error;

/// `error` with its causes, separated by colons. Some libraries print their cause themselves: a
/// text that the line ends with already is not said twice.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let reason = cause.to_string();
        if !text.ends_with(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        source = cause.source();
    }
    // One line, since a failed start is reported in one.
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, rest) = texts.split_first().unwrap();
        let source = (!rest.is_empty()).then(|| Box::new(layers(rest)));
        Layer { text, source }
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = layers(&["connecting: refused: 111", "refused: 111", "111"]);
        assert_eq!(causes(&error), "connecting: refused: 111");
        assert_eq!(causes(&layers(&["reading", "parsing", "line\n3"])), "reading: parsing: line 3");
    }
}
