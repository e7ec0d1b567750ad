//! Oracles and shipping gates over stored modules: streamed, shared, kept, resumable (M10).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Status, Streaming};
use wire::digest::Digest;
use wire::dsse;
use wire::event::JudgementData;
use wire::pb::module::v1::judge_event::Event;
use wire::pb::module::v1::{
    JudgeEvent, Judged, PlannedModule, Resume, RunOraclesRequest, RunShippingGateRequest,
};
use wire::problem::Problem;
use wire::statement::Verdict;

use crate::command::Home;
use crate::fixture::{Fixture, Running, csv_profile, shipped, signer, test_module};

/// Everything that a stream says: steps by number, and the end.
async fn read(
    mut events: Streaming<JudgeEvent>,
) -> Result<(u64, BTreeMap<u32, Value>, Judged), Status> {
    let (mut start, mut steps) = (0, BTreeMap::new());
    loop {
        match events.message().await?.and_then(|event| event.event) {
            Some(Event::Step(step)) => {
                start = step.start;
                steps.insert(step.step, serde_json::from_str(&step.body).unwrap());
            }
            Some(Event::Judged(judged)) => return Ok((start, steps, judged)),
            None => return Err(Status::internal("the stream ended without a result")),
        }
    }
}

fn ask(module: Digest) -> RunOraclesRequest {
    RunOraclesRequest {
        manifest_hash: module.to_string(),
        variations: "none".to_owned(),
        fresh: false,
        resume: None,
    }
}

async fn oracles(
    gate: &Running,
    request: RunOraclesRequest,
) -> Result<(u64, BTreeMap<u32, Value>, Judged), Status> {
    read(gate.calls.clone().run_oracles(request).await?.into_inner()).await
}

/// The in-toto statements of a result, if the service signed them.
fn statements(judged: &Judged) -> Vec<Value> {
    let open = |bytes: &Vec<u8>| {
        let envelope: dsse::Envelope = serde_json::from_slice(bytes).unwrap();
        let payload = envelope.verify(&[signer()]).unwrap().0;
        serde_json::from_slice(&payload).unwrap()
    };
    judged.statements.iter().map(open).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn oracles_run_over_the_wire_and_a_pass_is_kept() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());

    let mut heard = fixture.bus.listen().await;
    let (start, steps, judged) = oracles(&gate, ask(module)).await.unwrap();
    assert_eq!((judged.verdict.as_str(), judged.code.as_str(), judged.kept), ("PASS", "", false));
    let events: Vec<_> = steps.values().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["ORACLE_START", "ORACLE_PASS", "ORACLE_START", "ORACLE_PASS"]);
    assert_eq!(steps.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    let stated = &statements(&judged)[0];
    assert_eq!(stated["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
    assert_eq!(stated["subject"][0]["digest"]["sha256"], module.to_string());
    assert_eq!(stated["predicate"]["result"], "PASSED");
    assert_eq!(stated["predicate"]["passedTests"].as_array().unwrap().len(), 2);

    let (subject, event) = heard.next().await;
    assert_eq!(subject, format!("{}.gate.v1.oracles_judged.{module}", fixture.bus.prefix));
    let data: JudgementData = event.read().unwrap();
    assert_eq!((data.module_digest, data.verdict, data.code), (module, Verdict::Pass, None));

    // Again: kept, with the same bytes.
    let (_, _, again) = oracles(&gate, ask(module)).await.unwrap();
    assert!(again.kept && again.statements == judged.statements);
    // Another policy is another judgement, and so is one that is asked for anew.
    let varied = RunOraclesRequest { variations: "timezone".to_owned(), ..ask(module) };
    assert!(!oracles(&gate, varied).await.unwrap().2.kept);
    let fresh = RunOraclesRequest { fresh: true, ..ask(module) };
    let (second, _, judged) = oracles(&gate, fresh).await.unwrap();
    assert!(!judged.kept && second == start + 1);

    // A stream that broke off goes on after its last step.
    let resume = Some(Resume { start: second, after_step: 3 });
    let (_, rest, _) = oracles(&gate, RunOraclesRequest { resume, ..ask(module) }).await.unwrap();
    assert_eq!(rest.keys().copied().collect::<Vec<_>>(), [4]);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_answered_to_those_who_waited_and_judged_anew_for_others() {
    let fixture = Fixture::new().await;
    let (gate, other) = (fixture.serve().await, fixture.serve().await);
    let module = fixture.publish(&test_module("nondeterministic"));

    // Two processes on one database, asked at once: one of them works.
    let (one, two) = tokio::join!(oracles(&gate, ask(module)), oracles(&other, ask(module)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.2.code, "E_ORACLE_NONDETERMINISM");
    assert_eq!(one.0, two.0, "both are of the same start");
    assert_eq!(one.2.statements, two.2.statements);
    assert_eq!(statements(&one.2)[0]["predicate"]["result"], "FAILED");

    // Who comes back for that start gets it, everybody else a new one.
    let resume = Some(Resume { start: one.0, after_step: 0 });
    let came_back = oracles(&other, RunOraclesRequest { resume, ..ask(module) }).await.unwrap();
    assert_eq!(came_back.2.statements, one.2.statements);
    let anew = oracles(&other, ask(module)).await.unwrap();
    assert_eq!(anew.0, one.0 + 1);

    // The same for shipping: a PASS is kept, and the other process answers its exact bytes, unless
    // a judgement is asked for anew.
    let good = fixture.publish(&csv_profile());
    let (first, second) = tokio::join!(gate.ship(good), other.ship(good));
    let first = first.unwrap();
    assert_eq!(first, second.unwrap());
    assert_eq!(other.ship(good).await.unwrap(), first);
    let fresh = gate.judge(good, true).await.unwrap();
    assert!(shipped(&fresh).issued_at > shipped(&first).issued_at, "judged again");
    assert_eq!(other.ship(good).await.unwrap(), fresh, "the newest is the one that is kept");
    gate.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_goes_through_the_gate_over_the_wire() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let module = fixture.publish(&csv_profile());
    let plan = json!({
        "run_id": "wire", "modules": [{ "id": "csv.profile", "version": "1.0.0" }],
        "constraints": ["one"],
    });
    let request = RunShippingGateRequest {
        compose: plan.to_string().into_bytes(),
        overrides: Vec::new(),
        modules: vec![PlannedModule {
            id: "csv.profile".to_owned(),
            manifest_hash: module.to_string(),
        }],
        with_oracles: true,
        fresh: false,
        resume: None,
    };
    let run = async |request: RunShippingGateRequest| {
        read(gate.calls.clone().run_shipping_gate(request).await?.into_inner()).await
    };
    let mut heard = fixture.bus.listen().await;
    let (_, steps, judged) = run(request.clone()).await.unwrap();
    let summary: Value = serde_json::from_slice(&judged.summary).unwrap();
    assert_eq!(judged.verdict, "PASS", "{summary:#}");
    let data: JudgementData = heard.next().await.1.read().unwrap();
    assert_eq!((data.module_digest, data.verdict), (module, Verdict::Pass));
    let events: Vec<_> = steps.values().map(|step| step["event"].as_str().unwrap()).collect();
    assert_eq!((events[0], *events.last().unwrap()), ("GATES_START", "GATES_PASS"));
    assert_eq!(summary["oracles"]["cases"], 2);
    assert_eq!(summary["runtime"]["reads"], "deny");

    let types: Vec<_> = statements(&judged)
        .iter()
        .map(|statement| statement["predicateType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        types,
        [
            "https://in-toto.io/attestation/test-result/v0.1",
            "https://in-toto.io/attestation/runtime-trace/v0.1",
            "https://slsa.dev/verification_summary/v1",
        ]
    );
    assert_eq!(statements(&judged)[2]["predicate"]["verificationResult"], "PASSED");
    assert!(run(request.clone()).await.unwrap().2.kept);

    // What cannot be judged is refused before anything is accepted.
    let unknown = RunShippingGateRequest { modules: Vec::new(), ..request.clone() };
    let bad = RunShippingGateRequest { compose: b"{".to_vec(), ..request.clone() };
    let named_twice = RunShippingGateRequest {
        modules: [&request.modules[..], &request.modules].concat(),
        ..request
    };
    for request in [unknown, bad, named_twice] {
        let status = run(request).await.unwrap_err();
        assert_eq!(Problem::of(&status), Some(Problem::InvalidRequest), "{status:?}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judgement_survives_its_caller_and_its_process() {
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let home = Home::new();
    let main = "await new Promise((done) => setTimeout(done, 300)); console.log(1);";
    home.module("a", &[], main, &json!([{ "entry": "main.mjs", "repeat": 6 }]));
    let module = fixture.publish(&home.path("modules/a"));

    // The caller goes away after the first step, and its process stops.
    let mut events = gate.calls.clone().run_oracles(ask(module)).await.unwrap().into_inner();
    let Some(Event::Step(step)) = events.message().await.unwrap().unwrap().event else {
        panic!("expected a step first");
    };
    drop(events);
    gate.stop().await;

    let other = fixture.serve().await;
    let resume = Some(Resume { start: step.start, after_step: step.step });
    let (start, _, judged) =
        oracles(&other, RunOraclesRequest { resume, ..ask(module) }).await.unwrap();
    assert_eq!(judged.verdict, "PASS");
    assert!(start >= step.start, "a start that was interrupted is begun again");
    other.stop().await;
}

/// What is kept is found by the digest of the module: nothing of it is read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_verdict_about_a_thousand_files_is_answered_at_once() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        eprintln!("skipped: measured only with LUMIO_LONG=1");
        return;
    }
    let fixture = Fixture::new().await;
    let gate = fixture.serve().await;
    let home = Home::new();
    home.module("a", &[], "console.log(1);", &json!([{ "entry": "main.mjs" }]));
    for number in 0..1_000 {
        home.put(&format!("modules/a/data/{number}.txt"), &"text ".repeat(number % 50));
    }
    let module = fixture.publish(&home.path("modules/a"));
    assert_eq!(oracles(&gate, ask(module)).await.unwrap().2.verdict, "PASS");

    let mut took = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        assert!(oracles(&gate, ask(module)).await.unwrap().2.kept);
        took.push(begun.elapsed());
    }
    // Linux acknowledges the first answers of a connection at once, later ones after 40 ms: none of
    // an answer's parts may wait for that.
    let mut later = took.split_off(10);
    later.sort_unstable();
    eprintln!("a kept verdict: best {:?}, median {:?}", later[0], later[later.len() / 2]);
    assert!(later[0] <= Duration::from_millis(25), "{later:?}");
    gate.stop().await;
}
