//! Random sequences of calls to a vault: every call, by many users, runners, developers and admins,
//! at all times, signed and unsigned, with records that vanish before their time. After each step
//! the vault must have answered what the model answers, emitted events for every change and for
//! nothing else, asked exactly the right address to sign, and hold exactly what it owes (V1).
//!
//! An ordinary run drives 100,000 steps from a fixed seed. `LUMIO_VAULT_STEPS` asks for more, from
//! a seed of its own that a failure names; `LUMIO_VAULT_SEED` repeats one. A failure is shrunk to
//! the shortest list of steps that still fails.

mod ask;
mod judge;
mod network;
mod signer;
mod step;
mod strategy;

use super::std::string::String as Text;
use super::std::vec::Vec as List;
use super::std::{format, thread};

use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::network::Network;
use self::strategy::call;
use super::wished;

/// Steps of an ordinary run.
const STEPS: usize = 100_000;
/// Steps of one sequence. What a call costs the test grows with the entries touched before.
const SEQUENCE: usize = 80;

#[test]
fn a_vault_answers_as_its_model_says() {
    let steps = wished("LUMIO_VAULT_STEPS").map(|steps| usize::try_from(steps).unwrap());
    let seed = match (wished("LUMIO_VAULT_SEED"), steps) {
        (Some(seed), _) => seed,
        (None, Some(_)) => fresh_seed(),
        (None, None) => 0,
    };
    let steps = steps.unwrap_or(STEPS);
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let sequences = steps.div_ceil(SEQUENCE * threads);
    let done: usize = thread::scope(|scope| {
        let run = |at: usize| move || run_sequences(seed, at, sequences);
        let threads: List<_> = (0..threads).map(|at| scope.spawn(run(at))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(done >= steps, "only {done} steps were taken");
}

/// Runs as many sequences and answers how many steps they took.
fn run_sequences(seed: u64, thread: usize, sequences: usize) -> usize {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8] = u8::try_from(thread).unwrap();
    let config = Config {
        cases: u32::try_from(sequences).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let taken = core::cell::Cell::new(0);
    let outcome = runner.run(&vec(call(), SEQUENCE), |calls| {
        let mut network = Network::new();
        for call in &calls {
            network.take(call).map_err(TestCaseError::fail)?;
            taken.set(taken.get() + 1);
        }
        network.end().map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, calls)) => {
            let shortest: Text = calls.iter().map(|call| format!("\n  {call}")).collect();
            panic!("LUMIO_VAULT_SEED={seed}: {reason}\nafter{shortest}");
        }
        Err(aborted) => panic!("LUMIO_VAULT_SEED={seed}: {aborted}"),
    }
    taken.get()
}

fn fresh_seed() -> u64 {
    let now =
        super::std::time::SystemTime::now().duration_since(super::std::time::UNIX_EPOCH).unwrap();
    now.as_secs()
}
