//! What the contracts may cost, and that the page says what they do.

use contract_costs::ledger::Cost;
use contract_costs::throughput::{self, Clusters};
use contract_costs::{measure, replaced, table};

const PAGE: &str = include_str!("../../../contracts/README.md");

#[test]
fn a_run_costs_no_more_than_it_may_and_the_page_says_so() {
    let costs = measure::all().unwrap();
    assert!(costs.record.0 <= 350 && costs.record.1 <= 350, "records: {:?}", costs.record);
    let ledger = &costs.ledger.settings.limits.ledger;
    for (whose, batches) in &costs.runs {
        let (single, full) = (batches[0].per_run(), batches[3].per_run());
        assert!(full.fee * 100 <= single.fee * 70, "{whose}: {full:?} of {single:?}");
        let most = if *whose == "one user" { 35_000 } else { 45_000 };
        assert!(full.total() <= most, "{whose}: {full:?}");
        // A single run costs two transactions of its own, which no record's rent can lower.
        for batch in &batches[1..] {
            let run = batch.per_run();
            assert!(run.total() * 15 <= run.total_persistent(), "{whose}: {run:?}");
        }
        let share = |cost: &Cost, runs: usize| f64::from(cost.transaction_bytes) / runs as f64;
        let full = &batches[3];
        let envelope = share(&full.open, full.opens) + share(&full.settle, full.settlements);
        assert!(envelope <= 1_700.0, "{whose}: {envelope} bytes of envelope a run");
        for clusters in [Clusters::Together, Clusters::Apart] {
            let binding = throughput::binding(&throughput::allowed(full, ledger, clusters));
            // Limits add to every grant's entry, and the bytes written bind.
            let least = if whose.contains("limits") { 130 } else { 140 };
            assert!(binding.runs >= least, "{whose}: {binding:?}");
        }
    }
    let page = replaced(PAGE, &table::markdown(&costs)).expect("marks around the table");
    assert!(page == PAGE, "the table is old; run: cargo run -p contract-costs -- --write");
}
