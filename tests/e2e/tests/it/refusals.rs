//! What is refused, and costs nothing: a module that breaks its word, an input that is none of the
//! module's.

use e2e::{Stack, repository};
use serde_json::{Value, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use wire::pb::module::v1 as pb;
use wire::pb::module::v1::module_gate_client::ModuleGateClient;
use wire::pb::module::v1::module_gate_server::{ModuleGate, ModuleGateServer};

type Answer<T> = Result<Response<T>, Status>;

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
            "{deed}: the reason is given"
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

/// module-gate as another release would be: what it answers about schemas is of no use here.
struct OtherRelease(ModuleGateClient<Channel>);

#[tonic::async_trait]
impl ModuleGate for OtherRelease {
    type ExecuteStream = Streaming<pb::ExecuteEvent>;
    type ShipStream = Streaming<pb::ShipEvent>;
    type RunOraclesStream = Streaming<pb::JudgeEvent>;
    type RunShippingGateStream = Streaming<pb::JudgeEvent>;

    async fn get_input_schema(
        &self,
        _: Request<pb::GetInputSchemaRequest>,
    ) -> Answer<pb::GetInputSchemaResponse> {
        let schema = Some(br##"{ "items": { "$ref": "#" } }"##.to_vec());
        Ok(Response::new(pb::GetInputSchemaResponse { schema }))
    }

    // Everything else is as the real one has it.
    async fn execute(&self, asked: Request<pb::ExecuteRequest>) -> Answer<Self::ExecuteStream> {
        self.0.clone().execute(asked).await
    }

    async fn get_execution(
        &self,
        asked: Request<pb::GetExecutionRequest>,
    ) -> Answer<pb::GetExecutionResponse> {
        self.0.clone().get_execution(asked).await
    }

    async fn ship(&self, asked: Request<pb::ShipRequest>) -> Answer<Self::ShipStream> {
        self.0.clone().ship(asked).await
    }

    async fn run_oracles(
        &self,
        asked: Request<pb::RunOraclesRequest>,
    ) -> Answer<Self::RunOraclesStream> {
        self.0.clone().run_oracles(asked).await
    }

    async fn run_shipping_gate(
        &self,
        asked: Request<pb::RunShippingGateRequest>,
    ) -> Answer<Self::RunShippingGateStream> {
        self.0.clone().run_shipping_gate(asked).await
    }

    async fn get_verdict(
        &self,
        asked: Request<pb::GetVerdictRequest>,
    ) -> Answer<pb::GetVerdictResponse> {
        self.0.clone().get_verdict(asked).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_this_release_cannot_use_fails_the_run_before_anything_is_paid() {
    let mut stack = Stack::start().await.unwrap();
    let agent =
        stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let before = stack.alice_balance().unwrap();

    let url = stack.runner_variables()["RUNNER_MODULE_GATE_URL"].clone();
    let real = Channel::from_shared(url).unwrap().connect_lazy();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let between = format!("http://{}", listener.local_addr().unwrap());
    let gate = ModuleGateServer::new(OtherRelease(ModuleGateClient::new(real)));
    let serving = Server::builder().add_service(gate);
    let serving = tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    stack.runner = None;
    stack.start_runner(&[("RUNNER_MODULE_GATE_URL", &between)]).await.unwrap();

    // The gateway cannot compare the input, and leaves it to the preflight.
    let id = stack.ask(agent, &json!({ "csv": "a\n1\n" })).await.unwrap();
    let run = stack.ended(&id).await.unwrap();
    assert_eq!(run["errorCode"], "PREFLIGHT_INPUT_SCHEMA_UNUSABLE", "{run:#}\n{}", stack.logs());
    assert_eq!((&run["status"], &run["escrow"]), (&json!("failed"), &json!("none")), "{run:#}");
    assert_eq!(stack.alice_balance().unwrap(), before);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_are_sent_at_the_same_time_do_not_pass_the_days_limit_together() {
    let stack = Stack::start().await.unwrap();
    stack.publish_and_grant(&repository().join("examples/modules/csv-profile")).unwrap();
    let alice = stack.alice().unwrap();
    // Of the 256 MiB of a day, so much is left that either input fits, and not both.
    let stored = "INSERT INTO inputs (owner, digest, length, created_at) \
         SELECT $1, sha256(n::text::bytea), 8388608 - CASE n WHEN 32 THEN 15 ELSE 0 END, now() \
         FROM generate_series(1, 32) n";
    let stored = sqlx::query(stored).bind(&alice);
    stored.execute(&stack.databases[0].pool).await.unwrap();
    for round in 10..20 {
        let inputs = ["left", "also"].map(|name| json!(format!("{name}-{round}")));
        let sent = inputs.iter().map(|input| stack.post("/inputs", input));
        let answers = futures::future::join_all(sent).await;
        let mut statuses: Vec<u16> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 429], "round {round}");
        let again = "DELETE FROM inputs WHERE owner = $1 AND length < 100";
        let again = sqlx::query(again).bind(&alice);
        again.execute(&stack.databases[0].pool).await.unwrap();
    }
}
