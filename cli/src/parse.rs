//! Reading the command line's values.

use stellar::{Address, amount};
use wire::{Digest, InvalidBytes32, Rates, Usage, VaultRunId};

/// An amount in XLM or stroops, for clap.
///
/// # Errors
///
/// When the text is neither.
pub fn amount(text: &str) -> Result<i128, String> {
    amount::parse(text).map_err(|error| error.to_string())
}

/// Prices per unit: `llm_in=…,llm_out=…,http_calls=…,runtime_ms=…`, each an amount, those left out
/// 0.
///
/// # Errors
///
/// When a meter is unknown or is given twice, or an amount cannot be read.
pub fn rates(text: &str) -> Result<Rates, String> {
    let [llm_in, llm_out, http_calls, runtime_ms] = meters(text, amount)?;
    Ok(Rates { llm_in, llm_out, http_calls, runtime_ms })
}

/// Budgets: `llm_in=…,llm_out=…,http_calls=…,runtime_ms=…`, each a count, those left out 0.
///
/// # Errors
///
/// When a meter is unknown or is given twice, or a count cannot be read.
pub fn budgets(text: &str) -> Result<Usage, String> {
    let count = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is not a count"));
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
/// When it is none.
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

fn meters<T: Copy + Default>(
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<[T; 4], String> {
    const NAMES: [&str; 4] = ["llm_in", "llm_out", "http_calls", "runtime_ms"];
    let mut found = [None; 4];
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
        let rates = rates("llm_in=10stroops,http_calls=1.5").unwrap();
        assert_eq!((rates.llm_in, rates.http_calls, rates.runtime_ms), (10, 15_000_000, 0));
        assert_eq!(budgets("runtime_ms=60000").unwrap().runtime_ms, 60_000);
        for text in ["llm=1", "llm_in", "llm_in=-1", "llm_in=1,llm_in=2", "llm_in=1.5"] {
            assert!(budgets(text).is_err(), "{text}");
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
