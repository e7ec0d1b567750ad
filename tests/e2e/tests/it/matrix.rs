//! A part of the crash matrix that a seed chooses; `LUMIO_LONG` asks for all of it, and
//! `./dev crash-matrix` writes its page.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use e2e::matrix::{self, At, Case, EDGES, Options};

use crate::crashes::points;

/// Chooses the part, unless `LUMIO_MATRIX_SEED` names another.
const SEED: u64 = 18;

#[tokio::test(flavor = "multi_thread")]
async fn every_run_ends_once_whatever_goes_wrong_at_whichever_edge() {
    let long = std::env::var_os("LUMIO_LONG").is_some();
    let named = std::env::var_os("LUMIO_MATRIX_SEED");
    let seed = named.map_or(SEED, |seed| seed.to_str().unwrap().parse().unwrap());
    let options = Options {
        seed,
        cases: (!long).then_some(5),
        named: Vec::new(),
        random: Duration::from_secs(if long { 600 } else { 10 }),
        lanes: 2,
        within: None,
    };
    let outcome = matrix::run(options).await;
    let broken = outcome.broken();
    assert!(broken.is_empty(), "seed {seed}:\n{}", broken.join("\n"));
    let random = outcome.random.unwrap();
    assert!(random.kills > 0 && random.runs > 0, "{random:?}");
}

#[test]
fn every_crash_point_on_a_runs_way_is_an_edge_of_the_matrix() {
    let edges = EDGES.iter().filter_map(|(_, at, _)| match at {
        At::Point(point) => Some((*point).to_owned()),
        At::Accepted | At::Ended => None,
    });
    // A fee bump needs others who fill every ledger.
    let is_bump = |name: &String| name.starts_with("bump.");
    let expected: Vec<_> = points().into_iter().filter(|name| !is_bump(name)).collect();
    assert_eq!(edges.collect::<Vec<_>>(), expected);
}

#[test]
fn every_case_has_a_name_by_which_it_can_be_run_alone() {
    let cases = Case::all();
    let names: BTreeSet<_> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len());
    for name in [
        "settlement sent x pruned node, 3 runs",
        "void stored x kill -9, 3 runs",
        "reclaim sent x ledger stall, 1 run",
        "payment confirmed, not stored x lost response, 1 run",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }

    let command = || Command::new(env!("CARGO_BIN_EXE_crash-matrix"));
    let listed = command().arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        cases.iter().map(Case::name).collect::<Vec<_>>()
    );
    let unknown = command().args(["--case", "settlement sent x rain"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("--list"), "{unknown:?}");
}
