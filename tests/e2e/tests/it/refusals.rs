//! What is refused, and costs nothing: a module that breaks its word, an input that is none of the
//! module's.

use e2e::{Stack, repository};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_breaks_its_word_is_refused_and_costs_nothing() {
    let stack = Stack::start().await.unwrap();
    let agent = stack.publish_and_grant(&repository().join("tests/e2e/modules/two-faced")).unwrap();
    let before = stack.alice_balance().unwrap();
    let outside = stack.folder().join("stolen.txt");
    let secrets = stack.folder().join(".env.runner");
    std::fs::write(&secrets, "RUNNER_SECRET=S…").unwrap();

    let deeds = [
        (json!({ "deed": "write-outside", "path": outside }), "E_SIDEEFFECTS_FORBIDDEN"),
        (json!({ "deed": "write-inside" }), "E_SIDEEFFECTS_DECLARATION"),
        (json!({ "deed": "read-file", "path": secrets }), "E_SIDEEFFECTS_FORBIDDEN"),
    ];
    for (deed, code) in deeds {
        let id = stack.ask(agent, &deed).await.unwrap();
        let run = stack.ended(&id).await.unwrap();
        assert_eq!(run["status"], "failed", "{deed}: {run:#}\n{}", stack.logs());
        assert_eq!(run["errorCode"], code, "{deed}: {run:#}");
        assert!(
            run["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{deed}: the reason is told"
        );
        assert_eq!(run["usage"]["runtimeMs"], 0, "{deed}: {run:#}");
        assert_eq!(run["receipt"]["actualCharge"], "0", "{deed}: {run:#}");
        assert_eq!(stack.alice_balance().unwrap(), before, "{deed}: the whole escrow came back");
    }
    assert!(!outside.exists(), "nothing was written outside");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_is_compared_with_the_modules_schema_whichever_way_it_comes() {
    let mut stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let before = stack.alice_balance().unwrap();
    let pointers = |problem: &Value| {
        assert_eq!(problem["code"], "INVALID_REQUEST", "{problem}");
        let issues = problem["issues"].as_array().unwrap().iter();
        issues.map(|issue| issue["pointer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (input, pointer) in [
        (json!({}), "/input"),
        (json!({ "csv": 7 }), "/input/csv"),
        (json!({ "csv": "a\n1\n", "nulls": ["NA", 0] }), "/input/nulls/1"),
        (json!({ "csv": "a\n1\n", "tops": 3 }), "/input"),
    ] {
        let body = stack.body(agent, "input", &input).unwrap();
        let (status, problem) = stack.post("/runs", &body).await.unwrap();
        assert_eq!((status, pointers(&problem)), (400, vec![pointer.to_owned()]), "{problem}");
        // A stored one is compared when it is named.
        let (_, stored) = stack.post("/inputs", &input).await.unwrap();
        let body = stack.body(agent, "inputRef", &stored["inputRef"]).unwrap();
        let (status, problem) = stack.post("/runs", &body).await.unwrap();
        assert_eq!((status, pointers(&problem)), (400, vec![pointer.to_owned()]), "{problem}");
    }
    let unknown = json!(wire::Digest::of(b"never stored"));
    let body = stack.body(agent, "inputRef", &unknown).unwrap();
    let (status, problem) = stack.post("/runs", &body).await.unwrap();
    assert_eq!((status, pointers(&problem)), (400, vec!["/inputRef".to_owned()]), "{problem}");

    // Larger than a request for a run may be, and nearly as large as any input: 80 rows of 100 kB.
    let row = format!("{},1\n", "rain ".repeat(20_000));
    let csv = format!("text,number\n{}", row.repeat(80));
    let (status, stored) = stack.post("/inputs", &json!({ "csv": csv })).await.unwrap();
    assert_eq!((status, stored["length"].as_u64()), (201, Some(8_000_343)), "{stored}");
    let body = stack.body(agent, "inputRef", &stored["inputRef"]).unwrap();
    let (status, run) = stack.post("/runs", &body).await.unwrap();
    assert_eq!((status, &run["inputDigest"]), (202, &stored["inputRef"]), "{run}");
    let id = run["id"].as_str().unwrap();
    let run = stack.ended(id).await.unwrap();
    assert_eq!(run["status"], "finalized", "{run:#}\n{}", stack.logs());
    let proof = stack.lumio(&["verify", id]).unwrap();
    assert!(!proof.contains("BROKEN") && proof.contains("proven: the run cost"), "{proof}");
    let after = stack.alice_balance().unwrap();

    // The schema was not known when this one came, and it was compared before money moved.
    stack.module_gate = None;
    stack.runner = None;
    stack.start_runner(&[]).await.unwrap();
    let id = stack.ask(agent, &json!({ "csv": false })).await.unwrap();
    stack.start_module_gate().await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["errorCode"], "PREFLIGHT_INPUT_INVALID", "{run:#}\n{}", stack.logs());
    assert!(run["error"].as_str().unwrap().contains("/csv"), "{run:#}");
    assert_eq!(stack.alice_balance().unwrap(), after);
    assert!(after.0 < before.0, "only the run that fitted was charged");
}
