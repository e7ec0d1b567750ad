//! The accounting: everything that is known of runs in several places, compared.
//!
//! Postgres says what this runner did; the vault's events and records, the transactions on the
//! node, the balances, the stream on NATS and module-gate's executions say what happened. After any
//! fault they must say the same. What differs is *broken*; what a place does not know any more,
//! because it keeps things only for a time, is *unknown* and never counts as agreement.
//!
//! It only reads, and the service goes on meanwhile: what one place says may be older than what the
//! next one says. So whatever differs is looked at again, in every place, and only what still
//! differs then is told. For a run that is being worked on, many rules hold only when its worker has
//! noted what happened: if it has not by the last look, that is unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chassis::Bus;
use serde::Serialize;
use sqlx::PgPool;
use stellar::rpc::Outcome;
use stellar::vault::{Lifecycle, Vault};
use stellar::{Address, Rpc};
use tokio::time::sleep;
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

/// How often what differs is looked at again, at most.
const LOOKS: usize = 3;
/// Between two looks: a ledger closes, and a worker notes it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

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
    /// Runs that differ, and are looked at again.
    #[serde(skip)]
    differing: BTreeSet<RunId>,
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
        self.differing.extend(run);
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

    /// The same for a rule that an attempt keeps when it has ended: before, its worker may not have
    /// noted yet what another place knows.
    fn expect_settled(
        &mut self,
        place: FindingPlace,
        attempt: &AttemptRow,
        holds: bool,
        text: impl FnOnce() -> String,
    ) {
        if holds || attempt.has_ended() {
            return self.expect(place, attempt.run, holds, text);
        }
        self.count(place);
        self.differing.insert(attempt.run);
        let text = format!("{}; the run is being worked on", text());
        self.unknown(place, Some(attempt.run), text);
    }

    /// What was found about these runs could not be looked at again.
    fn doubt(&mut self, runs: &BTreeSet<RunId>, why: &str) {
        for finding in &mut self.findings {
            if LOOKED_AT_AGAIN.contains(&finding.place)
                && finding.verdict == FindingKind::Broken
                && finding.run.is_some_and(|run| runs.contains(&run))
            {
                finding.verdict = FindingKind::Unknown;
                finding.text = format!("{}; it was not looked at again: {why}", finding.text);
            }
        }
    }

    /// Puts what `again` says of these runs and places in the place of what was found before.
    fn replace(&mut self, runs: &BTreeSet<RunId>, places: &[FindingPlace], again: Self) {
        self.findings.retain(|finding| {
            !places.contains(&finding.place) || finding.run.is_none_or(|run| !runs.contains(&run))
        });
        let found = again.findings.into_iter();
        self.findings.extend(found.filter(|finding| places.contains(&finding.place)));
        self.differing = again.differing;
    }
}

/// The places that are compared run by run and move while the service works.
const LOOKED_AT_AGAIN: [FindingPlace; 4] = [
    FindingPlace::Postgres,
    FindingPlace::Events,
    FindingPlace::Records,
    FindingPlace::Transactions,
];

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
    look_again(&mut account, sources).await?;
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

/// Looks at what differs until it does not, or has been looked at often enough.
async fn look_again(account: &mut Account, sources: &Sources<'_>) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        let runs = std::mem::take(&mut account.differing);
        if runs.is_empty() {
            break;
        }
        sleep(BETWEEN_LOOKS).await;
        let mut again = Account::default();
        let began = rows::now(sources.db).await?;
        let page = rows::of(sources.db, began, runs.iter().copied()).await?;
        within_postgres(&mut again, &page.attempts, &page.transactions);
        let compared = async {
            let mut chain = Chain::read(sources, &page).await?;
            chain.compare(&mut again, sources, &page).await
        };
        let places: &[FindingPlace] = match compared.await {
            Ok(()) => &LOOKED_AT_AGAIN,
            Err(error) => {
                account.doubt(&runs, &error.to_string());
                &[FindingPlace::Postgres]
            }
        };
        account.replace(&runs, places, again);
    }
    account.differing.clear();
    Ok(())
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
        account.expect_settled(PLACE, attempt, (attempt.escrow == "none") == (opens == 0), || {
            format!("the escrow is {}, and {opens} transactions opened it", attempt.escrow)
        });
        let settled_here = landed(&["finalize"]) == 1;
        let is_explained = match &attempt.receipt {
            None => !settled_here,
            Some(_) => settled_here || attempt.was_settled_elsewhere(),
        };
        account.expect_settled(PLACE, attempt, is_explained, || {
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
    /// The node lacks ledgers in which transactions landed.
    is_behind: bool,
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
        Ok(Self { events, oldest: clock.oldest_ledger, is_behind: false })
    }

    /// The vault's events and records, and the transactions.
    async fn compare(
        &mut self,
        account: &mut Account,
        sources: &Sources<'_>,
        page: &Page,
    ) -> anyhow::Result<()> {
        let clock = sources.rpc.clock().await?;
        let newest = page.transactions.iter().filter_map(|row| row.ledger).max();
        if let Some(newest) = newest.filter(|newest| *newest > i64::from(clock.latest_ledger)) {
            let text = format!(
                "the node has ledgers up to {}, and transactions landed in {newest}",
                clock.latest_ledger
            );
            account.unknown(FindingPlace::Transactions, None, text);
            self.is_behind = true;
            return Ok(());
        }
        self.events.compare(account, &page.attempts, self.oldest)?;
        on_the_node(account, sources.rpc, &page.transactions, clock.oldest_ledger).await?;
        records(account, sources, &page.attempts, clock.latest_close).await
    }

    /// What is known only when every run was read.
    async fn finish(
        self,
        account: &mut Account,
        sources: &Sources<'_>,
        users: Holdings,
    ) -> anyhow::Result<()> {
        self.events.unclaimed(account, sources).await?;
        if self.is_behind {
            account.unknown(FindingPlace::Balances, None, "the node is behind");
            return Ok(());
        }
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
        account.expect_settled(PLACE, attempt, agrees, || {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(escrow: &str, ended: bool) -> AttemptRow {
        AttemptRow {
            run: RunId::from(uuid::Uuid::from_u128(1)),
            number: 1,
            user: "user".to_owned(),
            run_done: false,
            ended,
            escrow: escrow.to_owned(),
            vault_run_id: None,
            terms: None,
            receipt: None,
            statement: None,
            opened_ledger: None,
            has_settling_event: false,
        }
    }

    fn open_that_landed(attempt: &AttemptRow) -> TransactionRow {
        TransactionRow {
            run: attempt.run,
            attempt: 1,
            kind: "open".to_owned(),
            hash: wire::TxHash::from([0; 32]),
            state: "succeeded".to_owned(),
            ledger: Some(1),
            did: true,
        }
    }

    #[test]
    fn what_a_worker_has_not_noted_yet_is_not_broken_and_what_ended_so_is() {
        for (ended, verdict) in [(false, FindingKind::Unknown), (true, FindingKind::Broken)] {
            let row = attempt("none", ended);
            let landed = open_that_landed(&row);
            let mut account = Account::default();
            within_postgres(&mut account, &[row], &[landed]);
            let found: Vec<_> = account.findings.iter().map(|finding| finding.verdict).collect();
            assert_eq!(found, [verdict]);
            assert_eq!(account.is_broken(), ended);
            assert_eq!(account.differing.len(), 1, "it is looked at again");
        }
    }

    #[test]
    fn what_agrees_at_the_next_look_is_not_told() {
        let row = attempt("none", false);
        let (run, landed) = (row.run, open_that_landed(&row));
        let mut account = Account::default();
        within_postgres(&mut account, &[row], &[landed]);
        account.unknown(FindingPlace::Executions, Some(run), "module-gate did not answer");
        let mut again = Account::default();
        let row = attempt("open", false);
        let landed = open_that_landed(&row);
        within_postgres(&mut again, &[row], &[landed]);
        account.replace(&BTreeSet::from([run]), &LOOKED_AT_AGAIN, again);
        let places: Vec<_> = account.findings.iter().map(|finding| finding.place).collect();
        assert_eq!(places, [FindingPlace::Executions]);
        assert!(account.differing.is_empty());
    }

    #[test]
    fn what_cannot_be_looked_at_again_is_unknown() {
        let row = attempt("none", true);
        let (run, landed) = (row.run, open_that_landed(&row));
        let mut account = Account::default();
        within_postgres(&mut account, &[row], &[landed]);
        account.doubt(&BTreeSet::from([run]), "the node does not answer");
        assert!(!account.is_broken() && !account.findings.is_empty());
    }
}
