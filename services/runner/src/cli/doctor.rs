//! `runner doctor`.

use std::process::ExitCode;

use chassis::print_line;
use wire::escape;

use super::{OutputFormat, print_list, refused};
use crate::config::Config;
use crate::operations::doctor::{self, Condition};

/// Looks at everything, and prints a line for each thing.
pub(super) async fn run(output: OutputFormat) -> ExitCode {
    let config = match Config::load(None) {
        Ok(config) => config,
        Err(error) => return refused(&error.into(), 3),
    };
    let checks = doctor::examine(&config).await;
    match output {
        OutputFormat::Json => {
            if let Err(code) = print_list(&checks) {
                return code;
            }
        }
        OutputFormat::Text => {
            for check in &checks {
                let mark = match check.state {
                    Condition::Ok => "ok",
                    Condition::Warning => "warning",
                    Condition::Unknown => "unknown",
                    Condition::Bad => "BAD",
                };
                print_line!("{mark:<8} {:<10} {}", check.name, escape::line(&check.text));
            }
        }
    }
    // Warnings are no failures (C1).
    match checks.iter().map(|check| check.state).max() {
        Some(Condition::Bad) => ExitCode::from(1),
        Some(Condition::Unknown) => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}
