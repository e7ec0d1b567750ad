//! `doctor`: what this host gives the guard and why, with a few runs that show it.

mod selftest;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use guard::{Tier, TierSupport};
use serde::Serialize;

use self::selftest::SelfTest;
use crate::sandbox::{self, Sandbox};

/// The command line of `doctor`.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Doctor {
    /// Ask the host only; run nothing
    #[arg(long)]
    no_self_tests: bool,
    /// The Node program
    #[arg(long, env = "MODULE_GATE_NODE", default_value = "node")]
    node: PathBuf,
    /// The programs' search path
    #[arg(long, env = "PATH", hide = true, default_value = "")]
    path: String,
}

/// Everything that was found out.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// What a run here is.
    pub tier: Tier,
    /// The guard can be relied on here: full tier, and every self-test came out as it must.
    pub healthy: bool,
    /// Parts of the host.
    pub facts: Vec<Fact>,
    /// Runs of known programs.
    pub self_tests: Vec<SelfTest>,
}

/// One part of the host.
#[derive(Debug, Serialize)]
pub struct Fact {
    /// Which part.
    pub name: &'static str,
    /// Good, missing, or only worth knowing.
    pub state: Condition,
    /// What was found, and what it means or what to do.
    pub found: String,
}

/// How a part of the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// As it must be.
    Ok,
    /// The guard cannot do without.
    Missing,
    /// Changes nothing about the verdicts.
    Note,
}

/// Examines the host.
///
/// # Errors
/// The temporary folder of the self-tests cannot be made.
pub fn examine(doctor: &Doctor) -> anyhow::Result<Diagnosis> {
    let private = tempfile::Builder::new().prefix("module-gate-").tempdir()?;

    // As root, commands run as another user, which has to pass through.
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o711))?;
    let support = guard::probe();
    let sandbox = Sandbox::new(&private.path().join("node"), &doctor.node, &doctor.path, false);
    let mut facts = kernel(&support);
    facts.extend(support.tiers.iter().map(tier));
    facts.extend([user(), namespaces(), control_group(), node(&sandbox)]);

    // Below the full tier every self-test would only say so again.
    let self_tests = if doctor.no_self_tests || support.tier == Tier::Degraded {
        Vec::new()
    } else {
        selftest::all(private.path(), sandbox.ok().map(|sandbox| sandbox.node))
    };
    let healthy = support.tier != Tier::Degraded
        && facts.iter().all(|fact| fact.state != Condition::Missing)
        && self_tests.iter().all(|test| test.held);
    Ok(Diagnosis { tier: support.tier, healthy, facts, self_tests })
}

fn fact(name: &'static str, good: bool, found: String) -> Fact {
    Fact { name, state: if good { Condition::Ok } else { Condition::Missing }, found }
}

fn kernel(support: &guard::Support) -> Vec<Fact> {
    let lacks = |word: &str| support.missing.iter().find(|missing| missing.contains(word));
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let abi = support.landlock_abi;
    let landlock = match (abi, modules.trim()) {
        (0, "") => "none: boot with lsm=landlock,… or use a kernel that has it".to_owned(),
        (0, active) => format!("none among the active {active}: add landlock to lsm= at boot"),
        (1..6, _) => format!("ABI {abi}; signals, which ABI 6 confines, are stopped by seccomp"),
        _ => format!("ABI {abi}"),
    };
    let notification = lacks("user notification").cloned();
    let children = lacks("/proc").cloned();
    vec![
        fact(
            "kernel",
            lacks("Linux").is_none(),
            format!("{} (5.19 or newer is needed)", support.kernel),
        ),
        // ABI 2 is the first that confines links and renames between folders.
        fact("landlock", abi >= 2, landlock),
        fact(
            "seccomp",
            notification.is_none(),
            notification.unwrap_or_else(|| "user notification, killable while it waits".to_owned()),
        ),
        fact(
            "proc",
            children.is_none(),
            children.unwrap_or_else(|| "lists the children of a process".to_owned()),
        ),
    ]
}

/// One line a tier: whether a run here can be of it, and why.
fn tier(tier: &TierSupport) -> Fact {
    let name = match tier.tier {
        Tier::Separated => "tier separated",
        Tier::Unprivileged => "tier unprivileged",
        Tier::Traced => "tier traced",
        Tier::Degraded => "tier degraded",
    };
    let available = if tier.available { "yes" } else { "no" };
    Fact { name, state: Condition::Note, found: format!("{available}: {}", tier.reason) }
}

fn user() -> Fact {
    let own = rustix::process::geteuid();
    let found = if own.is_root() {
        "root: commands run as user 65534 without any capability".to_owned()
    } else {
        format!(
            "{}: commands run as the same user, whose own files are protected by the guard alone",
            own.as_raw()
        )
    };
    Fact { name: "user", state: Condition::Note, found }
}

fn namespaces() -> Fact {
    let number =
        |path| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let most = number("/proc/sys/user/max_user_namespaces").unwrap_or(0);
    let closed = number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0)
        || number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    let found = if most == 0 || closed {
        "closed to ordinary users; the guard needs none"
    } else {
        "open; the guard needs none and gives commands none"
    };
    Fact { name: "user namespaces", state: Condition::Note, found: found.to_owned() }
}

fn control_group() -> Fact {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = own.lines().find_map(|line| line.strip_prefix("0::"));
    let folder = unified.map(|path| Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')));
    let delegated = folder.is_some_and(|folder| {
        rustix::fs::access(folder.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
            && fs::read_to_string(folder.join("cgroup.controllers"))
                .is_ok_and(|list| list.contains("memory"))
    });
    let found = if delegated {
        "delegated to this process, and not used: memory is bounded by what the processes hold, \
         looked at every 50 ms"
    } else {
        "not delegated; memory is bounded by what the processes hold, looked at every 50 ms"
    };
    Fact { name: "control group", state: Condition::Note, found: found.to_owned() }
}

fn node(sandbox: &Result<Sandbox, String>) -> Fact {
    let (state, found) = match sandbox {
        Ok(sandbox) => match sandbox::node::version(&sandbox.node) {
            Ok(version) => (Condition::Ok, version),
            Err(wrong) => (Condition::Missing, wrong),
        },
        Err(error) => (Condition::Missing, format!("{error}; set MODULE_GATE_NODE or --node")),
    };
    Fact { name: "node", state, found }
}

/// The diagnosis for people.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut lines = vec![format!(
        "{}: this host gives the tier \"{}\"",
        if diagnosis.healthy { "HEALTHY" } else { "NOT HEALTHY" },
        diagnosis.tier
    )];
    for fact in &diagnosis.facts {
        let state = match fact.state {
            Condition::Ok => "ok",
            Condition::Missing => "MISSING",
            Condition::Note => "note",
        };
        lines.push(format!("  {state:<8} {:<16} {}", fact.name, fact.found));
    }
    for test in &diagnosis.self_tests {
        let state = if test.held { "ok" } else { "WRONG" };
        lines.push(format!("  {state:<8} {:<40} {}", test.name, test.seen));
    }
    lines.join("\n") + "\n"
}
