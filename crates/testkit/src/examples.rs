//! Every subcommand shows how it is called.

use clap::Command;

/// Checks that the help of every subcommand of `name` has an example that calls it.
///
/// # Panics
///
/// When one has none.
pub fn assert_every_command_shows_an_example(command: &Command, name: &str) {
    if command.has_subcommands() {
        for inner in command.get_subcommands() {
            assert_every_command_shows_an_example(inner, &format!("{name} {}", inner.get_name()));
        }
        return;
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    assert!(help.contains("Example") && help.contains(name), "{name} shows no example");
}
