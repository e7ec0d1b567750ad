//! The service as its callers see it: gRPC, events, and a start that finishes what a crash left.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use chassis::grpc::client;
use chassis::{Secret, Service};
use oracle_gate::config::Config;
use seal::tree::File;
use seal::{Limits, Tree, verify};
use testkit::{TestBus, TestDb, eventually};
use tokio::time::timeout;
use wire::Problem;
use wire::digest::Digest;
use wire::event::SealData;
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;
use wire::pb::oracle::v1::put_module_request::Item;
use wire::pb::oracle::v1::{
    BundleChunk, CheckRequest, CheckStatus, GetInputRequest, GetModuleRequest, GetPackRequest,
    InputHeader, ModuleFile, ModuleHeader, PutInputRequest, PutInputResponse, PutModuleRequest,
    ReadBundleRequest, SealRequest, SealStatus, bundle_chunk, put_input_request,
};

use crate::fixture::{Fixture, NOW, TOKEN, execution, run};

type Client = OracleGateClient<chassis::grpc::Client>;

struct Served {
    service: Service,
    client: Client,
    url: String,
}

async fn serve(fixture: &Fixture, db: &TestDb, bus: &TestBus) -> Served {
    let config = Config {
        database_url: Secret::from(db.url.as_str()),
        nats_url: Secret::from(bus.url.as_str()),
        nats_prefix: bus.prefix.clone(),
        ..fixture.config()
    };
    let service = Service::default();
    let address = oracle_gate::start(&service, config).await.unwrap();
    let url = format!("http://{address}");
    let client = OracleGateClient::new(client(&url, Some(&Secret::from(TOKEN))).unwrap());
    Served { service, client, url }
}

async fn stop(served: Served) {
    drop(served.client);
    served.service.finish(Duration::from_secs(10)).await.unwrap();
}

pub fn request(draft: oracle_gate::runs::Draft) -> SealRequest {
    SealRequest {
        run_id: draft.run.to_string(),
        attempt: draft.attempt,
        workflow_id: draft.workflow_id,
        statement: draft.statement.into(),
        shipping: draft.shipping.into(),
        plan_json: draft.plan.into(),
        record_json: draft.record.into(),
    }
}

/// Path, content, and whether it is executable.
type ModuleFileOf = (&'static str, &'static [u8], bool);

/// The files of a module, and their digest.
fn module_files() -> ([ModuleFileOf; 2], Digest) {
    let files = [("main.sh", &b"#!/bin/sh\n"[..], true), ("module.json", b"{}", false)];
    let listed = files.iter().map(|(path, content, executable)| File {
        path: (*path).to_owned(),
        executable: *executable,
        length: content.len() as u64,
        sha256: Digest::of(content),
    });
    let digest = Tree::new(listed.collect(), &Limits::MODULE).unwrap().digest();
    (files, digest)
}

async fn put_module(client: &mut Client, digest: Digest) -> Result<bool, tonic::Status> {
    let header = Item::Header(ModuleHeader { digest: digest.to_string() });
    let files = module_files().0.into_iter().flat_map(|(path, content, executable)| {
        let length = content.len() as u64;
        let file = ModuleFile { path: path.to_owned(), executable, length, sha256: String::new() };
        [Item::File(file), Item::Data(content.to_vec())]
    });
    let items: Vec<_> = std::iter::once(header)
        .chain(files)
        .map(|item| PutModuleRequest { item: Some(item) })
        .collect();
    Ok(client.put_module(futures::stream::iter(items)).await?.into_inner().stored)
}

#[tokio::test]
async fn a_run_is_sealed_published_checked_and_read_back_whole() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut heard = bus.listen().await;
    let mut served = serve(&fixture, &db, &bus).await;
    let (_, digest) = module_files();
    assert!(put_module(&mut served.client, digest).await.unwrap());
    let mut draft = fixture.passed(1);
    let (stated, _) =
        wire::statement::ExecutionStatement::open(&draft.statement, &[fixture.key.verifying_key()])
            .unwrap();
    let outputs = stated.into_predicate().outputs;
    let stated = wire::statement::Execution { module_digest: digest, outputs, ..execution(run(1)) };
    draft.statement = fixture.sign(stated, &fixture.key);
    let judged = wire::statement::Shipping { module_digest: digest, ..crate::fixture::shipping() };
    draft.shipping = fixture.ship(judged);

    let sealed = served.client.seal(request(draft.clone())).await.unwrap().into_inner();
    assert_eq!((sealed.seal_status(), sealed.existed), (SealStatus::Sealed, false));
    assert_eq!(sealed.check.as_ref().unwrap().status(), CheckStatus::Ok);
    let again = served.client.seal(request(draft)).await.unwrap().into_inner();
    assert!(again.existed && again.seal_digest == sealed.seal_digest);

    let check =
        CheckRequest { run_facts_ref: sealed.facts_ref.clone(), strict_seal: true, depth: 0 };
    let checked = served.client.check(check).await.unwrap().into_inner();
    assert_eq!((checked.status(), checked.issues.len()), (CheckStatus::Ok, 0));

    let events = heard.until(|event| event.r#type == "dev.lumio.seal.checked.v1").await;
    let kinds: Vec<_> = events.iter().map(|event| event.r#type.as_str()).collect();
    assert_eq!(kinds, ["dev.lumio.seal.sealed.v1", "dev.lumio.seal.checked.v1"]);
    let reported: SealData = events[0].read().unwrap();
    assert_eq!(
        (reported.run_id, reported.seal_digest.to_string()),
        (run(1), sealed.seal_digest.clone())
    );
    assert_eq!(reported.result.as_deref(), Some("OK"));
    assert_eq!(events[0].id, format!("{}:1", sealed.pack_id));

    let bundle = read_bundle(&mut served.client).await;
    verify_bundle(&bundle, &sealed.seal_digest, digest);
    stop(served).await;
}

async fn read_bundle(client: &mut Client) -> BTreeMap<String, Vec<u8>> {
    let ask = ReadBundleRequest { run_id: run(1).to_string(), attempt: 1 };
    files(client.read_bundle(ask).await.unwrap().into_inner()).await.unwrap()
}

pub async fn files(
    mut stream: tonic::Streaming<BundleChunk>,
) -> Result<BTreeMap<String, Vec<u8>>, tonic::Status> {
    let (mut files, mut last, mut left) = (BTreeMap::new(), String::new(), 0);
    while let Some(chunk) = stream.message().await? {
        match chunk.item.unwrap() {
            bundle_chunk::Item::File(file) => {
                assert_eq!(left, 0, "{last} was cut");
                assert_eq!(file.executable, file.path == "module/tree/main.sh");
                (last, left) = (file.path.clone(), file.length);
                files.insert(file.path, Vec::new());
            }
            bundle_chunk::Item::Data(data) => {
                left -= data.len() as u64;
                files.get_mut(&last).unwrap().extend(data);
            }
        }
    }
    Ok(files)
}

fn verify_bundle(bundle: &BTreeMap<String, Vec<u8>>, seal_digest: &str, module: Digest) {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in bundle {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let report = verify::pack(&dir.path().join("pack")).unwrap();
    assert!(report.is_whole(), "{:?}", report.broken);
    assert_eq!(report.seal_digest.unwrap().to_string(), seal_digest);
    assert_eq!(verify::module(&dir.path().join("module"), module).unwrap(), []);
    assert!(bundle.contains_key("facts/run_facts_view.json"));
}

#[tokio::test]
async fn a_start_completes_what_a_crash_left_open() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let draft = fixture.passed(1);
    fixture.begun(&db, draft.clone()).await;

    let served = serve(&fixture, &db, &bus).await;
    let sealed = eventually(|| async {
        oracle_gate::store::find(&db.pool, draft.run, 1).await.unwrap().unwrap().sealed
    })
    .await;
    assert!(verify::pack(&fixture.path(&format!("packs/{}", sealed.pack_id))).unwrap().is_whole());
    stop(served).await;
}

async fn put_input(
    client: &mut Client,
    digest: Digest,
    pieces: &[&[u8]],
) -> Result<PutInputResponse, tonic::Status> {
    use put_input_request::Item;
    let header = Item::Header(InputHeader { digest: digest.to_string() });
    let data = pieces.iter().map(|piece| Item::Data(piece.to_vec()));
    let items: Vec<_> = std::iter::once(header).chain(data).collect();
    let items = items.into_iter().map(|item| PutInputRequest { item: Some(item) });
    client.put_input(futures::stream::iter(items)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn an_input_is_kept_under_its_digest_and_nothing_else_is() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut served = serve(&fixture, &db, &bus).await;
    let client = &mut served.client;
    let input = vec![b'7'; (2 << 20) + 5];
    let digest = Digest::of(&input);
    let pieces: Vec<&[u8]> = input.chunks(1 << 20).collect();
    let first = put_input(client, digest, &pieces).await.unwrap();
    assert_eq!((first.stored, first.length), (true, input.len() as u64));
    assert!(!put_input(client, digest, &pieces).await.unwrap().stored, "it was here already");

    let ask = |digest: Digest| GetInputRequest { digest: digest.to_string() };
    let mut stream = client.get_input(ask(digest)).await.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        found.extend(piece.data);
    }
    assert_eq!(found, input);

    let wrong = put_input(client, Digest::of(b"other"), &[b"1"]).await.unwrap_err();
    assert_eq!(Problem::of(&wrong), Some(Problem::DigestMismatch));
    let missing = client.get_input(ask(Digest::of(b"other"))).await.unwrap_err();
    assert_eq!(Problem::of(&missing), Some(Problem::NotFound));
    let piece = vec![0; 1 << 20];
    let large = put_input(client, digest, &[&piece[..]; 9]).await.unwrap_err();
    assert_eq!(Problem::of(&large), Some(Problem::PayloadTooLarge));
    stop(served).await;
}

#[tokio::test]
async fn refusals_carry_their_problem() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut served = serve(&fixture, &db, &bus).await;
    let problem = |status: &tonic::Status| Problem::of(status);
    let wrong = put_module(&mut served.client, Digest::of(b"other")).await.unwrap_err();
    assert_eq!(problem(&wrong), Some(Problem::DigestMismatch));
    let ask = GetModuleRequest { digest: Digest::of(b"none").to_string() };
    let unknown = served.client.get_module(ask).await.unwrap_err();
    assert_eq!(problem(&unknown), Some(Problem::ModuleUnknown));
    let mut other = request(fixture.passed(1));
    other.run_id = run(2).to_string();
    let invalid = served.client.seal(other).await.unwrap_err();
    assert_eq!(problem(&invalid), Some(Problem::StatementInvalid));
    let ask = ReadBundleRequest { run_id: run(9).to_string(), attempt: 1 };
    assert_eq!(
        problem(&served.client.read_bundle(ask).await.unwrap_err()),
        Some(Problem::NotFound)
    );

    let wrong_token = Secret::from("fedcba9876543210");
    let mut unknown = OracleGateClient::new(client(&served.url, Some(&wrong_token)).unwrap());
    let refused = unknown.seal(request(fixture.passed(1))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    stop(served).await;
}

#[tokio::test]
async fn a_pack_is_read_only_while_its_view_passes() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut served = serve(&fixture, &db, &bus).await;
    let sealed = served.client.seal(request(fixture.passed(1))).await.unwrap().into_inner();
    let ask = GetPackRequest { run_facts_ref: sealed.facts_ref.clone() };
    let stream = served.client.get_pack(ask.clone()).await.unwrap().into_inner();
    let files = files(stream).await.unwrap();
    let root = format!("packs/{}", sealed.pack_id);
    for (name, content) in
        [("outputs/report.json", &b"{\"rows\":3}"[..]), ("outputs/tables/a.csv", b"a,b\n1,2\n")]
    {
        assert_eq!(files[&format!("{root}/{name}")], content);
    }
    assert!(files.contains_key(&format!("{root}/_SEALED.json")) && files.len() == 6);

    fixture.write(&format!("{root}/outputs/report.json"), "{\"rows\":4}");
    let refused = served.client.get_pack(ask).await.unwrap_err();
    assert_eq!(Problem::of(&refused), Some(Problem::CheckFailed));
    assert!(refused.message().contains("PACK_FILE_CHANGED"), "{refused}");
    let ask = GetPackRequest { run_facts_ref: "sr/run_facts_view/latest.json".to_owned() };
    let unknown = served.client.get_pack(ask).await.unwrap_err();
    assert_eq!(Problem::of(&unknown), Some(Problem::CheckFailed));
    stop(served).await;
}

#[tokio::test]
async fn a_pack_that_changes_while_it_is_read_ends_in_an_error() {
    let (fixture, db) = (Fixture::new(), testkit::postgres().await);
    let gate = fixture.gate(&db).await;
    let (sealed, _) = oracle_gate::runs::seal(&gate, fixture.passed(1), NOW).await.unwrap();
    let facts_ref = sealed.facts_ref.unwrap();
    let passed = oracle_gate::check::check(&gate.objects, &gate.rules, &facts_ref, NOW).await;
    let entries = oracle_gate::bundle::packs(&gate, &passed).await.unwrap();
    fixture.write(&format!("packs/{}/outputs/report.json", sealed.pack_id), "{\"rows\":4}");
    let (to, mut pieces) = tokio::sync::mpsc::channel(64);
    let ended = oracle_gate::bundle::send(&gate, entries, &to).await.unwrap_err();
    assert_eq!(ended.problem(), Problem::DigestMismatch);
    pieces.close();
}

#[tokio::test]
async fn a_call_tells_how_far_it_is_and_ends_with_its_answer() {
    use wire::pb::oracle::v1::{check_progress, seal_progress};
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut served = serve(&fixture, &db, &bus).await;
    let draft = request(fixture.passed(1));
    let mut stream = served.client.seal_with_progress(draft.clone()).await.unwrap().into_inner();
    let mut sealed = None;
    while let Some(message) = stream.message().await.unwrap() {
        assert!(sealed.is_none(), "something came after the answer");
        if let seal_progress::Item::Done(done) = message.item.unwrap() {
            sealed = Some(done);
        }
    }
    let sealed = sealed.unwrap();
    let plain = served.client.seal(draft).await.unwrap().into_inner();
    assert_eq!((plain.existed, plain.seal_digest), (true, sealed.seal_digest));
    let ask = CheckRequest { run_facts_ref: sealed.facts_ref, strict_seal: true, depth: 0 };
    let mut stream = served.client.check_with_progress(ask).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.item;
    }
    let Some(check_progress::Item::Done(checked)) = last else { panic!("no answer: {last:?}") };
    assert_eq!(checked.status(), CheckStatus::Ok);
    stop(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_give_up_leave_no_transaction_open_and_a_run_is_sealed_once() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let mut served = serve(&fixture, &db, &bus).await;
    let draft = fixture.passed(1);
    let unpublished = "sr/run_facts_view/00000000-0000-4000-8000-000000000000.1.json";
    for turn in 0..60_u64 {
        // From at once to longer than an answer takes.
        let after = Duration::from_micros(turn * 401 % 20_000);
        let [mut sealing, mut checking, mut reading] =
            std::array::from_fn(|_| served.client.clone());
        let check =
            CheckRequest { run_facts_ref: unpublished.to_owned(), ..CheckRequest::default() };
        let pack = GetPackRequest { run_facts_ref: unpublished.to_owned() };
        let calls = (
            timeout(after, sealing.seal(request(draft.clone()))),
            timeout(after, checking.check(check)),
            timeout(after, reading.get_pack(pack)),
        );
        let _ = tokio::join!(calls.0, calls.1, calls.2);
    }

    let sealed = served.client.seal(request(draft.clone())).await.unwrap().into_inner();
    assert_eq!(sealed.seal_status(), SealStatus::Sealed);
    db.has_no_open_transaction().await;
    let again = served.client.seal(request(draft)).await.unwrap().into_inner();
    assert!(again.existed && again.seal_digest == sealed.seal_digest);
    stop(served).await;
}
