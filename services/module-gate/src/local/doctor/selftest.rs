//! A handful of known programs whose verdicts are known too.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use guard::{Capability, Code, Command, Identity, Policy, Reads, Verdict};
use serde::Serialize;

use crate::sandbox::PROGRAMS;

/// One run of a known program.
#[derive(Debug, Serialize)]
pub struct SelfTest {
    /// What must hold.
    pub name: &'static str,
    /// Whether it did.
    pub held: bool,
    /// The verdict and its reason.
    pub seen: String,
}

/// The verdict on a run, or why there is none.
type Outcome = Result<(Verdict, Option<Code>, String), String>;

/// What a self-test must see.
type Owed = (Verdict, Option<Code>);

const PASS: Owed = (Verdict::Pass, None);
const UNDECLARED: Owed = (Verdict::Fail, Some(Code::Undeclared));
const FORBIDDEN: Owed = (Verdict::Fail, Some(Code::Forbidden));
const ENDED: Owed = (Verdict::Fail, Some(Code::Exec));

/// Runs them all.
pub(super) fn all(private: &Path, node: Option<PathBuf>) -> Vec<SelfTest> {
    use Capability::{FsWrite, ProcessShell};
    let sh = |name, script: &str, declared: &[Capability], owed| {
        verdict(name, owed, shell(private, script, declared, |_| {}))
    };
    let strict = |policy: &mut Policy| policy.reads = Reads::Deny { allow: Vec::new() };
    let mut tests = vec![
        sh("a command that changes nothing passes", ":", &[], PASS),
        sh("a declared write passes", "echo 1 > a", &[FsWrite], PASS),
        sh("an undeclared write is charged", "{ echo 1 > a; } 2>/dev/null; :", &[], UNDECLARED),
        sh(
            "a write outside is refused",
            "{ echo 1 > ../a; } 2>/dev/null; :",
            &[FsWrite],
            FORBIDDEN,
        ),
        sh("a link out is followed", "{ echo 1 > up/a; } 2>/dev/null; :", &[FsWrite], FORBIDDEN),
        sh("an undeclared program is charged", "/bin/true; :", &[], UNDECLARED),
        sh(
            "a mode outside is not changed",
            "chmod 600 ../victim; :",
            &[FsWrite, ProcessShell],
            FORBIDDEN,
        ),
        sh(
            "a daemon ends with its command",
            "(trap '' TERM HUP; sleep 600) & :",
            &[ProcessShell],
            PASS,
        ),
        verdict(
            "a denied read is refused",
            FORBIDDEN,
            shell(private, "{ read line < ../victim; } 2>/dev/null; :", &[], strict),
        ),
        verdict(
            "an endless command ends at its limit",
            ENDED,
            shell(private, "while :; do :; done", &[], |policy| policy.limits.wall_ms = 200),
        ),
    ];
    if let Some(node) = node {
        let js = |name, script, owed| verdict(name, owed, javascript(private, &node, script));
        tests.push(js("an empty script passes", "", PASS));
        tests.push(js(
            "a script's undeclared write is charged",
            "try { require('fs').writeFileSync('a', '1') } catch {}",
            UNDECLARED,
        ));
        tests.push(js(
            "a script's connection is charged",
            "require('net').connect(9, '127.0.0.1').on('error', () => {})",
            UNDECLARED,
        ));
    }
    tests
}

fn verdict(name: &'static str, owed: Owed, seen: Outcome) -> SelfTest {
    match seen {
        Ok((verdict, code, reason)) => {
            let reported =
                code.map_or_else(|| "PASS".to_owned(), |code| format!("{code}: {reason}"));
            SelfTest { name, held: (verdict, code) == owed, seen: reported }
        }
        Err(error) => SelfTest { name, held: false, seen: error },
    }
}

/// A shell script, in a folder of its own.
fn shell(
    private: &Path,
    script: &str,
    declared: &[Capability],
    change: impl Fn(&mut Policy),
) -> Outcome {
    run(private, |root| Command::new("/bin/sh", root).args(["-c", script]), declared, change)
}

fn javascript(private: &Path, node: &Path, script: &str) -> Outcome {
    let strict = |policy: &mut Policy| {
        policy.reads = Reads::Deny { allow: PROGRAMS.map(PathBuf::from).to_vec() };
    };
    run(private, |root| Command::new(node, root).args(["-e", script]), &[], strict)
}

/// One run in a fresh folder: a root, a file beside it, a link that leads out.
fn run(
    private: &Path,
    command: impl Fn(&Path) -> Command,
    declared: &[Capability],
    change: impl Fn(&mut Policy),
) -> Outcome {
    let made = || -> std::io::Result<tempfile::TempDir> {
        let folder = tempfile::tempdir_in(private)?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        fs::create_dir(folder.path().join("root"))?;
        fs::write(folder.path().join("victim"), "victim")?;
        symlink("..", folder.path().join("root/up"))?;
        Ok(folder)
    };
    let folder = made().map_err(|error| format!("cannot make a folder to run in: {error}"))?;
    let root = folder.path().join("root");
    let mut policy = Policy::new(&root);
    policy.declared.extend(declared);

    // Far more than any of them needs: a busy host must not look broken.
    policy.limits.wall_ms = 20_000;
    change(&mut policy);
    let ran = guard::prepare_ownership(&root, Identity::Auto).and_then(|()| {
        guard::run(&command(&root).env("PATH", "/usr/local/bin:/usr/bin:/bin"), &policy)
    });
    let report = ran.map_err(|error| error.to_string())?;
    Ok((report.verdict, report.code, report.reason))
}
