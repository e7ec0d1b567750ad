//! The program `oracle-gate`; see the library for what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    oracle_gate::cli::run()
}
