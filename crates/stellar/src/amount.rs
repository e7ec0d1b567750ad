//! Amounts of the token in stroops, and as people write them.

/// Stroops in one unit of a token with seven decimals, as the native asset has.
pub const STROOPS: i128 = 10_000_000;

/// The text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an amount: write XLM with up to 7 decimals such as 1.5, or stroops such as \
     15000000stroops"
)]
pub struct InvalidAmount(String);

/// Reads `1.5` (XLM) or `15000000stroops`, and nothing else: no sign, no exponent, no separator, no
/// eighth decimal.
///
/// # Errors
///
/// When the text is neither form or does not fit an `i128`.
pub fn parse(text: &str) -> Result<i128, InvalidAmount> {
    let invalid = || InvalidAmount(text.chars().take(40).collect());
    if let Some(stroops) = text.strip_suffix("stroops") {
        return digits(stroops.trim_end()).ok_or_else(invalid);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if fraction.len() > 7 {
        return Err(invalid());
    }
    let whole = digits(whole).and_then(|value| value.checked_mul(STROOPS));
    // Padded on the right: `1.5` is 5,000,000 stroops beyond the whole. `1.` would pad to zeros.
    let fraction = digits(&format!("{fraction:0<7}")).filter(|_| !fraction.is_empty());
    whole
        .zip(fraction)
        .and_then(|(whole, fraction)| whole.checked_add(fraction))
        .ok_or_else(invalid)
}

/// Stroops as XLM, with as many decimals as it takes: `1.5`, `0.0000001`, `-2`.
pub fn format(stroops: i128) -> String {
    let sign = if stroops < 0 { "-" } else { "" };
    // The least `i128` has no positive counterpart, so its size is unsigned.
    let size = stroops.unsigned_abs();
    let unit = STROOPS.unsigned_abs();
    let fraction = format!("{:07}", size % unit);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{}", size / unit),
        fraction => format!("{sign}{}.{fraction}", size / unit),
    }
}

/// Both forms, for a person: `1.5 XLM (15000000 stroops)`.
pub fn show(stroops: i128) -> String {
    format!("{} XLM ({stroops} stroops)", format(stroops))
}

fn digits(text: &str) -> Option<i128> {
    // `parse` alone would take a sign.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("1.5"), Ok(15_000_000));
        assert_eq!(parse("0.0000001"), Ok(1));
        assert_eq!(parse("12"), Ok(120_000_000));
        assert_eq!(parse("15000000stroops"), Ok(15_000_000));
        assert_eq!(parse("7 stroops"), Ok(7));
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "1_000",
            "0.00000001",
            "stroops",
            "1.5stroops",
            "1.5 XLM",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}", i128::MAX)).is_err());
    }

    proptest! {
        #[test]
        fn an_amount_comes_back_as_it_was(stroops in 0..i128::MAX) {
            prop_assert_eq!(parse(&format(stroops)), Ok(stroops));
            prop_assert_eq!(parse(&format!("{stroops}stroops")), Ok(stroops));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
