//! s3s-fs: an S3 service that verifies checksums and signatures, but lets several writers win.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use oracle_gate::objects::{Objects, Refusal, StoreError};
use oracle_gate::probe;
use oracle_gate::reasons::Reason;
use oracle_gate::sealing::close;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use wire::digest::Digest;

use super::{SECRETS, objects, upload};
use crate::fixture::{Fixture, NOW};
use crate::sealing::{manifest, order};

struct S3sFs {
    objects: Objects,
    _folder: TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for S3sFs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A service that knows `packer` with this secret.
async fn start(secret: &str) -> S3sFs {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("packs")).unwrap();
    let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single("packer", secret));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind(testkit::ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service.clone();
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                drop(builder.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    S3sFs { objects: objects(&url), _folder: folder, task }
}

#[tokio::test]
async fn a_real_server_that_lets_several_writers_win_is_refused_for_sealing() {
    let (fixture, server) = (Fixture::new(), start(SECRETS[0]).await);
    let manifest = manifest(&fixture);
    upload(fixture.dir.path(), &server.objects).await;
    let probe = probe::run(&server.objects, "x", NOW).await.unwrap();
    assert!(!probe.write_once(), "{probe:?}");
    let nonce = "0".repeat(32);
    let error = close(&server.objects, &order(&manifest, &nonce, probe)).await.unwrap_err();
    assert_eq!(error.reason(), Reason::StoreNotWriteOnce);
    assert!(!server.objects.list("run-5").await.unwrap().contains(&"_SEALED.json".to_owned()));
}

#[tokio::test]
async fn signatures_and_upload_checksums_satisfy_a_server_that_verifies_them() {
    let (fixture, server) = (Fixture::new(), start(SECRETS[0]).await);
    fixture.write("run-5/data/a b+ü.csv", "one");
    upload(fixture.dir.path(), &server.objects).await;
    let read = server.objects.hash("run-5/data/a b+ü.csv").await.unwrap();
    assert_eq!(read, Some((3, Digest::of(b"one"))));
    assert_eq!(server.objects.list("run-5").await.unwrap(), ["data/a b+ü.csv"]);
}

#[tokio::test]
async fn a_wrong_secret_is_called_that() {
    let server = start("another").await;
    let error = server.objects.read("run-5/x", 9).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { kind: Refusal::Signature, .. }), "{error}");
}
