//! The way in: `lumio.module.v1.ModuleGate`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::Instrument;
use wire::pb::module::v1 as pb;
use wire::pb::module::v1::execute_event::Event as ExecuteKind;
use wire::pb::module::v1::judge_event::Event as JudgeKind;
use wire::pb::module::v1::module_gate_server::ModuleGate;
use wire::pb::module::v1::ship_event::Event as ShipKind;

use crate::error::Error;
use crate::execution;
use crate::gate::Gate;
use crate::judgement::{self, Followed, Subject};
use crate::module::tree;
use crate::module::variation::Variations;
use crate::progress::{Progress, ProgressMessage};
use crate::request;
use crate::shipping;
use crate::store::{self, AttemptState};

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

impl Calls {
    /// Starts or follows a judgement; its stream has the steps and then the outcome.
    fn judge(
        &self,
        subject: Subject,
        fresh: bool,
        resume: Option<pb::Resume>,
    ) -> Response<Answer<pb::JudgeEvent>> {
        let (to, messages) = mpsc::channel(32);
        // The end has a place of its own, so that it waits for no caller.
        let last = to.clone().try_reserve_owned().expect("a new channel has room");
        let gate = self.gate.clone();
        let resume = resume.map(|at| {
            (
                i64::try_from(at.start).unwrap_or(i64::MAX),
                i32::try_from(at.after_step).unwrap_or(i32::MAX),
            )
        });
        let span = tracing::info_span!("judge");
        let job = async move {
            let judged = judgement::judge(&gate, Arc::new(subject), fresh, resume, &to).await;
            drop(last.send(judged));
        };
        self.work.spawn(job.instrument(span));
        let event = |followed: Result<Followed, Error>| match followed {
            Ok(followed) => judge_event(followed),
            Err(error) => Err(Status::from(error)),
        };
        Response::new(ReceiverStream::new(messages).map(event).boxed())
    }
}

fn judge_event(followed: Followed) -> Result<pb::JudgeEvent, Status> {
    let event = match followed {
        Followed::Step(start, step, body) => JudgeKind::Step(pb::JudgeStep {
            start: start.cast_unsigned(),
            step: step.cast_unsigned(),
            body,
        }),
        Followed::End(outcome, kept) => {
            let write =
                |value: &Value| serde_json::to_vec(value).map_err(Error::host("write the outcome"));
            JudgeKind::Judged(pb::Judged {
                verdict: outcome.verdict.to_string(),
                code: outcome.code.clone().unwrap_or_default(),
                summary: write(&outcome.summary)?,
                statements: outcome.statements.iter().map(write).collect::<Result<_, _>>()?,
                kept,
            })
        }
    };
    Ok(pb::JudgeEvent { event: Some(event) })
}

#[tonic::async_trait]
impl ModuleGate for Calls {
    type ExecuteStream = Answer<pb::ExecuteEvent>;
    type ShipStream = Answer<pb::ShipEvent>;
    type RunOraclesStream = Answer<pb::JudgeEvent>;
    type RunShippingGateStream = Answer<pb::JudgeEvent>;

    async fn execute(
        &self,
        request: Request<pb::ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = Arc::new(request::Request::try_from(request.into_inner())?);
        let (progress, ending, messages) = Progress::channel();
        let gate = self.gate.clone();
        let span = tracing::info_span!("execute", run.id = %request.key.run,
            attempt = request.key.attempt);
        let job = async move {
            let result = execution::execute(&gate, request, &progress).await;
            ending.send(result);
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
            AttemptState::Unknown => (pb::ExecutionState::Unknown, None),
            AttemptState::Running => (pb::ExecutionState::Running, None),
            AttemptState::Interrupted => (pb::ExecutionState::Interrupted, None),
            AttemptState::Finished(statement) => (pb::ExecutionState::Finished, Some(statement)),
        };
        Ok(Response::new(pb::GetExecutionResponse { state: state.into(), statement }))
    }

    async fn ship(
        &self,
        request: Request<pb::ShipRequest>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let pb::ShipRequest { manifest_hash, fresh } = request.into_inner();
        let module = request::digest("manifest_hash", &manifest_hash)?;
        let (progress, ending, messages) = Progress::channel();
        let gate = self.gate.clone();
        let span = tracing::info_span!("ship", module.digest = %module);
        let job = async move {
            let result = shipping::ship(&gate, module, fresh, &progress).await;
            ending.send(result);
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

    async fn run_oracles(
        &self,
        request: Request<pb::RunOraclesRequest>,
    ) -> Result<Response<Self::RunOraclesStream>, Status> {
        let asked = request.into_inner();
        let module = request::digest("manifest_hash", &asked.manifest_hash)?;
        let variations = match asked.variations.as_str() {
            "" => Variations::all(),
            list => list.parse().map_err(|error| Error::Invalid(format!("variations: {error}")))?,
        };
        let subject = Subject::Oracles { module, variations };
        Ok(self.judge(subject, asked.fresh, asked.resume))
    }

    async fn run_shipping_gate(
        &self,
        request: Request<pb::RunShippingGateRequest>,
    ) -> Result<Response<Self::RunShippingGateStream>, Status> {
        let asked = request.into_inner();
        let text = |name: &str, bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| Error::Invalid(format!("{name} is no UTF-8")))
        };
        let compose = text("compose", asked.compose)?;
        let overrides = match asked.overrides {
            bytes if bytes.is_empty() => None,
            bytes => Some(text("overrides", bytes)?),
        };
        let mut modules = BTreeMap::new();
        for module in asked.modules {
            let digest = request::digest("modules/manifest_hash", &module.manifest_hash)?;
            let id = request::module_id(module.id)?;
            if modules.insert(id.clone(), digest).is_some() {
                return Err(Error::Invalid(format!("modules: {id:?} is named twice")).into());
            }
        }
        if overrides.is_none() {
            judgement::check_plan(&compose, &modules)?;
        }
        let with_oracles = asked.with_oracles;
        let subject = Subject::Gate { compose, overrides, modules, with_oracles };
        Ok(self.judge(subject, asked.fresh, asked.resume))
    }

    async fn get_verdict(
        &self,
        request: Request<pb::GetVerdictRequest>,
    ) -> Result<Response<pb::GetVerdictResponse>, Status> {
        let asked = request.into_inner();
        let module = request::digest("manifest_hash", &asked.manifest_hash)?;
        let attesters = request::attesters(&asked.attesters)?;
        let statement = shipping::verdict(&self.gate, module, &attesters).await?;
        let refused_upstream = match asked.agent_id {
            0 => None,
            agent => execution::refused_upstream(&self.gate, module, agent).await?,
        };
        let refused_upstream = refused_upstream.unwrap_or_default();
        Ok(Response::new(pb::GetVerdictResponse { statement, refused_upstream }))
    }

    async fn get_input_schema(
        &self,
        request: Request<pb::GetInputSchemaRequest>,
    ) -> Result<Response<pb::GetInputSchemaResponse>, Status> {
        let module = request::digest("manifest_hash", &request.into_inner().manifest_hash)?;
        let manifest = tree::read_manifest(&*self.gate.store, module).await?;
        let schema = manifest
            .and_then(|manifest| manifest.input_schema)
            .map(|schema| schema.to_string().into_bytes());
        Ok(Response::new(pb::GetInputSchemaResponse { schema }))
    }
}
