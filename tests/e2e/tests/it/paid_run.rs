//! The main promise: a deposit, a run, a receipt that anybody can check.

use std::collections::BTreeSet;

use e2e::{Stack, repository, seed_of};
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::softhsm::{PIN, SoftHsm};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_run_ends_in_a_verified_receipt() {
    let stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let csv =
        std::fs::read_to_string(repository().join("examples/data/seattle-weather.csv")).unwrap();
    let (before, _) = stack.alice_balance().unwrap();
    let mut heard = stack.bus.listen().await;

    let id = stack.ask(agent, &json!({ "csv": csv })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();

    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let charge: i128 = run["receipt"]["actualCharge"].as_str().unwrap().parse().unwrap();
    let runtime = run["usage"]["runtimeMs"].as_u64().unwrap();
    assert_eq!(
        charge,
        i128::from(runtime) * 100,
        "the charge is the metered time at the pinned price"
    );
    assert_eq!(stack.alice_balance().unwrap(), (before - charge, 0), "nothing stays in escrow");
    let proof = stack.lumio(&["verify", &id, "--rerun"]).unwrap();
    assert!(!proof.contains("BROKEN") && proof.contains("rerun      ok"), "{proof}");
    assert!(proof.contains("proven: the run cost"), "{proof}");
    assert_outputs(&stack, &id, &run);
    assert_heads(&stack, &id).await;

    let events = heard.until(|event| event.r#type == "dev.lumio.run.finalized.v1").await;
    // What the contracts say has no part in the trace of a request.
    let own = events.iter().filter(|event| !event.r#type.starts_with("dev.lumio.chain."));
    assert_story(&own.map(|event| serde_json::to_value(event).unwrap()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn paid_runs_that_share_transactions_are_each_charged_and_verified() {
    let mut stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    // Calls that come within this time share a transaction.
    stack.runner = None;
    stack.start_runner(&[("RUNNER_BATCH_MAX_DELAY_MS", "8000")]).await.unwrap();
    let (before, _) = stack.alice_balance().unwrap();
    let inputs = [1, 2, 3].map(|row| json!({ "csv": format!("a,b\n{row},2\n") }));
    // At one time: a run that is worked on alone waits for no others.
    let asked = inputs.iter().map(|input| stack.ask(agent, input));
    let ids = futures::future::try_join_all(asked).await.unwrap();
    let (mut charged, mut transactions) = (0, BTreeSet::new());
    for id in &ids {
        let run = stack.ended(id).await.unwrap();
        assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
        let charge: i128 = run["receipt"]["actualCharge"].as_str().unwrap().parse().unwrap();
        let runtime = run["usage"]["runtimeMs"].as_u64().unwrap();
        assert_eq!(charge, i128::from(runtime) * 100);
        charged += charge;
        transactions.insert(run["transactionHashes"]["finalize"].to_string());
    }
    assert!(transactions.len() < ids.len(), "no settlement was shared: {transactions:?}");
    assert_eq!(stack.alice_balance().unwrap(), (before - charged, 0));
    for id in &ids {
        let proof = stack.lumio(&["verify", id]).unwrap();
        assert!(!proof.contains("BROKEN") && proof.contains("proven: the run cost"), "{proof}");
    }
    stack.account().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_run_is_opened_and_settled_by_keys_that_a_token_keeps() {
    let mut stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    stack.runner = None;
    let hsm = SoftHsm::new();
    hsm.make_token("lumio");
    let mut settings = hsm.settings("lumio");
    let keys = stack.keys();
    for (label, key) in [("runner", &keys.runner), ("fees", &keys.source)] {
        hsm.import("lumio", label, &seed_of(key).unwrap());
    }
    settings.extend([
        ("RUNNER_SECRET", String::new()),
        ("RUNNER_SOURCE_SECRET", String::new()),
        ("RUNNER_PUBLIC_KEY", keys.runner.address().to_string()),
        ("RUNNER_PKCS11_KEY", "runner".to_owned()),
        ("RUNNER_PKCS11_SOURCE_KEYS", format!("fees:{}", keys.source.address())),
    ]);
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    stack.start_runner(&settings).await.unwrap();

    let (before, _) = stack.alice_balance().unwrap();
    let id = stack.ask(agent, &json!({ "csv": "a,b\n1,2\n" })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let charge: i128 = run["receipt"]["actualCharge"].as_str().unwrap().parse().unwrap();
    assert!(charge > 0, "{run:#}");
    assert_eq!(stack.alice_balance().unwrap(), (before - charge, 0));
    let proof = stack.lumio(&["verify", &id]).unwrap();
    assert!(!proof.contains("BROKEN") && proof.contains("proven: the run cost"), "{proof}");
    stack.account().await.unwrap();
    assert!(!stack.logs().contains(PIN));
}

/// The person who paid sees the files, and they are what was sealed.
fn assert_outputs(stack: &Stack, id: &str, run: &Value) {
    let attempts = run["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["outcome"]), (1, &"delivered".into()), "{run:#}");
    assert_eq!(attempts[0]["receipt"]["runnerFee"], "0");
    let to = stack.folder().join("outputs");
    stack.lumio(&["run", "outputs", id, "--to", to.to_str().unwrap()]).unwrap();
    let listed = stack.lumio(&["--output", "json", "run", "outputs", id]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let outputs = listed["outputs"].as_array().unwrap();
    assert!(!outputs.is_empty());
    for output in outputs {
        let bytes = std::fs::read(to.join(output["path"].as_str().unwrap())).unwrap();
        assert_eq!(wire::Digest::of(&bytes).to_string(), output["sha256"]);
        assert_eq!(Some(bytes.len() as u64), output["length"].as_u64());
    }
}

/// `HEAD` has the headers of `GET`, and a length only where `GET` has one (RFC 9110, section 8.6).
async fn assert_heads(stack: &Stack, id: &str) {
    let (client, token) = (reqwest::Client::new(), stack.token().unwrap());
    let ask = async |method: Method, path: &str, known: Option<&HeaderValue>| {
        let url = format!("{}/runs/{id}/{path}", stack.gateway());
        let mut request = client.request(method, url).bearer_auth(&token);
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        request.send().await.unwrap()
    };
    let listed: Value = ask(Method::GET, "outputs", None).await.json().await.unwrap();
    let file = format!("outputs/{}", listed["outputs"][0]["path"].as_str().unwrap());
    for path in ["bundle", "outputs", file.as_str()] {
        let (got, told) = (ask(Method::GET, path, None).await, ask(Method::HEAD, path, None).await);
        assert_eq!((got.status(), told.status()), (StatusCode::OK, StatusCode::OK), "{path}");
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_DISPOSITION,
            header::ACCEPT_RANGES,
            header::ETAG,
        ] {
            assert_eq!(got.headers().get(&name), told.headers().get(&name), "{path}: {name}");
        }
        let Some(tag) = told.headers().get(header::ETAG) else { continue };
        for method in [Method::GET, Method::HEAD] {
            let unchanged = ask(method, path, Some(tag)).await;
            assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(unchanged.headers().get(header::CONTENT_LENGTH), None, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_the_ledgers_also_where_the_ledgers_clock_is_hours_ahead() {
    let stack = Stack::start().await.unwrap();
    stack.advance_ledger_time(10 * 3_600).await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let id = stack.ask(agent, &json!({ "csv": "a,b\n1,2\n" })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
}

/// Queued to finalized, sealed in between, each a CloudEvent of one trace.
fn assert_story(events: &[Value]) {
    let names: Vec<_> =
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let mut expected = [
        "dev.lumio.run.queued.v1",
        "dev.lumio.run.opening.v1",
        "dev.lumio.run.running.v1",
        "dev.lumio.seal.sealed.v1",
        "dev.lumio.run.finalizing.v1",
        "dev.lumio.run.finalized.v1",
    ]
    .iter();
    let mut next = expected.next();
    for name in &names {
        if next == Some(&name.as_str()) {
            next = expected.next();
        }
    }
    assert_eq!(next, None, "heard {names:?}");
    let traces: BTreeSet<_> = events
        .iter()
        .map(|event| event["traceparent"].as_str().unwrap().split('-').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(traces.len(), 1, "one trace id throughout: {events:#?}");
    assert!(events.iter().all(|event| event["specversion"] == "1.0"
        && event["id"].is_string()
        && event["source"].is_string()));
}
