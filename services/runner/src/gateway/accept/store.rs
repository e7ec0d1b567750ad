//! The one statement that accepts runs: the database's function `accept_requests`, whose migration says
//! what it does.

use chassis::postgres::in_time;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;
use wire::Digest;

use crate::gateway::accept::{ACCEPTED, Answered, Offer, Outcome};
use crate::gateway::store::head_start;
use crate::rows;

/// Stores these requests, as far as nothing refuses them, and says what became of each.
///
/// The statement is a transaction of its own, which the connection has committed when its last
/// answer is read: all answers are read before this returns.
pub(super) async fn accept(
    conn: &mut PgConnection,
    offers: &[&Offer],
) -> sqlx::Result<Vec<Outcome>> {
    let columns = Columns::of(offers);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT outcome AS "outcome!", request_hash, status, response, pause_scope, pause_reason
           FROM accept_requests($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)
           ORDER BY place"#,
        &columns.ids as &[Uuid],
        &columns.users,
        &columns.agents as &[i64],
        &columns.rate_versions as &[Option<i64>],
        &columns.budgets as &[Json<wire::Usage>],
        &columns.workflows as &[Option<&str>],
        &columns.labels as &[Option<&str>],
        &columns.metadata as &[Option<&str>],
        &columns.inputs as &[&[u8]],
        &columns.input_digests as &[&[u8]],
        &columns.seeds as &[i64],
        &columns.traces as &[&str],
        &columns.times as &[OffsetDateTime],
        &columns.subjects as &[Option<&str>],
        &columns.starts as &[Option<OffsetDateTime>],
        &columns.priorities as &[Option<String>],
        &columns.head_starts as &[i64],
        &columns.nonces as &[&[u8]],
        &columns.key_owners,
        &columns.keys as &[Option<&str>],
        &columns.fingerprints as &[&[u8]],
        &columns.statuses as &[i32],
        &columns.responses as &[&str],
        &columns.event_ids as &[&str],
        &columns.event_subjects as &[&str],
        &columns.event_bodies as &[&str],
        &columns.refusals as &[bool],
    );
    let rows = rows.fetch_all(in_time(conn)).await?;
    if rows.len() != offers.len() {
        return Err(wrong("place", format!("{} rows for {} requests", rows.len(), offers.len())));
    }
    rows.into_iter().map(Row::read).collect()
}

/// What the function says about one request.
struct Row {
    outcome: String,
    request_hash: Option<Vec<u8>>,
    status: Option<i32>,
    response: Option<String>,
    pause_scope: Option<String>,
    pause_reason: Option<String>,
}

impl Row {
    fn read(self) -> sqlx::Result<Outcome> {
        let Self { outcome, request_hash, status, response, pause_scope, pause_reason } = self;
        match (outcome.as_str(), request_hash, status, response, pause_scope, pause_reason) {
            ("accepted", ..) => Ok(Outcome::Accepted),
            ("answered", Some(hash), Some(status), Some(response), ..) => {
                let fingerprint = Digest::try_from(hash.as_slice());
                let fingerprint = fingerprint.map_err(|error| wrong("request_hash", error))?;
                let status = rows::number(i64::from(status), "status")?;
                Ok(Outcome::Answered(Answered { fingerprint, status, response }))
            }
            ("in_flight", ..) => Ok(Outcome::InFlight),
            ("paused", _, _, _, Some(scope), Some(reason)) => Ok(Outcome::Paused { scope, reason }),
            ("refused", ..) => Ok(Outcome::Refused),
            _ => Err(wrong("outcome", format!("`{outcome}` is not known"))),
        }
    }
}

/// What the function takes: an element of each for every request.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    users: Vec<String>,
    agents: Vec<i64>,
    rate_versions: Vec<Option<i64>>,
    budgets: Vec<Json<wire::Usage>>,
    workflows: Vec<Option<&'a str>>,
    labels: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    inputs: Vec<&'a [u8]>,
    input_digests: Vec<&'a [u8]>,
    seeds: Vec<i64>,
    traces: Vec<&'a str>,
    times: Vec<OffsetDateTime>,
    subjects: Vec<Option<&'a str>>,
    starts: Vec<Option<OffsetDateTime>>,
    priorities: Vec<Option<String>>,
    head_starts: Vec<i64>,
    nonces: Vec<&'a [u8]>,
    key_owners: Vec<String>,
    keys: Vec<Option<&'a str>>,
    fingerprints: Vec<&'a [u8]>,
    statuses: Vec<i32>,
    responses: Vec<&'a str>,
    event_ids: Vec<&'a str>,
    event_subjects: Vec<&'a str>,
    event_bodies: Vec<&'a str>,
    refusals: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn of(offers: &[&'a Offer]) -> Self {
        let mut columns = Self::default();
        for offer in offers {
            columns.add(offer);
        }
        columns
    }

    fn add(&mut self, offer: &'a Offer) {
        let (new, request, event) = (&offer.new, &offer.new.request, &offer.event);
        self.ids.push(*offer.id.as_uuid());
        self.users.push(request.user.to_string());
        self.agents.push(i64::from(request.agent_id));
        self.rate_versions.push(request.rate_version.map(i64::from));
        self.budgets.push(Json(request.budgets));
        self.workflows.push(request.workflow_id.as_deref());
        self.labels.push(request.label.as_deref());
        self.metadata.push(request.metadata.as_deref());
        self.inputs.push(&new.input);
        self.input_digests.push(request.input_digest.as_bytes());
        // At most 2^53 - 1, so it fits.
        self.seeds.push(i64::try_from(request.seed).unwrap_or(i64::MAX));
        self.traces.push(&offer.traceparent);
        self.times.push(offer.now);
        self.subjects.push(offer.subject.as_deref());
        self.starts.push(new.start_at);
        self.priorities.push(new.priority.map(|priority| priority.to_string()));
        self.head_starts.push(head_start(new.priority));
        self.nonces.push(offer.nonce.as_bytes());
        self.key_owners.push(offer.key_owner());
        self.keys.push(offer.key.as_ref().map(|key| key.as_str()));
        self.fingerprints.push(new.fingerprint.as_bytes());
        self.statuses.push(i32::from(ACCEPTED));
        self.responses.push(&offer.body);
        self.event_ids.push(&event.id);
        self.event_subjects.push(&event.subject);
        self.event_bodies.push(&event.body);
        self.refusals.push(offer.place.is_err());
    }
}

fn wrong(column: &str, why: impl std::fmt::Display) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: why.to_string().into() }
}
