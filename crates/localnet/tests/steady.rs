//! The memory of a network that runs for long does not grow with what it has forgotten, and neither
//! does what a ledger costs.
//!
//! In a process of its own, since it measures the whole process: 300 invocations with a retention
//! of 50 ledgers, or with `LUMIO_LONG=1` 10,000 with a retention of 1,000. The chain is kept on
//! disk.
#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[path = "network/harness.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod harness;

use serde_json::Value;
use soroban_env_host::xdr::ScVal;
use soroban_localnet::Network;
use tokio::time::Instant;

use crate::harness::{START, client_of, invoke};

/// Memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kilobytes * 1024
}

fn kept(described: &Value, what: &str) -> u64 {
    described["kept"][what].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_steady_however_many_invocations_there_were() {
    let long = std::env::var_os("LUMIO_LONG").is_some();
    let (invocations, retention) = if long { (10_000, 1_000) } else { (300, 50) };
    // With the public network's lives, which outlast the test.
    let directory = tempfile::tempdir().unwrap();
    let network = Network::builder().manual_clock(START).retention(retention).control(true);
    let network = network.state_dir(directory.path());
    let client = client_of(network).await;
    let source = client.funded(1).await;
    let counter = client.counter(&source, 0).await;

    let marks = [invocations / 5, invocations / 2, invocations];
    let mut seen: Vec<(u32, u64, Value)> = Vec::new();
    let mut since = Instant::now();
    for number in 1..=invocations {
        let bump = invoke(&counter, "bump", vec![source.sc()]);
        assert_eq!(client.run(&source, bump, &[]).await.1, ScVal::U32(number));
        if marks.contains(&number) {
            let count = number - seen.last().map_or(0, |(number, ..)| *number);
            let each = since.elapsed() / count;
            println!(
                "retention {retention}: after {number} invocations {} MiB, {each:?} each",
                resident() >> 20
            );
            seen.push((number, resident(), client.described().await));
            since = Instant::now();
        }
    }
    let [_, (_, before, described_before), (_, after, described)] = seen.try_into().unwrap();

    assert_eq!(kept(&described, "ledgers"), u64::from(retention));
    for what in ["ledgers", "transactions", "events", "entries"] {
        let counts = (kept(&described, what), kept(&described_before, what));
        assert_eq!(counts.0, counts.1, "{what}");
    }
    // The allocator keeps some of what was freed; growth by what was forgotten would be far more.
    assert!(after < before + before / 5 + (16 << 20), "{before} became {after} bytes");
}
