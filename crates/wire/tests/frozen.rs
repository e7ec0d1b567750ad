//! Text that other programs rely on: every event, every problem. Changing a line here is a new
//! version, never a correction.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

use std::fs;
use std::path::Path;

use time::OffsetDateTime;
use time::macros::datetime;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use wire::event::{
    ChainData, CloudEvent, Data, Fact, Failure, GateData, GateEvent, JudgementData, JudgementEvent,
    Receipt, RunData, RunEvent, RunStatus, SealData, SealEvent, SealStatus,
};
use wire::statement::{Execution, Expected};
use wire::view::{EscrowView, JsonText, Meters, PackView, ReceiptView, TransactionHashes};
use wire::{
    Digest, Nonce, Problem, RunDocument, RunId, RunView, TxHash, Usage, VaultRunId, statement,
};

const TIME: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn run() -> RunData {
    RunData {
        run_id: RunId::from(Uuid::from_u128(7)),
        attempt: 1,
        status: RunStatus::Pending,
        user: "GUSER".to_owned(),
        agent_id: 3,
        workflow_id: None,
        manifest_hash: None,
        vault_run_id: None,
        error: None,
        receipt: None,
        transaction: None,
    }
}

fn text<D: Data>(name: D::Name, data: &D) -> String {
    let event = CloudEvent::new(name, data, 4, TIME, Some(TRACE.to_owned())).unwrap();
    serde_json::to_string(&event).unwrap()
}

#[test]
fn the_envelope_and_the_smallest_run_event() {
    assert_eq!(
        text(RunEvent::Queued, &run()),
        concat!(
            r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007:4","#,
            r#""source":"/lumio/runner","type":"dev.lumio.run.queued.v1","#,
            r#""subject":"00000000-0000-0000-0000-000000000007","#,
            r#""sequence":"00000000000000000004","time":"2026-01-02T03:04:05.000Z","#,
            r#""datacontenttype":"application/json","#,
            r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
            r#""data":{"agent_id":3,"attempt":1,"run_id":"00000000-0000-0000-0000-000000000007","#,
            r#""status":"pending","user":"GUSER"}}"#,
        )
    );
}

#[test]
fn the_largest_run_event() {
    let zeros = Digest::from([0; 32]);
    let data = RunData {
        status: RunStatus::Failed,
        workflow_id: Some("profile".to_owned()),
        manifest_hash: Some(zeros),
        vault_run_id: Some(VaultRunId::from([0; 32])),
        error: Some(Failure { code: "BUDGET_EXHAUSTED".to_owned(), reason: "time".to_owned() }),
        receipt: Some(Receipt {
            run_id: VaultRunId::from([0; 32]),
            actual_charge: i128::MAX,
            runner_fee: None,
            refund: 0,
            developer: "GDEV".to_owned(),
            output_hash: Some(zeros),
            finalized_at: Some(TIME),
            settled_by: None,
        }),
        transaction: Some(TxHash::from([0; 32])),
        ..run()
    };
    let zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    let expected = format!(
        concat!(
            r#""data":{{"agent_id":3,"attempt":1,"error":{{"code":"BUDGET_EXHAUSTED","reason":"time"}},"#,
            r#""manifest_hash":"{0}","receipt":{{"actual_charge":"170141183460469231731687303715884105727","#,
            r#""developer":"GDEV","finalized_at":"2026-01-02T03:04:05.000Z","output_hash":"{0}","refund":"0","#,
            r#""run_id":"{0}"}},"run_id":"00000000-0000-0000-0000-000000000007","status":"failed","#,
            r#""transaction":"{0}","user":"GUSER","vault_run_id":"{0}","workflow_id":"profile"}}}}"#,
        ),
        zeros
    );
    let got = text(RunEvent::Failed, &data);
    assert!(got.ends_with(&expected), "{got}");

    let event: CloudEvent = serde_json::from_str(&got).unwrap();
    assert_eq!(event.read::<RunData>().unwrap(), data);
    assert!(event.read::<GateData>().is_err());
}

#[test]
fn the_time_of_an_event_is_read_in_any_precision() {
    let written = text(RunEvent::Queued, &run());
    assert!(written.contains("05.000Z"), "{written}");
    for time in ["05Z", "05.000Z", "05.000000Z"] {
        let event = written.replace("05.000Z", time);
        let event: CloudEvent = serde_json::from_str(&event).unwrap();
        assert_eq!(event.time, TIME);
    }
}

#[test]
fn the_seal_events() {
    let data = SealData {
        run_id: RunId::from(Uuid::from_u128(7)),
        attempt: 1,
        pack_id: "0abc".to_owned(),
        seal_digest: Digest::from([0; 32]),
        seal_status: SealStatus::SealedFailed,
        facts_ref: Some("sr/run_facts_view/7.1.json".to_owned()),
        result: Some("OK".to_owned()),
    };
    let expected = concat!(
        r#"{"specversion":"1.0","id":"0abc:4","source":"/lumio/oracle-gate","#,
        r#""type":"dev.lumio.seal.sealed.v1","subject":"0abc","sequence":"00000000000000000004","time":"2026-01-02T03:04:05.000Z","#,
        r#""datacontenttype":"application/json","#,
        r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
        r#""data":{"attempt":1,"facts_ref":"sr/run_facts_view/7.1.json","pack_id":"0abc","result":"OK","#,
        r#""run_id":"00000000-0000-0000-0000-000000000007","#,
        r#""seal_digest":"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""seal_status":"SEALED_FAILED"}}"#,
    );
    assert_eq!(text(SealEvent::Sealed, &data), expected);
    let checked = text(SealEvent::Checked, &data);
    assert_eq!(checked, expected.replace("seal.sealed.v1", "seal.checked.v1"));
}

#[test]
fn the_chain_events() {
    let granted = Fact::RunnerGranted {
        user: "GUSER".to_owned(),
        runner: "GRUNNER".to_owned(),
        agent_id: 3,
        issued_at: 1_700_000_000,
        expires_at: None,
        serial: 1,
    };
    let data = ChainData {
        event_id: "0000000042949677056-0000000001".to_owned(),
        contract: "CVAULT".to_owned(),
        ledger: 10,
        transaction: TxHash::from([0; 32]),
        fact: granted,
    };
    let expected = concat!(
        r#"{"specversion":"1.0","id":"GUSER:4","source":"/lumio/runner","#,
        r#""type":"dev.lumio.chain.runner_granted.v1","subject":"GUSER","#,
        r#""sequence":"00000000000000000004","time":"2026-01-02T03:04:05.000Z","#,
        r#""datacontenttype":"application/json","#,
        r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","#,
        r#""data":{"agent_id":3,"contract":"CVAULT","event":"runner_granted","#,
        r#""event_id":"0000000042949677056-0000000001","issued_at":1700000000,"ledger":10,"#,
        r#""runner":"GRUNNER","serial":1,"#,
        r#""transaction":"0000000000000000000000000000000000000000000000000000000000000000","#,
        r#""user":"GUSER"}}"#,
    );
    assert_eq!(text(data.fact.name(), &data), expected);

    let fact =
        Fact::AccountSwept { user: "GUSER".to_owned(), amount: 1, balance: i128::MAX, day: 2 };
    let swept = ChainData { fact, ..data };
    let got = text(swept.fact.name(), &swept);
    assert!(got.contains(r#""balance":"170141183460469231731687303715884105727""#), "{got}");
    let event: CloudEvent = serde_json::from_str(&got).unwrap();
    assert_eq!(event.read::<ChainData>().unwrap(), swept);
}

#[test]
fn the_gate_events() {
    let data = GateData {
        run_id: None,
        attempt: None,
        module_digest: Digest::from([0; 32]),
        verdict: statement::Verdict::Fail,
        code: Some(statement::Code::OracleExec),
    };
    let zeros = "0".repeat(64);
    let expected = format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{0}:4","source":"/lumio/module-gate","#,
            r#""type":"dev.lumio.gate.shipped.v1","subject":"{0}","sequence":"00000000000000000004","time":"2026-01-02T03:04:05.000Z","#,
            r#""datacontenttype":"application/json","traceparent":"{1}","#,
            r#""data":{{"code":"E_ORACLE_EXEC","module_digest":"{0}","verdict":"FAIL"}}}}"#,
        ),
        zeros, TRACE
    );
    assert_eq!(text(GateEvent::Shipped, &data), expected);
}

#[test]
fn the_events_of_judgements() {
    let (zeros, ones) = ("0".repeat(64), "11".repeat(32));
    let data = JudgementData {
        module_digest: Digest::from([0; 32]),
        judgement: Digest::from([0x11; 32]),
        verdict: statement::Verdict::Pass,
        code: None,
    };
    let expected = format!(
        concat!(
            r#"{{"specversion":"1.0","id":"{0}:4","source":"/lumio/module-gate","#,
            r#""type":"dev.lumio.gate.oracles_judged.v1","subject":"{0}","sequence":"00000000000000000004","time":"2026-01-02T03:04:05.000Z","#,
            r#""datacontenttype":"application/json","traceparent":"{2}","#,
            r#""data":{{"judgement":"{1}","module_digest":"{0}","verdict":"PASS"}}}}"#,
        ),
        zeros, ones, TRACE
    );
    assert_eq!(text(JudgementEvent::OraclesJudged, &data), expected);

    let data = JudgementData {
        verdict: statement::Verdict::Fail,
        code: Some("E_DUP_PROVIDER".to_owned()),
        ..data
    };
    let got = text(JudgementEvent::PlanJudged, &data);
    let expected = format!(
        concat!(
            r#""data":{{"code":"E_DUP_PROVIDER","judgement":"{1}","module_digest":"{0}","#,
            r#""verdict":"FAIL"}}}}"#,
        ),
        zeros, ones
    );
    assert!(got.contains("dev.lumio.gate.plan_judged.v1") && got.ends_with(&expected), "{got}");
    let event: CloudEvent = serde_json::from_str(&got).unwrap();
    assert_eq!(event.read::<JudgementData>().unwrap(), data);
}

#[test]
fn the_subject_of_every_event() {
    let names = |names: &[&'static str]| names.join(" ");
    let run_names = RunEvent::ALL.map(<&str>::from);
    assert_eq!(names(&run_names), "queued opening running finalizing finalized failed cancelled");
    assert_eq!(
        names(&SealEvent::ALL.map(<&str>::from)),
        "sealed checked archived tombstoned drift"
    );
    assert_eq!(names(&GateEvent::ALL.map(<&str>::from)), "executed shipped");
    let judgements = JudgementEvent::ALL.map(<&str>::from);
    assert_eq!(names(&judgements), "oracles_judged plan_judged");
    assert_eq!(
        run().subject("lumio", RunEvent::Queued),
        "lumio.run.v1.queued.00000000-0000-0000-0000-000000000007"
    );
}

fn view() -> RunView {
    RunView {
        id: RunId::from(Uuid::from_u128(7)),
        user: "GUSER".to_owned(),
        agent_id: 3,
        rate_version: Some(1),
        budgets: Meters { llm_in: 1, llm_out: 2, http_calls: 3, runtime_ms: 4 },
        workflow_id: Some("profile".to_owned()),
        metadata: Some(JsonText::new(r#"{"exact":1.10000000000000000001}"#).unwrap()),
        label: None,
        status: RunStatus::Finalized,
        phase: "done".to_owned(),
        attempt: 1,
        retries: 0,
        seed: 9_007_199_254_740_991,
        input_digest: Digest::from([0; 32]),
        manifest_hash: None,
        escrow: EscrowView::Settled,
        run_id: Some(VaultRunId::from([0; 32])),
        deadline: Some(TIME),
        usage: None,
        upstreams: Vec::new(),
        output_hash: None,
        receipt: Some(ReceiptView {
            run_id: VaultRunId::from([0; 32]),
            actual_charge: i128::MAX,
            runner_fee: Some(5),
            refund: 0,
            developer: "GDEV".to_owned(),
            output_hash: Digest::from([0; 32]),
            finalized_at: Some(TIME),
            settled_by: None,
        }),
        pack: Some(PackView {
            pack_id: "0abc".to_owned(),
            seal_digest: Digest::from([0; 32]),
            facts_ref: "sr/run_facts_view/7.1.json".to_owned(),
        }),
        error: None,
        error_code: None,
        waiting_for: None,
        start_at: None,
        priority: None,
        transaction_hashes: TransactionHashes { open: Some(TxHash::from([0; 32])), finalize: None },
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        created_at: TIME,
        updated_at: TIME,
        attempts: Vec::new(),
    }
}

#[test]
fn the_run_document_of_a_bundle() {
    let document = RunDocument {
        run: view(),
        terms: Some(serde_json::json!({"agent_id": 3})),
        vault_id: "CVAULT".to_owned(),
        nonce: Nonce::from([0; 32]),
        input: JsonText::new(r#"{"a":[],"b":1}"#).unwrap(),
    };
    let expected = concat!(
        r#"{"id":"00000000-0000-0000-0000-000000000007","user":"GUSER","agentId":3,"rateVersion":1,"#,
        r#""budgets":{"llmIn":1,"llmOut":2,"httpCalls":3,"runtimeMs":4},"workflowId":"profile","#,
        r#""metadata":{"exact":1.10000000000000000001},"#,
        r#""status":"finalized","phase":"done","attempt":1,"retries":0,"seed":9007199254740991,"#,
        r#""inputDigest":"{0}","escrow":"settled","runId":"{0}","#,
        r#""deadline":"2026-01-02T03:04:05.000Z","#,
        r#""receipt":{"runId":"{0}","actualCharge":"170141183460469231731687303715884105727","#,
        r#""runnerFee":"5","refund":"0","developer":"GDEV","outputHash":"{0}","finalizedAt":"2026-01-02T03:04:05.000Z"},"#,
        r#""pack":{"packId":"0abc","sealDigest":"{0}","factsRef":"sr/run_facts_view/7.1.json"},"#,
        r#""transactionHashes":{"open":"{0}"},"traceId":"0af7651916cd43dd8448eb211c80319c","#,
        r#""createdAt":"2026-01-02T03:04:05.000Z","updatedAt":"2026-01-02T03:04:05.000Z","#,
        r#""terms":{"agent_id":3},"vaultId":"CVAULT","nonce":"{0}","input":{"a":[],"b":1}}"#,
    );
    let text = serde_json::to_string(&document).unwrap();
    assert_eq!(text, expected.replace("{0}", &"0".repeat(64)));

    let read = RunDocument::<serde_json::Value>::read(text.as_bytes()).unwrap();
    assert_eq!(read, document);
    let newer = text.replacen('{', r#"{"later":[1],"#, 1);
    let read = RunDocument::<serde_json::Value>::read(newer.as_bytes()).unwrap();
    assert_eq!(read, document, "members that are not known are ignored");
    let twice = text.replacen('{', r#"{"nonce":"","#, 1);
    assert!(RunDocument::<serde_json::Value>::read(twice.as_bytes()).is_err(), "two nonces");
}

#[test]
fn a_statement_names_everything_in_which_it_is_about_something_else() {
    let text = r#"{"run_id":"00000000-0000-0000-0000-000000000007","attempt":1,
        "vault_run_id":"{0}","user":"GUSER",
        "workflow_id":"profile","module_digest":"{0}","input_digest":"{0}","seed":7,
        "budgets":{"runtime_ms":5},"outputs":[],"usage":{},
        "guard":{"tier":"full","landlock_abi":7,"version":"1"},
        "effects":{"declared":[],"observed":[],"denied_count":0},"exit":{"kind":"refused"},
        "verdict":"FAIL","code":"E_MODULE_INVALID","started_at":"2026-01-02T03:04:05Z",
        "finished_at":"2026-01-02T03:04:05Z"}"#;
    let execution: Execution = serde_json::from_str(&text.replace("{0}", &"0".repeat(64))).unwrap();
    let same = Expected {
        run: Some(RunId::from(Uuid::from_u128(7))),
        attempt: Some(1),
        vault_run_id: Some(VaultRunId::from([0; 32])),
        user: Some("GUSER"),
        workflow_id: Some("profile"),
        module: Some(Digest::from([0; 32])),
        input: Some(Digest::from([0; 32])),
        seed: Some(7),
        budgets: Some(Usage { runtime_ms: 5, ..Usage::default() }),
    };
    assert_eq!(execution.mismatches(&same), []);
    assert_eq!(execution.mismatches(&Expected::default()), []);
    let nameless = Execution { vault_run_id: None, ..execution.clone() };
    assert_eq!(nameless.mismatches(&same)[0].stated, "none", "it is about no charge");

    let other = [
        ("run", Expected { run: Some(RunId::from(Uuid::nil())), ..same }),
        ("attempt", Expected { attempt: Some(2), ..same }),
        ("run id in the vault", Expected { vault_run_id: Some(VaultRunId::from([1; 32])), ..same }),
        ("user", Expected { user: Some("GOTHER"), ..same }),
        ("workflow", Expected { workflow_id: Some(""), ..same }),
        ("module", Expected { module: Some(Digest::of(b"other")), ..same }),
        ("input", Expected { input: Some(Digest::of(b"other")), ..same }),
        ("seed", Expected { seed: Some(8), ..same }),
        ("budgets", Expected { budgets: Some(Usage::default()), ..same }),
    ];
    for (what, expected) in other {
        let found = execution.mismatches(&expected);
        assert_eq!(found.iter().map(|found| found.what).collect::<Vec<_>>(), [what]);
    }
    let other = Expected { attempt: Some(2), seed: Some(8), ..same };
    let found: Vec<_> = execution.mismatches(&other).iter().map(ToString::to_string).collect();
    assert_eq!(found[0], "attempt: expected 2, the statement says 1");
    assert_eq!(found.len(), 2);
}

/// Slug, HTTP status, gRPC code, retryable, exit code.
const PROBLEMS: &str = "\
invalid-request 400 InvalidArgument false 3
unauthenticated 401 Unauthenticated false 3
forbidden 403 PermissionDenied false 3
not-found 404 NotFound false 1
method-not-allowed 405 Unimplemented false 3
unsupported-media-type 415 InvalidArgument false 3
request-timeout 408 DeadlineExceeded true 2
precondition-failed 412 FailedPrecondition false 3
range-not-satisfiable 416 OutOfRange false 3
misdirected-request 421 FailedPrecondition false 3
run-not-retryable 409 FailedPrecondition false 1
run-not-cancellable 409 FailedPrecondition false 1
idempotency-conflict 409 Aborted true 2
idempotency-mismatch 422 InvalidArgument false 3
conflict 409 Aborted true 2
payload-too-large 413 ResourceExhausted false 1
rate-limited 429 ResourceExhausted true 2
intake-paused 503 Unavailable true 2
pack-already-sealed 409 AlreadyExists false 1
seal-mismatch 409 FailedPrecondition false 1
statement-invalid 422 InvalidArgument false 1
digest-mismatch 422 InvalidArgument false 1
check-failed 422 FailedPrecondition false 1
module-unknown 404 NotFound false 1
verdict-missing 404 NotFound false 1
execution-conflict 409 AlreadyExists false 1
unavailable 503 Unavailable true 2
internal 500 Internal false 2
";

#[test]
fn the_table_of_problems() {
    let line = |problem: Problem| {
        let row = problem.row();
        let code = format!("{:?}", row.code);
        format!("{} {} {code} {} {}\n", row.slug, row.status, row.retryable, row.exit)
    };
    assert_eq!(Problem::ALL.iter().copied().map(line).collect::<String>(), PROBLEMS);
}

#[test]
fn a_problem_reads_the_same_over_grpc_and_http() {
    let status = Problem::SealMismatch.status("another seal");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("SEAL_MISMATCH", "lumio.dev"));
    assert_eq!(Problem::of(&status), Some(Problem::SealMismatch));
    assert_eq!(Problem::of(&tonic::Status::new(Code::Unavailable, "elsewhere")), None);

    assert_eq!(
        serde_json::to_string(&Problem::NotFound.body("Run not found")).unwrap(),
        concat!(
            r#"{"type":"/problems/not-found","title":"Not found","status":404,"#,
            r#""detail":"Run not found","code":"NOT_FOUND","error":"Run not found"}"#,
        )
    );
}

/// `UPDATE=1 cargo test -p wire --test frozen` writes the pages.
#[test]
fn every_problem_has_its_page() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/problems");
    for problem in Problem::ALL.iter().copied() {
        let path = pages.join(format!("{}.md", problem.row().slug));
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&pages).unwrap();
            fs::write(&path, problem.page()).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(found, problem.page(), "{}; run with UPDATE=1", path.display());
    }
    assert_eq!(fs::read_dir(pages).unwrap().count(), Problem::ALL.len(), "a page of no problem");
}
