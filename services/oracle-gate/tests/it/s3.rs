//! Stores in buckets: real servers, and one that misbehaves in every way a test asks for.

mod conditions;
mod faults;
mod kept;
mod localstack;
mod moto;
mod open;
mod progress;
mod s3s;
pub mod server;
mod service;
mod verdicts;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use chassis::Secret;
use oracle_gate::objects::{Credentials, Objects, S3Settings, StoreLocation, Timeouts};

/// Long enough for a busy machine.
pub const PATIENCE: Timeouts =
    Timeouts { call: Duration::from_secs(120), answer: Duration::from_secs(30), retries: 2 };
/// Short, for stores that hang.
pub const HASTE: Timeouts =
    Timeouts { call: Duration::from_secs(3), answer: Duration::from_millis(700), retries: 1 };

/// What no error and no log may show.
pub const SECRETS: [&str; 2] = ["hunter2-secret", "hunter2-token"];

pub fn credentials() -> Credentials {
    Credentials::Keys {
        id: Secret::from("packer"),
        secret: Secret::from(SECRETS[0]),
        token: Some(Secret::from(SECRETS[1])),
    }
}

/// The root `s3://packs/lab` of a server.
pub fn objects(endpoint: &str) -> Objects {
    objects_in(endpoint, "packs")
}

/// The same for a server that hangs.
pub fn hasty(endpoint: &str) -> Objects {
    objects_with(endpoint, "packs", HASTE)
}

/// The root `lab` in a bucket of a server.
pub fn objects_in(endpoint: &str, bucket: &str) -> Objects {
    objects_with(endpoint, bucket, PATIENCE)
}

fn objects_with(endpoint: &str, bucket: &str, timeouts: Timeouts) -> Objects {
    let wiring = S3Settings { endpoint: Some(endpoint.to_owned()), ..S3Settings::default() };
    let place = StoreLocation::parse(&format!("s3://{bucket}/lab"), &wiring).unwrap();
    Objects::open_with(&place, || Ok(credentials()), timeouts).unwrap()
}

/// Puts every file of a folder into the store.
pub async fn upload(from: &Path, to: &Objects) {
    for entry in walk(from) {
        let path = entry.strip_prefix(from).unwrap().to_str().unwrap().to_owned();
        to.create(&path, Bytes::from(std::fs::read(&entry).unwrap())).await.unwrap();
    }
}

/// Puts every object of the store into a folder, so that it can be verified as one.
pub async fn download(from: &Objects, prefix: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in from.list(prefix).await.unwrap() {
        let bytes = from.read(&format!("{prefix}/{name}"), 1 << 20).await.unwrap().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
