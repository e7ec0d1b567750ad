//! What this host gives the guard (M11).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ownership;
use crate::policy::Identity;
use crate::report::Tier;
use crate::sys::{self, Receiver};

/// The host's answer, found by asking the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Support {
    /// What a run here would be.
    pub tier: Tier,
    /// The kernel's release.
    pub kernel: String,
    /// The Landlock ABI; 0 without Landlock.
    pub landlock_abi: u32,
    /// What is missing for a full run, for people; empty where nothing is.
    pub missing: Vec<String>,
}

/// Asks the kernel. Whether an outer supervisor already listens to this process's calls only shows at a run's start.
pub fn probe() -> Support {
    support(Identity::Auto)
}

pub(crate) fn support(identity: Identity) -> Support {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let landlock_abi = sys::landlock_abi();
    let mut missing = Vec::new();
    if release(&kernel) < (5, 19) {
        missing.push(format!("Linux 5.19 or newer, this is {kernel}"));
    }
    if landlock_abi < 2 {
        missing.push(format!("Landlock ABI 2 or newer, this kernel offers {landlock_abi}"));
    }
    if let Err(error) = Receiver::new() {
        missing.push(format!("seccomp user notification: {error}"));
    }
    if !Path::new("/proc/thread-self/children").exists() {
        missing.push("a /proc with lists of children (CONFIG_PROC_CHILDREN)".to_owned());
    }
    let tier = match ownership::resolve(identity) {
        _ if !missing.is_empty() => Tier::Degraded,
        Ok(Some(_)) => Tier::Separated,
        Ok(None) | Err(_) => Tier::Unprivileged,
    };
    Support { tier, kernel, landlock_abi, missing }
}

fn release(kernel: &str) -> (u32, u32) {
    let mut numbers = kernel
        .split(|character: char| !character.is_ascii_digit())
        .map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_release_is_compared_by_its_numbers() {
        assert!(super::release("5.4.0-generic") < (5, 19));
        assert!(super::release("5.19") >= (5, 19));
        assert!(super::release("6.18.44-fc") >= (5, 19));
    }
}
