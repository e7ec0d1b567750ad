//! A stream that lost its events is filled again by command.

use wire::event::Family;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_its_events_is_filled_again_by_command() {
    testkit::check_refill(env!("CARGO_BIN_EXE_module-gate"), Family::Gate).await;
}
