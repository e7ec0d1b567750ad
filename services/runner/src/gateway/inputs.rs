//! Inputs on their way to a run: stored ahead by `POST /inputs`, named by `inputRef`, and checked by
//! the schema of the module that will work on them.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chassis::http::BodyDeadline;
use chassis::postgres;
use input_schema::Mistake;
use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use wire::json::exact;
use wire::problem::Issue;
use wire::{Digest, Problem};

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::gates::Schema;
use crate::gateway::commands::Key;
use crate::gateway::create_request::{MAX_STORED_BODY_BYTES, MAX_STORED_BYTES, NewRun};
use crate::gateway::limits::ClientAddress;
use crate::gateway::shares::Shares;
use crate::gateway::{Gateway, Shared, oracle_gate, store, unread_body};
use crate::input_check::{CHECKS_OF_REQUESTS, mistakes};
use crate::model::run::INPUT_LASTS;
use crate::view::rfc3339;

/// Most bytes that an account may store in a day.
const DAILY_BYTES: i64 = 256 * 1024 * 1024;
/// Inputs that are received at once: each is in memory until its last byte came, however slowly.
static RECEPTIONS: Semaphore = Semaphore::const_new(32);
/// Of these, at most so many of one account, so that none takes all the places.
const RECEPTIONS_OF_ONE: usize = 2;
/// And at most so many of one address, since accounts cost nothing.
const RECEPTIONS_OF_ADDRESS: usize = 8;
/// How long an input may take to come.
const RECEPTION_PATIENCE: Duration = Duration::from_secs(120);
/// When one of an account's own inputs may have come, in seconds.
const OWN_RETRY_AFTER_SECS: u64 = 5;
/// When there may be a place again among all, in seconds: many inputs have come then, or are late.
const RETRY_AFTER_SECS: u64 = 60;
/// The resolution of `Retry-After` for the quota of a day, in seconds.
const QUOTA_STEP_SECS: i64 = 60;
/// Inputs that are stored at once: each is in memory twice.
static UPLOADS: Semaphore = Semaphore::const_new(4);
/// How long a new run waits for what its module says about its input.
const SCHEMA_PATIENCE: Duration = Duration::from_secs(3);

/// Inputs that are being received, by account. Who does not log in has none, and shares the places
/// of all.
static OF_ACCOUNTS: LazyLock<Shares<String>> = LazyLock::new(|| Shares::new(RECEPTIONS_OF_ONE));
/// The same by address.
static OF_ADDRESSES: LazyLock<Shares<IpAddr>> =
    LazyLock::new(|| Shares::new(RECEPTIONS_OF_ADDRESS));

/// A stored input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredInput {
    /// What `inputRef` of a run takes: SHA-256 of the input as canonical JSON (RFC 8785).
    pub input_ref: Digest,
    /// Bytes of the canonical JSON.
    pub length: u64,
    /// Until when it can be named (RFC 3339). Storing it again begins anew.
    pub expires_at: String,
}

/// Stores an input for runs to come.
///
/// It is for inputs that are larger than `POST /runs` takes, or that several runs work on. Only the
/// account that stored it can name it.
#[utoipa::path(post, path = "/inputs", tag = "runs",
    request_body(content = serde_json::Value, description = "Any JSON of at most 8 MiB."),
    responses((status = 201, body = StoredInput, description = "It is stored.",
        headers(("Location" = String)))),
)]
pub async fn store_input(
    State(gateway): Shared,
    caller: Caller,
    address: ClientAddress,
    request: Request,
) -> Result<Response> {
    let owner = caller.owner_of_inputs()?;
    // Refused by its Content-Length, before the body is read. The length of the canonical form is
    // checked again below. What is larger than any input may be is refused as that when it is read,
    // and not with a time at which there would be room for it.
    let declared = declared_length(&request);
    if let Some(length) = declared.filter(|length| *length <= MAX_STORED_BODY_BYTES as u64) {
        // White space may make a body longer than what is counted of it.
        let length = i64::try_from(length.min(MAX_STORED_BYTES as u64)).unwrap_or(i64::MAX);
        within_a_day(&gateway.commands.db, &owner, None, length).await?;
    }
    let body = receive(&owner, address, request).await?;
    let gates = oracle_gate(&gateway)?;
    let busy = |_| Error::refused(Problem::Unavailable, "the runner stops; try again");
    let _place = UPLOADS.acquire().await.map_err(busy)?;
    let input = canonical(&body)?;
    drop(body);

    let (digest, length) = (Digest::of(&input), i64::try_from(input.len()).unwrap_or(i64::MAX));
    let db = &gateway.commands.db;
    within_a_day(db, &owner, Some(digest), length).await?;
    // The bytes first: what is noted here can be found there.
    gates.put_input(digest, input).await?;
    let mut noted_at = note(db, &owner, digest, length).await?;
    if noted_at.is_none() {
        within_a_day(db, &owner, Some(digest), length).await?;
        // There is room by now: an earlier input became a day old between the two looks.
        noted_at = note(db, &owner, digest, length).await?;
    }
    let noted_at = noted_at.ok_or_else(|| {
        let text = format!(
            "other inputs of this account have taken the room for {length} bytes in the meantime; \
             try again in {OWN_RETRY_AFTER_SECS} seconds"
        );
        Error::later(Problem::RateLimited, text, OWN_RETRY_AFTER_SECS)
    })?;

    let view = Json(view(digest, length, noted_at));
    let mut answer = (StatusCode::CREATED, view).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/inputs/{digest}")) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

/// Notes an input of this owner, and says when. Nothing if there is no room for it: others may have
/// been sent at the same time, so that it is looked at under a lock of the owner.
async fn note(
    db: &PgPool,
    owner: &str,
    digest: Digest,
    length: i64,
) -> Result<Option<OffsetDateTime>> {
    let mut tx = chassis::postgres::begin(db).await?;
    store::lock_inputs(&mut tx, owner).await?;
    // Once the lock is held: waiting for it makes inputs older.
    let now = chassis::clock::now();
    let since = now - time::Duration::DAY;
    if store::stored_since(&mut *tx, owner, since, digest).await? > DAILY_BYTES - length {
        postgres::rollback(tx).await?;
        return Ok(None);
    }
    store::keep_input(&mut tx, owner, digest, length, now).await?;
    postgres::commit(tx).await?;
    Ok(Some(now))
}

/// Refuses `length` more bytes of an owner who would have stored too many within a day, with the
/// time until enough of them are a day old. The input `again` is not counted among those that are
/// stored, so that storing it again does not count twice. Where it is not known which input comes,
/// all are counted.
async fn within_a_day(db: &PgPool, owner: &str, again: Option<Digest>, length: i64) -> Result<()> {
    // Without a digest nothing is left out: this is the digest of no input.
    let without = again.unwrap_or_else(|| Digest::from([0; 32]));
    let now = chassis::clock::now();
    let stored_in = async |secs: i64| {
        let since = now - time::Duration::DAY + time::Duration::seconds(secs);
        store::stored_since(db, owner, since, without).await
    };
    let stored = stored_in(0).await?;
    if stored.saturating_add(length) <= DAILY_BYTES {
        return Ok(());
    }
    // Halved until the step is known after which the sum is small enough. After a day it is 0.
    let (mut too_early, mut enough) = (0, time::Duration::DAY.whole_seconds() / QUOTA_STEP_SECS);
    while enough - too_early > 1 {
        let middle = i64::midpoint(too_early, enough);
        let fits = stored_in(middle * QUOTA_STEP_SECS).await?.saturating_add(length) <= DAILY_BYTES;
        if fits { enough = middle } else { too_early = middle }
    }
    let wait = u64::try_from(enough * QUOTA_STEP_SECS).unwrap_or_default();
    let text = format!(
        "this account has stored {stored} bytes within a day, of {DAILY_BYTES} that it may; there \
         is room for {length} more in {wait} seconds"
    );
    Err(Error::later(Problem::RateLimited, text, wait))
}

/// How many bytes a request says that it brings.
fn declared_length(request: &Request) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

/// Says whether an input is stored for the caller.
#[utoipa::path(get, path = "/inputs/{digest}", tag = "runs",
    params(("digest" = String, Path, description = "Its `inputRef`.")),
    responses((status = 200, body = StoredInput, description = "It is.")),
)]
pub async fn find_input(
    State(gateway): Shared,
    caller: Caller,
    Path(digest): Path<String>,
) -> Result<Json<StoredInput>> {
    let owner = caller.owner_of_inputs()?;
    let missing = || Error::refused(Problem::NotFound, "no such input is stored for this account");
    let digest = digest.parse().map_err(|_| missing())?;
    let found = noted(&gateway, &owner, digest).await?;
    let (length, at) = found.ok_or_else(missing)?;
    Ok(Json(view(digest, length, at)))
}

/// Brings the input that a new run names, and compares the input with what its module expects. An
/// accepted request is answered again whatever became of either meanwhile.
///
/// # Errors
///
/// [`Problem::InvalidRequest`] with the places, and the reason why a stored input is refused.
pub async fn complete(
    gateway: &Gateway,
    caller: &Caller,
    new: &mut NewRun,
    key: Option<&Key>,
) -> Result<()> {
    let (agent, version) = (new.request.agent_id, new.request.rate_version);
    let answered = async || match key {
        Some(key) => gateway.commands.was_answered(new, caller.part_of_account(), key).await,
        None => Ok(false),
    };
    // Mostly neither gate has to be asked, and what accepts the run looks at queue and pauses itself.
    if new.input_ref.is_none()
        && let Some(schema) = gateway.market.known_input_schema(agent, version)
    {
        return match compare(&schema, &new.input, Instant::now() + SCHEMA_PATIENCE).await {
            Err(Error::Refused { .. }) if answered().await? => Ok(()),
            outcome => outcome,
        };
    }

    if answered().await? {
        return Ok(());
    }
    // A request that is refused anyway costs neither gate anything.
    gateway.commands.admit(new).await?;
    if let Some(digest) = new.input_ref {
        let unknown = || {
            let text = "no such input is stored for this account, or it has expired; send it to \
                        POST /inputs";
            let issue = Issue::new(vec!["inputRef".to_owned()], text);
            let (problem, detail) = (Problem::InvalidRequest, "Invalid payload".to_owned());
            Error::Refused { problem, detail, issues: vec![issue] }
        };
        noted(gateway, &caller.owner_of_inputs()?, digest).await?.ok_or_else(unknown)?;
        new.input = oracle_gate(gateway)?.input(digest).await?.ok_or_else(unknown)?;
    }

    // A run is accepted while the network or a gate is away, and while more inputs wait for their
    // comparison than can be made. Its input is compared again before money moves, with the module
    // that is paid for.
    let until = Instant::now() + SCHEMA_PATIENCE;
    let schema = timeout_at(until, gateway.market.input_schema(agent, version)).await;
    let schema = match schema {
        Ok(Ok(schema)) => schema,
        Ok(Err(error)) => {
            tracing::debug!("the input is not compared with a schema yet: {error}");
            return Ok(());
        }
        Err(_) => return Ok(()),
    };
    compare(&schema, &new.input, until).await
}

/// Refuses an input that is not what its module expects. What cannot be compared in time is
/// accepted: it is compared again before money moves.
async fn compare(schema: &Schema, input: &[u8], until: Instant) -> Result<()> {
    match timeout_at(until, mistakes(schema, input, &CHECKS_OF_REQUESTS)).await {
        Ok(mistakes) => refuse(mistakes?),
        Err(_) => Ok(()),
    }
}

/// Refuses an input with mistakes, each with its place.
fn refuse(mistakes: Vec<Mistake>) -> Result<()> {
    if mistakes.is_empty() {
        return Ok(());
    }
    let issue = |mistake: Mistake| {
        // Below the member of the request, whichever way the input came.
        let path = std::iter::once("input".to_owned()).chain(mistake.path).collect();
        Issue::new(path, mistake.message)
    };
    let issues = mistakes.into_iter().map(issue).collect();
    let detail = "the input is not what the agent's module expects".to_owned();
    Err(Error::Refused { problem: Problem::InvalidRequest, detail, issues })
}

/// The bytes of an input that a caller sends.
async fn receive(
    owner: &str,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Bytes> {
    let later = |text: String, secs| Error::later(Problem::RateLimited, text, secs);
    let of_account = (!owner.is_empty()).then(|| {
        let text = format!(
            "this account sends {RECEPTIONS_OF_ONE} inputs already; try again when one is stored"
        );
        let place = OF_ACCOUNTS.take(&owner.to_owned());
        place.ok_or_else(|| later(text, OWN_RETRY_AFTER_SECS))
    });
    let _of_account = of_account.transpose()?;
    let of_address = address.map(|address| {
        let text = format!(
            "{RECEPTIONS_OF_ADDRESS} inputs are being sent from this address already; try again \
             when one is stored"
        );
        OF_ADDRESSES.take(&address).ok_or_else(|| later(text, OWN_RETRY_AFTER_SECS))
    });
    let _of_address = of_address.transpose()?;
    let _place = RECEPTIONS.try_acquire().map_err(|_| {
        let text = "too many inputs are being sent at the moment; try again in a minute";
        Error::later(Problem::Unavailable, text, RETRY_AFTER_SECS)
    })?;
    // The server bounds the time, and a pause between two pieces: this is a large body.
    if let Some(time) = request.extensions().get::<BodyDeadline>() {
        time.allow(RECEPTION_PATIENCE);
    }
    let body = Bytes::from_request(request, &()).await;
    body.map_err(|rejection| unread_body(rejection, MAX_STORED_BODY_BYTES))
}

/// What this service knows of an owner's input, while it lasts.
async fn noted(
    gateway: &Gateway,
    owner: &str,
    digest: Digest,
) -> Result<Option<(i64, OffsetDateTime)>> {
    let found = store::input_of(&gateway.commands.db, owner, digest).await?;
    Ok(found.filter(|(_, at)| *at + INPUT_LASTS > chassis::clock::now()))
}

fn view(digest: Digest, length: i64, at: OffsetDateTime) -> StoredInput {
    let length = u64::try_from(length).unwrap_or_default();
    StoredInput { input_ref: digest, length, expires_at: rfc3339(at + INPUT_LASTS) }
}

/// The one spelling of an input, whose digest names it everywhere.
fn canonical(body: &[u8]) -> Result<Vec<u8>> {
    let refused = |issues: Vec<Issue>| {
        let (problem, detail) = (Problem::InvalidRequest, "Invalid payload".to_owned());
        Error::Refused { problem, detail, issues }
    };
    let text = std::str::from_utf8(body).map_err(|error| {
        refused(vec![Issue::new(Vec::new(), format!("expected UTF-8: {error}"))])
    })?;
    let issue = |flaw: exact::Flaw| Issue::new(flaw.path, flaw.message);
    let read = exact::canonical(text).map_err(|flaw| refused(vec![issue(flaw)]))?;
    if !read.rounded.is_empty() {
        return Err(refused(read.rounded.into_iter().map(issue).collect()));
    }
    if read.text.len() > MAX_STORED_BYTES {
        let text = format!("the input has more than {MAX_STORED_BYTES} bytes");
        return Err(Error::refused(Problem::PayloadTooLarge, text));
    }
    Ok(read.text.into_bytes())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[tokio::test]
    async fn an_input_that_does_not_come_in_time_is_refused_as_that() {
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let pieces = futures::stream::iter([Err::<Bytes, _>(late)]);
        let request = Request::new(Body::from_stream(pieces));
        let rejection = Bytes::from_request(request, &()).await.unwrap_err();
        let refused = unread_body(rejection, MAX_STORED_BODY_BYTES);
        let Error::Refused { problem, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(problem, Problem::RequestTimeout);
    }
}
