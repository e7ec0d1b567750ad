//! What is committed beside the tests is what its source says.

use crate::harness::counter_wasm;

#[test]
fn the_counters_wasm_is_what_its_text_builds() {
    assert_eq!(include_bytes!("../fixtures/counter.wasm").as_slice(), counter_wasm());
}
