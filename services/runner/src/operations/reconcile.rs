//! Reconciliation: Postgres compared with the vault's state, and repaired by what that proves.
//!
//! It finds open records that no run owns, runs whose record was closed otherwise than they believe,
//! runs in an operator's hands, escrows past their deadline, and sums that do not agree. A repair
//! changes only what contract state (or the followed events, where a record has ended) proves, one
//! transaction a run, under the run's lock; money is moved by the workers alone, through the phases
//! that give it back.

use std::collections::BTreeMap;

use chassis::postgres::in_time;
use serde::Serialize;
use sqlx::PgPool;
use stellar::scval::Reader;
use stellar::vault::{Lifecycle, RunRecord, Vault};
use stellar::{Address, Rpc, tx};
use time::OffsetDateTime;
use wire::event::{Fact, Opened};
use wire::{RunId, VaultRunId};

use crate::chain::calls::address;
use crate::error::{Error, Result};
use crate::model::terms::Terms;
use crate::operations::resolve;
use crate::sight::Followed;
use crate::sight::attempts::{Row, rows};
use crate::sight::proof::{Evidence, Proof};

/// Records of one request: what a node takes at once.
const PAGE: usize = 200;
/// How long after its deadline an open escrow may wait for its worker, in seconds.
const GRACE_SECS: u64 = 600;

/// What is compared.
#[derive(Debug)]
pub struct Reconciler<'a> {
    /// Where runs are kept.
    pub db: &'a PgPool,
    /// The node.
    pub rpc: &'a Rpc,
    /// The contracts, and the runner whose runs these are.
    pub followed: &'a Followed,
    /// First token of subjects.
    pub nats_prefix: &'a str,
    /// Whether to repair what can be.
    pub repair: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The vault holds an escrow that this runner opened, and no run owns it.
    RecordWithoutRun,
    /// A run has ended here, and the vault still holds its escrow.
    EndedButOpen,
    /// The vault has closed the run otherwise than it says here.
    ClosedOtherwise,
    /// A run waits for an operator.
    OperatorHeld,
    /// An escrow is open long after its deadline.
    EscrowOverdue,
    /// An account's sums are not what its runs add up to.
    AccountDiffers,
    /// The vault owes more than it holds.
    VaultDeficit,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which kind.
    pub kind: Kind,
    /// The run, if Postgres has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The run's id in the vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_run_id: Option<VaultRunId>,
    /// Whose money it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What the vault's state proves: open, settled, returned, never_opened or unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<&'static str>,
    /// What was done, or can be.
    pub action: String,
    /// Whether it was repaired.
    pub repaired: bool,
    /// What was expected and what was found.
    pub text: String,
}

/// The whole comparison.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Reconciliation {
    /// How many of each were compared.
    pub compared: BTreeMap<&'static str, u64>,
    /// What differs.
    pub findings: Vec<Finding>,
}

impl Reconciliation {
    /// Whether nothing is left that differs.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired)
    }

    /// Whether something could not be found out.
    pub fn is_unknown(&self) -> bool {
        self.findings.iter().any(|finding| finding.proof == Some("unknown"))
    }

    fn count(&mut self, what: &'static str, count: usize) {
        *self.compared.entry(what).or_default() += count as u64;
    }
}

impl Reconciler<'_> {
    /// Compares everything, repairs what it may, and keeps what was found.
    ///
    /// # Errors
    ///
    /// When Postgres or the node does not answer, or the node is behind: nothing is known then.
    pub async fn run(&self) -> Result<Reconciliation> {
        let started_at = chassis::clock::now();
        let clock = self.rpc.clock().await?;
        let mut done = Reconciliation::default();

        self.attempts(&mut done, clock.latest_close).await?;
        self.orphans(&mut done, clock.latest_close).await?;
        self.accounts(&mut done).await?;
        done.findings.sort_by_key(|finding| (finding.kind, finding.run));
        keep(self.db, started_at, self.repair, &done).await?;
        Ok(done)
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence { db: self.db, rpc: self.rpc, followed: self.followed }
    }

    /// Every attempt that has an id in the vault, with the record that it has there.
    async fn attempts(&self, done: &mut Reconciliation, now: u64) -> Result<()> {
        let rows = rows(self.db, None).await?;
        done.count("runs", rows.len());
        for page in rows.chunks(PAGE) {
            let ids: Vec<_> = page.iter().map(|row| row.asked.vault_run_id).collect();
            let (ledger, records) = self.evidence().records(&ids).await?;
            done.count("records", records.iter().flatten().count());
            for (row, record) in page.iter().zip(records) {
                if let Some(finding) = self.compare(row, ledger, record, now).await? {
                    done.findings.push(finding);
                }
            }
        }
        Ok(())
    }

    /// What differs between an attempt and its record.
    async fn compare(
        &self,
        row: &Row,
        ledger: u32,
        record: Option<RunRecord>,
        now: u64,
    ) -> Result<Option<Finding>> {
        let is_open = record.is_some_and(|record| record.lifecycle == Lifecycle::Open);
        let (kind, text) = if row.has_ended {
            // A record that has ended says nothing, and nothing has to be said.
            let Some(record) = record else { return Ok(None) };
            match difference(row, &record) {
                None => return Ok(None),
                Some(text) if is_open => (Kind::EndedButOpen, text),
                Some(text) => (Kind::ClosedOtherwise, text),
            }
        } else if let Some(reason) = &row.operator_reason {
            (Kind::OperatorHeld, reason.clone())
        } else if row.escrow == "open" && now > row.asked.deadline + GRACE_SECS {
            (Kind::EscrowOverdue, format!("its deadline was {}", row.asked.deadline))
        } else if !is_open && record.is_some() && ["executing", "sealing"].contains(&&*row.phase) {
            (Kind::ClosedOtherwise, format!("it is {}, and the vault has closed it", row.phase))
        } else {
            return Ok(None);
        };

        let proof = self.evidence().judge(&row.asked, ledger, record).await?;
        let mut finding = Finding {
            kind,
            run: Some(row.asked.run),
            vault_run_id: Some(row.asked.vault_run_id),
            user: Some(row.user.clone()),
            proof: Some(proof.name()),
            action: String::new(),
            repaired: false,
            text: format!("{text}; {}", proof.text()),
        };
        self.act(&mut finding, row, &proof).await?;
        Ok(Some(finding))
    }

    /// Repairs an attempt, or says what could be done.
    async fn act(&self, finding: &mut Finding, row: &Row, proof: &Proof) -> Result<()> {
        let planned = match (finding.kind, proof) {
            (_, Proof::Unknown(_)) => {
                finding.action = "none: only a node with full history can answer".to_owned();
                return Ok(());
            }
            (Kind::ClosedOtherwise, _) if row.has_ended => {
                finding.action = "none: a person has to compare the receipts".to_owned();
                return Ok(());
            }
            (Kind::EndedButOpen, _) if !row.is_present => {
                finding.action = "none: a later attempt owns the run; see the record".to_owned();
                return Ok(());
            }
            (Kind::EndedButOpen, _) => "the escrow is given back",
            (_, Proof::Open { .. }) => "workers go on with it",
            (_, Proof::Settled { .. }) => "the run ends as the vault settled it",
            (_, Proof::Returned(_)) => "the run ends with its escrow returned",
            (_, Proof::NeverOpened) => "the run ends without an escrow",
        };
        finding.action = planned.to_owned();
        if !self.repair {
            return Ok(());
        }
        let applied = if finding.kind == Kind::EndedButOpen {
            resolve::reopen_to_refund(self.db, &row.asked).await?
        } else {
            resolve::apply(self.db, self.nats_prefix, &row.asked, proof).await?
        };
        match applied {
            resolve::Applied::Done(what) => {
                finding.action = what;
                finding.repaired = true;
            }
            resolve::Applied::Not(why) => finding.action = format!("none: {why}"),
        }
        Ok(())
    }

    /// Open records of this runner that no attempt has.
    async fn orphans(&self, done: &mut Reconciliation, now: u64) -> Result<()> {
        let found = sqlx::query!(
            r#"SELECT e.run_id AS "run_id!", e.data AS "data!" FROM contract_events e
               WHERE e.name = 'run_opened' AND e.data->>'opened_by' = $1 AND e.contract = $2
                AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.vault_run_id = e.run_id)
                AND NOT EXISTS (SELECT 1 FROM contract_events c WHERE c.run_id = e.run_id
                    AND c.name IN ('run_finalized', 'run_voided', 'run_reclaimed'))
               ORDER BY e.id"#,
            self.followed.runner.to_string(),
            self.followed.vault.to_string(),
        );
        let mut orphans = Vec::new();
        for row in found.fetch_all(in_time(self.db)).await? {
            let fact = serde_json::from_value::<Fact>(row.data);
            let fact = fact.map_err(|error| Error::Broken(error.to_string()))?;
            if let Fact::RunOpened(opened) = fact {
                orphans.push(*opened);
            }
        }
        for page in orphans.chunks(PAGE) {
            let ids: Vec<_> = page.iter().map(|opened| opened.run_id).collect();
            let (_, records) = self.evidence().records(&ids).await?;
            for (opened, record) in page.iter().zip(records) {
                if record.is_none_or(|record| record.lifecycle != Lifecycle::Open) {
                    continue;
                }
                done.findings.push(self.orphan(opened, now).await?);
            }
        }
        Ok(())
    }

    async fn orphan(&self, opened: &Opened, now: u64) -> Result<Finding> {
        let mut finding = Finding {
            kind: Kind::RecordWithoutRun,
            run: None,
            vault_run_id: Some(opened.run_id),
            user: Some(opened.user.clone()),
            proof: Some("open"),
            action: "a run is made for it, which gives the escrow back".to_owned(),
            repaired: false,
            text: format!(
                "the vault holds an escrow for agent {} until {}, and no run here owns it",
                opened.agent_id, opened.deadline
            ),
        };
        if self.repair {
            let id =
                resolve::adopt(self.db, self.nats_prefix, opened, &terms(opened)?, now).await?;
            finding.run = Some(id);
            finding.repaired = true;
        }
        Ok(finding)
    }

    /// The sums of accounts, and what the vault holds.
    async fn accounts(&self, done: &mut Reconciliation) -> Result<()> {
        let vault = Vault(self.followed.vault);
        let value = tx::view(self.rpc, &vault.deficit()).await?;
        let deficit = Reader::new("deficit", &value).i128()?;
        if deficit != 0 {
            done.findings.push(Finding {
                kind: Kind::VaultDeficit,
                run: None,
                vault_run_id: None,
                user: None,
                proof: None,
                action: "none: stop intake, and see the token contract".to_owned(),
                repaired: false,
                text: format!("the vault owes {deficit} stroops more than it holds"),
            });
        }
        let held = sqlx::query!(
            r#"SELECT r.user_account AS "user!",
                coalesce(sum((a.terms->>'max_charge')::numeric + (a.terms->>'runner_fee')::numeric)
                    FILTER (WHERE a.escrow = 'open' AND r.operator_reason IS NULL), 0)::text
                    AS "held!",
                count(*) FILTER (WHERE a.receipt IS NOT NULL) AS "receipts!"
               FROM attempts a JOIN runs r ON r.id = a.run_id
               WHERE a.vault_run_id IS NOT NULL GROUP BY r.user_account"#
        );
        for row in held.fetch_all(in_time(self.db)).await? {
            let Ok(address) = row.user.parse::<Address>() else { continue };
            let held: i128 = row.held.parse().unwrap_or(i128::MAX);
            let there = vault.account_now(self.rpc, address).await?;
            let escrow = there.due_today.saturating_add(there.due_tomorrow);
            done.count("accounts", 1);
            // Others may have runs of this user too: there may be more on chain than here.
            if held <= escrow && row.receipts.unsigned_abs() <= there.receipts {
                continue;
            }
            done.findings.push(Finding {
                kind: Kind::AccountDiffers,
                run: None,
                vault_run_id: None,
                user: Some(row.user),
                proof: None,
                action: "none: the runs that differ are named beside it".to_owned(),
                repaired: false,
                text: format!(
                    "{held} stroops of open runs and {} receipts here, {escrow} stroops and {} \
                     receipts in the vault",
                    row.receipts, there.receipts
                ),
            });
        }
        Ok(())
    }
}

/// How an ended attempt and its record differ, if they do.
fn difference(row: &Row, record: &RunRecord) -> Option<String> {
    let agrees = match record.lifecycle {
        Lifecycle::Open => false,
        Lifecycle::Finalized { charge, output_hash, .. } => {
            (row.charge, row.output_hash) == (Some(charge), Some(output_hash))
        }
        Lifecycle::Voided(_) | Lifecycle::Reclaimed => row.escrow == "returned",
    };
    (!agrees).then(|| {
        format!("the escrow is {} here, and {:?} in the vault", row.escrow, record.lifecycle)
    })
}

/// The terms of an event, as runs keep them.
///
/// # Errors
///
/// When an account in it is no address.
pub(super) fn terms(opened: &Opened) -> Result<Terms> {
    Ok(Terms {
        user: address(&opened.user)?,
        opened_by: address(&opened.opened_by)?,
        agent_id: opened.agent_id,
        rate_version: opened.rate_version,
        rates: opened.rates,
        budgets: opened.budgets,
        max_charge: opened.max_charge,
        runner_fee: opened.runner_fee,
        deadline: opened.deadline,
        opened_at: Some(opened.opened_at),
        developer: address(&opened.developer)?,
        manifest_hash: opened.manifest_hash,
        request_hash: opened.request_hash,
        attesters: opened.attesters.clone(),
    })
}

async fn keep(
    db: &PgPool,
    started_at: OffsetDateTime,
    repair: bool,
    done: &Reconciliation,
) -> Result<()> {
    let json = |value: serde_json::Result<serde_json::Value>| {
        value.map_err(|error| Error::Broken(error.to_string()))
    };
    sqlx::query!(
        "INSERT INTO reconciliations (started_at, ended_at, repaired, compared, findings)
         VALUES ($1, now(), $2, $3, $4)",
        started_at,
        repair,
        json(serde_json::to_value(&done.compared))?,
        json(serde_json::to_value(&done.findings))?,
    )
    .execute(in_time(db))
    .await?;
    Ok(())
}
