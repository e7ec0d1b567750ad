//! A client that asks for the steps of a judgement, and never takes one from the connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::pb::module::v1::RunOraclesRequest;
use wire::pb::module::v1::judge_event::Event;

use crate::fixture::{Fixture, TOKEN, calls, csv_profile};
use crate::restart::spawn;

/// How many streams are left unread.
const UNREAD: usize = 32;
/// How many further steps the judgement has, and the bytes of each.
const STEPS: (i64, i32) = (4_000, 4_096);
/// The most by which the service may grow: a tenth of what the streams are owed.
const MOST_BYTES: u64 = 48 << 20;
/// In which a stop has to end, whatever clients do.
const STOP: Duration = Duration::from_secs(10);

/// Asks on a connection whose streams have no window: the head of the answer comes, and no more.
async fn ask(
    calls: &mut SendRequest<Bytes>,
    address: SocketAddr,
    asked: &RunOraclesRequest,
) -> RecvStream {
    let request =
        http::Request::post(format!("http://{address}/lumio.module.v1.ModuleGate/RunOracles"));
    let request = request
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {TOKEN}"));
    let message = asked.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [&[0], length.as_slice(), &message].concat();
    let mut ready = calls.clone().ready().await.unwrap();
    let (answer, mut body) = ready.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(frame.into(), true).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
    answer.into_body()
}

/// The most memory that a process has had, in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_are_not_read_take_little_memory_and_hold_up_neither_others_nor_a_stop() {
    let fixture = Fixture::new().await;
    let module = fixture.publish(&csv_profile());
    let (mut child, address) = spawn(&fixture);
    let asked = RunOraclesRequest {
        manifest_hash: module.to_string(),
        variations: "none".to_owned(),
        ..Default::default()
    };
    let read = async || {
        let (mut client, mut bytes) = (calls(address), 0);
        let mut events = client.run_oracles(asked.clone()).await.unwrap().into_inner();
        loop {
            match events.message().await.unwrap().and_then(|event| event.event) {
                Some(Event::Step(step)) => bytes += step.body.len(),
                Some(Event::Judged(judged)) => break (judged.verdict, bytes),
                None => panic!("the stream ended without a result"),
            }
        }
    };
    assert_eq!(read().await.0, "PASS");
    // As one that has a long history.
    let longer = "INSERT INTO judgement_steps (key, fence, step, body) \
                  SELECT key, fence, 1000 + number, repeat('x', $2) \
                  FROM judgements, generate_series(1, $1) AS number";
    let longer = sqlx::query(longer).bind(STEPS.0).bind(STEPS.1);
    longer.execute(&fixture.db.pool).await.unwrap();
    assert!(read().await.1 > 16_000_000);

    let before = peak(child.id());
    let stream = TcpStream::connect(address).await.unwrap();
    let mut client = h2::client::Builder::new();
    let (mut client, connection) = client.initial_window_size(0).handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(ask(&mut client, address, &asked).await);
    }
    // Others read all of it meanwhile, one after the other.
    for _ in 0..3 {
        assert_eq!(read().await.0, "PASS");
    }
    let grown = peak(child.id()) - before;
    assert!(grown < MOST_BYTES, "it grew by {} MiB", grown >> 20);

    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let ended = timeout(STOP, ended).await.expect("it ends in time").unwrap();
    assert_eq!(ended.code(), Some(0));
    drop((unread, client));
    connection.abort();
}
