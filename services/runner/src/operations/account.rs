//! The accounting: everything that is known of runs in several places, compared.
//!
//! Postgres says what this runner did; the vault's events and records, the transactions on the
//! node, the balances, the stream on NATS and module-gate's executions say what happened. After any
//! fault they must say the same. What differs is *broken*; what a place does not know any more,
//! because it keeps things only for a time, is *unknown* and never counts as agreement.
//!
//! It only reads. A run that is being worked on while it is read may look different from one place
//! to the next, so strict rules hold for runs that have ended.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::Bus;
use serde::Serialize;
use sqlx::PgPool;
use stellar::rpc::Outcome;
use stellar::vault::{Lifecycle, Vault};
use stellar::{Address, Rpc};
use wire::{Digest, RunId};

use crate::gates::{Execution, Gates};
use balances::Holdings;
use events::Events;
use rows::{AttemptRow, Page, TransactionRow};

mod balances;
mod events;
mod rows;
mod stream;

/// How many runs are read and compared at once.
const RUNS_AT_ONCE: i64 = 1_000;

/// How much is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every run, and every event that the stream has.
    Everything,
    /// Unfinished runs, the newest of all runs and the newest events, at most so many of each.
    Newest(u32),
}

/// What is compared, and with what.
#[derive(Debug)]
pub struct Sources<'a> {
    /// What this runner did.
    pub db: &'a PgPool,
    /// The node.
    pub rpc: &'a Rpc,
    /// The vault.
    pub vault: Address,
    /// The runner whose runs these are.
    pub runner: Address,
    /// The stream of events, if it is to be read.
    pub bus: Option<&'a Bus>,
    /// module-gate, if there is one.
    pub gates: Option<&'a Gates>,
    /// How much of it.
    pub extent: Extent,
}

/// A place that was compared with Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingPlace {
    /// The rows of Postgres among themselves.
    Postgres,
    /// The vault's events.
    Events,
    /// The vault's records.
    Records,
    /// The transactions on the node.
    Transactions,
    /// Accounts, and what the vault holds.
    Balances,
    /// The stream on NATS.
    Stream,
    /// module-gate's executions.
    Executions,
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Two places say different things.
    Broken,
    /// A place could not say anything.
    Unknown,
}

/// Something that does not agree, or that is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which of the two it is.
    pub verdict: FindingKind,
    /// Where it was found.
    pub place: FindingPlace,
    /// The run, if it is about one that Postgres knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What was expected and what was found.
    pub text: String,
}

/// The whole comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// How many things were compared in each place.
    pub compared: BTreeMap<FindingPlace, u64>,
    /// What does not agree or is unknown.
    pub findings: Vec<Finding>,
}

impl Account {
    /// Whether anything is broken.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.verdict == FindingKind::Broken)
    }

    fn count(&mut self, place: FindingPlace) {
        *self.compared.entry(place).or_default() += 1;
    }

    fn broken(&mut self, place: FindingPlace, run: Option<RunId>, text: impl Into<String>) {
        let verdict = FindingKind::Broken;
        self.findings.push(Finding { verdict, place, run, text: text.into() });
    }

    fn unknown(&mut self, place: FindingPlace, run: Option<RunId>, text: impl Into<String>) {
        let verdict = FindingKind::Unknown;
        self.findings.push(Finding { verdict, place, run, text: text.into() });
    }

    /// Notes `text` unless what was found is what was expected.
    fn expect(
        &mut self,
        place: FindingPlace,
        run: RunId,
        holds: bool,
        text: impl FnOnce() -> String,
    ) {
        self.count(place);
        if !holds {
            self.broken(place, Some(run), text());
        }
    }
}

/// Compares what `sources` says. Runs are read page by page, so that the memory it takes does not
/// grow with the database.
///
/// # Errors
///
/// When Postgres does not answer. Every other place that does not is noted as unknown.
pub async fn compare(sources: &Sources<'_>) -> anyhow::Result<Account> {
    let mut account = Account::default();
    let mut away = Vec::new();
    let began = rows::now(sources.db).await?;
    let mut page = match sources.extent {
        Extent::Everything => rows::after(sources.db, began, None, RUNS_AT_ONCE).await?,
        Extent::Newest(runs) => rows::newest(sources.db, began, i64::from(runs)).await?,
    };
    let mut users = Holdings::default();
    let mut chain = Chain::read(sources, &page).await;
    loop {
        within_postgres(&mut account, &page.attempts, &page.transactions);
        if let Ok(known) = &mut chain
            && let Err(error) = known.compare(&mut account, sources, &page).await
        {
            chain = Err(error);
        }
        if let Some(gates) = sources.gates {
            executions(&mut account, gates, &page.attempts).await;
        }
        users.add(&page.attempts);
        let Some(last) = page.last.filter(|_| sources.extent == Extent::Everything) else { break };
        page = rows::after(sources.db, began, Some(last), RUNS_AT_ONCE).await?;
    }
    let ended = match chain {
        Ok(chain) => chain.finish(&mut account, sources, users).await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        away.push((FindingPlace::Events, error.to_string()));
    }
    match sources.bus {
        Some(bus) => {
            let compared = stream::compare(&mut account, sources.db, bus, sources.extent).await;
            if let Err(error) = compared {
                away.push((FindingPlace::Stream, error.to_string()));
            }
        }
        None => away.push((FindingPlace::Stream, "it was not read".to_owned())),
    }
    for (place, error) in away {
        account.unknown(place, None, error);
    }
    account.findings.sort_by_key(|finding| (finding.verdict, finding.place));
    Ok(account)
}

/// What the rows of one attempt say about each other.
fn within_postgres(
    account: &mut Account,
    attempts: &[AttemptRow],
    transactions: &[TransactionRow],
) {
    const PLACE: FindingPlace = FindingPlace::Postgres;
    let mut by_attempt: BTreeMap<(RunId, u32), Vec<&TransactionRow>> = BTreeMap::new();
    for row in transactions {
        by_attempt.entry((row.run, row.attempt)).or_default().push(row);
    }

    for attempt in attempts {
        let own = by_attempt.remove(&(attempt.run, attempt.number)).unwrap_or_default();
        let landed = |kind: &[&str]| {
            own.iter().filter(|row| row.did && kind.contains(&row.kind.as_str())).count()
        };
        let (opens, closes) = (landed(&["open"]), landed(&["finalize", "void", "reclaim"]));
        let in_the_air = own.iter().filter(|row| row.is_open()).count();
        let run = attempt.run;

        account.expect(PLACE, run, opens <= 1 && closes <= 1, || {
            format!("{opens} transactions opened and {closes} closed attempt {}", attempt.number)
        });
        account.expect(PLACE, run, (attempt.escrow == "none") == (opens == 0), || {
            format!("the escrow is {}, and {opens} transactions opened it", attempt.escrow)
        });
        let settled_here = landed(&["finalize"]) == 1;
        let is_explained = match &attempt.receipt {
            None => !settled_here,
            Some(_) => settled_here || attempt.was_settled_elsewhere(),
        };
        account.expect(PLACE, run, is_explained, || {
            "receipt and settling transaction do not go together".to_owned()
        });
        if let (Some(receipt), Some(terms)) = (&attempt.receipt, &attempt.terms) {
            let paid = receipt.actual_charge.saturating_add(receipt.refund);
            let most = terms.max_charge.saturating_add(terms.runner_fee);
            account.expect(PLACE, run, paid <= most && receipt.actual_charge >= 0, || {
                format!("{paid} stroops were paid and returned of {most}")
            });
        }
        if attempt.has_ended() {
            account.expect(PLACE, run, attempt.escrow != "open" && in_the_air == 0, || {
                format!(
                    "it ended with escrow {} and {in_the_air} transactions under way",
                    attempt.escrow
                )
            });
        }
    }
}

/// What the network says of runs.
struct Chain {
    events: Events,
    /// The oldest ledger that the node keeps.
    oldest: u32,
    latest_close: u64,
}

impl Chain {
    /// Events are read after the first rows, so that whatever had ended by then is among them.
    async fn read(sources: &Sources<'_>, page: &Page) -> anyhow::Result<Self> {
        let clock = sources.rpc.clock().await?;
        // Where it is not known when an escrow was opened, it may have been at any time.
        let opened = page.attempts.iter().filter(|attempt| attempt.escrow != "none");
        let opened = opened.map(|attempt| attempt.opened_ledger.unwrap_or_default()).min();
        let first = match (sources.extent, opened) {
            (Extent::Everything, _) => clock.oldest_ledger,
            (Extent::Newest(_), None) => clock.latest_ledger,
            (Extent::Newest(_), Some(opened)) => {
                u32::try_from(opened).unwrap_or_default().max(clock.oldest_ledger)
            }
        };
        let events = Events::read(sources, first).await?;
        Ok(Self { events, oldest: clock.oldest_ledger, latest_close: clock.latest_close })
    }

    /// The vault's events and records, and the transactions.
    async fn compare(
        &mut self,
        account: &mut Account,
        sources: &Sources<'_>,
        page: &Page,
    ) -> anyhow::Result<()> {
        self.events.compare(account, &page.attempts, self.oldest)?;
        on_the_node(account, sources.rpc, &page.transactions, self.oldest).await?;
        records(account, sources, &page.attempts, self.latest_close).await
    }

    /// What is known only when every run was read.
    async fn finish(
        self,
        account: &mut Account,
        sources: &Sources<'_>,
        users: Holdings,
    ) -> anyhow::Result<()> {
        self.events.unclaimed(account, sources).await?;
        users.compare(account, sources).await
    }
}

async fn on_the_node(
    account: &mut Account,
    rpc: &Rpc,
    transactions: &[TransactionRow],
    oldest: u32,
) -> anyhow::Result<()> {
    const PLACE: FindingPlace = FindingPlace::Transactions;
    for row in transactions.iter().filter(|row| row.ledger.is_some()) {
        if row.ledger.is_some_and(|ledger| ledger < i64::from(oldest)) {
            account.unknown(PLACE, Some(row.run), format!("the node keeps {} no more", row.hash));
            continue;
        }
        let agrees = match rpc.transaction(&row.hash).await?.outcome {
            Outcome::Applied(applied) => applied.success == row.succeeded(),
            Outcome::NotFound => false,
        };
        account.expect(PLACE, row.run, agrees, || {
            format!("{} transaction {} is {} here and not there", row.kind, row.hash, row.state)
        });
    }
    // What is given up here must not have landed, unless the vault showed that it did. Whether a
    // forgotten one landed is not claimed: what its calls did is compared by the vault's events and
    // records.
    let given_up = |row: &&TransactionRow| row.state == "expired" || row.state == "rejected";
    for row in transactions.iter().filter(given_up) {
        let landed = matches!(
            rpc.transaction(&row.hash).await?.outcome,
            Outcome::Applied(applied) if applied.success
        );
        account.expect(PLACE, row.run, !landed || row.did, || {
            format!("{} transaction {} is {} here, and landed", row.kind, row.hash, row.state)
        });
    }
    Ok(())
}

async fn records(
    account: &mut Account,
    sources: &Sources<'_>,
    attempts: &[AttemptRow],
    now: u64,
) -> anyhow::Result<()> {
    const PLACE: FindingPlace = FindingPlace::Records;
    for attempt in attempts {
        let (Some(id), Some(terms)) = (attempt.vault_run_id, &attempt.terms) else { continue };
        let record = Vault(sources.vault).read_run(sources.rpc, &id).await?.record;
        let Some((record, _)) = record else {
            // No record ends before its deadline (V17).
            if attempt.escrow == "open" && terms.deadline > now {
                account.broken(
                    PLACE,
                    Some(attempt.run),
                    "its escrow is open, and the vault has no record",
                );
            } else if attempt.escrow != "none" {
                account.unknown(PLACE, Some(attempt.run), "the vault's record has ended");
            }
            continue;
        };
        if !attempt.has_ended() && attempt.escrow != "open" {
            continue;
        }
        let agrees = match record.lifecycle {
            Lifecycle::Open => attempt.escrow == "open",
            Lifecycle::Finalized { charge, output_hash, .. } => {
                attempt.receipt.as_ref().is_some_and(|receipt| {
                    (receipt.actual_charge, receipt.output_hash) == (charge, output_hash)
                })
            }
            Lifecycle::Voided(_) | Lifecycle::Reclaimed => attempt.escrow == "returned",
        };
        account.expect(PLACE, attempt.run, agrees, || {
            format!("the escrow is {} here and {:?} in the vault", attempt.escrow, record.lifecycle)
        });
    }
    Ok(())
}

/// module-gate's statement on each execution is the one that was kept.
async fn executions(account: &mut Account, gates: &Gates, attempts: &[AttemptRow]) {
    const PLACE: FindingPlace = FindingPlace::Executions;
    for attempt in attempts {
        let Some(kept) = attempt.statement else { continue };
        let asked = gates.execution(attempt.run, attempt.number);
        match tokio::time::timeout(Duration::from_secs(15), asked).await {
            Ok(Ok(Execution::Finished(statement))) => {
                let found = Digest::of(&statement);
                account.expect(PLACE, attempt.run, found == kept, || {
                    format!("module-gate's statement is {found}, the one that was kept is {kept}")
                });
            }
            Ok(Ok(_)) => {
                account.unknown(PLACE, Some(attempt.run), "module-gate has no statement any more");
            }
            Ok(Err(error)) => account.unknown(PLACE, Some(attempt.run), error.to_string()),
            Err(_) => account.unknown(PLACE, Some(attempt.run), "module-gate did not answer"),
        }
    }
}
