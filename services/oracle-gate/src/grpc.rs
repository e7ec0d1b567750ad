//! The way in for calls: messages become domain values here, and errors become statuses.

mod answer;
mod progress;
mod upload;

use std::sync::Arc;

use bytes::Bytes;
use chassis::{clock, postgres, telemetry};
use futures::StreamExt;
use seal::tree::File;
use tokio::sync::{SemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;
use wire::digest::Digest;
use wire::pb::oracle::v1 as pb;
use wire::pb::oracle::v1::oracle_gate_server::OracleGate;
use wire::{Problem, RunId};

use progress::Messages;

use crate::bundle::Entry;
use crate::check::rules::Asked;
use crate::check::{self, Outcome};
use crate::error::Error;
use crate::runs::{self, Draft};
use crate::{Gate, bundle, inputs, modules, store};

/// Bytes of an input in one message.
const PIECE: usize = 1 << 20;
/// Pieces of a bundle read ahead.
const READ_AHEAD: usize = 4;

/// The calls of `lumio.oracle.v1`.
pub struct Calls {
    gate: Arc<Gate>,
}

impl Calls {
    /// The calls of this gate.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }
}

#[tonic::async_trait]
impl OracleGate for Calls {
    type ReadBundleStream = Messages<pb::BundleChunk>;
    type GetPackStream = Messages<pb::BundleChunk>;
    type SealWithProgressStream = Messages<pb::SealProgress>;
    type CheckWithProgressStream = Messages<pb::CheckProgress>;
    type GetInputStream = Messages<pb::InputChunk>;

    async fn put_module(
        &self,
        request: Request<Streaming<pb::PutModuleRequest>>,
    ) -> Result<Response<pb::PutModuleResponse>, Status> {
        let _slot = self.upload_slot().await?;
        let (digest, files) = upload::receive(request.into_inner(), upload::IDLE_LIMIT).await?;
        let stored = modules::put(&self.gate.exchange, digest, files).await.map_err(to_status)?;
        Ok(Response::new(pb::PutModuleResponse { digest: digest.to_string(), stored }))
    }

    async fn get_module(
        &self,
        request: Request<pb::GetModuleRequest>,
    ) -> Result<Response<pb::GetModuleResponse>, Status> {
        let digest = parse_digest(&request.into_inner().digest)?;
        let found = modules::find(&self.gate.exchange, digest).await.map_err(to_status)?;
        let unknown = || Problem::ModuleUnknown.status(format!("module {digest} is not stored"));
        let tree = found.ok_or_else(unknown)?;
        let inventory = tree.files().iter().map(|file: &File| pb::ModuleFile {
            path: file.path.clone(),
            executable: file.executable,
            length: file.length,
            sha256: file.sha256.to_string(),
        });
        Ok(Response::new(pb::GetModuleResponse { inventory: inventory.collect() }))
    }

    async fn seal(
        &self,
        request: Request<pb::SealRequest>,
    ) -> Result<Response<pb::SealResponse>, Status> {
        let draft = draft(request.into_inner())?;
        let sealed = seal(&self.gate, draft).await?;
        Ok(Response::new(sealed))
    }

    async fn seal_with_progress(
        &self,
        request: Request<pb::SealRequest>,
    ) -> Result<Response<Self::SealWithProgressStream>, Status> {
        use pb::seal_progress::Item;
        let draft = draft(request.into_inner())?;
        let (gate, meter) = self.gate.metered();
        let message = |item| pb::SealProgress { item: Some(item) };
        let work = async move { seal(&gate, draft).await.map(|done| message(Item::Done(done))) };
        let progress = |progress| pb::SealProgress { item: Some(Item::Progress(progress)) };
        // The span goes along, since the work is driven by the stream's task and not by this call.
        Ok(Response::new(progress::messages(work.in_current_span(), meter, progress)))
    }

    async fn check(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        check(&self.gate, request.into_inner()).await.map(Response::new)
    }

    async fn check_with_progress(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<Response<Self::CheckWithProgressStream>, Status> {
        use pb::check_progress::Item;
        let request = request.into_inner();
        let (gate, meter) = self.gate.metered();
        let message = |item| pb::CheckProgress { item: Some(item) };
        let work = async move { check(&gate, request).await.map(|done| message(Item::Done(done))) };
        let progress = |progress| pb::CheckProgress { item: Some(Item::Progress(progress)) };
        Ok(Response::new(progress::messages(work.in_current_span(), meter, progress)))
    }

    async fn get_pack(
        &self,
        request: Request<pb::GetPackRequest>,
    ) -> Result<Response<Self::GetPackStream>, Status> {
        let facts_ref = request.into_inner().run_facts_ref;
        let outcome =
            // The whole check, at the time of the call: a pack that passed once may have a
            // tombstone by now.
            check::check(&self.gate.objects, &self.gate.rules, &facts_ref, clock::now()).await;
        // Before the answer is judged: a failed check is a fact that others wait for as well.
        publish_checked(&self.gate, &outcome).await?;
        if outcome.status != check::Status::Ok {
            // "Could not be found out" is worth another try; "does not pass" is not (C1, O6).
            let problem =
                if outcome.is_doubtful() { Problem::Unavailable } else { Problem::CheckFailed };
            let codes: Vec<_> = outcome.reason_codes.iter().map(|reason| reason.code()).collect();
            return Err(problem.status(format!("{facts_ref}: {}", codes.join(", "))));
        }
        let entries = bundle::packs(&self.gate, &outcome).await.map_err(to_status)?;
        Ok(Response::new(self.send(entries)))
    }

    async fn read_bundle(
        &self,
        request: Request<pb::ReadBundleRequest>,
    ) -> Result<Response<Self::ReadBundleStream>, Status> {
        let request = request.into_inner();
        let (run, attempt) = (parse_run(&request.run_id)?, parse_attempt(request.attempt)?);
        let entries = bundle::entries(&self.gate, run, attempt).await.map_err(to_status)?;
        Ok(Response::new(self.send(entries)))
    }

    async fn put_input(
        &self,
        request: Request<Streaming<pb::PutInputRequest>>,
    ) -> Result<Response<pb::PutInputResponse>, Status> {
        let _slot = self.upload_slot().await?;
        let received = upload::receive_input(request.into_inner(), upload::IDLE_LIMIT).await?;
        let (digest, content) = received;
        let length = content.len() as u64;
        let stored = inputs::put(&self.gate.exchange, digest, content).await.map_err(to_status)?;
        Ok(Response::new(pb::PutInputResponse { digest: digest.to_string(), length, stored }))
    }

    async fn get_input(
        &self,
        request: Request<pb::GetInputRequest>,
    ) -> Result<Response<Self::GetInputStream>, Status> {
        let digest = parse_digest(&request.into_inner().digest)?;
        let found = inputs::find(&self.gate.exchange, digest).await.map_err(to_status)?;
        let unknown = || Problem::NotFound.status(format!("input {digest} is not stored"));
        let content = found.ok_or_else(unknown)?;
        let starts = (0..content.len()).step_by(PIECE);
        let pieces: Vec<_> = starts
            .map(|start| content.slice(start..content.len().min(start + PIECE)))
            .map(|data| Ok(pb::InputChunk { data: data.to_vec() }))
            .collect();
        Ok(Response::new(Box::pin(futures::stream::iter(pieces))))
    }
}

impl Calls {
    /// Before the first byte is taken, since an upload waits in memory until it is whole.
    async fn upload_slot(&self) -> Result<SemaphorePermit<'_>, Status> {
        let slot = self.gate.upload_slots.acquire().await;
        slot.map_err(|error| to_status(Error::internal(error)))
    }

    /// Files as they are read, a few pieces ahead of the receiver.
    fn send(&self, entries: Vec<Entry>) -> Messages<pb::BundleChunk> {
        let (to, pieces) = mpsc::channel(READ_AHEAD);
        let gate = Arc::clone(&self.gate);
        // Ends with the last file, or as soon as the receiver is gone.
        let sending = async move {
            if let Err(error) = bundle::send(&gate, entries, &to).await {
                // The receiver may be gone, which is why the piece was not taken. Then no one is
                // left to be answered.
                drop(to.send(Err(error)).await);
            }
        };
        tokio::spawn(sending.in_current_span());
        Box::pin(
            ReceiverStream::new(pieces).map(|piece| piece.map(answer::chunk).map_err(to_status)),
        )
    }
}

fn draft(request: pb::SealRequest) -> Result<Draft, Status> {
    Ok(Draft {
        run: parse_run(&request.run_id)?,
        attempt: parse_attempt(request.attempt)?,
        workflow_id: request.workflow_id,
        statement: Bytes::from(request.statement),
        shipping: Bytes::from(request.shipping),
        plan: Bytes::from(request.plan_json),
        record: Bytes::from(request.record_json),
        traceparent: Some(telemetry::traceparent()),
    })
}

async fn seal(gate: &Gate, draft: Draft) -> Result<pb::SealResponse, Status> {
    let (sealed, existed) = runs::seal(gate, draft, clock::now()).await.map_err(to_status)?;
    Ok(answer::seal(sealed, existed))
}

async fn check(gate: &Gate, request: pb::CheckRequest) -> Result<pb::CheckResponse, Status> {
    let refused = |text: String| Problem::InvalidRequest.status(text);
    // An unknown depth is refused and never taken for the default: a caller that asks for less must
    // get to know that this release does not have it.
    let depth =
        pb::CheckDepth::try_from(request.depth).map_err(|_| refused("unknown depth".to_owned()))?;
    let asked = Asked {
        strict_seal: request.strict_seal,
        presence: depth == pb::CheckDepth::Presence,
        ..Asked::default()
    };
    let rules = gate.rules.asked(asked).map_err(refused)?;

    let outcome = check::check(&gate.objects, &rules, &request.run_facts_ref, clock::now()).await;
    publish_checked(gate, &outcome).await?;
    answer::check(&outcome).map_err(to_status)
}

/// Publishes `checked` for every pack that this service sealed.
async fn publish_checked(gate: &Gate, outcome: &Outcome) -> Result<(), Status> {
    for pack in outcome.details.packs.iter().filter_map(|pack| pack.oracle_pack_id) {
        let trace = Some(telemetry::traceparent());
        let (db, prefix, now) = (&gate.db, gate.bus_prefix(), clock::now());
        store::checked(db, prefix, pack, outcome.status, trace, now).await.map_err(to_status)?;
    }
    Ok(())
}

/// Logs the whole chain once, where the error leaves the process.
fn to_status(error: Error) -> Status {
    let status = error.status();
    let problem = error.problem().reason();
    match error {
        Error::Database(cause) => {
            postgres::note(&cause);
            tracing::error!(problem, "refused a call: {}", postgres::describe(&cause));
        }
        error => {
            let error = anyhow::Error::from(error);
            tracing::warn!(problem, "refused a call: {error:#}");
        }
    }
    status
}

fn parse_digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(|_| Problem::InvalidRequest.status("digest is not 64 lower hex digits"))
}

fn parse_run(text: &str) -> Result<RunId, Status> {
    text.parse().map_err(|_| Problem::InvalidRequest.status("run_id is not a UUID"))
}

fn parse_attempt(attempt: u32) -> Result<u32, Status> {
    match attempt {
        0 => Err(Problem::InvalidRequest.status("attempts count from 1")),
        attempt => Ok(attempt),
    }
}
