//! The bounds of numbers (V19): rates, budgets, usage, fee, charge, and charge with fee are each at
//! most 2^63 − 1, so that one run cannot carry a number that other people's tools cannot hold.
//! Balances and their sums stay 128 bits wide.

use crate::error::VaultError;
use crate::types::{Meters, UsageBreakdown, UsageMeterRates};

/// The highest number of a run: 2^63 − 1.
const MOST: u64 = 0x7fff_ffff_ffff_ffff;

/// A number of the named arguments, if it is within the bounds.
pub(crate) fn bounded(number: i128) -> Result<u64, VaultError> {
    match u64::try_from(number) {
        Ok(number) if number <= MOST => Ok(number),
        _ => Err(VaultError::InvalidAmount),
    }
}

/// Refuses a number of a batch beyond the bounds.
pub(crate) fn check(number: u64) -> Result<(), VaultError> {
    if number <= MOST { Ok(()) } else { Err(VaultError::InvalidAmount) }
}

/// Refuses meters of a batch beyond the bounds.
pub(crate) fn check_meters(meters: &Meters) -> Result<(), VaultError> {
    [meters.0, meters.1, meters.2, meters.3].into_iter().try_for_each(check)
}

/// rates × units over the four meters, without rounding.
pub(crate) fn cost(rates: &Meters, units: &Meters) -> Result<u64, VaultError> {
    let meters = [(rates.0, units.0), (rates.1, units.1), (rates.2, units.2), (rates.3, units.3)];
    let mut sum: u64 = 0;
    for (rate, count) in meters {
        // Every part is at most the sum, so a part that leaves the bounds refuses the whole.
        let part = rate.checked_mul(count).ok_or(VaultError::InvalidAmount)?;
        sum = sum.checked_add(part).ok_or(VaultError::InvalidAmount)?;
    }
    check(sum)?;
    Ok(sum)
}

/// charge + fee, or highest charge + fee.
pub(crate) fn with_fee(charge: u64, fee: u64) -> Result<u64, VaultError> {
    let sum = charge.checked_add(fee).ok_or(VaultError::InvalidAmount)?;
    check(sum)?;
    Ok(sum)
}

impl TryFrom<&UsageBreakdown> for Meters {
    type Error = VaultError;

    fn try_from(units: &UsageBreakdown) -> Result<Self, VaultError> {
        let UsageBreakdown { llm_in, llm_out, http_calls, runtime_ms } = *units;
        Ok(Self(bounded(llm_in)?, bounded(llm_out)?, bounded(http_calls)?, bounded(runtime_ms)?))
    }
}

impl TryFrom<&UsageMeterRates> for Meters {
    type Error = VaultError;

    fn try_from(rates: &UsageMeterRates) -> Result<Self, VaultError> {
        let UsageMeterRates { llm_in, llm_out, http_calls, runtime_ms } = *rates;
        Ok(Self(bounded(llm_in)?, bounded(llm_out)?, bounded(http_calls)?, bounded(runtime_ms)?))
    }
}

impl Meters {
    /// Whether every meter is zero.
    pub(crate) fn is_zero(&self) -> bool {
        matches!(self, Self(0, 0, 0, 0))
    }

    /// Whether no meter is above its budget.
    pub(crate) fn is_within(&self, budgets: &Self) -> bool {
        self.0 <= budgets.0 && self.1 <= budgets.1 && self.2 <= budgets.2 && self.3 <= budgets.3
    }
}
