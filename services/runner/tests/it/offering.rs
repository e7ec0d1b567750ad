//! What the gateway offers beside runs: agents, grants and prices from the chain, the operator's
//! views, the console's files, and how much a caller may ask.

use serde_json::{Value, json};
use stellar::Keypair;
use stellar::vault::{GrantLimits, Policy};
use testkit::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tonic_types::StatusExt as _;
use wire::Problem;
use wire::pb::runner::v1 as pb;
use wire::pb::runner::v1::runner_client::RunnerClient;

use crate::crashing::{free_port, spawn};
use crate::fixture::{DEPOSIT, Fixture, Gateway, PRICE, Running};
use crate::hostile::{JSON, raw, refused};
use crate::login::{log_in_at, start as start_with_login};

/// The answer's document, after its status was compared.
async fn document(answer: reqwest::Response, status: u16) -> Value {
    let (found, url) = (answer.status().as_u16(), answer.url().to_string());
    let text = answer.text().await.unwrap();
    assert_eq!(found, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn log_in(runner: &Running, key: &Keypair) -> Gateway {
    let tokens = log_in_at(&runner.gateway, key).await;
    runner.gateway.as_user(tokens["token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_before_the_signature_is_what_the_vault_escrows() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let mut ask = json!({ "agentId": fixture.agent_id, "budgets": fixture.body()["budgets"] });
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert_eq!(quote["maxCharge"], PRICE.to_string());
    assert_eq!((&quote["escrow"], &quote["runnerFee"]), (&quote["maxCharge"], &json!("0")));
    assert_eq!(quote["rates"]["llmIn"], "10000");
    assert_eq!(quote["developer"], fixture.developer.address().to_string());
    assert!(quote.get("refusal").is_none(), "{quote}");

    // What is quoted is what is taken.
    let run = gateway.accepted(&fixture.body()).await;
    let run = gateway.ended(&run, "failed").await;
    assert_eq!(run["receipt"]["refund"], quote["escrow"]);

    ask["user"] = json!(fixture.user.address());
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert!(quote.get("refusal").is_none(), "{quote}");
    fixture.set_policy(Policy { per_run_cap: PRICE - 1, ..Policy::default() }).await;
    let quote = document(gateway.post("/quote", &ask).await, 200).await;
    assert_eq!(quote["refusal"]["code"], "PREFLIGHT_PER_RUN_CAP_EXCEEDED");
    assert_eq!(quote["maxCharge"], PRICE.to_string());

    for (change, pointer) in [
        (json!({ "budgets": {} }), "/budgets"),
        (json!({ "budgets": { "llmIn": -1 } }), "/budgets/llmIn"),
        (json!({ "rateVersion": 7 }), "/rateVersion"),
        (json!({ "user": "G" }), "/user"),
        (json!({ "budget": 1 }), "/budget"),
        (json!({ "agentId": null }), "/agentId"),
    ] {
        let mut wrong = ask.clone();
        wrong.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = document(gateway.post("/quote", &wrong).await, 400).await;
        assert_eq!(problem["issues"][0]["pointer"], pointer, "{problem}");
    }
    ask["agentId"] = json!(4_000);
    assert_eq!(document(gateway.post("/quote", &ask).await, 404).await["code"], "NOT_FOUND");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_and_grants_are_shown_as_the_chain_has_them() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[]).await;
    let gateway = &runner.gateway;
    let list = document(gateway.get("/agents").await, 200).await;
    let agent = &list[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(agent["agentId"], fixture.agent_id);
    assert_eq!(agent["listsThisRunner"], true);
    assert_eq!(agent["rates"]["httpCalls"], "10000000");
    assert_eq!(agent["manifestHash"], wire::Digest::of(b"module").to_string());
    let one = document(gateway.get(&format!("/agents/{}", fixture.agent_id)).await, 200).await;
    assert_eq!(
        (&one["developer"], &one["rateCards"][0]["version"]),
        (&agent["developer"], &json!(1))
    );
    assert!(one.get("verdict").is_none(), "there is no gate to ask");
    for path in ["/agents/4000", "/agents/x", "/agents/-1"] {
        assert_eq!(document(gateway.get(path).await, 404).await["code"], "NOT_FOUND", "{path}");
    }
    for path in ["/agents?limit=0", "/agents?cursor=x", "/agents?page=2"] {
        assert_eq!(document(gateway.get(path).await, 400).await["code"], "INVALID_REQUEST");
    }
    // A page that is full leads on, and the last one does not.
    assert!(gateway.get("/agents?limit=1").await.headers().get("link").is_none());

    let limits = GrantLimits { per_run_cap: 5, total_cap: 7, max_runner_fee: 0 };
    let (user, key) = (fixture.user.address(), fixture.runner.address());
    let call = fixture.vault.set_grant_limits(user, key, fixture.agent_id, limits).unwrap();
    fixture.submit(&fixture.user, call.into()).await;
    let grants = document(gateway.get(&format!("/grants/{user}")).await, 200).await;
    let grant = &grants[0];
    assert_eq!((&grant["runner"], &grant["isThisRunner"]), (&json!(key), &json!(true)));
    assert_eq!((&grant["used"], &grant["limits"]["totalCap"]), (&json!("0"), &json!("7")));
    assert!(grant["issuedAt"].as_str().unwrap().ends_with('Z') && grant.get("expiresAt").is_none());
    let none = document(gateway.get(&format!("/grants/{}", fixture.stranger())).await, 200).await;
    assert_eq!(none, json!([]));
    assert_eq!(document(gateway.get("/grants/me").await, 400).await["code"], "INVALID_REQUEST");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_offers_the_same_facts_and_names_the_same_mistakes() {
    let fixture = Fixture::new().await;
    let token = "0123456789abcdef";
    let tokens = format!("test:{token}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let runner = fixture.start(&settings).await;
    let gateway = &runner.gateway;
    let url = format!("http://{}", runner.grpc.unwrap());
    let channel = chassis::grpc::client(&url, Some(&token.into())).unwrap();
    let mut client = RunnerClient::new(channel);

    let list = client.list_agents(pb::ListAgentsRequest::default()).await.unwrap().into_inner();
    let over_http = document(gateway.get("/agents").await, 200).await;
    assert!(!list.more && list.agents.len() == 1);
    assert_eq!(over_http[0]["manifestHash"], json!(list.agents[0].manifest_hash));
    assert_eq!(
        over_http[0]["rates"]["httpCalls"],
        list.agents[0].rates.as_ref().unwrap().http_calls
    );
    let agent_id = fixture.agent_id;
    let one = client.get_agent(pb::GetAgentRequest { agent_id }).await.unwrap().into_inner();
    assert_eq!((one.agent.as_ref(), one.rate_cards.len()), (list.agents.first(), 1));
    assert_eq!((one.verdict_json, one.input_schema_json), (None, None), "there is no gate to ask");
    let missing = client.get_agent(pb::GetAgentRequest { agent_id: 4_000 }).await.unwrap_err();
    assert_eq!(Problem::of(&missing), Some(Problem::NotFound));

    let user = fixture.user.address().to_string();
    let budgets = Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into());
    let ask = pb::QuoteRequest { user: Some(user.clone()), agent_id, rate_version: None, budgets };
    let quote = client.quote(ask.clone()).await.unwrap().into_inner();
    let body = json!({ "user": user, "agentId": agent_id, "budgets": { "runtimeMs": 10 } });
    let over_http = document(gateway.post("/quote", &body).await, 200).await;
    assert_eq!(
        (&over_http["escrow"], &over_http["developer"]),
        (&json!(quote.escrow), &json!(quote.developer))
    );
    assert!(quote.refusal.is_none());
    let free = pb::QuoteRequest { budgets: None, ..ask };
    let refused = client.quote(free).await.unwrap_err();
    let issues = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(issues[0].field, "/budgets", "{issues:?}");

    let ask = pb::ListGrantsRequest { user: user.clone() };
    let grants = client.list_grants(ask).await.unwrap().into_inner().grants;
    assert_eq!((grants.len(), grants[0].is_this_runner), (1, true));
    let ask = pb::ListGrantsRequest { user: "me".to_owned() };
    let refused = client.list_grants(ask).await.unwrap_err();
    assert_eq!(Problem::of(&refused), Some(Problem::InvalidRequest));
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_is_refused_by_what_it_is_before_it_is_stored() {
    let fixture = Fixture::new().await;
    let runner = start_with_login(&fixture, &[]).await;
    let stranger = runner.gateway.post("/inputs", &json!({})).await;
    assert_eq!(document(stranger, 401).await["code"], "UNAUTHENTICATED");
    let user = log_in(&runner, &fixture.user).await;
    // This runner has no oracle-gate to store it with.
    assert_eq!(document(user.post("/inputs", &json!({})).await, 404).await["code"], "NOT_FOUND");
    assert_eq!(document(user.get("/inputs/x").await, 404).await["code"], "NOT_FOUND");
    assert_eq!(document(user.get("/inputs").await, 405).await["code"], "METHOD_NOT_ALLOWED");
    let large = json!("x".repeat(8 * 1024 * 1024 + 64 * 1024));
    assert_eq!(
        document(user.post("/inputs", &large).await, 413).await["code"],
        "PAYLOAD_TOO_LARGE"
    );

    let mut body = fixture.body();
    body.as_object_mut().unwrap().remove("input");
    body["inputRef"] = json!("0".repeat(64));
    let problem = document(user.post("/runs", &body).await, 400).await;
    assert_eq!(problem["issues"][0]["pointer"], "/inputRef", "{problem}");
    // What another account has stored is not there for this one.
    let digest = wire::Digest::of(b"1");
    let noted = "INSERT INTO inputs (owner, digest, length, created_at) VALUES ('G', $1, 1, now())";
    let noted = sqlx::query(noted).bind(digest.as_bytes().as_slice());
    noted.execute(&fixture.db.pool).await.unwrap();
    body["inputRef"] = json!(digest);
    let problem = document(user.post("/runs", &body).await, 400).await;
    assert_eq!(problem["issues"][0]["pointer"], "/inputRef", "{problem}");
    assert_eq!(
        document(user.get(&format!("/inputs/{digest}")).await, 404).await["code"],
        "NOT_FOUND"
    );
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_can_never_be_stored_is_too_large_and_one_of_a_full_day_waits() {
    let fixture = Fixture::new().await;
    let runner = start_with_login(&fixture, &[]).await;
    let user = log_in(&runner, &fixture.user).await;
    let announce = async |length: u64| {
        let head = format!(
            "POST /inputs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{JSON}\
             Content-Length: {length}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            user.token()
        );
        raw(&user, &head).await
    };
    let too_large = (413, "PAYLOAD_TOO_LARGE".to_owned());
    // More than an account may store in a day, and nothing is stored yet.
    assert_eq!(refused(&announce(300 * 1024 * 1024).await), too_large);

    let full = "INSERT INTO inputs (owner, digest, length, created_at) \
         SELECT $1, sha256(n::text::bytea), 8388608, now() FROM generate_series(1, 32) n";
    let full = sqlx::query(full).bind(fixture.user.address().to_string());
    full.execute(&fixture.db.pool).await.unwrap();
    assert_eq!(refused(&announce(9 * 1024 * 1024).await), too_large);
    // What is longer than any input by its white space alone waits for the room of an input.
    let waits = announce(8 * 1024 * 1024 + 60 * 1024).await;
    assert_eq!(refused(&waits), (429, "RATE_LIMITED".to_owned()));
    assert!(waits.contains("room for 8388608 more in "), "{waits}");
    assert!(waits.contains("retry-after: 86"), "within a day: {waits}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_sends_inputs_slowly_has_two_places_and_others_have_theirs() {
    let fixture = Fixture::new().await;
    let runner = start_with_login(&fixture, &[]).await;
    let slow = log_in(&runner, &Keypair::from_seed(&[57; 32])).await;
    let begun = format!(
        "POST /inputs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n[",
        slow.token()
    );
    let mut senders = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(slow.address()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        senders.push(stream);
    }
    // Both have arrived once a third is refused; until then it is answered as any other.
    eventually(|| async {
        let answer = slow.post("/inputs", &json!({})).await.text().await.unwrap();
        answer.contains("sends 2 inputs already")
    })
    .await;
    let other = log_in(&runner, &Keypair::from_seed(&[58; 32])).await;
    document(other.post("/inputs", &json!({})).await, 404).await;

    // Who hangs up gives the place back.
    drop(senders);
    eventually(|| async { slow.post("/inputs", &json!({})).await.status() == 404 }).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_inputs_are_received_at_once_as_there_are_places_and_the_next_is_told_to_wait() {
    let fixture = Fixture::new().await;
    // A process of its own: the places are those of a process.
    let port = free_port().await;
    let gateway = Gateway::at(format!("http://127.0.0.1:{port}"));
    let _process = spawn(&fixture, &[("RUNNER_PORT", &port)]);
    gateway.up().await;
    let begun = "POST /inputs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n[";
    let begin = async |address: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, address], 0).into()).unwrap();
        let mut stream = socket.connect(gateway.address().parse().unwrap()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        stream
    };
    // An address has a quarter of the places, whatever its accounts are.
    let mut senders = Vec::new();
    for number in 0..32 {
        senders.push(begin(2 + number / 8).await);
    }
    eventually(|| async { gateway.post("/inputs", &json!({})).await.status() == 503 }).await;
    let problem = document(gateway.post("/inputs", &json!({})).await, 503).await;
    assert!(problem["detail"].as_str().unwrap().contains("too many inputs"), "{problem}");

    // One that hangs up gives its place to another.
    senders.pop();
    eventually(|| async { gateway.post("/inputs", &json!({})).await.status() == 404 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_see_what_concerns_all_users() {
    let fixture = Fixture::new().await;
    let runner = start_with_login(&fixture, &[]).await;
    let user = log_in(&runner, &fixture.user).await;
    let operator = log_in(&runner, &Keypair::from_seed(&[52; 32])).await;
    let run = user.accepted(&fixture.body()).await;
    user.ended(&run, "failed").await;
    let check = format!("/operator/packs/{run}/check");
    for path in [
        "/operator/queue",
        "/operator/dead-letters",
        "/operator/packs",
        "/operator/verdicts",
        "/operator/reconciliation",
        check.as_str(),
    ] {
        assert_eq!(runner.gateway.get(path).await.status(), 401, "{path}");
        assert_eq!(document(user.get(path).await, 403).await["code"], "FORBIDDEN", "{path}");
    }
    let queue = document(operator.get("/operator/queue").await, 200).await;
    assert_eq!((&queue["summary"]["queued"], &queue["runs"]), (&json!(0), &json!([])));
    for path in ["/operator/dead-letters", "/operator/packs", "/operator/verdicts"] {
        assert!(document(operator.get(path).await, 200).await.is_array(), "{path}");
    }
    document(operator.get(&check).await, 404).await;
    document(operator.get("/operator/queue?limit=0").await, 400).await;
    document(operator.get("/operator/queue?cursor=1").await, 400).await;
    let compared = document(operator.get("/operator/reconciliation").await, 200).await;
    assert_eq!(compared["broken"], false, "{compared}");
    assert!(compared["compared"]["records"].as_u64().unwrap() > 0, "{compared}");

    // One user's balance and grants are no other's affair.
    let other = log_in(&runner, &Keypair::from_seed(&[53; 32])).await;
    document(other.get(&format!("/grants/{}", fixture.user.address())).await, 403).await;
    let mut ask = json!({ "agentId": fixture.agent_id, "budgets": { "llmIn": 1 } });
    document(other.post("/quote", &ask).await, 200).await;
    ask["user"] = json!(fixture.user.address());
    document(other.post("/quote", &ask).await, 403).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_its_deadline_is_among_the_dead_letters() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[("RUNNER_FINALIZE_ON_ERROR", "false")]).await;
    let run = runner.gateway.accepted(&fixture.body()).await;
    runner.gateway.until(&run, |run| run["phase"] == "escrow_open").await;
    let letters = document(runner.gateway.get("/operator/dead-letters").await, 200).await;
    assert_eq!((&letters[0]["id"], &letters[0]["escrow"]), (&json!(run), &json!("open")));
    assert_eq!(letters[0]["errorCode"], "EXECUTOR_MISSING");
    let queue = document(runner.gateway.get("/operator/queue").await, 200).await;
    assert_eq!((&queue["summary"]["stuck"], &queue["runs"][0]["id"]), (&json!(1), &json!(run)));
    assert!(fixture.account().await.balance < DEPOSIT);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_much_is_told_when_to_come_back() {
    let fixture = Fixture::new().await;
    let settings = [("RUNNER_RATE_LIMIT", "2"), ("RUNNER_ADDRESS_RATE_LIMIT", "100")];
    let runner = start_with_login(&fixture, &settings).await;
    let (one, other) = (
        log_in(&runner, &fixture.user).await,
        log_in(&runner, &Keypair::from_seed(&[53; 32])).await,
    );
    let mut refused = None;
    for _ in 0..40 {
        let answer = one.get("/runs").await;
        let number =
            |name: &str| -> u64 { answer.headers()[name].to_str().unwrap().parse().unwrap() };
        assert_eq!(number("ratelimit-limit"), 20);
        assert!(number("ratelimit-remaining") < 20 && number("ratelimit-reset") <= 10);
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the limit was never reached");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait));
    assert_eq!(refused.headers()["ratelimit-remaining"], "0");
    assert_eq!(document(refused, 429).await["code"], "RATE_LIMITED");
    // Others, and probes, are not concerned.
    assert_eq!(other.get("/runs").await.status(), 200);
    assert_eq!(one.get("/live").await.status(), 200);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_limit_whoever_calls_from_there() {
    let fixture = Fixture::new().await;
    let runner = fixture.start(&[("RUNNER_ADDRESS_RATE_LIMIT", "1")]).await;
    // All at once: one after the other they could be slower than the limit allows.
    let asked = (0..40).map(|_| async { runner.gateway.get("/summary").await.status().as_u16() });
    let answers = futures::future::join_all(asked).await;
    assert!(answers.contains(&200) && answers.contains(&429), "{answers:?}");
    assert_eq!(runner.gateway.get("/health").await.status(), 200);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_served_with_a_policy_and_nothing_beside_it() {
    let fixture = Fixture::new().await;
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("secret.txt"), "secret").unwrap();
    let folder = outer.path().join("console");
    std::fs::create_dir_all(folder.join("assets")).unwrap();
    std::fs::write(folder.join("index.html"), "<!doctype html><title>Lumio</title>").unwrap();
    std::fs::write(folder.join("assets/app-1.js"), "console.log(1);\n".repeat(200)).unwrap();
    let shown = folder.display().to_string();
    let settings = [
        ("RUNNER_CONSOLE_DIR", shown.as_str()),
        ("RUNNER_CONSOLE_CONNECT", "wss://relay.example"),
        ("RUNNER_BROWSER_RPC_URL", "https://node.example/rpc"),
    ];
    let runner = start_with_login(&fixture, &settings).await;
    let gateway = &runner.gateway;
    for path in ["/", "/app", "/app/", "/app/runs/7", "/index.html", "/?v=1"] {
        let page = gateway.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers()["cache-control"], "no-cache");
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        let connect = "connect-src 'self' wss://relay.example https://node.example;";
        assert!(policy.starts_with("default-src 'none'") && policy.contains(connect), "{policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"));
        assert!(page.text().await.unwrap().contains("<title>Lumio</title>"));
    }

    let client = reqwest::Client::new();
    let url = format!("{}/assets/app-1.js", gateway.url);
    let asset = client.get(&url).header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(asset.headers()["content-encoding"], "gzip");
    let tag = asset.headers()["etag"].clone();
    assert!(asset.bytes().await.unwrap().len() < 200);
    let plain = client.get(&url).send().await.unwrap();
    assert!(plain.headers().get("content-encoding").is_none() && plain.headers()["etag"] != tag);
    let request = client.get(&url).header("accept-encoding", "gzip").header("if-none-match", &tag);
    let head = client.head(&url).header("accept-encoding", "gzip").header("if-none-match", &tag);
    let head = head.send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers().get("content-length")), (304, None));
    let known = request.send().await.unwrap();
    assert_eq!((known.status(), known.headers()["etag"].clone()), (304.try_into().unwrap(), tag));

    // A library would tidy these paths up before they are sent.
    for path in [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "//secret.txt",
        "/assets/%00",
        "/assets/",
        "/assets",
    ] {
        let answer = crate::hostile::raw_get(gateway, path).await;
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("secret\n"), "{answer}");
    }
    let refused = gateway.post("/", &json!({})).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"GET,HEAD".parse().unwrap())
    );
    assert_eq!(document(refused, 405).await["code"], "METHOD_NOT_ALLOWED");

    let config = document(gateway.get("/config.json").await, 200).await;
    let expected = json!({
        "networkPassphrase": stellar::STANDALONE,
        "rpcUrl": "https://node.example/rpc",
        "contractId": fixture.vault.0,
        "agentRegistryId": fixture.registry.0,
        "token": stellar::local::token_id().unwrap(),
        "runner": fixture.runner.address(),
        "runnerFee": "0",
        "apiBase": "",
        "auth": "login",
        "webAuthContractId": stellar::local::web_auth_id().unwrap(),
        "passkeyWasmHash": passkey_wasm_hash(),
        "version": chassis::version(),
    });
    assert_eq!(config, expected);
    runner.stop().await;

    // The program itself may read little of the machine, and this folder.
    let port = crate::crashing::free_port().await;
    let settings = [("RUNNER_PORT", port.as_str()), ("RUNNER_CONSOLE_DIR", shown.as_str())];
    let _process = crate::crashing::spawn(&fixture, &settings);
    let confined = Gateway::at(format!("http://localhost:{port}"));
    confined.up().await;
    assert_eq!(confined.get("/").await.status(), 200);

    // Without a console there is no page, and its configuration is there for one of another host.
    let runner = fixture.start(&[]).await;
    document(runner.gateway.get("/").await, 404).await;
    let config = document(runner.gateway.get("/config.json").await, 200).await;
    assert_eq!(
        (&config["auth"], &config["rpcUrl"]),
        (&json!("none"), &json!(fixture.localnet.url()))
    );
    runner.stop().await;
}

/// What the repository states of the built contract.
fn passkey_wasm_hash() -> String {
    let sums = include_str!("../../../../contracts/wasm/SHA256SUMS");
    let line = sums.lines().find(|line| line.ends_with("  passkey_account.wasm")).unwrap();
    line.split(' ').next().unwrap().to_owned()
}
