//! Named points at which the process can be made to die or to stop, so that a test can show that a
//! fault at any of them ends in one open, one execution, one seal, one settlement and one
//! receipt.
//!
//! Always compiled, so that what is tested is what runs; inert unless `RUNNER_CRASH_AT` names a
//! point (`hold:` before the name: the process stops there until SIGCONT).

use chassis::crash::{CrashPoints, Effect};

/// Every point, in the order a run passes them, with what has happened by then.
pub const POINTS: [(&str, &str); 35] = [
    ("open.before_persist", "open_run is signed; the envelope exists in memory only"),
    ("open.after_persist", "the envelope of open_run is stored; nothing was sent"),
    ("open.after_send", "open_run was sent; the answer is not stored"),
    ("open.after_land", "open_run was seen on chain; its result is not stored"),
    ("open.after_result", "the result of open_run is stored; the run is still opening"),
    ("execute.before", "the start of the execution is stored; module-gate was not called"),
    ("execute.during", "module-gate has begun and reported progress"),
    ("execute.after_answer", "the execution statement was received; it is not stored"),
    ("execute.after_persist", "the execution statement is stored; nothing was sealed"),
    ("seal.before", "oracle-gate is about to be called"),
    ("seal.after_answer", "the seal was received; it is not stored"),
    ("seal.after_persist", "the seal and the frozen settlement are stored; nothing was signed"),
    ("finalize.before_persist", "finalize_run is signed; the envelope exists in memory only"),
    ("finalize.after_persist", "the envelope of finalize_run is stored; nothing was sent"),
    ("finalize.after_send", "finalize_run was sent; the answer is not stored"),
    ("finalize.after_land", "finalize_run was seen on chain; its result is not stored"),
    ("finalize.after_result", "the result of finalize_run is stored; the run is still finalizing"),
    ("void.before_persist", "void_run is signed; the envelope exists in memory only"),
    ("void.after_persist", "the envelope of void_run is stored; nothing was sent"),
    ("void.after_send", "void_run was sent; the answer is not stored"),
    ("void.after_land", "void_run was seen on chain; its result is not stored"),
    ("void.after_result", "the result of void_run is stored; the run has not ended"),
    ("reclaim.before_persist", "reclaim_run is signed; the envelope exists in memory only"),
    ("reclaim.after_persist", "the envelope of reclaim_run is stored; nothing was sent"),
    ("reclaim.after_send", "reclaim_run was sent; the answer is not stored"),
    ("reclaim.after_land", "reclaim_run was seen on chain; its result is not stored"),
    ("reclaim.after_result", "the result of reclaim_run is stored; the run has not ended"),
    ("channel.before_persist", "a channel's payment is signed; its envelope exists in memory only"),
    ("channel.after_persist", "the envelope of a channel's payment is stored; nothing was sent"),
    ("channel.after_send", "a channel's payment was sent; the answer is not stored"),
    ("channel.after_land", "a channel's payment was seen on chain; its result is not stored"),
    ("channel.after_result", "the result of a channel's payment is stored"),
    ("bump.before_persist", "a fee bump is signed; its envelope exists in memory only"),
    ("bump.after_persist", "the envelope of a fee bump is stored; it was not sent"),
    ("bump.after_send", "a fee bump was sent; the answer is not stored"),
];

static CRASH: CrashPoints = CrashPoints::new(&POINTS);

/// Whether `setting` names one of [`POINTS`].
pub fn exists(setting: &str) -> bool {
    CRASH.exists(Effect::read(setting).1)
}

/// Makes the process die or hold at the point that `setting` names when it gets there. Only the
/// first call counts.
pub fn arm(setting: &str) {
    let (effect, name) = Effect::read(setting);
    if CRASH.arm(name, effect) {
        match effect {
            Effect::Die => tracing::warn!("this process will die at crash point `{name}`"),
            Effect::Hold => tracing::warn!("this process will hold at crash point `{name}`"),
        }
    }
}

/// Dies here without any clean-up, or holds, if `name` is armed.
pub fn point(name: &str) {
    CRASH.pass(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (at, (name, _)) in POINTS.iter().enumerate() {
            assert!(POINTS[at + 1..].iter().all(|(other, _)| other != name), "{name} twice");
        }
        assert!(!exists("open.sometime") && !exists("hold:open.sometime"));
        assert!(exists("hold:open.after_send"));
    }
}
