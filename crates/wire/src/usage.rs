//! What a run used, what a unit costs, and the charge that follows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a run used, or may use at most. All four are counts from zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Language-model tokens read.
    #[serde(default)]
    pub llm_in: u64,
    /// Language-model tokens written.
    #[serde(default)]
    pub llm_out: u64,
    /// HTTP calls made.
    #[serde(default)]
    pub http_calls: u64,
    /// Wall time of the module, in milliseconds.
    #[serde(default)]
    pub runtime_ms: u64,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { llm_in, llm_out, http_calls, runtime_ms } = self;
        write!(f, "{llm_in} + {llm_out} tokens, {http_calls} calls, {runtime_ms} ms")
    }
}

/// What one unit of each meter costs, in stroops. Decimal strings in JSON: an `i128` does not fit a
/// JSON number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rates {
    /// Stroops per token read.
    #[serde(with = "crate::usage::decimal")]
    pub llm_in: i128,
    /// Stroops per token written.
    #[serde(with = "crate::usage::decimal")]
    pub llm_out: i128,
    /// Stroops per HTTP call.
    #[serde(with = "crate::usage::decimal")]
    pub http_calls: i128,
    /// Stroops per millisecond.
    #[serde(with = "crate::usage::decimal")]
    pub runtime_ms: i128,
}

impl Usage {
    /// Whether nothing at all was used.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no meter passes its budget (R10).
    pub fn is_within(&self, budgets: &Self) -> bool {
        self.llm_in <= budgets.llm_in
            && self.llm_out <= budgets.llm_out
            && self.http_calls <= budgets.http_calls
            && self.runtime_ms <= budgets.runtime_ms
    }
}

/// The sum of rate × units over the four meters, in stroops; `None` if it does not fit an `i128`.
pub fn charge(rates: &Rates, usage: &Usage) -> Option<i128> {
    [
        (rates.llm_in, usage.llm_in),
        (rates.llm_out, usage.llm_out),
        (rates.http_calls, usage.http_calls),
        (rates.runtime_ms, usage.runtime_ms),
    ]
    .into_iter()
    // Each step is checked: a document's rates may be any `i128`. The vault bounds them (V19).
    .try_fold(0_i128, |sum, (rate, units)| sum.checked_add(rate.checked_mul(i128::from(units))?))
}

/// An `i128` as a decimal string: for `#[serde(with = "wire::usage::decimal")]`.
pub mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the number as a string of decimal digits.
    ///
    /// # Errors
    ///
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    /// Reads the number back.
    ///
    /// # Errors
    ///
    /// When the value is not a string of decimal digits that fits.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom("expected a decimal string that fits an i128"))
    }

    /// The same for a number that may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        // `with` is for a field; what is inside an `Option` needs a type of its own.
        #[derive(Serialize, Deserialize)]
        struct Number(#[serde(with = "super")] i128);

        /// Writes the number, if there is one.
        ///
        /// # Errors
        ///
        /// Only those of the serializer.
        pub fn serialize<S: Serializer>(
            value: &Option<i128>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            value.map(Number).serialize(serializer)
        }

        /// Reads the number, if there is one.
        ///
        /// # Errors
        ///
        /// As [`super::deserialize`].
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<i128>, D::Error> {
            Ok(Option::<Number>::deserialize(deserializer)?.map(|number| number.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates =
        Rates { llm_in: 10_000, llm_out: 20_000, http_calls: 1_000_000, runtime_ms: 9_000 };

    #[test]
    fn the_charge_is_the_sum_of_rate_times_units() {
        let usage = Usage { llm_in: 80, llm_out: 40, http_calls: 1, runtime_ms: 500 };
        assert_eq!(charge(&RATES, &usage), Some(800_000 + 800_000 + 1_000_000 + 4_500_000));
    }

    #[test]
    fn a_charge_that_does_not_fit_is_refused() {
        let rates = Rates { llm_in: i128::MAX, ..RATES };
        assert_eq!(charge(&rates, &Usage { llm_in: 2, ..Usage::default() }), None);
        let one_each = Usage { llm_in: 1, llm_out: 1, ..Usage::default() };
        assert_eq!(charge(&rates, &one_each), None);
    }

    #[test]
    fn one_meter_over_budget_is_over_budget() {
        let budgets = Usage { llm_in: 1, llm_out: 1, http_calls: 1, runtime_ms: 1 };
        assert!(budgets.is_within(&budgets));
        assert!(!Usage { runtime_ms: 2, ..Usage::default() }.is_within(&budgets));
    }

    #[test]
    fn rates_are_decimal_strings() {
        let rates = Rates { llm_in: i128::MAX, ..Rates::default() };
        let text = serde_json::to_string(&rates).unwrap();
        assert!(text.contains(r#""llm_in":"170141183460469231731687303715884105727""#), "{text}");
        assert_eq!(serde_json::from_str::<Rates>(&text).unwrap(), rates);
    }
}
