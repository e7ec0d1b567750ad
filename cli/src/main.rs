//! The process: arguments in, exit code out.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    ExitCode::from(lumio::run(std::env::args_os()).await)
}
