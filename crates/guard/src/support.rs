//! What this host gives the guard (M11).

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::attempt::{self, Attempt};
use crate::ownership;
use crate::policy::Identity;
use crate::report::Tier;
use crate::supervise::Waiting;
use crate::sys::{self, Receiver};
use crate::trace;

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
    /// Every tier that can pass, and why this host has it or not; filled by [`crate::probe`].
    #[serde(default)]
    pub tiers: Vec<TierSupport>,
}

/// One tier on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierSupport {
    /// The tier.
    pub tier: Tier,
    /// Whether a run here can be of it.
    pub available: bool,
    /// Why, for people.
    pub reason: String,
}

/// The answer of [`crate::can_name_host`].
pub(crate) fn can_name_host() -> bool {
    /// What a process may do is decided before its first run, and asking costs a fork.
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| attempt::attempt(Attempt::HostName).is_ok())
}

/// The answer of [`crate::probe`].
pub(crate) fn probe() -> Support {
    let mut support = support(Identity::Auto);
    let listener = attempt::attempt(Attempt::Listener);
    let tracing = if trace::AVAILABLE {
        attempt::attempt(Attempt::Tracing)
    } else {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    };
    let root = matches!(ownership::resolve(Identity::Auto), Ok(Some(_)));
    support.tiers = tiers(&support, root, &listener, &tracing);
    if support.tier != Tier::Degraded && listener.is_err() {
        support.tier = if tracing.is_ok() { Tier::Traced } else { Tier::Degraded };
        if let (Err(listener), Err(tracing)) = (&listener, &tracing) {
            let why = format!("a listener for system calls ({listener}), or tracing ({tracing})");
            support.missing.push(why);
        }
    }
    support
}

fn tiers(
    support: &Support,
    root: bool,
    listener: &io::Result<()>,
    tracing: &io::Result<()>,
) -> Vec<TierSupport> {
    let lacking =
        (!support.missing.is_empty()).then(|| format!("lacks {}", support.missing.join("; ")));
    let tier = |tier, available: bool, reason: &str| {
        let (available, reason) = match &lacking {
            Some(lacking) => (false, lacking.clone()),
            None => (available, reason.to_owned()),
        };
        TierSupport { tier, available, reason }
    };
    let taken = listener.as_ref().err().map(|error| {
        if error.raw_os_error() == Some(libc::EBUSY) {
            "another supervisor already listens to the calls of this process".to_owned()
        } else {
            format!("the kernel gives no listener: {error}")
        }
    });
    let listened = |otherwise: &str| taken.clone().unwrap_or_else(|| otherwise.to_owned());
    let separated = if root {
        listened("started by root, commands run as another user")
    } else {
        "only root can run commands as another user".to_owned()
    };
    let unprivileged = if root {
        "not used: started by root, commands run as another user".to_owned()
    } else {
        listened("commands run as the caller's own user")
    };
    let traced = match tracing {
        Ok(()) if taken.is_some() => "used, since the listener is taken".to_owned(),
        Ok(()) => "used where another supervisor has the listener".to_owned(),
        Err(error) => format!("tracing is not allowed or not known here: {error}"),
    };
    vec![
        tier(Tier::Separated, root && taken.is_none(), &separated),
        tier(Tier::Unprivileged, !root && taken.is_none(), &unprivileged),
        tier(Tier::Traced, tracing.is_ok(), &traced),
    ]
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
    Support { tier, kernel, landlock_abi, missing, tiers: Vec::new() }
}

/// How this kernel lets stopped calls be waited for. Linux 6.11 and newer end the wait for a call
/// when no process is left that could make one.
pub(crate) fn waiting() -> Waiting {
    let kernel = rustix::system::uname();
    if release(&kernel.release().to_string_lossy()) < (6, 11) {
        Waiting::WithTheRest
    } else {
        Waiting::Alone
    }
}

fn release(kernel: &str) -> (u32, u32) {
    let mut numbers = kernel
        .split(|character: char| !character.is_ascii_digit())
        .map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_its_numbers() {
        assert!(release("5.4.0-generic") < (5, 19));
        assert!(release("5.19") >= (5, 19));
        assert!(release("6.18.44-fc") >= (5, 19));
    }

    #[test]
    fn a_taken_listener_leaves_the_traced_tier() {
        let support = Support {
            tier: Tier::Unprivileged,
            kernel: String::new(),
            landlock_abi: 7,
            missing: Vec::new(),
            tiers: Vec::new(),
        };
        let busy = Err(io::Error::from_raw_os_error(libc::EBUSY));
        let available = |listener: &io::Result<()>, root| {
            let tiers = tiers(&support, root, listener, &Ok(()));
            tiers.iter().filter(|tier| tier.available).map(|tier| tier.tier).collect::<Vec<_>>()
        };
        assert_eq!(available(&busy, false), [Tier::Traced]);
        assert_eq!(available(&Ok(()), false), [Tier::Unprivileged, Tier::Traced]);
        assert_eq!(available(&Ok(()), true), [Tier::Separated, Tier::Traced]);
    }
}
