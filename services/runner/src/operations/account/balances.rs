//! What users have in the vault.

use std::collections::BTreeMap;

use stellar::scval::Reader;
use stellar::vault::Vault;
use stellar::{Address, tx};

use super::rows::AttemptRow;
use super::{Account, FindingPlace, Sources};

const PLACE: FindingPlace = FindingPlace::Balances;

/// What the attempts of each user hold in the vault.
#[derive(Debug, Default)]
pub(super) struct Holdings(BTreeMap<String, Holding>);

#[derive(Debug, Default)]
struct Holding {
    /// Stroops of open runs.
    held: i128,
    receipts: u64,
}

impl Holdings {
    pub(super) fn add(&mut self, attempts: &[AttemptRow]) {
        for attempt in attempts {
            let holding = self.0.entry(attempt.user.clone()).or_default();
            if attempt.escrow == "open"
                && let Some(terms) = &attempt.terms
            {
                let most = terms.max_charge.saturating_add(terms.runner_fee);
                holding.held = holding.held.saturating_add(most);
            }
            holding.receipts += u64::from(attempt.receipt.is_some());
        }
    }

    pub(super) async fn compare(
        self,
        account: &mut Account,
        sources: &Sources<'_>,
    ) -> anyhow::Result<()> {
        let vault = Vault(sources.vault);
        let deficit = tx::view(sources.rpc, &vault.deficit()).await?;
        let deficit = Reader::new("deficit", &deficit).i128()?;
        account.count(PLACE);
        if deficit != 0 {
            let text = format!("the vault owes {deficit} stroops more than it holds");
            account.broken(PLACE, None, text);
        }

        for (user, Holding { held, receipts }) in self.0 {
            let Ok(address) = user.parse::<Address>() else { continue };
            let there = vault.account_now(sources.rpc, address).await?;
            let escrow = there.due_today.saturating_add(there.due_tomorrow);
            account.count(PLACE);
            // Others may have runs of this user too, and not all runs may have been read, so there
            // may be more on chain than here.
            if held > escrow || receipts > there.receipts {
                let text = format!(
                    "{user}: {held} stroops of open runs and {receipts} receipts here, {escrow} \
                     stroops and {} receipts in the vault",
                    there.receipts
                );
                account.broken(PLACE, None, text);
            }
        }
        Ok(())
    }
}
