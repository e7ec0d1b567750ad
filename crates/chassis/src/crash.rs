//! Named points at which a process can be made to die, so that a test can show what a restart at
//! each of them ends in.
//!
//! Always compiled, so that what is tested is what runs; inert unless a point is armed.

use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

/// The crash points of one program, as one `static` of it.
#[derive(Debug)]
pub struct CrashPoints {
    points: &'static [(&'static str, &'static str)],
    armed: OnceLock<String>,
}

impl CrashPoints {
    /// The points in the order they are passed, each with what has happened by then.
    pub const fn new(points: &'static [(&'static str, &'static str)]) -> Self {
        Self { points, armed: OnceLock::new() }
    }

    /// Whether there is a point called `name`.
    pub fn exists(&self, name: &str) -> bool {
        self.points.iter().any(|(point, _)| *point == name)
    }

    /// Makes the process die at `name` when it gets there. Only the first call counts; answers
    /// whether this one did.
    pub fn arm(&self, name: &str) -> bool {
        self.armed.set(name.to_owned()).is_ok()
    }

    /// Dies here, without any clean-up, if `name` is armed.
    pub fn pass(&self, name: &str) {
        debug_assert!(self.exists(name), "`{name}` is not in the table");
        if self.armed.get().is_some_and(|armed| armed == name) {
            tracing::error!("dying at crash point `{name}`");
            // SIGKILL runs nothing of ours any more; it only returns if it was refused.
            let refused = kill_process(getpid(), Signal::KILL);
            tracing::error!("the process could not kill itself: {refused:?}");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_armed_is_passed() {
        static POINTS: CrashPoints = CrashPoints::new(&[("a", "first"), ("b", "second")]);
        assert!(POINTS.exists("a") && !POINTS.exists("c"));
        POINTS.pass("a");
        assert!(POINTS.arm("b"));
        assert!(!POINTS.arm("a"), "only the first call counts");
        POINTS.pass("a");
    }
}
