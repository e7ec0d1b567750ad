//! Named points at which a process can be made to die, or to stop until it gets SIGCONT, so that a
//! test can show what a fault at each of them ends in.
//!
//! Always compiled, so that what is tested is what runs; inert unless a point is armed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, getpid, kill_process};

/// The crash points of one program, as one `static` of it.
#[derive(Debug)]
pub struct CrashPoints {
    points: &'static [(&'static str, &'static str)],
    armed: OnceLock<(String, Effect)>,
    was_held: AtomicBool,
}

/// What happens at the point that is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The process dies without any clean-up.
    Die,
    /// The whole process stops (SIGSTOP) the first time it gets there, until it gets SIGCONT.
    Hold,
}

/// Before the name of a point: hold there instead of dying.
const HOLD: &str = "hold:";

impl Effect {
    /// What the text of a setting asks for, and the name of the point.
    pub fn read(text: &str) -> (Self, &str) {
        text.strip_prefix(HOLD).map_or((Self::Die, text), |name| (Self::Hold, name))
    }
}

impl CrashPoints {
    /// The points in the order they are passed, each with what has happened by then.
    pub const fn new(points: &'static [(&'static str, &'static str)]) -> Self {
        Self { points, armed: OnceLock::new(), was_held: AtomicBool::new(false) }
    }

    /// Whether there is a point called `name`.
    pub fn exists(&self, name: &str) -> bool {
        self.points.iter().any(|(point, _)| *point == name)
    }

    /// Makes the process die, or hold, at `name` when it gets there. Only the first call counts;
    /// answers whether this one did.
    pub fn arm(&self, name: &str, effect: Effect) -> bool {
        self.armed.set((name.to_owned(), effect)).is_ok()
    }

    /// Dies or holds here if `name` is armed.
    pub fn pass(&self, name: &str) {
        debug_assert!(self.exists(name), "`{name}` is not in the table");
        let Some((_, effect)) = self.armed.get().filter(|(armed, _)| armed == name) else { return };
        match effect {
            Effect::Die => {
                tracing::error!("dying at crash point `{name}`");
                // SIGKILL runs nothing of ours any more; it only returns if it was refused.
                let refused = kill_process(getpid(), Signal::KILL);
                tracing::error!("the process could not kill itself: {refused:?}");
                std::process::abort();
            }
            Effect::Hold => {
                if self.was_held.swap(true, Ordering::Relaxed) {
                    return;
                }
                tracing::warn!("holding at crash point `{name}` until SIGCONT");
                if let Err(refused) = kill_process(getpid(), Signal::STOP) {
                    tracing::error!("the process could not stop itself: {refused}");
                }
            }
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
        assert!(POINTS.arm("b", Effect::Die));
        assert!(!POINTS.arm("a", Effect::Die), "only the first call counts");
        POINTS.pass("a");
    }

    #[test]
    fn a_point_is_named_with_what_happens_there() {
        assert_eq!(Effect::read("a.b"), (Effect::Die, "a.b"));
        assert_eq!(Effect::read("hold:a.b"), (Effect::Hold, "a.b"));
    }
}
