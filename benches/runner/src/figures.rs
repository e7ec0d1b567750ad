//! Computations on what was measured, and how it is printed.

use std::time::Duration;

/// Times of one kind, from the shortest to the longest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The value below which `percent` of them lie, by the nearest rank; zero if there are none.
    pub fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// Their mean; zero if there are none.
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.iter().sum::<Duration>().checked_div(count).unwrap_or_default()
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

/// Milliseconds with two digits behind the point.
pub fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1_000.0)
}

/// How many times `other` a figure is.
pub fn ratio(figure: f64, other: f64) -> f64 {
    if other > 0.0 { figure / other } else { f64::NAN }
}

/// A ratio beside its target.
pub fn at_least(ratio: f64, target: f64) -> String {
    judged(ratio, ratio >= target, &format!(">= {target}"))
}

/// The same for a ratio that must not be higher.
pub fn at_most(ratio: f64, target: f64) -> String {
    judged(ratio, ratio <= target, &format!("<= {target}"))
}

fn judged(ratio: f64, is_met: bool, target: &str) -> String {
    format!("{ratio:.2} ({target}: {})", if is_met { "met" } else { "missed" })
}

/// Prints a row of a table.
pub fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a table; all columns but the first hold numbers.
pub fn head(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
    println!("|---|{}", "--:|".repeat(cells.len().saturating_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> Times {
        millis.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred = times((1..=100).rev());
        for (percent, millis) in [(50, 50), (95, 95), (99, 99), (100, 100)] {
            assert_eq!(hundred.quantile(percent), Duration::from_millis(millis));
        }
        assert_eq!(times([7, 3]).quantile(50), Duration::from_millis(3));
        assert_eq!(times([7, 3]).quantile(99), Duration::from_millis(7));
        assert_eq!(times([]).quantile(50), Duration::ZERO);
    }

    #[test]
    fn the_mean_of_nothing_is_zero() {
        assert_eq!(times([1, 2, 6]).mean(), Duration::from_millis(3));
        assert_eq!(times([]).mean(), Duration::ZERO);
    }

    #[test]
    fn a_target_is_met_at_its_value() {
        assert_eq!(at_least(1.8, 1.8), "1.80 (>= 1.8: met)");
        assert_eq!(at_least(1.79, 1.8), "1.79 (>= 1.8: missed)");
        assert_eq!(at_most(1.0, 1.0), "1.00 (<= 1: met)");
        assert!(at_least(ratio(1.0, 0.0), 1.0).contains("missed"), "nothing is known");
    }
}
