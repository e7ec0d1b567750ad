//! Amounts of a token in stroops, its smallest unit, and as people write them.

/// Stroops in one unit of a token with seven decimals, as the native asset has.
pub const STROOPS: i128 = 10_000_000;

/// Decimals of the native asset, and of every asset that the network's own contract moves.
const LUMEN_DECIMALS: u32 = 7;

/// Most decimals of a token: a higher power of ten does not fit an amount.
const MOST_DECIMALS: u32 = 38;

/// How amounts of a token are written: as whole tokens with its symbol, or in stroops alone while
/// nothing is known of the token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    token: Option<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    symbol: String,
    decimals: u32,
}

/// An amount as it was written. How many stroops whole tokens are depends on the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amount(Written);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Written {
    Stroops(i128),
    Tokens {
        whole: i128,
        /// Digits behind the point.
        fraction: String,
    },
}

/// Why a text or an amount gives no number of stroops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// The text is not an amount.
    #[error(
        "'{0}' is not an amount: write whole tokens such as 1.5, or stroops such as \
         15000000stroops"
    )]
    Form(String),
    /// The token has fewer decimals, or the amount is too large.
    #[error("{amount} is no amount of {symbol}: it has {decimals} decimals, or it is too large")]
    Token {
        /// The amount.
        amount: String,
        /// What the token is called.
        symbol: String,
        /// Its decimals.
        decimals: u32,
    },
    /// Nothing is known of the token.
    #[error("{0} has to be given in stroops: the decimals of the token are not known")]
    UnknownToken(String),
}

impl Unit {
    /// The native asset's.
    pub fn lumens() -> Self {
        Self { token: Some(Token { symbol: "XLM".to_owned(), decimals: LUMEN_DECIMALS }) }
    }

    /// A token's by what it is called; `None` if it has more decimals than an amount can have.
    pub fn new(symbol: impl Into<String>, decimals: u32) -> Option<Self> {
        let token = Token { symbol: symbol.into(), decimals };
        (decimals <= MOST_DECIMALS).then_some(Self { token: Some(token) })
    }

    /// For a person: `1.5 XLM (15000000 stroops)`.
    pub fn show(&self, stroops: i128) -> String {
        match &self.token {
            Some(Token { symbol, decimals }) => {
                format!("{} {symbol} ({stroops} stroops)", with_decimals(stroops, *decimals))
            }
            None => format!("{stroops} stroops"),
        }
    }

    /// The amount in stroops.
    ///
    /// # Errors
    ///
    /// When it has more decimals than the token or does not fit an `i128`; of whole tokens also
    /// when nothing is known of the token.
    pub fn stroops(&self, amount: &Amount) -> Result<i128, InvalidAmount> {
        let (whole, fraction) = match &amount.0 {
            Written::Stroops(stroops) => return Ok(*stroops),
            Written::Tokens { whole, fraction } => (*whole, fraction.as_str()),
        };
        let Some(Token { symbol, decimals }) = &self.token else {
            return Err(InvalidAmount::UnknownToken(amount.to_string()));
        };
        whole_to_stroops(whole, fraction, *decimals).ok_or_else(|| InvalidAmount::Token {
            amount: amount.to_string(),
            symbol: symbol.clone(),
            decimals: *decimals,
        })
    }
}

impl Amount {
    /// Its stroops, if it was written in them: then no token has to be known.
    pub const fn in_stroops(&self) -> Option<i128> {
        match self.0 {
            Written::Stroops(stroops) => Some(stroops),
            Written::Tokens { .. } => None,
        }
    }
}

impl Default for Amount {
    fn default() -> Self {
        Self(Written::Stroops(0))
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Written::Stroops(stroops) => write!(f, "{stroops}stroops"),
            Written::Tokens { whole, fraction } if fraction.is_empty() => write!(f, "{whole}"),
            Written::Tokens { whole, fraction } => write!(f, "{whole}.{fraction}"),
        }
    }
}

impl std::str::FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads `1.5` (whole tokens) or `15000000stroops`, and nothing else: no sign, no exponent, no
    /// separator.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = || InvalidAmount::Form(text.chars().take(40).collect());
        if let Some(stroops) = text.strip_suffix("stroops") {
            let stroops = digits(stroops.trim_end()).ok_or_else(invalid)?;
            return Ok(Self(Written::Stroops(stroops)));
        }
        let (whole, fraction) = match text.split_once('.') {
            // `1.` is not an amount: a digit may have been lost.
            Some((_, "")) => return Err(invalid()),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let is_plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = u32::try_from(fraction.len()).is_ok_and(|length| length <= MOST_DECIMALS);
        let whole = digits(whole).filter(|_| is_plain && is_short).ok_or_else(invalid)?;
        Ok(Self(Written::Tokens { whole, fraction: fraction.to_owned() }))
    }
}

fn whole_to_stroops(whole: i128, fraction: &str, decimals: u32) -> Option<i128> {
    // Padded on the right: `1.5` with seven decimals is 5,000,000 stroops beyond the whole.
    let missing = decimals.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let fraction = if fraction.is_empty() { 0 } else { digits(fraction)? };
    let fraction = fraction.checked_mul(10_i128.checked_pow(missing)?)?;
    whole.checked_mul(10_i128.checked_pow(decimals)?)?.checked_add(fraction)
}

/// Stroops as XLM, with as many decimals as it takes: `1.5`, `0.0000001`, `-2`.
pub fn format(stroops: i128) -> String {
    with_decimals(stroops, LUMEN_DECIMALS)
}

fn with_decimals(stroops: i128, decimals: u32) -> String {
    let sign = if stroops < 0 { "-" } else { "" };
    // The least `i128` has no positive counterpart, so its size is unsigned.
    let size = stroops.unsigned_abs();
    let unit = 10_u128.pow(decimals);
    let width = decimals as usize;
    let fraction = format!("{:0width$}", size % unit);
    match fraction.trim_end_matches('0') {
        "" => format!("{sign}{}", size / unit),
        fraction => format!("{sign}{}.{fraction}", size / unit),
    }
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

    fn parse(text: &str, unit: &Unit) -> Result<i128, InvalidAmount> {
        unit.stroops(&text.parse()?)
    }

    #[test]
    fn both_forms_are_read() {
        let lumens = Unit::lumens();
        assert_eq!(parse("1.5", &lumens), Ok(15_000_000));
        assert_eq!(parse("0.0000001", &lumens), Ok(1));
        assert_eq!(parse("12", &lumens), Ok(12 * STROOPS));
        assert_eq!(parse("15000000stroops", &lumens), Ok(15_000_000));
        assert_eq!(parse("7 stroops", &lumens), Ok(7));
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
            "1.+5",
            "1e3",
            "1,5",
            "1_000",
            "1.2.3",
            "0.00000001",
            "stroops",
            "1.5stroops",
            "1.5 XLM",
        ] {
            assert!(parse(text, &Unit::lumens()).is_err(), "{text}");
        }
        assert!(parse(&format!("{}", i128::MAX), &Unit::lumens()).is_err());
    }

    #[test]
    fn every_token_has_its_own_symbol_and_decimals() {
        for (decimals, shown, written, stroops) in [
            (0, "15 T (15 stroops)", "15", 15),
            (2, "0.15 T (15 stroops)", "0.15", 15),
            (6, "1.5 T (1500000 stroops)", "1.5", 1_500_000),
            (18, "1.5 T (1500000000000000000 stroops)", "1.5", 1_500_000_000_000_000_000),
            (38, "1 T (100000000000000000000000000000000000000 stroops)", "1", 10_i128.pow(38)),
        ] {
            let unit = Unit::new("T", decimals).unwrap();
            assert_eq!(unit.show(stroops), shown);
            assert_eq!(parse(written, &unit), Ok(stroops), "{decimals}");
        }
        assert_eq!(Unit::new("T", 39), None);
        assert_eq!(Unit::lumens().show(-20_000_001), "-2.0000001 XLM (-20000001 stroops)");

        // A decimal that the token does not have is never rounded away.
        let whole = Unit::new("T", 0).unwrap();
        assert!(parse("1.5", &whole).is_err() && parse("1.0", &whole).is_err());
        assert!(parse("2", &Unit::new("T", 38).unwrap()).is_err(), "too large");
    }

    #[test]
    fn an_unknown_token_is_counted_in_stroops_alone() {
        let unknown = Unit::default();
        assert_eq!(unknown.show(15_000_000), "15000000 stroops");
        assert_eq!(parse("15stroops", &unknown), Ok(15));
        assert_eq!(parse("1.5", &unknown), Err(InvalidAmount::UnknownToken("1.5".to_owned())));
    }

    proptest! {
        #[test]
        fn an_amount_comes_back_as_it_was(stroops in 0..i128::MAX, decimals in 0..=38_u32) {
            let unit = Unit::new("T", decimals).unwrap();
            let shown = unit.show(stroops);
            let (written, _) = shown.split_once(' ').unwrap();
            prop_assert_eq!(parse(written, &unit), Ok(stroops));
            prop_assert_eq!(parse(&format!("{stroops}stroops"), &unit), Ok(stroops));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text, &Unit::lumens());
        }
    }
}
