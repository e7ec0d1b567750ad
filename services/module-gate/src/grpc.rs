//! The way in: `lumio.module.v1.ModuleGate`.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use wire::pb::module::v1 as pb;
use wire::pb::module::v1::execute_event::Event as ExecuteKind;
use wire::pb::module::v1::module_gate_server::ModuleGate;
use wire::pb::module::v1::ship_event::Event as ShipKind;

use crate::execution;
use crate::gate::Gate;
use crate::progress::{Progress, ProgressMessage};
use crate::request;
use crate::shipping;
use crate::store::{self, State};

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service's calls.
#[derive(Clone)]
pub struct Calls {
    gate: Gate,
    // Work goes on when its caller goes away; the process waits for it before it ends.
    work: TaskTracker,
}

impl Calls {
    /// Serves `gate`; what it starts is tracked by `work`.
    pub fn new(gate: Gate, work: TaskTracker) -> Self {
        Self { gate, work }
    }
}

#[tonic::async_trait]
impl ModuleGate for Calls {
    type ExecuteStream = Answer<pb::ExecuteEvent>;
    type ShipStream = Answer<pb::ShipEvent>;

    async fn execute(
        &self,
        request: Request<pb::ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = Arc::new(request::Request::try_from(request.into_inner())?);
        let (progress, messages) = Progress::channel();
        let gate = self.gate.clone();
        let span = tracing::info_span!("execute", run.id = %request.key.run,
            attempt = request.key.attempt);
        let job = async move {
            let result = execution::execute(&gate, request, &progress).await;
            progress.end(result).await;
        };
        self.work.spawn(job.instrument(span));
        let event = |message| match message {
            ProgressMessage::Progress(progress) => {
                pb::ExecuteEvent { event: Some(ExecuteKind::Progress(progress)) }
            }
            ProgressMessage::Finished(finished) => {
                pb::ExecuteEvent { event: Some(ExecuteKind::Finished(finished)) }
            }
        };
        Ok(Response::new(
            ReceiverStream::new(messages).map(move |message| message.map(event)).boxed(),
        ))
    }

    async fn get_execution(
        &self,
        request: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::GetExecutionResponse>, Status> {
        let asked = request.into_inner();
        let key = request::key(&asked.run_id, asked.attempt)?;
        let (state, statement) = match store::state(&self.gate.db, key).await? {
            State::Unknown => (pb::ExecutionState::Unknown, None),
            State::Running => (pb::ExecutionState::Running, None),
            State::Interrupted => (pb::ExecutionState::Interrupted, None),
            State::Finished(statement) => (pb::ExecutionState::Finished, Some(statement)),
        };
        Ok(Response::new(pb::GetExecutionResponse { state: state.into(), statement }))
    }

    async fn ship(
        &self,
        request: Request<pb::ShipRequest>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let module = request::digest("manifest_hash", &request.into_inner().manifest_hash)?;
        let (progress, messages) = Progress::channel();
        let gate = self.gate.clone();
        let span = tracing::info_span!("ship", module.digest = %module);
        let job = async move {
            let result = shipping::ship(&gate, module, &progress).await;
            progress.end(result).await;
        };
        self.work.spawn(job.instrument(span));
        let event = |message| match message {
            ProgressMessage::Progress(progress) => {
                pb::ShipEvent { event: Some(ShipKind::Progress(progress)) }
            }
            ProgressMessage::Finished(finished) => {
                pb::ShipEvent { event: Some(ShipKind::Finished(finished)) }
            }
        };
        Ok(Response::new(
            ReceiverStream::new(messages).map(move |message| message.map(event)).boxed(),
        ))
    }

    async fn get_verdict(
        &self,
        request: Request<pb::GetVerdictRequest>,
    ) -> Result<Response<pb::GetVerdictResponse>, Status> {
        let module = request::digest("manifest_hash", &request.into_inner().manifest_hash)?;
        let statement = shipping::verdict(&self.gate, module).await?;
        Ok(Response::new(pb::GetVerdictResponse { statement }))
    }
}
