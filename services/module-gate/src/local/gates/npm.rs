//! Packing a module that is an npm package.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Packs a module that is an npm package, without running any script of it. Answers the name of the
/// tarball.
pub(super) fn npm_pack(
    npm: &Path,
    path: &str,
    root: &Path,
    home: &Path,
) -> anyhow::Result<Option<String>> {
    if !root.join("package.json").is_file() {
        return Ok(None);
    }

    // Nothing of this process's environment reaches npm: it may hold secrets.
    let output = Command::new(npm)
        .args(["pack", "--dry-run", "--ignore-scripts", "--json", "--offline"])
        .current_dir(root)
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", npm.display()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "npm pack ended with {}: {}",
            output.status,
            text.trim().chars().take(500).collect::<String>()
        );
    }
    let packed: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("npm pack answered no JSON")?;
    Ok(Some(packed[0]["filename"].as_str().unwrap_or("a package without a name").to_owned()))
}
