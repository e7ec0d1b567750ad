//! The same facts and orders over gRPC. The only file that names the messages of `lumio.runner.v1`.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http;
use chassis::http::held::GuardedBody;
use chassis::postgres;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt as _};
use prost::Message as _;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use wire::Problem;
use wire::event::CloudEvent;
use wire::pb::runner::v1::runner_server::Runner;
use wire::pb::runner::v1::{
    self as pb, CancelRunRequest, CreateRunRequest, Escrow, GetRunRequest, GetSummaryRequest,
    ListRunsRequest, ListRunsResponse, RetryRunRequest, Run, RunEvent, RunStatus, Summary,
    WatchRunRequest, WatchRunsRequest,
};

use crate::auth::Caller;
use crate::error::{Error, Result};
use crate::gateway::answers::{PAGE_SET_ASIDE, Reserved};
use crate::gateway::commands::Key;
use crate::gateway::feed::StoredEvent;
use crate::gateway::limits::ClientAddress;
use crate::gateway::market::{MOST_AGENTS, QuoteView};
use crate::gateway::page::{self, Page};
use crate::gateway::streams::{Piece, Reader};
use crate::gateway::{DATABASE_PATIENCE, Gateway, create_request, inputs, store};
use crate::model::run::{self, Snapshot, draw_seed};
use crate::model::state;
use crate::view::{Meters, RunView, rfc3339};

mod offers;

/// The service.
#[derive(Debug, Clone)]
pub struct Grpc(pub Arc<Gateway>);

#[tonic::async_trait]
impl Runner for Grpc {
    async fn create_run(
        &self,
        request: Request<CreateRunRequest>,
    ) -> Result<Response<Run>, Status> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let key = request.idempotency_key.as_deref().map(Key::read).transpose()?;
        let mut new = create_request::read(&body(&request)?, draw_seed)?;
        caller.may_spend(new.request.user)?;
        caller.may_ask(new.priority)?;
        inputs::complete(&self.0, &caller, &mut new, key.as_ref()).await?;
        let created = self.0.commands.create(new, caller.part_of_account(), key).await?;
        Ok(Response::new(message(&self.0.commands.find(created.id).await?)))
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Result<Response<Run>, Status> {
        let caller = self.caller(&request).await?;
        let snapshot = self.0.commands.find(run_id(&request.into_inner().id)?).await?;
        caller.may_see(&snapshot.run)?;
        Ok(Response::new(message(&snapshot)))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let scope = self.caller(&request).await?.list_of(None)?;
        let request = request.into_inner();
        // 0 is protobuf's way to say nothing.
        let limit = request.limit.clamp(0, 500).to_string();
        let limit = (request.limit > 0).then_some(limit.as_str());
        let page = Page::read(limit, Some(&request.cursor))?;
        let reserved = self.0.answers.reserve(None, PAGE_SET_ASIDE).await?;
        let show = |run: &Snapshot| {
            let run = message(run);
            let length = run.encoded_len();
            Ok((run, length))
        };
        let (runs, next) = page.fetch(&self.0.commands.db, &scope, None, show).await?;
        let list = ListRunsResponse { runs, next_cursor: next.unwrap_or_default() };
        let mut answer = Response::new(list);
        answer.extensions_mut().insert(Arc::new(reserved));
        Ok(answer)
    }

    async fn retry_run(&self, request: Request<RetryRunRequest>) -> Result<Response<Run>, Status> {
        let caller = self.caller(&request).await?;
        let found = self.0.commands.find(run_id(&request.into_inner().id)?).await?;
        caller.may_see(&found.run)?;
        caller.may_spend(found.run.request.user)?;
        let snapshot = self.0.commands.retry(found.run.id).await?;
        Ok(Response::new(message(&snapshot)))
    }

    async fn cancel_run(
        &self,
        request: Request<CancelRunRequest>,
    ) -> Result<Response<Run>, Status> {
        let caller = self.caller(&request).await?;
        let found = self.0.commands.find(run_id(&request.into_inner().id)?).await?;
        caller.may_see(&found.run)?;
        Ok(Response::new(message(&self.0.commands.cancel(found.run.id).await?)))
    }

    type WatchRunStream = Events;

    async fn watch_run(
        &self,
        request: Request<WatchRunRequest>,
    ) -> Result<Response<Events>, Status> {
        let (caller, deadline) = (self.caller(&request).await?, deadline(request.metadata()));
        let WatchRunRequest { id, after } = request.into_inner();
        let found = self.0.commands.find(run_id(&id)?).await?;
        caller.may_see(&found.run)?;
        let (db, by) = (&self.0.commands.db, self.reader(caller));
        let pieces = self.0.streams.open_run(found.run.id, cursor(after)?, by, db)?;
        Ok(Response::new(events(pieces, deadline)))
    }

    type WatchRunsStream = Events;

    async fn watch_runs(
        &self,
        request: Request<WatchRunsRequest>,
    ) -> Result<Response<Events>, Status> {
        let (caller, deadline) = (self.caller(&request).await?, deadline(request.metadata()));
        let WatchRunsRequest { after, user } = request.into_inner();
        let user = user.as_deref().map(page::user).transpose()?;
        let after = after.map(cursor).transpose()?;
        let (db, by) = (&self.0.commands.db, self.reader(caller));
        let pieces = self.0.streams.open_all(user.as_deref(), after, by, db).await?;
        Ok(Response::new(events(pieces, deadline)))
    }

    async fn get_summary(
        &self,
        request: Request<GetSummaryRequest>,
    ) -> Result<Response<Summary>, Status> {
        let all = self.caller(&request).await?.sees_all();
        let (about, load) = (&self.0.about, store::load(&self.0.commands.db).await?);
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let age = load.oldest_at.map(|at| (chassis::clock::now() - at).whole_milliseconds());
        Ok(Response::new(Summary {
            runner: about.runner.clone(),
            contract_id: about.contract_id.clone(),
            agent_registry_id: about.agent_registry_id.clone(),
            network_passphrase: about.network_passphrase.clone(),
            rpc_url: about.rpc_url.clone(),
            poll_interval_ms: about.poll_interval_ms,
            queue_depth: count(load.queued),
            running: count(load.running),
            stuck: count(load.stuck),
            oldest_age_ms: age.and_then(|age| u64::try_from(age).ok()),
            last_tick_at: about.last_poll.last().map(rfc3339),
            active_run_id: load.active.filter(|_| all).map(|id| id.to_string()),
        }))
    }

    async fn list_agents(
        &self,
        request: Request<pb::ListAgentsRequest>,
    ) -> Result<Response<pb::ListAgentsResponse>, Status> {
        self.caller(&request).await?;
        let pb::ListAgentsRequest { limit, after } = request.into_inner();
        // 0 is protobuf's way to say nothing.
        let limit = if limit == 0 { MOST_AGENTS } else { limit.min(MOST_AGENTS) };
        let (agents, more) = self.0.market.agents(after, limit).await?;
        let agents = agents.into_iter().map(offers::agent).collect();
        Ok(Response::new(pb::ListAgentsResponse { agents, more }))
    }

    async fn get_agent(
        &self,
        request: Request<pb::GetAgentRequest>,
    ) -> Result<Response<pb::AgentDetails>, Status> {
        self.caller(&request).await?;
        let details = self.0.market.agent(request.into_inner().agent_id).await?;
        Ok(Response::new(offers::details(details)?))
    }

    async fn quote(
        &self,
        request: Request<pb::QuoteRequest>,
    ) -> Result<Response<pb::QuoteResponse>, Status> {
        let caller = self.caller(&request).await?;
        let request = request.into_inner();
        let quote = self.quote_of(&caller, &request).await?;
        Ok(Response::new(offers::quote(quote, request.budgets)))
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let caller = self.caller(&request).await?;
        let user = page::user(&request.into_inner().user)?;
        caller.list_of(Some(&user))?;
        let grants = self.0.market.grants(&user).await?.into_iter().map(offers::grant).collect();
        Ok(Response::new(pb::ListGrantsResponse { grants }))
    }
}

impl Grpc {
    /// A quote is read by the rule of HTTP, so that both refuse the same with the same places.
    async fn quote_of(&self, caller: &Caller, request: &pb::QuoteRequest) -> Result<QuoteView> {
        /// The members that HTTP knows.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            user: Option<&'a str>,
            agent_id: u32,
            rate_version: Option<u32>,
            budgets: Meters,
        }
        let body = Body {
            user: request.user.as_deref(),
            agent_id: request.agent_id,
            rate_version: request.rate_version,
            budgets: wire::Usage::from(request.budgets.unwrap_or_default()).into(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| Error::Broken(error.to_string()))?;
        let read = create_request::read_quote(&body)?;
        if let Some(user) = &read.user {
            // A balance and caps are the user's own affair.
            caller.list_of(Some(&user.to_string()))?;
        }
        self.0.market.quote(&read).await
    }

    /// Who reads a stream. A service calls for many users, so that its address counts for nothing.
    fn reader(&self, caller: Caller) -> Reader {
        Reader { caller, address: ClientAddress(None), access: self.0.access.clone() }
    }

    /// Who calls: a service of the operator's, or a user on whose behalf a service calls.
    async fn caller<T: Sync>(&self, request: &Request<T>) -> Result<Caller> {
        Caller::of_grpc(&self.0.access, request.metadata()).await
    }
}

/// The service with answers that give back what was set aside for them when their last byte is
/// gone, however long their client takes.
#[derive(Debug, Clone)]
pub struct Counted<S>(pub S);

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Counted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            // As long as a caller over HTTP is made to wait for the database.
            let mut answer = postgres::with_limit(DATABASE_PATIENCE, answer).await?;
            let Some(reserved) = answer.extensions_mut().remove::<Arc<Reserved>>() else {
                return Ok(answer);
            };
            Ok(answer.map(|body| Body::new(GuardedBody::new(body, reserved))))
        })
    }
}

/// Events on their way to a caller.
type Events = std::pin::Pin<Box<dyn Stream<Item = Result<RunEvent, Status>> + Send>>;

/// The events of a stream, until the caller's deadline. That it still lives is for HTTP/2 itself to
/// say.
fn events(pieces: ReceiverStream<Piece>, deadline: Option<Duration>) -> Events {
    let events = pieces.filter_map(|piece| {
        ready(match piece {
            Piece::Event(cursor, event) => Some(run_event(cursor, &event)),
            Piece::Cursor(_) => None,
        })
    });
    let Some(deadline) = deadline else { return Box::pin(events) };
    // The transport ends only calls that have not begun to answer in time; a stream has.
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let end = async move {
        tokio::time::sleep(deadline).await;
        over.store(true, Ordering::Relaxed);
    };
    let last = stream::once(async move { is_over.load(Ordering::Relaxed) });
    // A stream that the service ends, as at a stop, ends without an error.
    let last = last.filter_map(|is_over| {
        ready(is_over.then(|| Err(Status::deadline_exceeded("the call's deadline is over"))))
    });
    Box::pin(events.take_until(Box::pin(end)).chain(last))
}

/// How long the caller waits for a call (`grpc-timeout`): up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit).filter(|digits| digits.len() <= 8)?;
    let number = digits.parse::<u32>().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(u64::from(number) * 3_600),
        'M' => Duration::from_secs(u64::from(number) * 60),
        'S' => Duration::from_secs(u64::from(number)),
        'm' => Duration::from_millis(u64::from(number)),
        'u' => Duration::from_micros(u64::from(number)),
        'n' => Duration::from_nanos(u64::from(number)),
        _ => return None,
    })
}

fn run_event(cursor: i64, event: &StoredEvent) -> Result<RunEvent, Status> {
    let read: CloudEvent = serde_json::from_str(&event.body)
        .map_err(|error| Error::Broken(format!("a stored event: {error}")))?;
    Ok(RunEvent {
        cursor: u64::try_from(cursor).unwrap_or_default(),
        run_id: event.run.map(|run| run.to_string()).unwrap_or_default(),
        r#type: read.r#type,
        event_json: event.body.clone().into_bytes(),
    })
}

/// Numbers from 2^53 on are no cursors, here as over HTTP.
fn cursor(after: u64) -> Result<i64> {
    let known = Some(after).filter(|after| *after <= wire::json::MAX_INTEGER);
    known.and_then(|after| i64::try_from(after).ok()).ok_or_else(|| {
        Error::refused(Problem::InvalidRequest, "after: expected the cursor of an event, or 0")
    })
}

/// The same body that HTTP takes, so that both are read by one rule and share their keys.
fn body(request: &CreateRunRequest) -> Result<Vec<u8>> {
    /// The members that HTTP knows. The JSON of the caller is put in as it is.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        user: &'a str,
        agent_id: u32,
        rate_version: Option<u32>,
        budgets: Meters,
        workflow_id: Option<&'a str>,
        label: Option<&'a str>,
        seed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        input_ref: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        start_at: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        priority: Option<&'a str>,
    }
    let budgets = request.budgets.unwrap_or_default();
    let body = Body {
        user: &request.user,
        agent_id: request.agent_id,
        rate_version: request.rate_version,
        budgets: Meters {
            llm_in: budgets.llm_in,
            llm_out: budgets.llm_out,
            http_calls: budgets.http_calls,
            runtime_ms: budgets.runtime_ms,
        },
        workflow_id: request.workflow_id.as_deref(),
        label: request.label.as_deref(),
        seed: request.seed,
        metadata: raw("metadata_json", request.metadata_json.as_deref())?,
        input: raw("input_json", request.input_json.as_deref())?,
        input_ref: request.input_ref.as_deref(),
        start_at: request.start_at.as_deref(),
        priority: request.priority.as_deref(),
    };
    serde_json::to_vec(&body).map_err(|error| Error::Broken(error.to_string()))
}

/// The JSON of a bytes field, not read yet.
fn raw<'a>(name: &str, bytes: Option<&'a [u8]>) -> Result<Option<&'a RawValue>> {
    let read = bytes.map(serde_json::from_slice).transpose();
    read.map_err(|error| {
        Error::refused(Problem::InvalidRequest, format!("{name}: expected JSON: {error}"))
    })
}

fn run_id(text: &str) -> Result<wire::RunId> {
    text.parse().map_err(|_| Error::refused(Problem::NotFound, "Run not found"))
}

fn message(snapshot: &Snapshot) -> Run {
    let view = RunView::from(snapshot);
    let (request, attempt) = (&snapshot.run.request, &snapshot.attempt);
    let hashes = &view.transaction_hashes;
    let any_hash = hashes.open.is_some() || hashes.finalize.is_some();
    Run {
        status: status(snapshot.run.status).into(),
        escrow: escrow(attempt.escrow).into(),
        budgets: Some(request.budgets.into()),
        metadata_json: request.metadata.clone().map(String::into_bytes),
        phase: view.phase,
        input_digest: view.input_digest.to_string(),
        manifest_hash: text(view.manifest_hash).unwrap_or_default(),
        run_id: text(view.run_id).unwrap_or_default(),
        usage: attempt.usage.map(Into::into),
        output_hash: text(view.output_hash),
        receipt: attempt.receipt.as_ref().map(receipt),
        error: view.error,
        error_code: view.error_code,
        transaction_hashes: any_hash.then(|| pb::TransactionHashes {
            open: text(hashes.open),
            finalize: text(hashes.finalize),
        }),
        pack: view.pack.map(|pack| pb::Pack {
            pack_id: pack.pack_id,
            seal_digest: pack.seal_digest.to_string(),
            facts_ref: pack.facts_ref,
        }),
        id: view.id.to_string(),
        user: view.user,
        agent_id: view.agent_id,
        rate_version: view.rate_version,
        workflow_id: view.workflow_id,
        label: view.label,
        attempt: view.attempt,
        retries: view.retries,
        seed: view.seed,
        trace_id: view.trace_id,
        deadline: view.deadline.map(rfc3339).unwrap_or_default(),
        created_at: rfc3339(view.created_at),
        updated_at: rfc3339(view.updated_at),
    }
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn receipt(receipt: &crate::model::settlement::Receipt) -> pb::Receipt {
    pb::Receipt {
        run_id: receipt.run_id.to_string(),
        actual_charge: receipt.actual_charge.to_string(),
        runner_fee: receipt.runner_fee.map(|fee| fee.to_string()),
        refund: receipt.refund.to_string(),
        developer: receipt.developer.clone(),
        output_hash: Some(receipt.output_hash.to_string()),
        finalized_at: receipt.finalized_at.map(rfc3339),
        settled_by: receipt.settled_by.clone(),
    }
}

const fn status(status: state::Status) -> RunStatus {
    match status {
        state::Status::Pending => RunStatus::Pending,
        state::Status::Opening => RunStatus::Opening,
        state::Status::Running => RunStatus::Running,
        state::Status::Finalizing => RunStatus::Finalizing,
        state::Status::Finalized => RunStatus::Finalized,
        state::Status::Failed => RunStatus::Failed,
        state::Status::Cancelled => RunStatus::Cancelled,
    }
}

const fn escrow(escrow: run::Escrow) -> Escrow {
    match escrow {
        run::Escrow::None => Escrow::None,
        run::Escrow::Open => Escrow::Open,
        run::Escrow::Settled => Escrow::Settled,
        run::Escrow::Returned => Escrow::Returned,
    }
}
