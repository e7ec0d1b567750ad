//! Reading the command line's values.

use stellar::Address;
use stellar::amount::{Amount, InvalidAmount, Unit};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use wire::event::RunStatus;
use wire::{Digest, InvalidBytes32, Usage, VaultRunId};

/// The largest whole number that every reader of JSON takes exactly: 2^53 - 1.
pub const LARGEST_NUMBER: u64 = 9_007_199_254_740_991;

/// Most bytes of the name of a workflow, and of a label.
const LONGEST_NAME: usize = 256;
/// Most characters of an idempotency key (R5).
const LONGEST_KEY: usize = 255;

/// Prices per unit as they were written.
#[derive(Debug, Clone)]
pub struct Prices {
    /// Per token that goes into a language model.
    pub llm_in: Amount,
    /// Per token that comes out of one.
    pub llm_out: Amount,
    /// Per call of a service.
    pub http_calls: Amount,
    /// Per millisecond.
    pub runtime_ms: Amount,
}

/// An amount of the vault's token, in whole tokens or stroops, for clap.
///
/// # Errors
///
/// When the text is neither.
pub fn amount(text: &str) -> Result<Amount, String> {
    text.parse().map_err(|error: InvalidAmount| error.to_string())
}

/// A network fee in XLM or stroops; answers stroops.
///
/// # Errors
///
/// When the text is neither.
pub fn fee(text: &str) -> Result<i128, String> {
    Unit::lumens().stroops(&amount(text)?).map_err(|error| error.to_string())
}

/// Prices per unit: `llm_in=…,llm_out=…,http_calls=…,runtime_ms=…`, each an amount, those left out
/// 0.
///
/// # Errors
///
/// When a meter is unknown or is given twice, or an amount cannot be read.
pub fn prices(text: &str) -> Result<Prices, String> {
    let [llm_in, llm_out, http_calls, runtime_ms] = meters(text, amount)?;
    Ok(Prices { llm_in, llm_out, http_calls, runtime_ms })
}

/// Budgets: `llm_in=…,llm_out=…,http_calls=…,runtime_ms=…`, each a count, those left out 0.
///
/// # Errors
///
/// When a meter is unknown or is given twice, or a count cannot be read or is too large.
pub fn budgets(text: &str) -> Result<Usage, String> {
    let count = |text: &str| match text.parse::<u64>() {
        Ok(count) if count <= LARGEST_NUMBER => Ok(count),
        Ok(_) => Err(format!("'{text}' is more than {LARGEST_NUMBER}")),
        Err(_) => Err(format!("'{text}' is not a count")),
    };
    let [llm_in, llm_out, http_calls, runtime_ms] = meters(text, count)?;
    Ok(Usage { llm_in, llm_out, http_calls, runtime_ms })
}

/// A SHA-256 digest in 64 lower-case hex digits.
///
/// # Errors
///
/// When it is not one.
pub fn digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|error: InvalidBytes32| error.to_string())
}

/// A run's id in the vault in 64 lower-case hex digits.
///
/// # Errors
///
/// When it is not one.
pub fn vault_run_id(text: &str) -> Result<VaultRunId, String> {
    text.parse().map_err(|error: InvalidBytes32| error.to_string())
}

/// A contract's address.
///
/// # Errors
///
/// When it is invalid.
pub fn contract(text: &str) -> Result<Address, String> {
    match text.parse() {
        Ok(address @ Address::Contract(_)) => Ok(address),
        Ok(Address::Account(_)) => {
            Err(format!("'{text}' is an account (G…); expected a contract (C…)"))
        }
        Err(_) => Err(format!("'{text}' is no contract's address; expected C…")),
    }
}

/// An Ed25519 public key in 64 hex digits.
///
/// # Errors
///
/// When it is not one.
pub fn attester(text: &str) -> Result<[u8; 32], String> {
    let key =
        wire::dsse::parse_key(text).ok_or("expected an Ed25519 public key in 64 hex digits")?;
    Ok(key.to_bytes())
}

/// A span of time: a whole number with `s`, `m`, `h` or `d`; answers seconds.
///
/// # Errors
///
/// When it is not one.
pub fn seconds(text: &str) -> Result<u64, String> {
    let invalid =
        || format!("'{text}' is not a span of time; expected such as 90s, 30m, 12h or 7d");
    let unit = text.chars().last().ok_or_else(invalid)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(invalid()),
    };

    // The unit is one byte long: every other one has been refused.
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| invalid())?;
    number.checked_mul(factor).ok_or_else(invalid)
}

/// A moment by its date, time and zone (RFC 3339), as it is written.
///
/// # Errors
///
/// When it is not one.
pub fn moment(text: &str) -> Result<String, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("expected a time such as 2026-01-31T00:00:00Z (RFC 3339)".to_owned()),
    }
}

/// The name of a workflow, or a label.
///
/// # Errors
///
/// When a gateway takes none such.
pub fn name(text: &str) -> Result<String, String> {
    match (1..=LONGEST_NAME).contains(&text.len()) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 1 to {LONGEST_NAME} bytes without control characters")),
    }
}

/// The status of a run, by its name in JSON.
///
/// # Errors
///
/// When there is none of that name.
pub fn status(text: &str) -> Result<String, String> {
    let known = serde_json::from_value::<RunStatus>(text.into());
    known.map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// An idempotency key.
///
/// # Errors
///
/// When a gateway takes none such.
pub fn idempotency_key(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    match (1..=LONGEST_KEY).contains(&length) && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 1 to {LONGEST_KEY} visible characters")),
    }
}

fn meters<T: Default>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<[T; 4], String> {
    const NAMES: [&str; 4] = ["llm_in", "llm_out", "http_calls", "runtime_ms"];
    let mut found: [Option<T>; 4] = std::array::from_fn(|_| None);
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| format!("'{pair}' is not name=value"))?;
        let unknown = || format!("'{name}' is no meter; there are {}", NAMES.join(", "));
        let place = NAMES.iter().position(|known| *known == name.trim()).ok_or_else(unknown)?;
        if found[place].replace(read(value.trim())?).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(found.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_and_budgets_name_their_meters() {
        let prices = prices("llm_in=10stroops,http_calls=1.5").unwrap();
        let stroops = |price| Unit::lumens().stroops(price).unwrap();
        assert_eq!(stroops(&prices.llm_in), 10);
        assert_eq!(stroops(&prices.http_calls), 15_000_000);
        assert_eq!(stroops(&prices.runtime_ms), 0);
        assert_eq!(budgets("runtime_ms=60000").unwrap().runtime_ms, 60_000);
        let too_large = format!("llm_in={}", LARGEST_NUMBER + 1);
        assert_eq!(budgets(&format!("llm_in={LARGEST_NUMBER}")).unwrap().llm_in, LARGEST_NUMBER);
        for text in ["llm=1", "llm_in", "llm_in=-1", "llm_in=1,llm_in=2", "llm_in=1.5", &too_large]
        {
            assert!(budgets(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_fee_is_of_the_native_asset() {
        assert_eq!(fee("2.5"), Ok(25_000_000));
        assert_eq!(fee("25stroops"), Ok(25));
        assert!(fee("0.00000001").unwrap_err().contains("7 decimals"));
    }

    #[test]
    fn what_no_gateway_takes_is_refused_here() {
        assert_eq!(moment("2026-12-01T08:00:00+01:00").unwrap(), "2026-12-01T08:00:00+01:00");
        for text in ["yesterday", "2026-12-01", "2026-12-01T08:00:00", "1764576000", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
        assert_eq!(status("failed").unwrap(), "failed");
        assert!(status("broken").unwrap_err().contains("`finalized`"));
        assert!(name("order 12").is_ok() && name(&"x".repeat(256)).is_ok());
        assert!(idempotency_key(&"é".repeat(255)).is_ok());
        for text in ["", "a\nb", &"é".repeat(257)] {
            assert!(name(text).is_err() && idempotency_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_need_their_unit() {
        assert_eq!(seconds("7d"), Ok(604_800));
        assert_eq!(seconds("90s"), Ok(90));
        for text in ["", "7", "d", "-1d", "1w", "1.5h", "99999999999999999999d", "5é"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
