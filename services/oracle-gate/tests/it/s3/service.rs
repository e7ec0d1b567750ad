//! The service as a process with its packs in a bucket, and a folder shared with module-gate.

use chassis::Secret;
use chassis::grpc::client;
use oracle_gate::check::Status;
use seal::verify;
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;
use wire::pb::oracle::v1::{CheckStatus, GetPackRequest};

use super::server::Server;
use super::{SECRETS, download, objects};
use crate::fixture::{Fixture, TOKEN};
use crate::killed::serve;
use crate::served::{files, request};

#[tokio::test]
async fn packs_go_to_the_bucket_and_staged_outputs_come_from_the_shared_folder() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let server = Server::start().await;
    let exchange = fixture.dir.path().to_str().unwrap();
    let settings = [
        ("ORACLE_GATE_ROOT", "s3://packs/lab"),
        ("ORACLE_GATE_S3_ENDPOINT", server.url.as_str()),
        ("ORACLE_GATE_EXCHANGE", exchange),
        ("AWS_ACCESS_KEY_ID", "packer"),
        ("AWS_SECRET_ACCESS_KEY", SECRETS[0]),
        ("AWS_SESSION_TOKEN", SECRETS[1]),
        // Of another tool; it would switch off what sealing depends on.
        ("AWS_CONDITIONAL_PUT", "disabled"),
        ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
    ];
    let draft = fixture.passed(1);
    let run = draft.run;
    let process = serve(&fixture, &db, &bus, &settings).await;
    let channel = client(&process.url, Some(&Secret::from(TOKEN))).unwrap();
    let mut client = OracleGateClient::new(channel);

    let sealed = client.seal(request(draft)).await.unwrap().into_inner();

    assert_eq!(sealed.check.as_ref().unwrap().status(), CheckStatus::Ok);
    let stored = objects(&server.url);
    let root = format!("packs/{}", sealed.pack_id);
    let report = verify::pack(download(&stored, &root).await.path()).unwrap();
    assert!(report.is_whole(), "{:?}", report.broken);
    assert!(!fixture.path("packs").exists() && fixture.path("staging").exists());
    let ask = GetPackRequest { run_facts_ref: sealed.facts_ref };
    let read = files(client.get_pack(ask).await.unwrap().into_inner()).await.unwrap();
    assert_eq!(read[&format!("{root}/outputs/report.json")], b"{\"rows\":3}");
    let kept = oracle_gate::store::find(&db.pool, run, 1).await.unwrap().unwrap().sealed.unwrap();
    assert_eq!(kept.check.unwrap().status, Status::Ok);
}
