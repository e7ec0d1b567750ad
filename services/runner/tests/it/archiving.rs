//! Entries that were not used for so long that the network archived them are there anyway:
//! the call that needs them brings them back.

use std::str::FromStr as _;

use soroban_localnet::Lifetimes;
use stellar_xdr::{SorobanTransactionDataExt, TransactionEnvelope, TransactionExt};

use crate::fixture::Fixture;

/// Every entry is archived after this many ledgers without use, the contracts' code as well.
const LONGEST: u32 = 1_500;

/// A runner whose runs end well before that.
const SHORT: [(&str, &str); 2] =
    [("RUNNER_DEADLINE_SECS", "700"), ("RUNNER_WALL_LIMIT_MS", "60000")];

/// How many entries a stored envelope brings back from the archive.
fn restores(envelope: &[u8]) -> usize {
    let read = stellar::scval::from_xdr("envelope", envelope).unwrap();
    let TransactionEnvelope::Tx(envelope) = read else { panic!("{read:?}") };
    let TransactionExt::V1(data) = envelope.tx.ext else { panic!("no resources") };
    match data.ext {
        SorobanTransactionDataExt::V1(entries) => entries.archived_soroban_entries.len(),
        SorobanTransactionDataExt::V0 => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_entries_are_restored_by_the_call_that_needs_them() {
    let lifetimes = Lifetimes { min_temporary: 16, min_persistent: 100, max: LONGEST };
    let fixture = Fixture::with(|network| network.lifetimes(lifetimes)).await;
    let running = fixture.start(&SHORT).await;
    let first = running.gateway.accepted(&fixture.body()).await;
    running.gateway.ended(&first, "failed").await;

    // User, grant, agent, rate card, both contracts and their code: nothing of it was used.
    fixture.localnet.close_ledgers(LONGEST + 100).await.unwrap();
    let second = running.gateway.accepted(&fixture.body()).await;
    let run = running.gateway.ended(&second, "failed").await;
    assert!(run["receipt"].is_object(), "it was opened, and settled: {run:#}");

    // What the settlement needs can be archived while the run is open just as well; here nothing is
    // left to bring back.
    running.stop().await;
    let text = "SELECT t.kind, t.envelope FROM chain_transactions t \
                JOIN transaction_calls m ON m.transaction_id = t.id \
                JOIN calls c ON c.id = m.call_id \
                WHERE t.state = 'succeeded' AND c.run_id = $1 ORDER BY t.id";
    let id = uuid::Uuid::from_str(&second).unwrap();
    let stored: Vec<(String, Vec<u8>)> =
        sqlx::query_as(text).bind(id).fetch_all(&fixture.db.pool).await.unwrap();
    let counts: Vec<_> =
        stored.iter().map(|(kind, envelope)| (kind.as_str(), restores(envelope))).collect();
    assert!(matches!(counts[0], ("open", 5..)), "the opening brings them back: {counts:?}");
    assert!(counts[1..].iter().all(|(_, count)| *count == 0), "{counts:?}");
    assert_eq!(fixture.account().await.receipts, 2);
}
