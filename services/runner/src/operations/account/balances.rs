//! What users have in the vault.

use std::collections::{BTreeMap, BTreeSet};

use stellar::scval::Reader;
use stellar::vault::Vault;
use stellar::{Address, tx};
use tokio::time::sleep;
use wire::RunId;

use super::rows::{self, AttemptRow, Page};
use super::{Account, BETWEEN_LOOKS, FindingPlace, LOOKS, Sources};

const PLACE: FindingPlace = FindingPlace::Balances;

/// What the attempts of each user hold in the vault.
#[derive(Debug, Default)]
pub(super) struct Holdings(BTreeMap<String, Holding>);

#[derive(Debug, Default)]
struct Holding {
    /// The attempts whose escrow is open.
    open: BTreeMap<(RunId, u32), Open>,
    receipts: u64,
}

#[derive(Debug)]
struct Open {
    /// Stroops.
    most: i128,
    deadline: u64,
}

impl Holding {
    /// Stroops of open runs.
    fn held(&self) -> i128 {
        self.open.values().fold(0, |all, open| all.saturating_add(open.most))
    }

    /// Leaves the attempts that were still open when `page` was read, and that no transaction can
    /// have closed by then.
    fn keep_open(&mut self, page: &Page) {
        let open = page.attempts.iter().filter(|attempt| attempt.escrow == "open");
        let open: BTreeSet<_> = open.map(|attempt| (attempt.run, attempt.number)).collect();
        let closing = page.transactions.iter();
        let closing = closing.filter(|row| row.closes() && (row.did || row.is_open()));
        let closing: BTreeSet<_> = closing.map(|row| (row.run, row.attempt)).collect();
        self.open.retain(|attempt, _| open.contains(attempt) && !closing.contains(attempt));
    }
}

impl Holdings {
    pub(super) fn add(&mut self, attempts: &[AttemptRow]) {
        for attempt in attempts {
            let holding = self.0.entry(attempt.user.clone()).or_default();
            if attempt.escrow == "open"
                && let Some(terms) = &attempt.terms
            {
                let most = terms.max_charge.saturating_add(terms.runner_fee);
                let open = Open { most, deadline: terms.deadline };
                holding.open.insert((attempt.run, attempt.number), open);
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

        for (user, mut holding) in self.0 {
            let Ok(address) = user.parse::<Address>() else { continue };
            account.count(PLACE);
            for look in 0..=LOOKS {
                let there = vault.account_now(sources.rpc, address).await?;
                let escrow = there.due_today.saturating_add(there.due_tomorrow);
                // Others may have runs of this user too, and not all runs may have been read, so
                // there may be more on chain than here.
                let differs = |holding: &Holding| {
                    holding.held() > escrow || holding.receipts > there.receipts
                };
                if !differs(&holding) {
                    break;
                }
                // What was open before the vault was asked and is open afterwards was open then.
                // After its deadline anybody may have given an escrow back.
                let now = sources.rpc.clock().await?.latest_close;
                let began = rows::now(sources.db).await?;
                let runs: BTreeSet<RunId> = holding.open.keys().map(|(run, _)| *run).collect();
                holding.keep_open(&rows::of(sources.db, began, runs).await?);
                holding.open.retain(|_, open| open.deadline > now);
                if !differs(&holding) {
                    break;
                }
                if look < LOOKS {
                    sleep(BETWEEN_LOOKS).await;
                    continue;
                }
                let text = format!(
                    "{user}: {} stroops of open runs and {} receipts here, {escrow} stroops and {} \
                     receipts in the vault",
                    holding.held(),
                    holding.receipts,
                    there.receipts
                );
                account.broken(PLACE, None, text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::account::rows::TransactionRow;

    fn run(number: u128) -> RunId {
        RunId::from(uuid::Uuid::from_u128(number))
    }

    fn attempt(number: u128, escrow: &str) -> AttemptRow {
        AttemptRow {
            run: run(number),
            number: 1,
            user: "user".to_owned(),
            run_done: false,
            ended: false,
            escrow: escrow.to_owned(),
            vault_run_id: None,
            terms: None,
            receipt: None,
            statement: None,
            opened_ledger: None,
            has_settling_event: false,
        }
    }

    fn transaction(number: u128, kind: &str, state: &str) -> TransactionRow {
        TransactionRow {
            run: run(number),
            attempt: 1,
            kind: kind.to_owned(),
            hash: wire::TxHash::from([0; 32]),
            state: state.to_owned(),
            ledger: None,
            did: false,
        }
    }

    #[test]
    fn only_what_cannot_have_been_closed_meanwhile_counts_as_held() {
        let mut holding = Holding::default();
        for number in 1..=4 {
            holding.open.insert((run(number), 1), Open { most: 1 << number, deadline: 0 });
        }
        assert_eq!(holding.held(), 30);
        holding.keep_open(&Page {
            attempts: vec![
                attempt(1, "open"),
                attempt(2, "settled"),
                attempt(3, "open"),
                attempt(4, "open"),
            ],
            transactions: vec![
                transaction(1, "open", "sent"),
                transaction(3, "finalize", "sent"),
                transaction(4, "void", "expired"),
            ],
            last: None,
        });
        assert_eq!(holding.held(), 2 + 16);
    }
}
