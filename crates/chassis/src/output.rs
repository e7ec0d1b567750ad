//! What commands print. A command whose output was not written completely has not succeeded,
//! whatever else it did: a reader of the output would go on with a part of it.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

/// The first error of writing standard output. It is reported at the end, because the command goes
/// on with what it does.
static FIRST_WRITE_ERROR: OnceLock<String> = OnceLock::new();

/// All was well but for standard output: another attempt may succeed (C1).
const UNWRITABLE: u8 = 2;

/// Writes a text to standard output as it is, at once.
pub fn print(text: &str) {
    record_error(io::stdout().write_all(text.as_bytes()));
}

/// Prints a line as `println!` does, which would panic where standard output cannot be written.
#[macro_export]
macro_rules! print_line {
    ($($words:tt)*) => { $crate::output::line(format_args!($($words)*)) };
}

/// Writes a line to standard output, at once.
pub fn line(words: fmt::Arguments<'_>) {
    print(&format!("{words}\n"));
}

/// Keeps an error of writing standard output for [`final_exit_code`]. A reader that has gone away
/// wanted no more of it, which is no failure.
pub fn record_error(written: io::Result<()>) {
    // What is left in the buffer would be written after the last moment at which a failure can be
    // reported.
    let written = written.and_then(|()| io::stdout().flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first failure counts: those that follow have the same cause.
        let _ = FIRST_WRITE_ERROR.set(error.to_string());
    }
}

/// The exit code of the program `name`. Success needs all of standard output to be written; what is
/// bad or unknown stays so.
pub fn final_exit_code(name: &str, code: ExitCode) -> ExitCode {
    let Some(why) = FIRST_WRITE_ERROR.get() else { return code };
    let done = code == ExitCode::SUCCESS;
    let words = if done { "the command was carried out, but " } else { "" };
    // Where standard error cannot be written either, the exit code alone reports it.
    let _ = writeln!(
        io::stderr(),
        "{name}: {words}standard output cannot be written: {why}; the output is incomplete"
    );
    if done { ExitCode::from(UNWRITABLE) } else { code }
}
