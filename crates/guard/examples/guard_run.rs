//! Runs any command under the guard and prints the report as JSON: `guard_run <root> [deny]
//! [FS:write …] -- <command> …`.
//!
//! `deny` refuses reading outside the root; the other words declare capabilities.

use std::error::Error;

use guard::{Capability, Command, Policy, Reads};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let root =
        arguments.next().ok_or("usage: guard_run <root> [deny] [capability …] -- <command> …")?;
    let mut policy = Policy::new(&root);
    for word in arguments.by_ref().take_while(|word| word != "--") {
        match word.to_string_lossy().as_ref() {
            "deny" => policy.reads = Reads::Deny { allow: Vec::new() },
            name => policy = policy.declare(name.parse::<Capability>()?),
        }
    }
    let program = arguments.next().ok_or("no command after --")?;
    let command =
        Command::new(program, &root).args(arguments).env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let report = guard::run(&command, &policy)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
