//! The way in for calls: messages become domain values here, and errors become statuses.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chassis::{clock, telemetry};
use futures::{Stream, StreamExt};
use seal::tree::File;
use seal::{Limits, SealStatus};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use wire::digest::Digest;
use wire::pb::oracle::v1 as pb;
use wire::pb::oracle::v1::oracle_gate_server::OracleGate;
use wire::{Problem, RunId};

use crate::check::{self, Outcome};
use crate::error::Error;
use crate::modules::{self, Incoming};
use crate::reasons::Severity;
use crate::runs::{self, Draft, Sealed};
use crate::{Gate, bundle, store};

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
    type ReadBundleStream = Pin<Box<dyn Stream<Item = Result<pb::BundleChunk, Status>> + Send>>;

    async fn put_module(
        &self,
        request: Request<Streaming<pb::PutModuleRequest>>,
    ) -> Result<Response<pb::PutModuleResponse>, Status> {
        let _room =
            self.gate.uploads.acquire().await.map_err(|error| told(Error::internal(error)))?;
        let (digest, files) = receive(request.into_inner()).await?;
        let stored = modules::put(&self.gate.objects, digest, files).await.map_err(told)?;
        Ok(Response::new(pb::PutModuleResponse { digest: digest.to_string(), stored }))
    }

    async fn get_module(
        &self,
        request: Request<pb::GetModuleRequest>,
    ) -> Result<Response<pb::GetModuleResponse>, Status> {
        let digest = parse_digest(&request.into_inner().digest)?;
        let found = modules::find(&self.gate.objects, digest).await.map_err(told)?;
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
        let request = request.into_inner();
        let draft = Draft {
            run: parse_run(&request.run_id)?,
            attempt: parse_attempt(request.attempt)?,
            workflow_id: request.workflow_id,
            statement: Bytes::from(request.statement),
            shipping: Bytes::from(request.shipping),
            plan: Bytes::from(request.plan_json),
            record: Bytes::from(request.record_json),
            traceparent: Some(telemetry::traceparent()),
        };
        let (sealed, existed) = runs::seal(&self.gate, draft, clock::now()).await.map_err(told)?;
        Ok(Response::new(seal_response(sealed, existed)))
    }

    async fn check(
        &self,
        request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        let request = request.into_inner();
        let mut rules = self.gate.rules.clone();
        rules.allow_unsealed = self.gate.lenient() && !request.strict_seal;
        let outcome = check::check(&self.gate.objects, &rules, &request.run_facts_ref).await;
        for pack in outcome.details.packs.iter().filter_map(|pack| pack.oracle_pack_id) {
            let (db, prefix) = (&self.gate.db, self.gate.bus_prefix());
            let trace = Some(telemetry::traceparent());
            store::checked(db, prefix, pack, outcome.status, trace, clock::now())
                .await
                .map_err(told)?;
        }
        chassis::outbox::wake();
        Ok(Response::new(check_response(&outcome).map_err(told)?))
    }

    async fn read_bundle(
        &self,
        request: Request<pb::ReadBundleRequest>,
    ) -> Result<Response<Self::ReadBundleStream>, Status> {
        let request = request.into_inner();
        let (run, attempt) = (parse_run(&request.run_id)?, parse_attempt(request.attempt)?);
        let entries = bundle::entries(&self.gate, run, attempt).await.map_err(told)?;
        let (to, pieces) = mpsc::channel(READ_AHEAD);
        let gate = Arc::clone(&self.gate);
        // Ends with the last file, or as soon as the receiver is gone.
        tokio::spawn(async move {
            if let Err(error) = bundle::send(&gate, entries, &to).await {
                drop(to.send(Err(error)).await);
            }
        });
        let chunks = ReceiverStream::new(pieces).map(|piece| piece.map(chunk).map_err(told));
        Ok(Response::new(Box::pin(chunks)))
    }
}

/// Logs the whole chain once, where the error leaves the process.
fn told(error: Error) -> Status {
    let status = error.status();
    let problem = error.problem().reason();
    let error = anyhow::Error::from(error);
    tracing::warn!(problem, "refused a call: {error:#}");
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

/// A file while its bytes come in.
struct Open {
    file: pb::ModuleFile,
    content: BytesMut,
}

async fn receive(
    mut stream: Streaming<pb::PutModuleRequest>,
) -> Result<(Digest, Vec<Incoming>), Status> {
    use pb::put_module_request::Item;
    let invalid = |text: &str| Problem::InvalidRequest.status(text);
    let first = stream.message().await?.and_then(|message| message.item);
    let Some(Item::Header(header)) = first else {
        return Err(invalid("the first message is the header"));
    };
    let digest = parse_digest(&header.digest)?;
    let (mut files, mut open, mut left) = (Vec::new(), None::<Open>, Limits::MODULE.bytes);
    while let Some(message) = stream.message().await? {
        match (message.item, &mut open) {
            (Some(Item::File(file)), _) => {
                files.extend(open.take().map(close).transpose()?);
                if files.len() >= Limits::MODULE.files {
                    return Err(Problem::PayloadTooLarge.status("a module has at most 4096 files"));
                }
                open = Some(Open { file, content: BytesMut::new() });
            }
            (Some(Item::Data(data)), Some(open)) => {
                let length = data.len() as u64;
                left = left.checked_sub(length).ok_or_else(|| {
                    Problem::PayloadTooLarge.status("a module has at most 64 MiB")
                })?;
                open.content.extend_from_slice(&data);
            }
            _ => return Err(invalid("want a file, then its bytes")),
        }
    }
    files.extend(open.take().map(close).transpose()?);
    Ok((digest, files))
}

fn close(open: Open) -> Result<Incoming, Status> {
    let Open { file, content } = open;
    let content = content.freeze();
    let mismatch = |what: &str| {
        Problem::DigestMismatch
            .status(format!("{:?} has not the {what} it was announced with", file.path))
    };
    if content.len() as u64 != file.length {
        return Err(mismatch("length"));
    }
    if !file.sha256.is_empty() && file.sha256 != Digest::of(&content).to_string() {
        return Err(mismatch("sha256"));
    }
    Ok(Incoming { path: file.path, executable: file.executable, content })
}

fn seal_response(sealed: Sealed, existed: bool) -> pb::SealResponse {
    let status = match sealed.status {
        SealStatus::Ok => pb::SealStatus::Sealed,
        SealStatus::Failed => pb::SealStatus::SealedFailed,
    };
    let summary = |check: runs::CheckResult| pb::CheckSummary {
        status: check_status(check.status).into(),
        reasons: check.reasons,
    };
    pb::SealResponse {
        pack_id: sealed.pack_id.to_string(),
        seal_digest: sealed.seal_digest.to_string(),
        manifest_digest: sealed.manifest_digest.to_string(),
        seal_status: status.into(),
        facts_ref: sealed.facts_ref.unwrap_or_default(),
        check: sealed.check.map(summary),
        existed,
    }
}

fn check_status(status: check::Status) -> pb::CheckStatus {
    match status {
        check::Status::Ok => pb::CheckStatus::Ok,
        check::Status::Warn => pb::CheckStatus::Warn,
        check::Status::Fail => pb::CheckStatus::Fail,
    }
}

fn check_response(outcome: &Outcome) -> Result<pb::CheckResponse, Error> {
    let issues = outcome.issues.iter().map(|issue| pb::CheckIssue {
        code: issue.code.code().to_owned(),
        severity: match issue.severity {
            Severity::Warn => pb::Severity::Warn.into(),
            Severity::Error => pb::Severity::Error.into(),
        },
        detail: issue.detail.clone(),
        retryable: issue.retryable,
    });
    Ok(pb::CheckResponse {
        status: check_status(outcome.status).into(),
        issues: issues.collect(),
        details_json: wire::json::canonical(&outcome.details).map_err(Error::internal)?,
    })
}

fn chunk(piece: bundle::Piece) -> pb::BundleChunk {
    use pb::bundle_chunk::Item;
    let item = match piece {
        bundle::Piece::File { entry, length } => {
            Item::File(pb::BundleFile { path: entry.path, length, executable: entry.executable })
        }
        bundle::Piece::Data(bytes) => Item::Data(bytes.into()),
    };
    pb::BundleChunk { item: Some(item) }
}
