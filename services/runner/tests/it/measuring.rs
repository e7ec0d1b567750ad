//! How many runs a ledger holds, with the public network's limits. It takes minutes, so it runs with
//! `LUMIO_LONG=1`; `--nocapture` shows the figures. `LUMIO_RUNS`, `LUMIO_CHANNELS` and
//! `LUMIO_LEDGER_MS` change what is measured.
//!
//! The runs have no executor: what is measured is the way from an accepted run to its receipt on
//! chain, two transactions of the vault, and not what modules take.

use std::time::Duration;

use sqlx::Row as _;
use stellar::Keypair;

use crate::fixture::{DEPOSIT, Fixture};

/// Bytes of transactions that a ledger of the public network takes (July 2026).
const LEDGER_BYTES: i64 = 266_240;

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_holds_most_of_the_runs_that_its_limits_allow() {
    if std::env::var_os("LUMIO_LONG").is_none() {
        return;
    }
    let (runs, channels) = (setting("LUMIO_RUNS", 200), setting("LUMIO_CHANNELS", 4));
    let ledger = Duration::from_millis(setting("LUMIO_LEDGER_MS", 5_000));
    let fixture = Fixture::with_ledgers_of(ledger).await;
    let mut secrets = vec![fixture.source.secret().to_string()];
    for seed in 1..channels {
        let key = Keypair::from_seed(&[60 + u8::try_from(seed).unwrap(); 32]);
        fixture.localnet.fund(&key.address().to_string()).await.unwrap();
        secrets.push(key.secret().to_string());
    }
    let secrets = secrets.join(",");
    let settings = [
        ("RUNNER_SOURCE_SECRET", secrets.as_str()),
        ("RUNNER_WORKERS", "16"),
        ("RUNNER_EXECUTIONS", "16"),
        ("RUNNER_MAX_QUEUE", "100000"),
        ("RUNNER_RATE_LIMIT", "0"),
        ("RUNNER_LEASE_MS", "15000"),
        ("RUNNER_POLL_INTERVAL_MS", "1000"),
    ];
    let running = fixture.start(&settings).await;
    let begun = tokio::time::Instant::now();
    let mut ids = Vec::new();
    for _ in 0..runs {
        ids.push(running.gateway.accepted(&fixture.body()).await);
    }
    let accepted = begun.elapsed();
    let left = "SELECT count(*) FROM runs WHERE phase <> 'done'";
    loop {
        let left: i64 = sqlx::query_scalar(left).fetch_one(&fixture.db.pool).await.unwrap();
        if left == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(900), "{left} runs are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let all = begun.elapsed();

    let text = "SELECT kind, count(*) AS transactions, sum(calls)::bigint AS calls, \
            sum(octet_length(envelope))::bigint AS bytes, sum(fee_charged)::bigint AS fees, \
            count(DISTINCT ledger) AS ledgers, min(ledger) AS first, max(ledger) AS last \
         FROM (SELECT t.*, (SELECT count(*) FROM transaction_calls m \
            WHERE m.transaction_id = t.id) AS calls FROM chain_transactions t \
            WHERE state = 'succeeded') AS landed GROUP BY kind ORDER BY kind DESC";
    let found = sqlx::query(text).fetch_all(&fixture.db.pool).await.unwrap();
    let (mut bytes, mut fees, mut first, mut last) = (0, 0, i64::MAX, 0);
    println!("{runs} runs, {channels} channels, ledgers of {ledger:?}, accepted in {accepted:.1?}");
    for row in &found {
        let number = |name: &str| row.get::<i64, _>(name);
        println!(
            "{:9} {:4} calls in {:3} transactions of {:6} bytes, in {:3} ledgers",
            row.get::<&str, _>("kind"),
            number("calls"),
            number("transactions"),
            number("bytes") / number("transactions"),
            number("ledgers"),
        );
        bytes += number("bytes");
        fees += number("fees");
        first = first.min(number("first"));
        last = last.max(number("last"));
    }
    let runs = i64::try_from(runs).unwrap();
    let (each, ledgers) = (bytes / runs, last - first + 1);
    println!(
        "{all:.1?} in all: {:.1} runs a ledger over {ledgers} ledgers; {each} bytes a run allow {}; \
         {} stroops of fees a run",
        runs as f64 / ledgers as f64,
        LEDGER_BYTES / each,
        fees / runs,
    );
    let account = fixture.account().await;
    assert_eq!(account.balance, DEPOSIT);
    assert_eq!(account.receipts, u64::try_from(runs).unwrap());
    for id in &ids {
        assert_eq!(fixture.succeeded(id, "open").await, 1);
        assert_eq!(fixture.succeeded(id, "finalize").await, 1);
    }
    running.stop().await;
}
