//! The `runner` process.

fn main() -> std::process::ExitCode {
    runner::cli::main()
}
