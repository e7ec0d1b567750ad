//! The two gates, as this service sees them. The only file that names their messages.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use futures::stream;
use input_schema::InputSchema;
use serde::Serialize;
use tonic::{Code, Status};
use wire::pb::module::v1::execute_event::Event;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::{
    ExecuteRequest, ExecutionState, GetExecutionRequest, GetInputSchemaRequest, GetVerdictRequest,
};
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;
use wire::pb::oracle::v1::{
    BundleChunk, CheckDepth, CheckIssue, CheckRequest, CheckStatus, GetInputRequest,
    GetModuleRequest, InputHeader, PutInputRequest, ReadBundleRequest, SealRequest, SealResponse,
    SealStatus, Severity, put_input_request,
};
use wire::{Digest, Problem, RunId, VaultRunId};

use crate::crash;
use crate::error::{Error, Result};
use crate::model::run::Request;
use crate::model::settlement::Seal;

const MODULE_GATE: &str = "module-gate";
const ORACLE_GATE: &str = "oracle-gate";
/// An answer that is not a stream must come within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// A seal copies the outputs, so it may take longer.
const SEAL_PATIENCE: Duration = Duration::from_secs(120);
/// A statement with the most outputs a pack may hold stays below this many bytes.
const LARGEST_MESSAGE: usize = 8 * 1024 * 1024;
/// Bytes of an input in one message.
const PIECE: usize = 1024 * 1024;
/// Schemas that are kept compiled, at most: each takes as much memory as its text, and some more.
const MOST_SCHEMAS: usize = 256;

/// What a module's input has to look like; nothing if the module does not say.
pub type Schema = Option<Arc<InputSchema>>;

/// A channel that carries this service's token and trace to a gate.
pub type Wire = chassis::grpc::Client;

/// Both gates.
#[derive(Clone)]
pub struct Gates {
    module: ModuleGateClient<Wire>,
    oracle: OracleGateClient<Wire>,
    // A module never changes under its digest, and neither does what it says about its input.
    schemas: Arc<Mutex<HashMap<Digest, Schema>>>,
}

/// What module-gate says about a module before it is executed.
#[derive(Debug)]
pub struct ModuleVerdict {
    /// A DSSE envelope around a shipping statement.
    pub statement: Vec<u8>,
    /// Why an execution would be refused a service that the module names.
    pub refused_upstream: Option<String>,
}

/// What module-gate is to execute.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The run.
    pub run: RunId,
    /// Its attempt.
    pub attempt: u32,
    /// The attempt's id in the vault.
    pub vault_run_id: VaultRunId,
    /// Empty when the caller named none.
    pub workflow_id: &'a str,
    /// What was asked for.
    pub request: &'a Request,
    /// What it works on: canonical JSON with the digest in `request`.
    pub input: &'a [u8],
    /// Digest of the module's tree.
    pub module: Digest,
    /// It is stopped after this many milliseconds.
    pub wall_limit_ms: u64,
    /// Unix seconds after which a result is worthless.
    pub deadline: u64,
    /// The keys whose signature counts: what another one signs cannot be settled (V16).
    pub attesters: &'a [VerifyingKey],
}

/// What module-gate knows of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// Nothing, or it was cut off: it can be started.
    None,
    /// It runs: a call attaches to it.
    Running,
    /// It has ended with this statement.
    Finished(Vec<u8>),
}

/// Drafts of a run's plan and record, as bytes: oracle-gate stores them beside the facts view.
#[derive(Debug, Clone)]
pub struct Drafts {
    /// A JSON object.
    pub plan: Vec<u8>,
    /// JSON lines.
    pub record: Vec<u8>,
}

/// What oracle-gate found when it checked a facts view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedView {
    /// `ok`, `warn` or `fail`.
    pub status: String,
    /// What was found, in the order of the rules.
    pub issues: Vec<CheckIssueView>,
}

/// One finding of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckIssueView {
    /// Its code.
    pub code: String,
    /// `warn` or `error`.
    pub severity: String,
    /// What was found, for people.
    pub detail: String,
    /// Whether the same check may answer otherwise later without a repair.
    pub retryable: bool,
}

/// What oracle-gate answered to `Seal`.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The seal.
    pub seal: Seal,
    /// Whether the sealed facts pass the check, or there are none to check.
    pub passed: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

impl Gates {
    /// The gates behind these channels.
    pub fn new(module: Wire, oracle: Wire) -> Self {
        let module = ModuleGateClient::new(module).max_decoding_message_size(LARGEST_MESSAGE);
        let oracle = OracleGateClient::new(oracle).max_encoding_message_size(LARGEST_MESSAGE);
        Self { module, oracle, schemas: Arc::default() }
    }

    /// The newest conclusive verdict on a module: an envelope signed by one of `attesters`, or by
    /// any key if there are none. With an agent, also whether it may use the module's services.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`], as with every function here.
    pub async fn verdict(
        &self,
        module: Digest,
        attesters: &[VerifyingKey],
        agent: Option<u32>,
    ) -> Result<ModuleVerdict> {
        let request = GetVerdictRequest {
            manifest_hash: module.to_string(),
            attesters: attesters.iter().map(wire::dsse::key_id).collect(),
            agent_id: agent.unwrap_or_default(),
        };
        let call = async { self.module.clone().get_verdict(request).await };
        let answer = within(MODULE_GATE, PATIENCE, call).await?.into_inner();
        let refused = answer.refused_upstream;
        Ok(ModuleVerdict {
            statement: answer.statement,
            refused_upstream: (!refused.is_empty()).then_some(refused),
        })
    }

    /// What a module says about its input, if it was asked before.
    pub fn kept_input_schema(&self, module: Digest) -> Option<Schema> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner).get(&module).cloned()
    }

    /// What a module's input has to look like. A module that is not stored says nothing: its
    /// verdict is missing as well.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn input_schema(&self, module: Digest) -> Result<Schema> {
        if let Some(kept) = self.kept_input_schema(module) {
            return Ok(kept);
        }
        let request = GetInputSchemaRequest { manifest_hash: module.to_string() };
        let call = async { self.module.clone().get_input_schema(request).await };
        let answer = match within(MODULE_GATE, PATIENCE, call).await {
            Ok(answer) => answer.into_inner(),
            // Not kept: it may be stored later.
            Err(Error::Gate { problem: Some(Problem::ModuleUnknown), .. }) => return Ok(None),
            // A module-gate of an older release has no such call, and no module with a schema.
            Err(Error::Gate { code: Code::Unimplemented, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = |bytes: Vec<u8>| {
            let text = serde_json::from_slice(&bytes)
                .map_err(|error| Error::SchemaUnusable(format!("it is no JSON: {error}")))?;
            // module-gate compiled it before it judged the module, by the rules of its own release.
            let schema =
                InputSchema::new(text).map_err(|error| Error::SchemaUnusable(error.to_string()))?;
            Ok::<_, Error>(Arc::new(schema))
        };
        let schema = answer.schema.map(read).transpose()?;
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        // The bound matters, and not which of them stay.
        if schemas.len() >= MOST_SCHEMAS {
            schemas.clear();
        }
        schemas.insert(module, schema.clone());
        Ok(schema)
    }

    /// Stores an input under its digest, for the run that is asked for next.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn put_input(&self, digest: Digest, input: Vec<u8>) -> Result<()> {
        use put_input_request::Item;
        let header = Item::Header(InputHeader { digest: digest.to_string() });
        let pieces: Vec<_> = input.chunks(PIECE).map(|data| Item::Data(data.to_vec())).collect();
        let messages = std::iter::once(header).chain(pieces);
        let messages = messages.map(|item| PutInputRequest { item: Some(item) });
        let call = async { self.oracle.clone().put_input(stream::iter(messages)).await };
        let answer = within(ORACLE_GATE, SEAL_PATIENCE, call).await?.into_inner();
        if answer.digest != digest.to_string() {
            return Err(unexpected_response(ORACLE_GATE, "another digest than the input's"));
        }
        Ok(())
    }

    /// A stored input; nothing if it is not there any more.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn input(&self, digest: Digest) -> Result<Option<Vec<u8>>> {
        let request = GetInputRequest { digest: digest.to_string() };
        let call = async {
            let mut pieces = self.oracle.clone().get_input(request).await?.into_inner();
            let mut input = Vec::new();
            while let Some(piece) = pieces.message().await? {
                input.extend_from_slice(&piece.data);
            }
            Ok(input)
        };
        let input = match within(ORACLE_GATE, SEAL_PATIENCE, call).await {
            Ok(input) => input,
            Err(Error::Gate { problem: Some(Problem::NotFound), .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if Digest::of(&input) != digest {
            return Err(unexpected_response(ORACLE_GATE, "another input than the one asked for"));
        }
        Ok(Some(input))
    }

    /// What module-gate knows of an attempt, without starting anything.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn execution(&self, run: RunId, attempt: u32) -> Result<Execution> {
        let request = GetExecutionRequest { run_id: run.to_string(), attempt };
        let call = async { self.module.clone().get_execution(request).await };
        let answer = within(MODULE_GATE, PATIENCE, call).await?.into_inner();
        match (answer.state(), answer.statement) {
            (ExecutionState::Finished, Some(statement)) => Ok(Execution::Finished(statement)),
            (ExecutionState::Running, _) => Ok(Execution::Running),
            (ExecutionState::Unknown | ExecutionState::Interrupted, _) => Ok(Execution::None),
            (ExecutionState::Finished | ExecutionState::Unspecified, _) => {
                Err(unexpected_response(MODULE_GATE, "an execution in no known state"))
            }
        }
    }

    /// Executes, or attaches to what runs or has ended (R11). Answers the signed statement.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`]. Nothing is proven by it: the execution may go on.
    pub async fn execute(&self, order: &Order<'_>) -> Result<Vec<u8>> {
        // The caller sets the time: module-gate may have others before it.
        let answer = self.module.clone().execute(execute_request(order)).await;
        let mut stream = answer.map_err(|status| Error::gate(MODULE_GATE, &status))?.into_inner();
        while let Some(message) =
            stream.message().await.map_err(|status| Error::gate(MODULE_GATE, &status))?
        {
            match message.event {
                Some(Event::Progress(progress)) => {
                    let (run, phase) = (order.run, progress.phase);
                    tracing::debug!(run.id = %run, phase, "{}", progress.message);
                    crash::point("execute.during");
                }
                Some(Event::Finished(finished)) => return Ok(finished.statement),
                None => {}
            }
        }
        Err(unexpected_response(MODULE_GATE, "an execution that ended without a statement"))
    }

    /// Seals an attempt, or answers its seal. `statements` are those of the execution and of
    /// shipping.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn seal(
        &self,
        (run, attempt): (RunId, u32),
        workflow_id: &str,
        statements: (&[u8], &[u8]),
        drafts: Drafts,
    ) -> Result<Sealed> {
        let request = SealRequest {
            run_id: run.to_string(),
            attempt,
            workflow_id: workflow_id.to_owned(),
            statement: statements.0.to_vec(),
            shipping: statements.1.to_vec(),
            plan_json: drafts.plan,
            record_json: drafts.record,
        };
        let call = async { self.oracle.clone().seal(request).await };
        sealed(within(ORACLE_GATE, SEAL_PATIENCE, call).await?.into_inner())
    }

    /// Asks oracle-gate for a module's inventory, and forgets it: for looking whether it answers.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn module(&self, digest: Digest) -> Result<()> {
        let request = GetModuleRequest { digest: digest.to_string() };
        let call = async { self.oracle.clone().get_module(request).await };
        within(ORACLE_GATE, PATIENCE, call).await.map(drop)
    }

    /// Checks a facts view, reading every byte.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn check(&self, facts_ref: &str) -> Result<CheckedView> {
        let request = CheckRequest {
            run_facts_ref: facts_ref.to_owned(),
            strict_seal: true,
            depth: CheckDepth::Digest.into(),
        };
        let call = async { self.oracle.clone().check(request).await };
        let answer = within(ORACLE_GATE, SEAL_PATIENCE, call).await?.into_inner();
        let status = match answer.status() {
            CheckStatus::Ok => "ok",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "fail",
            CheckStatus::Unspecified => {
                return Err(unexpected_response(ORACLE_GATE, "a check in no known state"));
            }
        };
        let issue = |issue: CheckIssue| CheckIssueView {
            severity: match issue.severity() {
                Severity::Warn => "warn".to_owned(),
                Severity::Error | Severity::Unspecified => "error".to_owned(),
            },
            code: issue.code,
            detail: issue.detail,
            retryable: issue.retryable,
        };
        let issues = answer.issues.into_iter().map(issue).collect();
        Ok(CheckedView { status: status.to_owned(), issues })
    }

    /// The files of a sealed attempt, one after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`].
    pub async fn bundle(
        &self,
        (run, attempt): (RunId, u32),
    ) -> Result<tonic::Streaming<BundleChunk>> {
        let request = ReadBundleRequest { run_id: run.to_string(), attempt };
        let call = async { self.oracle.clone().read_bundle(request).await };
        Ok(within(ORACLE_GATE, PATIENCE, call).await?.into_inner())
    }
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gates")
    }
}

async fn within<T>(
    gate: &'static str,
    patience: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T> {
    let answer = tokio::time::timeout(patience, call).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
    answer.map_err(|status| Error::gate(gate, &status))
}

fn execute_request(order: &Order<'_>) -> ExecuteRequest {
    ExecuteRequest {
        run_id: order.run.to_string(),
        attempt: order.attempt,
        vault_run_id: order.vault_run_id.to_string(),
        user: order.request.user.to_string(),
        workflow_id: order.workflow_id.to_owned(),
        manifest_hash: order.module.to_string(),
        input: order.input.to_vec(),
        input_digest: order.request.input_digest.to_string(),
        seed: order.request.seed,
        budgets: Some(order.request.budgets.into()),
        wall_limit_ms: order.wall_limit_ms,
        deadline_unix: order.deadline,
        agent_id: order.request.agent_id,
        attesters: order.attesters.iter().map(wire::dsse::key_id).collect(),
    }
}

fn sealed(answer: SealResponse) -> Result<Sealed> {
    let digest = |text: &str| {
        text.parse::<Digest>()
            .map_err(|_| unexpected_response(ORACLE_GATE, "a seal without a digest"))
    };
    let check = answer.check.as_ref();
    let passed = match answer.seal_status() {
        SealStatus::SealedFailed => true,
        SealStatus::Sealed => {
            check.is_some_and(|check| matches!(check.status(), CheckStatus::Ok | CheckStatus::Warn))
        }
        SealStatus::Unspecified => {
            return Err(unexpected_response(ORACLE_GATE, "a seal in no known state"));
        }
    };
    Ok(Sealed {
        passed,
        reasons: check.map(|check| check.reasons.clone()).unwrap_or_default(),
        seal: Seal {
            seal_digest: digest(&answer.seal_digest)?,
            manifest_digest: digest(&answer.manifest_digest)?,
            pack_id: answer.pack_id,
            facts_ref: answer.facts_ref,
        },
    })
}

fn unexpected_response(gate: &'static str, what: &str) -> Error {
    Error::Gate {
        gate,
        code: Code::Internal,
        message: format!("it answered {what}"),
        problem: None,
    }
}
