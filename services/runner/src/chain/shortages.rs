//! What is lacking now, for `/health` and the metrics (R16).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::chain::outcomes::Shortage;

/// How long a shortage counts after it was met last: longer than the longest pause between two
/// tries of one call.
const REMEMBERED: Duration = Duration::from_secs(40);

/// The shortages that this process met. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Shortages(Arc<Mutex<BTreeMap<Shortage, Met>>>);

#[derive(Debug)]
struct Met {
    at: Instant,
    text: String,
}

impl Shortages {
    /// Notes that a call waits because of this.
    pub fn note(&self, shortage: Shortage, text: &str) {
        let met = Met { at: Instant::now(), text: text.to_owned() };
        self.locked().insert(shortage, met);
    }

    /// A transaction landed and did what it says: nothing that every transaction needs is lacking.
    /// A ceiling may stop some and let others pass, so it is only ever forgotten with time.
    pub fn clear(&self) {
        self.locked().retain(|shortage, _| *shortage == Shortage::Ceiling);
    }

    /// What is lacking, in words.
    ///
    /// # Errors
    ///
    /// The shortages, with the newest words about each.
    pub fn check(&self) -> Result<(), String> {
        let mut met = self.locked();
        met.retain(|_, met| met.at.elapsed() < REMEMBERED);
        if met.is_empty() {
            return Ok(());
        }
        let texts = met.iter().map(|(shortage, met)| format!("{}: {}", shortage.name(), met.text));
        Err(texts.collect::<Vec<_>>().join("; "))
    }

    /// Whether this is lacking.
    pub fn holds(&self, shortage: Shortage) -> bool {
        self.locked().get(&shortage).is_some_and(|met| met.at.elapsed() < REMEMBERED)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shortage, Met>> {
        // The map is whole whatever a holder did when it panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_until_a_transaction_lands() {
        let shortages = Shortages::default();
        assert!(shortages.check().is_ok());
        shortages.note(Shortage::Money, "TxInsufficientBalance");
        assert!(shortages.clone().check().unwrap_err().contains("money: TxInsufficientBalance"));
        assert!(shortages.holds(Shortage::Money) && !shortages.holds(Shortage::Fee));
        shortages.clear();
        assert!(shortages.check().is_ok());
        shortages.note(Shortage::Ceiling, "spent");
        shortages.clear();
        assert!(shortages.holds(Shortage::Ceiling), "another transaction says nothing about it");
    }
}
