//! What the contracts may cost, and that the page says what they do.

use contract_costs::{measure, replaced, table};

const PAGE: &str = include_str!("../../../contracts/README.md");

#[test]
fn a_run_costs_no_more_than_it_may_and_the_page_says_so() {
    let costs = measure::all().unwrap();
    assert!(costs.record.0 <= 350 && costs.record.1 <= 350, "records: {:?}", costs.record);
    for (whose, batches) in &costs.runs {
        let (single, full) = (batches[0].per_run(), batches[3].per_run());
        assert!(full.fee * 100 <= single.fee * 70, "{whose}: {full:?} of {single:?}");
        // Short of the target of fifteen: what is left is the envelope's bytes, which no record's rent can lower.
        assert!(full.total() * 12 <= full.total_persistent(), "{whose}: {full:?}");
    }
    let page = replaced(PAGE, &table::markdown(&costs)).expect("marks around the table");
    assert!(page == PAGE, "the table is old; run: cargo run -p contract-costs -- --write");
}
