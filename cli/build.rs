//! Gives `--version` the commit that is built: `LUMIO_COMMIT` where the build has no repository,
//! else the one that is checked out.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=LUMIO_COMMIT");
    let given = std::env::var_os("LUMIO_COMMIT").and_then(|commit| commit.into_string().ok());
    let given = given.filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        // Every commit and checkout adds a line to it.
        println!("cargo::rerun-if-changed={head}");
    }
    println!("cargo::rustc-env=LUMIO_COMMIT={}", commit.as_deref().unwrap_or("no commit known"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
