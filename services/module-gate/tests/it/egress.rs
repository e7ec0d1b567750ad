//! A module that uses services: reached by the proxy alone, metered, charged and stated (E1–E7).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use module_gate::upstreams::Allowed;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::upstream::{events, json as whole};
use testkit::{Upstream, upstream};
use wire::egress::{CALLS_FILE, CallOutcome, recompute};
use wire::pb::common::v1::Usage;
use wire::pb::module::v1::{ExecuteRequest, GetVerdictRequest};
use wire::statement::{Code, Execution, Exit, Verdict};

use crate::fixture::{Fixture, Running, request, stated};

const KEY: &str = "sk-operator-0123456789";
const AGENT: u32 = 7;

/// Asks the model once, as an SDK would, and leaves the answer and its whole environment.
const ASKS: &str = r#"
import { writeFileSync } from 'node:fs';
const base = process.env.OPENAI_BASE_URL;
export async function ask(more = {}) {
  return fetch(`${base}/chat/completions`, { method: 'POST',
    headers: { 'content-type': 'application/json',
      authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...more }) });
}
const answer = await ask();
writeFileSync(`${process.env.LUMIO_OUTPUT}/answer.json`, await answer.text());
writeFileSync(`${process.env.LUMIO_OUTPUT}/env.json`, JSON.stringify(process.env));
"#;

struct Setting {
    fixture: Fixture,
    gate: Running,
    service: Upstream,
    folder: TempDir,
}

fn service() -> Upstream {
    upstream(|request| {
        if request.json()["stream"] == true {
            return events(["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}"]);
        }
        let sent = request.header("authorization").unwrap_or_default();
        whole(&json!({ "choices": [{ "message": { "content": sent } }],
            "usage": { "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29 } }))
    })
}

async fn setting() -> Setting {
    let (folder, service) = (tempfile::tempdir().unwrap(), service());
    let key = folder.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let file = folder.path().join("upstreams.json");
    let allowed = json!({ "upstreams": [{ "kind": "openai", "url": service.url(),
        "agents": [AGENT], "plain_http": true, "credential": { "file": key },
        "limits": { "idle_ms": 2_000, "total_ms": 5_000 } }] });
    fs::write(&file, allowed.to_string()).unwrap();
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.upstreams = Allowed::read(&file, &|_| None).unwrap();
    let gate = fixture.serve_with(&config).await;
    Setting { fixture, gate, service, folder }
}

impl Setting {
    /// A module that names the service as `model` and runs `main`.
    fn module(&self, name: &str, main: &str) -> std::path::PathBuf {
        let folder = self.folder.path().join(name);
        write_module(&folder, &self.service.url(), main);
        folder
    }

    async fn run(&self, name: &str, main: &str, budgets: Usage) -> (Execution, ExecuteRequest) {
        let module = self.fixture.publish(&self.module(name, main));
        let mut asked = request(module, &json!({}));
        (asked.agent_id, asked.budgets) = (AGENT, Some(budgets));
        let bytes = self.gate.execute(&asked).await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(KEY));
        (stated(&bytes), asked)
    }
}

fn write_module(folder: &Path, url: &str, main: &str) {
    fs::create_dir_all(folder).unwrap();
    let manifest = json!({ "id": "asks.model", "version": "1.0.0", "summary": "Asks a model.",
        "entry": "main.mjs", "provides": ["AskPort@1"], "side_effects": ["Network"],
        "upstreams": [{ "name": "model", "kind": "openai", "url": url, "models": ["m"] }] });
    fs::write(folder.join("module.json"), manifest.to_string()).unwrap();
    fs::write(folder.join("main.mjs"), main).unwrap();
}

const BUDGETS: Usage = Usage { llm_in: 1_000, llm_out: 100, http_calls: 5, runtime_ms: 30_000 };

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_tokens_are_metered_signed_listed_and_charged() {
    let setting = setting().await;
    let (statement, asked) = setting.run("asks", ASKS, BUDGETS).await;
    assert_eq!(statement.verdict, Verdict::Pass, "{:?}", statement.reason);
    let usage = statement.usage;
    assert_eq!((usage.llm_in, usage.llm_out, usage.http_calls), (19, 10, 1));
    assert!(usage.runtime_ms > 0);
    let (signed, settled) = (statement.settlement.unwrap(), statement.settled().unwrap());
    assert!(signed.verifies(&settled) && settled.usage == usage);

    let egress = statement.egress.unwrap();
    let list = setting.fixture.staged(&asked, CALLS_FILE).unwrap();
    let calls = recompute(&list, &egress).unwrap();
    assert_eq!((calls.len(), calls[0].outcome), (1, CallOutcome::Complete));
    assert!(statement.outputs.iter().any(|output| output.path == CALLS_FILE));

    // The service got the operator's credential; the module has no copy of it.
    let arrived = setting.service.arrived();
    assert_eq!(arrived[0].header("authorization"), Some(&*format!("Bearer {KEY}")));
    let answer = setting.fixture.staged(&asked, "answer.json").unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("[credential removed]"));
    let env: Value =
        serde_json::from_slice(&setting.fixture.staged(&asked, "env.json").unwrap()).unwrap();
    assert_eq!(env["LUMIO_UPSTREAM_MODEL"], "http://127.0.0.1:4280/model");
    assert_eq!(env["OPENAI_BASE_URL"], env["LUMIO_UPSTREAM_MODEL"]);
    assert!(!env.to_string().contains(KEY));
    setting.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_charged_also_when_the_module_then_fails() {
    let setting = setting().await;
    let exits = format!("{ASKS}\nprocess.exit(3);");
    let (statement, asked) = setting.run("exits", &exits, BUDGETS).await;
    assert_eq!(statement.code, Some(Code::OracleExec), "{:?}", statement.reason);
    let usage = statement.usage;
    assert_eq!((usage.llm_in, usage.http_calls, usage.runtime_ms), (19, 1, 0));
    assert!(statement.settlement.is_some());
    assert!(setting.fixture.staged(&asked, CALLS_FILE).is_some());
    assert!(setting.fixture.staged(&asked, "answer.json").is_none(), "a failure leaves no outputs");

    // A way round the proxy is a violation; what was asked before is charged.
    let address = setting.service.address;
    let round = format!("{ASKS}\nawait fetch('http://{address}/').catch(() => {{}});");
    let (statement, _) = setting.run("round", &round, BUDGETS).await;
    assert_eq!(statement.code, Some(Code::SideEffectsDeclaration), "{:?}", statement.reason);
    assert!(statement.reason.unwrap().contains("only 127.0.0.1:4280 can be reached"));
    assert_eq!((statement.usage.llm_out, statement.usage.runtime_ms), (10, 0));
    assert_eq!(setting.service.arrived().len(), 2, "nothing arrived round the proxy");
    setting.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_stands_against_a_call_is_exhausted_where_the_module_gives_up() {
    let setting = setting().await;
    let twice = format!("{ASKS}\nconst again = await ask();\nif (!again.ok) process.exit(1);");
    let budgets = Usage { http_calls: 1, ..BUDGETS };
    let (statement, _) = setting.run("twice", &twice, budgets).await;
    assert_eq!((statement.code, statement.exit), (Some(Code::BudgetExhausted), Exit::Budget));
    assert!(statement.reason.unwrap().contains("all 1 calls are made"));
    assert_eq!(statement.usage.http_calls, 1);
    assert!(statement.usage.runtime_ms > 0, "all that was metered is charged (R10)");
    assert_eq!(statement.egress.unwrap().upstreams[0].refused, 1);

    // A module that goes on without the answer passes.
    let goes_on = format!("{ASKS}\nawait ask();");
    let (statement, _) = setting.run("goes-on", &goes_on, budgets).await;
    assert_eq!(statement.verdict, Verdict::Pass, "{:?}", statement.reason);
    setting.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_does_not_allow_is_not_started() {
    let setting = setting().await;
    let module = setting.fixture.publish(&setting.module("asks", ASKS));

    // The process that is about to open a run can know.
    setting.gate.ship(module).await.unwrap();
    let mut calls = setting.gate.calls.clone();
    for (agent, refused) in [(0, false), (AGENT, false), (AGENT + 1, true)] {
        let ask = GetVerdictRequest {
            manifest_hash: module.to_string(),
            attesters: Vec::new(),
            agent_id: agent,
        };
        let answer = calls.get_verdict(ask).await.unwrap().into_inner();
        assert_eq!(answer.refused_upstream.contains("is not allowed to agent 8"), refused);
        assert_eq!(answer.refused_upstream.is_empty(), !refused);
    }

    for agent in [0, AGENT + 1] {
        let mut asked = request(module, &json!({}));
        (asked.agent_id, asked.budgets) = (agent, Some(BUDGETS));
        let statement = stated(&setting.gate.execute(&asked).await.unwrap());
        assert_eq!(statement.code, Some(Code::UpstreamRefused));
        assert_eq!((statement.exit, statement.usage), (Exit::Refused, wire::Usage::default()));
        assert!(statement.reason.unwrap().contains("is not allowed to"));
        assert!(statement.settlement.is_none(), "what never ran costs not even a fee");
    }
    assert!(setting.service.arrived().is_empty());
    setting.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_in_the_gates_own_folder_is_refused() {
    let setting = setting().await;
    let forges = format!(
        "{ASKS}\nimport {{ mkdirSync }} from 'node:fs';\nconst own = \
         `${{process.env.LUMIO_OUTPUT}}/_LUMIO`;\nmkdirSync(own);\nwriteFileSync(`${{own}}/\
         calls.jsonl`, '');"
    );
    let (statement, _) = setting.run("forges", &forges, BUDGETS).await;
    assert_eq!(statement.code, Some(Code::OutputLimit), "{:?}", statement.reason);
    setting.gate.stop().await;
}

/// Without a service that it names, `Network` reaches no service.
#[tokio::test(flavor = "multi_thread")]
async fn the_declaration_alone_reaches_nobody() {
    let setting = setting().await;
    let address = setting.service.address;
    let main = format!("await fetch('http://{address}/').catch(() => {{}});");
    let folder = setting.module("alone", &main);
    let manifest = json!({ "id": "alone", "version": "1.0.0", "summary": "Asks.",
        "entry": "main.mjs", "provides": ["AskPort@1"], "side_effects": ["Network"] });
    fs::write(folder.join("module.json"), manifest.to_string()).unwrap();
    let module = setting.fixture.publish(&folder);
    let asked = request(module, &json!({}));
    let statement = stated(&setting.gate.execute(&asked).await.unwrap());
    assert_eq!(statement.code, Some(Code::SideEffectsDeclaration), "{:?}", statement.reason);
    assert!(setting.service.arrived().is_empty());
    setting.gate.stop().await;
}
