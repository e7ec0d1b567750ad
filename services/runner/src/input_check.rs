//! Whether an input is what its module expects, asked when a run is accepted and before it is opened.

use input_schema::Mistake;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};
use crate::gates::Schema;

/// Inputs of requests that are compared with a schema at once: a tree of values takes much memory.
pub static CHECKS_OF_REQUESTS: Semaphore = Semaphore::const_new(1);
/// The same for runs that are about to be opened, which must not wait for callers that send
/// requests.
pub static CHECKS_OF_RUNS: Semaphore = Semaphore::const_new(1);

/// What an input does not fulfil of a schema; `places` bounds how many are compared at once.
///
/// # Errors
///
/// [`Error::Broken`], when the comparison could not be made.
pub async fn mistakes(
    schema: &Schema,
    input: &[u8],
    places: &'static Semaphore,
) -> Result<Vec<Mistake>> {
    let Some(schema) = schema.clone() else { return Ok(Vec::new()) };
    let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("an input: {error}"));
    let input = std::str::from_utf8(input).map_err(|error| broken(&error))?.to_owned();
    let place = places.acquire().await.map_err(|error| broken(&error))?;
    // It may take a processor for a while, which other requests must not wait for. Its place is
    // taken until it ends, whether or not somebody still waits for its result.
    let checked = tokio::task::spawn_blocking(move || {
        let mistakes = schema.check(&input);
        drop(place);
        mistakes
    });
    checked.await.map_err(|error| broken(&error))
}
