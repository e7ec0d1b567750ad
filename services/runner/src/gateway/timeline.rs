//! What a run went through: its events and its transactions, in the order in which they were made.

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use wire::RunId;
use wire::event::{CloudEvent, RunData, RunStatus};
use wire::view::milliseconds;

use crate::error::{Error, Result};
use crate::view::transactions::{TransactionView, transactions};

/// Events of one run that a timeline shows at most. A run has seven an attempt.
const MOST_EVENTS: i64 = 2_000;

/// What `GET /runs/:id/timeline` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineView {
    /// The run.
    pub id: RunId,
    /// What it went through, oldest first.
    pub entries: Vec<EntryView>,
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum EntryView {
    /// Its public status changed, or it began another attempt.
    Event {
        /// When.
        #[serde(with = "milliseconds")]
        at: OffsetDateTime,
        /// Which attempt, from 1.
        attempt: u32,
        /// `queued`, `opening`, `running`, `finalizing`, `finalized`, `failed` or `cancelled`.
        event: String,
        /// The status from then on.
        status: RunStatus,
        /// Why it failed, for programs.
        // Named once more: the document is made by a reader that does not know
        // `rename_all_fields`.
        #[serde(rename = "errorCode", skip_serializing_if = "Option::is_none")]
        error_code: Option<String>,
        /// Why it failed, for people.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A transaction was signed.
    Transaction {
        /// When.
        #[serde(with = "milliseconds")]
        at: OffsetDateTime,
        /// Which attempt, from 1.
        attempt: u32,
        /// What became of it until now.
        transaction: TransactionView,
    },
}

impl EntryView {
    const fn at(&self) -> OffsetDateTime {
        match self {
            Self::Event { at, .. } | Self::Transaction { at, .. } => *at,
        }
    }
}

/// Everything that the run went through.
///
/// # Errors
///
/// When the database does not answer.
pub async fn timeline(db: &PgPool, run: RunId) -> Result<TimelineView> {
    let mut entries = events(db, run).await?;
    let signed = transactions(db, run).await?.into_iter().map(|(attempt, transaction)| {
        EntryView::Transaction { at: transaction.created_at, attempt, transaction }
    });
    entries.extend(signed);
    // Stable: of two that were made in the same moment, the event comes first.
    entries.sort_by_key(EntryView::at);
    Ok(TimelineView { id: run, entries })
}

async fn events(db: &PgPool, run: RunId) -> Result<Vec<EntryView>> {
    let stored = super::store::events_of_run(db, run, 0, MOST_EVENTS).await?;
    stored.iter().map(|event| entry(&event.body)).collect()
}

fn entry(body: &str) -> Result<EntryView> {
    let broken = |error: serde_json::Error| Error::Broken(format!("stored event: {error}"));
    let event: CloudEvent = serde_json::from_str(body).map_err(broken)?;
    let data: RunData = event.read().map_err(broken)?;
    // `dev.lumio.run.<event>.v1`
    let name = event.r#type.split('.').nth(3).unwrap_or_default().to_owned();
    let (error_code, error) = match data.error {
        Some(failure) => (Some(failure.code), Some(failure.reason)),
        None => (None, None),
    };
    Ok(EntryView::Event {
        at: event.time,
        attempt: data.attempt,
        event: name,
        status: data.status,
        error_code,
        error,
    })
}
