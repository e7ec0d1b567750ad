//! `runner doctor`.

use std::process::ExitCode;

use super::{Output, plain, print_json, refused};
use crate::config::Config;
use crate::operations::doctor::{self, State};

/// Looks at everything, and prints a line for each thing.
pub(super) async fn run(output: Output) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let checks = doctor::examine(&config).await;
    match output {
        Output::Json => {
            if let Err(code) = print_json(&checks) {
                return code;
            }
        }
        Output::Text => {
            for check in &checks {
                let mark = match check.state {
                    State::Ok => "ok",
                    State::Warning => "warning",
                    State::Unknown => "unknown",
                    State::Bad => "BAD",
                };
                println!("{mark:<8} {:<10} {}", check.name, plain(&check.text));
            }
        }
    }
    // Warnings are no failures (C1).
    match checks.iter().map(|check| check.state).max() {
        Some(State::Bad) => ExitCode::from(1),
        Some(State::Unknown) => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}
