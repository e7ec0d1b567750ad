//! Who may do what, with clients that others wrote.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stellar::web_auth::WebAuth;
use stellar::{Call, ContractKind, Creation, Keypair, scval};
use wire::Digest;
use wire::pb::runner::v1::{
    CreateRunRequest, GetRunRequest, GetSummaryRequest, ListRunsRequest, RetryRunRequest,
    runner_client::RunnerClient,
};

use testkit::eventually;

use crate::fixture::{Fixture, Gateway, Running};
use crate::hostile::{raw, request};
use crate::retention::command;

const SERVICE_TOKEN: &str = "0123456789abcdef";
/// Names the folder with the SDKs, `node_modules` and `python`; with it they have to be there.
const CLIENTS: &str = "LUMIO_LOGIN_CLIENTS";

fn signer() -> Keypair {
    Keypair::from_seed(&[51; 32])
}

fn operator() -> Keypair {
    Keypair::from_seed(&[52; 32])
}

/// A runner that asks who calls, on a network where the login's account exists.
pub async fn start(fixture: &Fixture, more: &[(&str, &str)]) -> Running {
    // Its account has to exist, since the network checks its authorisation for contracts.
    if fixture.rpc.account(&signer().address()).await.unwrap().is_none() {
        fixture.localnet.fund(&signer().address().to_string()).await.unwrap();
    }
    let (signing, token) = (signer().secret().to_string(), "5a".repeat(32));
    let operators = operator().address().to_string();
    let mut settings = vec![
        ("RUNNER_AUTH", "login"),
        ("RUNNER_AUTH_SECRET", signing.as_str()),
        ("RUNNER_TOKEN_SECRET", token.as_str()),
        ("RUNNER_OPERATORS", operators.as_str()),
    ];
    settings.extend(more);
    fixture.start(&settings).await
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What a client of another house prints; `None` where it is not installed, except where it has to
/// be.
async fn client(command: &mut tokio::process::Command, name: &str) -> Option<Value> {
    let output = command.output().await.ok();
    let missing = output.as_ref().is_none_or(|output| {
        let errors = String::from_utf8_lossy(&output.stderr);
        errors.contains("ERR_MODULE_NOT_FOUND") || errors.contains("ModuleNotFoundError")
    });
    if missing {
        let needed = std::env::var_os(CLIENTS).is_some() || std::env::var_os("CI").is_some();
        assert!(!needed, "{name} is not installed");
        eprintln!("skipped: {name} is not installed (./dev test brings it)");
        return None;
    }
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Where the SDKs of others are: the folder that `./dev test` names, or the one that it uses.
fn installed() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.dev/tools/clients");
    std::env::var_os(CLIENTS).map_or(usual, PathBuf::from)
}

async fn javascript(url: &str, key: &Keypair, muxed: Option<&str>) -> Option<Value> {
    let key = key.secret();
    let arguments: Vec<&str> = [url, key.as_str()].into_iter().chain(muxed).collect();
    script("login.mjs", &arguments, "@stellar/stellar-sdk").await
}

/// What a script of `tests/clients` prints that uses a package of others.
pub async fn script(name: &str, arguments: &[&str], package: &str) -> Option<Value> {
    let mut command = tokio::process::Command::new("node");
    // A module is looked for from where the script lies, so the script is given as text.
    let script = std::fs::read_to_string(clients().join(name)).unwrap();
    command.current_dir(if installed().is_dir() { installed() } else { clients() });
    command.args(["--input-type=module", "--eval", &script, "--"]).args(arguments);
    client(command.kill_on_drop(true), package).await
}

async fn python(url: &str, key: &Keypair, contract: Option<&str>) -> Option<Value> {
    let mut command = tokio::process::Command::new("python3");
    command.env("PYTHONPATH", installed().join("python"));
    command.arg(clients().join("login.py")).arg(url).arg(key.secret().as_str()).args(contract);
    client(&mut command, "stellar-sdk of PyPI").await
}

/// A token for `key`, by the challenge that the gateway gives.
async fn log_in(running: &Running, key: &Keypair) -> Value {
    log_in_at(&running.gateway, key).await
}

/// The same at a gateway of another process.
pub async fn log_in_at(gateway: &Gateway, key: &Keypair) -> Value {
    let unsigned = challenge_for(gateway, &key.address().to_string()).await;
    let (status, body) = answer_at(gateway, &sign(&unsigned, key)).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn challenge(running: &Running, key: &Keypair) -> String {
    challenge_for(&running.gateway, &key.address().to_string()).await
}

/// A challenge for this account.
pub async fn challenge_for(gateway: &Gateway, account: &str) -> String {
    let answer = gateway.get(&format!("/auth?account={account}")).await;
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    body["transaction"].as_str().unwrap().to_owned()
}

async fn answer(running: &Running, transaction: &str) -> (u16, Value) {
    answer_at(&running.gateway, transaction).await
}

async fn answer_at(gateway: &Gateway, transaction: &str) -> (u16, Value) {
    let answer = gateway.post("/auth", &json!({ "transaction": transaction })).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Adds the key's signature to a challenge.
pub fn sign(transaction: &str, key: &Keypair) -> String {
    use stellar_xdr::{
        Hash, TransactionEnvelope, TransactionSignaturePayload,
        TransactionSignaturePayloadTaggedTransaction as Tagged, WriteXdr as _,
    };
    let envelope = scval::from_base64("challenge", transaction).unwrap();
    let TransactionEnvelope::Tx(mut envelope) = envelope else { panic!("no transaction") };
    let payload = TransactionSignaturePayload {
        network_id: Hash(*stellar::Network::standalone().id().as_bytes()),
        tagged_transaction: Tagged::Tx(envelope.tx.clone()),
    };
    let hash = Digest::of(&scval::to_xdr(&payload).unwrap());
    let mut signatures = envelope.signatures.to_vec();
    signatures.push(key.sign_decorated(hash.as_bytes()).unwrap());
    envelope.signatures = signatures.try_into().unwrap();
    TransactionEnvelope::Tx(envelope).to_xdr_base64(scval::limits()).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_log_in_with_the_sdks_of_others_and_the_second_use_of_a_challenge_is_refused() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let url = running.gateway.url.clone();

    for token in [
        javascript(&url, &fixture.user, None).await,
        python(&url, &fixture.user, None).await,
        // An account that is not funded yet proves itself by its own key.
        javascript(&url, &Keypair::from_seed(&[77; 32]), None).await,
    ]
    .into_iter()
    .flatten()
    {
        assert_eq!(token["status"], 200, "{token}");
        let mine = running.gateway.as_user(text(&token, "token"));
        assert_eq!(mine.get("/runs").await.status(), 200);
    }
    let muxed = stellar_strkey::ed25519::MuxedAccount {
        ed25519: *fixture.user.address().as_bytes(),
        id: 42,
    };
    let muxed = muxed.to_string();
    if let Some(token) = javascript(&url, &fixture.user, Some(&muxed)).await {
        assert_eq!(token["status"], 200, "{token}");
        let who: Value = running
            .gateway
            .as_user(text(&token, "token"))
            .get("/auth/session")
            .await
            .json()
            .await
            .unwrap();
        assert_eq!(who["account"], json!(fixture.user.address()));
    }

    let signed = sign(&challenge(&running, &fixture.user).await, &fixture.user);
    assert_eq!(answer(&running, &signed).await.0, 200);
    let (status, body) = answer(&running, &signed).await;
    assert_eq!((status, &body["code"]), (401, &json!("UNAUTHENTICATED")), "{body}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_reads_every_answer_of_the_login_and_every_refusal() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[("RUNNER_ADDRESS_RATE_LIMIT", "1")]).await;
    let path = format!("/auth?account={}", fixture.user.address());
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let asked = request("GET", &path, "Origin: https://app.example\r\n", "");
        let answer = raw(&running.gateway, &asked).await.to_lowercase();
        for expected in ["access-control-allow-origin: *", "ratelimit-reset", "traceparent"] {
            assert!(answer.contains(expected), "{answer}");
        }
        statuses.push(answer[9..12].to_owned());
    }
    assert_eq!(statuses, ["200", "429"], "the address has asked for too much");

    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n\
                     Access-Control-Request-Headers: authorization,traceparent\r\n";
    let asked = request("OPTIONS", "/auth/session", preflight, "");
    let answer = raw(&running.gateway, &asked).await.to_lowercase();
    let allowed = answer.lines().find(|line| line.starts_with("access-control-allow-headers:"));
    for header in ["authorization", "content-type", "traceparent", "tracestate"] {
        assert!(allowed.is_some_and(|line| line.contains(header)), "{header}: {answer}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_that_are_not_whole_are_refused_with_the_rule_they_break() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let stranger = Keypair::from_seed(&[99; 32]);
    let unsigned = challenge(&running, &fixture.user).await;
    let cases = [
        (unsigned.clone(), "weigh 0"),
        (sign(&unsigned, &stranger), "no signer"),
        (sign(&sign(&unsigned, &fixture.user), &fixture.user), "twice"),
        (sign(&sign(&unsigned, &fixture.user), &stranger), "no signer"),
        ("AAAA".to_owned(), "XDR"),
        ("x".repeat(20_000), "too long"),
    ];
    for (transaction, why) in cases {
        let (status, body) = answer(&running, &transaction).await;
        assert_eq!(status, 401, "{body}");
        assert!(text(&body, "error").contains(why), "{why} is not in {body}");
    }
    // What another server made is not this server's, even when its signer is the user.
    let (status, body) = answer(&running, &sign(&unsigned, &signer())).await;
    assert_eq!(status, 401, "{body}");

    let gateway = &running.gateway;
    for (path, status) in [
        ("/auth", 400),
        ("/auth?account=x", 400),
        (&format!("/auth?account={}&memo=a", fixture.user.address()), 400),
        (&format!("/auth?account={}&home_domain=evil.example", fixture.user.address()), 400),
        (&format!("/auth?account={}", fixture.vault.0), 400),
        (&format!("/sep45?account={}", fixture.user.address()), 400),
    ] {
        assert_eq!(gateway.get(path).await.status(), status, "{path}");
    }
    let large = json!({ "transaction": "x".repeat(200_000) });
    assert_eq!(gateway.post("/auth", &large).await.status(), 413);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_and_method_answers_only_those_who_may() {
    let fixture = Fixture::new().await;
    let tokens = format!("console:{SERVICE_TOKEN}");
    let settings = [("RUNNER_GRPC_PORT", "0"), ("RUNNER_GRPC_TOKENS", tokens.as_str())];
    let running = start(&fixture, &settings).await;
    let [user, stranger, operator] =
        [fixture.user.address(), Keypair::from_seed(&[98; 32]).address(), operator().address()];
    let owner = log_in(&running, &fixture.user).await;
    let other = log_in(&running, &Keypair::from_seed(&[98; 32])).await;
    let chief = log_in(&running, &self::operator()).await;
    let anonymous = &running.gateway;
    let [owner, other, chief] =
        [&owner, &other, &chief].map(|body| anonymous.as_user(text(body, "token")));
    let forged = anonymous.as_user("eyJhbGciOiJub25lIn0.e30.");

    let id = owner.accepted(&fixture.body()).await;
    owner.ended(&id, "failed").await;
    let run = format!("/runs/{id}");
    // What an anonymous caller, a forger, the owner, a stranger and the operator are answered.
    let reads = [
        ("/runs".to_owned(), [401, 401, 200, 200, 200]),
        (format!("/runs?user={user}"), [401, 401, 200, 403, 200]),
        (run.clone(), [401, 401, 200, 404, 200]),
        // There is no bundle of a run that was never sealed; only who may see the run learns that.
        (format!("{run}/bundle"), [401, 401, 404, 404, 404]),
        ("/summary".to_owned(), [401, 401, 200, 200, 200]),
        ("/auth/session".to_owned(), [401, 401, 200, 200, 200]),
        ("/elsewhere".to_owned(), [401, 401, 404, 404, 404]),
        ("/live".to_owned(), [200; 5]),
        ("/health".to_owned(), [200; 5]),
        ("/.well-known/stellar.toml".to_owned(), [200; 5]),
        (format!("/auth?account={user}"), [200; 5]),
    ];
    let callers = [anonymous, &forged, &owner, &other, &chief];
    for (path, expected) in &reads {
        for (caller, expected) in callers.iter().zip(expected) {
            assert_eq!(caller.get(path).await.status(), *expected, "{path}");
        }
    }
    let refused = anonymous.get("/runs").await;
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    let writes = [
        ("/runs".to_owned(), fixture.body(), [401, 401, 202, 403, 403]),
        (format!("{run}/retry"), Value::Null, [401, 401, 200, 404, 403]),
    ];
    for (path, body, expected) in &writes {
        for (caller, expected) in callers.iter().zip(expected) {
            assert_eq!(caller.post(path, body).await.status(), *expected, "{path}");
        }
    }
    // Cancelling returns money, so an operator may; a stranger learns nothing of the run.
    assert_eq!(other.post(&format!("{run}/cancel"), &Value::Null).await.status(), 404);
    let cancelled = chief.post(&format!("{run}/cancel"), &Value::Null).await.status();
    assert!(matches!(cancelled.as_u16(), 200 | 409), "{cancelled}");

    let mine: Vec<Value> = other.get("/runs").await.json().await.unwrap();
    assert!(mine.is_empty(), "{stranger} sees {mine:?}");
    let all: Vec<Value> = chief.get(&format!("/runs?user={user}")).await.json().await.unwrap();
    assert!(!all.is_empty(), "{operator} sees no run");
    for caller in [&owner, anonymous] {
        let shown: Value = caller.get("/health").await.json().await.unwrap();
        assert!(shown["status"].get("activeRunId").is_none(), "{shown}");
    }
    every_grpc_method(&running, &fixture, &id, &owner.token()).await;
    running.stop().await;
}

/// The same over gRPC: a service reads everything, and spends only with its user's token.
async fn every_grpc_method(running: &Running, fixture: &Fixture, id: &str, token: &str) {
    let url = format!("http://{}", running.grpc.unwrap());
    let stranger = chassis::grpc::client(&url, None).unwrap();
    let mut stranger = RunnerClient::new(stranger);
    let service = chassis::grpc::client(&url, Some(&SERVICE_TOKEN.into())).unwrap();
    let mut service = RunnerClient::new(service);
    let create = CreateRunRequest {
        user: fixture.user.address().to_string(),
        agent_id: fixture.agent_id,
        budgets: Some(wire::Usage { runtime_ms: 10, ..wire::Usage::default() }.into()),
        ..CreateRunRequest::default()
    };
    let (get, retry) = (GetRunRequest { id: id.to_owned() }, RetryRunRequest { id: id.to_owned() });
    let unknown = tonic::Code::Unauthenticated;
    assert_eq!(stranger.create_run(create.clone()).await.unwrap_err().code(), unknown);
    assert_eq!(stranger.get_run(get.clone()).await.unwrap_err().code(), unknown);
    assert_eq!(stranger.list_runs(ListRunsRequest::default()).await.unwrap_err().code(), unknown);
    assert_eq!(stranger.retry_run(retry.clone()).await.unwrap_err().code(), unknown);
    assert_eq!(stranger.get_summary(GetSummaryRequest {}).await.unwrap_err().code(), unknown);

    assert!(service.get_run(get.clone()).await.is_ok());
    assert!(service.list_runs(ListRunsRequest::default()).await.is_ok());
    assert!(service.get_summary(GetSummaryRequest {}).await.is_ok());
    let forbidden = tonic::Code::PermissionDenied;
    assert_eq!(service.create_run(create.clone()).await.unwrap_err().code(), forbidden);
    assert_eq!(service.retry_run(retry).await.unwrap_err().code(), forbidden);

    // Not before the runs of others, here as over HTTP.
    let first = CreateRunRequest { priority: Some("high".to_owned()), ..create.clone() };
    let mut first = tonic::Request::new(first);
    first.metadata_mut().insert("lumio-user-token", token.parse().unwrap());
    assert_eq!(service.create_run(first).await.unwrap_err().code(), forbidden);

    let mut on_behalf = tonic::Request::new(create);
    on_behalf.metadata_mut().insert("lumio-user-token", token.parse().unwrap());
    assert!(service.create_run(on_behalf).await.is_ok());
    let mut forged = tonic::Request::new(get);
    forged.metadata_mut().insert("lumio-user-token", "x".parse().unwrap());
    assert_eq!(service.get_run(forged).await.unwrap_err().code(), unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_refreshed_and_revoked_and_a_stolen_refresh_token_ends_it() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let gateway = &running.gateway;
    let first = log_in(&running, &fixture.user).await;
    let refresh = async |token: &str| {
        let answer = gateway.post("/auth/refresh", &json!({ "refresh_token": token })).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, second) = refresh(text(&first, "refresh_token")).await;
    assert_eq!(status, 200, "{second}");
    // The answer may have been lost: for a minute, asking again gives the same refresh token.
    let (status, again) = refresh(text(&first, "refresh_token")).await;
    assert_eq!((status, &again["refresh_token"]), (200, &second["refresh_token"]), "{again}");
    let (_, third) = refresh(text(&second, "refresh_token")).await;
    // Two behind is no lost answer: another client has the newer one.
    assert_eq!(refresh(text(&first, "refresh_token")).await.0, 401);
    assert_eq!(refresh(text(&third, "refresh_token")).await.0, 401);
    assert_eq!(gateway.as_user(text(&third, "token")).get("/runs").await.status(), 401);
    // An access token is no refresh token.
    let fourth = log_in(&running, &fixture.user).await;
    assert_eq!(refresh(text(&fourth, "token")).await.0, 401);

    let fifth = log_in(&running, &fixture.user).await;
    let [fourth, fifth] = [&fourth, &fifth].map(|body| gateway.as_user(text(body, "token")));
    assert_eq!(fourth.post("/auth/logout", &json!({ "everywhere": false })).await.status(), 204);
    assert_eq!(fourth.get("/runs").await.status(), 401);
    assert_eq!(fifth.get("/runs").await.status(), 200);
    let sixth = log_in(&running, &fixture.user).await;
    let sixth = gateway.as_user(text(&sixth, "token"));
    assert_eq!(fifth.post("/auth/logout", &json!({ "everywhere": true })).await.status(), 204);
    assert_eq!(sixth.get("/runs").await.status(), 401);
    running.stop().await;
}

/// The account of `key` as a custodian names one of its customers.
fn customer(key: &Keypair, id: u64) -> String {
    let muxed = stellar_strkey::ed25519::MuxedAccount { ed25519: *key.address().as_bytes(), id };
    muxed.to_string().as_str().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_account_sees_its_own_runs_and_the_account_sees_them_all() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let gateway = &running.gateway;
    let mut parts = Vec::new();
    for id in [7, 8] {
        let unsigned = challenge_for(gateway, &customer(&fixture.user, id)).await;
        let (status, body) = answer_at(gateway, &sign(&unsigned, &fixture.user)).await;
        assert_eq!(status, 200, "{body}");
        parts.push(gateway.as_user(text(&body, "token")));
    }
    let whole = gateway.as_user(text(&log_in(&running, &fixture.user).await, "token"));
    let [one, other] = parts.as_slice() else { panic!("two parts") };

    let answer = one.post_with_key("k", &fixture.body()).await;
    assert_eq!(answer.status(), 202);
    let run: Value = answer.json().await.unwrap();
    let path = format!("/runs/{}", text(&run, "id"));
    let answer = other.post_with_key("k", &fixture.body()).await;
    assert!(answer.headers().get("idempotency-replayed").is_none(), "keys are a part's own");
    let listed =
        async |caller: &Gateway| -> Vec<Value> { caller.get("/runs").await.json().await.unwrap() };
    assert_eq!((listed(one).await.len(), listed(other).await.len()), (1, 1));
    assert_eq!(listed(&whole).await.len(), 2);
    assert_eq!(one.get(&path).await.status(), 200);
    assert_eq!(whole.get(&path).await.status(), 200);
    for path in [path.clone(), format!("{path}/bundle")] {
        assert_eq!(other.get(&path).await.status(), 404, "{path}");
    }
    for what in ["retry", "cancel"] {
        let refused = other.post(&format!("{path}/{what}"), &Value::Null).await;
        assert_eq!(refused.status(), 404, "{what}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_signers_of_an_account_log_in_together_by_what_the_ledger_says() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let cosigner = Keypair::from_seed(&[71; 32]);
    set_signers(&fixture, &cosigner).await;

    let alone = sign(&challenge(&running, &fixture.user).await, &fixture.user);
    let (status, body) = answer(&running, &alone).await;
    assert_eq!(status, 401, "{body}");
    assert!(text(&body, "error").contains("medium threshold is 2"), "{body}");
    let (status, body) = answer(&running, &sign(&alone, &cosigner)).await;
    assert_eq!(status, 200, "{body}");
    let token = running.gateway.as_user(text(&body, "token"));
    assert_eq!(token.get("/runs").await.status(), 200);
    running.stop().await;
}

/// Adds a signer of weight 1 to the user's account, and sets the medium threshold to 2.
async fn set_signers(fixture: &Fixture, cosigner: &Keypair) {
    use stellar_xdr::{
        Memo, MuxedAccount, Operation, OperationBody, Preconditions, SequenceNumber, SetOptionsOp,
        Signer, SignerKey, TimeBounds, TimePoint, Transaction, TransactionEnvelope, TransactionExt,
        TransactionV1Envelope, Uint256, WriteXdr as _,
    };
    let user = fixture.user.address();
    let sequence = fixture.rpc.account(&user).await.unwrap().unwrap().sequence + 1;
    let options = SetOptionsOp {
        inflation_dest: None,
        clear_flags: None,
        set_flags: None,
        master_weight: Some(1),
        low_threshold: Some(1),
        med_threshold: Some(2),
        high_threshold: Some(2),
        home_domain: None,
        signer: Some(Signer {
            key: SignerKey::Ed25519(Uint256(*cosigner.address().as_bytes())),
            weight: 1,
        }),
    };
    let operation = Operation { source_account: None, body: OperationBody::SetOptions(options) };
    let tx = Transaction {
        source_account: MuxedAccount::Ed25519(Uint256(*user.as_bytes())),
        fee: 1_000,
        seq_num: SequenceNumber(sequence),
        cond: Preconditions::Time(TimeBounds {
            min_time: TimePoint(0),
            max_time: TimePoint(fixture.localnet.close_time() + 120),
        }),
        memo: Memo::None,
        operations: vec![operation].try_into().unwrap(),
        ext: TransactionExt::V0,
    };
    let unsigned =
        TransactionEnvelope::Tx(TransactionV1Envelope { tx, signatures: Default::default() });
    let signed = sign(&unsigned.to_xdr_base64(scval::limits()).unwrap(), &fixture.user);
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": { "transaction": signed },
    });
    let client = reqwest::Client::new();
    let sent = client.post(fixture.localnet.url()).json(&body).send().await.unwrap();
    let sent: Value = sent.json().await.unwrap();
    assert_eq!(sent["result"]["status"], "PENDING", "{sent}");
    eventually(|| async {
        fixture.rpc.account(&user).await.unwrap().unwrap().sequence == sequence
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_every_login_of_an_account_by_command() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let mine = log_in(&running, &fixture.user).await;
    let other = log_in(&running, &Keypair::from_seed(&[98; 32])).await;
    let [mine, other] = [&mine, &other].map(|body| running.gateway.as_user(text(body, "token")));
    let subject = fixture.user.address().to_string();
    let revoked = command(&fixture, &["sessions", "revoke", &subject]);
    assert!(revoked.status.success(), "{revoked:?}");
    assert!(String::from_utf8_lossy(&revoked.stdout).contains("1 sessions"), "{revoked:?}");
    assert_eq!(mine.get("/runs").await.status(), 401);
    assert_eq!(other.get("/runs").await.status(), 200);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time_and_is_refused_by_another_key() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[("RUNNER_TOKEN_SECS", "10")]).await;
    let token = log_in(&running, &fixture.user).await;
    assert_eq!(running.gateway.as_user(text(&token, "token")).get("/runs").await.status(), 200);
    let lifetime =
        token["expires_at"].as_u64().unwrap() as i64 - chassis::clock::now().unix_timestamp();
    assert!((0..=10).contains(&lifetime), "{lifetime}");
    running.stop().await;

    let other = "6b".repeat(32);
    let running = start(&fixture, &[("RUNNER_TOKEN_SECRET", &other)]).await;
    assert_eq!(running.gateway.as_user(text(&token, "token")).get("/runs").await.status(), 401);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_account_logs_in_when_its_own_code_accepts_the_signature() {
    let fixture = Fixture::new().await;
    let running = start(&fixture, &[]).await;
    let url = running.gateway.url.clone();
    let key = Keypair::from_seed(&[61; 32]);
    let deployer = stellar::local::deployer();
    fixture.create(&deployer, "web_auth", stellar::local::web_auth_salt(), vec![]).await;
    let args = vec![scval::bytes(key.address().as_bytes()).unwrap()];
    let account = fixture.create(&deployer, "test_account", Digest::of(b"account"), args).await;

    let answer = running.gateway.get(&format!("/sep45?account={account}")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let Some(token) = python(&url, &key, Some(&account.to_string())).await else { return };
    assert_eq!(token["status"], 200, "{token}");
    let caller = running.gateway.as_user(text(&token, "token"));
    let who: Value = caller.get("/auth/session").await.json().await.unwrap();
    assert_eq!(who, json!({ "account": account, "role": "user" }));

    // Another key's signature is refused by the account's own code.
    let wrong = Keypair::from_seed(&[62; 32]);
    let refused = python(&url, &wrong, Some(&account.to_string())).await.unwrap();
    assert_eq!(refused["status"], 401, "{refused}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_and_an_engine_share_the_work_and_only_the_engine_holds_the_chains_keys() {
    let fixture = Fixture::new().await;
    let runner = fixture.runner.address().to_string();
    let signing = signer().secret().to_string();
    let token = "5a".repeat(32);
    let gateway = [
        ("RUNNER_ROLE", "gateway"),
        ("RUNNER_SECRET", ""),
        ("RUNNER_SOURCE_SECRET", ""),
        ("RUNNER_PUBLIC_KEY", runner.as_str()),
        ("RUNNER_AUTH", "login"),
        ("RUNNER_AUTH_SECRET", signing.as_str()),
        ("RUNNER_TOKEN_SECRET", token.as_str()),
    ];
    let gateway = fixture.start(&gateway).await;
    let engine = fixture.start(&[("RUNNER_ROLE", "engine")]).await;
    let body = log_in(&gateway, &fixture.user).await;
    let user = gateway.gateway.as_user(text(&body, "token"));
    let id = user.accepted(&fixture.body()).await;
    user.ended(&id, "failed").await;
    assert_eq!(engine.gateway.get("/runs").await.status(), 404);
    assert_eq!(engine.gateway.get("/live").await.status(), 200);
    engine.stop().await;
    gateway.stop().await;

    let settings = fixture.settings(&[("RUNNER_ROLE", "gateway"), ("RUNNER_PUBLIC_KEY", &runner)]);
    let refused = runner::config::Config::read(chassis::Env::from_map(settings)).unwrap_err();
    assert!(refused.to_string().contains("RUNNER_SECRET: "), "{refused}");
}

impl Fixture {
    /// Deploys one of the committed contracts.
    async fn create(
        &self,
        deployer: &Keypair,
        name: &str,
        salt: Digest,
        args: Vec<stellar_xdr::ScVal>,
    ) -> stellar::Address {
        let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contracts/wasm");
        let wasm = std::fs::read(wasm.join(format!("{name}.wasm"))).unwrap();
        let code = Digest::of(&wasm);
        self.submit(deployer, Call::Upload(wasm)).await;
        let kind = ContractKind::Other;
        let creation = Creation { deployer: deployer.address(), salt, code, args, kind };
        self.submit(deployer, Call::Create(creation)).await;
        let network = stellar::Network::standalone();
        stellar::ids::contract_id(&network, &deployer.address(), &salt).unwrap()
    }
}

#[test]
fn the_function_of_the_standard_has_its_name() {
    let contract = WebAuth(stellar::local::web_auth_id().unwrap());
    let call = contract.verify(&[("account", "C"), ("nonce", "1")]).unwrap();
    assert_eq!(call.to_xdr().unwrap().function_name.to_string(), "web_auth_verify");
}
