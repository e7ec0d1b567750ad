//! SIGKILL at every step of sealing, of the command and of the service: unsealed or sealed, never
//! half, and the next call or start completes it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use chassis::Secret;
use chassis::grpc::client;
use oracle_gate::check::Status;
use oracle_gate::crash::{POINTS, VARIABLE};
use oracle_gate::runs::Sealed;
use seal::verify;
use testkit::{TestBus, TestDb, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use wire::RunId;
use wire::pb::oracle::v1::oracle_gate_client::OracleGateClient;

use crate::cli::publish;
use crate::fixture::{Fixture, TOKEN};
use crate::served::request;

const SIGKILL: i32 = 9;
/// Points that only one of the two ways to a seal passes.
const COMMAND_ONLY: [&str; 1] = ["inventory.during"];
const SERVICE_ONLY: [&str; 7] = [
    "intent.after_row",
    "pack.during_fill",
    "pack.after_fill",
    "view.after_write",
    "status.after_write",
    "settle.before",
    "settle.after",
];

/// A pack with a seal is whole; whether there is one.
fn never_half(root: &std::path::Path) -> bool {
    let sealed = root.join("_SEALED.json").exists();
    if sealed {
        let report = verify::pack(root).unwrap();
        assert!(report.is_whole(), "{:?}", report.broken);
    }
    sealed
}

#[tokio::test]
async fn the_command_killed_at_any_point_leaves_a_pack_unsealed_or_sealed() {
    let points = POINTS.iter().map(|(name, _)| *name);
    for point in points.filter(|point| !SERVICE_ONLY.contains(point)) {
        let fixture = Fixture::new();
        publish(&fixture);
        let run = |crash: Option<&str>| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_oracle-gate"));
            command
                .args(["seal", "--profile", "dev", "--run-facts-ref", "view.json", "--ensure"])
                .env_clear()
                .env("ORACLE_GATE_ROOT", fixture.dir.path())
                .current_dir(fixture.dir.path());
            if let Some(point) = crash {
                command.env(VARIABLE, point);
            }
            command.output()
        };
        let killed = run(Some(point)).await.unwrap();
        assert_eq!(killed.status.signal(), Some(SIGKILL), "{point} was not passed");
        assert_eq!(never_half(&fixture.path("run-5")), point == "seal.after_write", "{point}");
        let again = run(None).await.unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
        assert!(never_half(&fixture.path("run-5")), "{point}: it was not completed");
    }
}

pub struct Process {
    pub child: Child,
    pub url: String,
    seen: Vec<String>,
    lines: UnboundedReceiver<String>,
}

impl Process {
    /// The first line of its log that has this text.
    pub async fn logged(&mut self, text: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let coming = async {
            while let Some(line) = self.lines.recv().await {
                if line.contains(text) {
                    return line;
                }
                self.seen.push(line);
            }
            panic!("it does not say {text:?}: {:#?}", self.seen);
        };
        tokio::time::timeout(Duration::from_secs(120), coming).await.unwrap()
    }
}

/// The service as a process, its store in the fixture's folder unless `settings` say otherwise.
pub async fn serve(
    fixture: &Fixture,
    db: &TestDb,
    bus: &TestBus,
    settings: &[(&str, &str)],
) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oracle-gate"));
    let key = hex::encode(fixture.key.verifying_key().as_bytes());
    command
        .arg("serve")
        .env_clear()
        .env("ORACLE_GATE_ROOT", fixture.dir.path())
        .env("ORACLE_GATE_BIND", "127.0.0.1:0")
        .env("ORACLE_GATE_PROFILE", "prod")
        .env("ORACLE_GATE_GRPC_TOKENS", format!("test:{TOKEN}"))
        .env("ORACLE_GATE_ATTESTATION_KEYS", key)
        .env("DATABASE_URL", &db.url)
        .env("NATS_URL", &bus.url)
        .env("NATS_PREFIX", &bus.prefix)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.envs(settings.iter().copied());
    let mut child = command.spawn().unwrap();
    let (to, lines) = mpsc::unbounded_channel();
    for stream in [
        Box::pin(child.stdout.take().unwrap())
            as std::pin::Pin<Box<dyn tokio::io::AsyncRead + Send>>,
        Box::pin(child.stderr.take().unwrap()),
    ] {
        let to = to.clone();
        // Read to the end, or the service would wait for its log to be taken.
        tokio::spawn(async move {
            let mut read = BufReader::new(stream).lines();
            while let Ok(Some(line)) = read.next_line().await {
                drop(to.send(line));
            }
        });
    }
    drop(to);
    let mut process = Process { child, url: String::new(), seen: Vec::new(), lines };
    let line = process.logged("oracle-gate listens on ").await;
    let (_, rest) = line.split_once("oracle-gate listens on ").unwrap();
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    process.url = format!("http://{}", &rest[..end.unwrap_or(rest.len())]);
    process
}

async fn result(db: &TestDb, run: RunId) -> Option<Sealed> {
    oracle_gate::store::find(&db.pool, run, 1).await.unwrap().and_then(|intent| intent.sealed)
}

#[tokio::test]
async fn the_service_killed_at_any_point_completes_one_seal_when_it_starts_again() {
    let (fixture, db, bus) = (Fixture::new(), testkit::postgres().await, testkit::nats().await);
    let points = POINTS.iter().map(|(name, _)| *name);
    let points: Vec<_> = points.filter(|point| !COMMAND_ONLY.contains(point)).collect();
    for (number, point) in points.iter().enumerate() {
        let draft = fixture.passed(number as u128 + 1);
        let run = draft.run;
        let mut dying = serve(&fixture, &db, &bus, &[(VARIABLE, point)]).await;
        let channel = client(&dying.url, Some(&Secret::from(TOKEN))).unwrap();
        let answer = OracleGateClient::new(channel).seal(request(draft)).await;
        assert!(answer.is_err(), "{point} was not passed");
        let died = tokio::time::timeout(Duration::from_secs(60), dying.child.wait()).await;
        assert_eq!(died.unwrap().unwrap().signal(), Some(SIGKILL), "{point}");
        for pack in fs::read_dir(fixture.path("packs")).into_iter().flatten().flatten() {
            never_half(&pack.path());
        }

        let _again = serve(&fixture, &db, &bus, &[]).await;
        let sealed = eventually(|| async { result(&db, run).await }).await;
        let root = fixture.path(&format!("packs/{}", sealed.pack_id));
        assert!(never_half(&root), "{point}: it was not completed");
        assert_eq!(verify::pack(&root).unwrap().seal_digest, Some(sealed.seal_digest));
        assert_eq!(sealed.check.unwrap().status, Status::Ok, "{point}");
    }
    let reported: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE subject LIKE '%sealed%'")
            .fetch_one(&db.pool)
            .await
            .unwrap();
    assert_eq!(usize::try_from(reported).unwrap(), points.len(), "one event for each run");
    assert_eq!(fs::read_dir(fixture.path("packs")).unwrap().count(), points.len());
}
