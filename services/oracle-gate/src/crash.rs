//! Named points at which the process can be made to die, so that a test can show that a pack is
//! unsealed or sealed, never half, and that the next start completes it.
//!
//! Always compiled, so that what is tested is what runs; inert unless `ORACLE_GATE_CRASH_AT` names
//! a point.

use chassis::crash::{CrashPoints, Effect};

/// Where a point is named.
pub const VARIABLE: &str = "ORACLE_GATE_CRASH_AT";

/// Every point, in the order they are passed, with what has happened by then.
pub const POINTS: [(&str, &str); 11] = [
    ("intent.after_row", "the intent is a row; nothing is in the store"),
    ("pack.during_fill", "a first file of the pack is in its place"),
    ("inventory.during", "a first file of an engine's pack was hashed"),
    ("pack.after_fill", "every file is in its place; there is no manifest"),
    ("manifest.after_write", "the manifest is there; nothing was listed"),
    ("seal.before_write", "the pack holds what is to be sealed; there is no seal"),
    ("seal.after_write", "the seal is there; its answer was not read"),
    ("view.after_write", "the facts view is there; it was not checked"),
    ("status.after_write", "the view was checked and its status is there"),
    ("settle.before", "everything is in the store; the row is open"),
    ("settle.after", "the row is settled and the event is in the outbox"),
];

static CRASH: CrashPoints = CrashPoints::new(&POINTS);

/// Makes the process die at the point that the environment names.
///
/// # Errors
/// When it names none.
pub fn arm(name: Option<String>) -> Result<(), String> {
    match name {
        None => Ok(()),
        Some(setting) => {
            let (effect, name) = Effect::read(&setting);
            if !CRASH.exists(name) {
                return Err(format!("{VARIABLE}: there is no such point"));
            }
            CRASH.arm(name, effect);
            Ok(())
        }
    }
}

/// Dies here, without any clean-up, if `name` is armed.
pub(crate) fn point(name: &str) {
    CRASH.pass(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_an_unknown_one_is_refused() {
        for (at, (name, _)) in POINTS.iter().enumerate() {
            assert!(POINTS[at + 1..].iter().all(|(other, _)| other != name), "{name} twice");
        }
        assert!(arm(Some("seal.sometime".to_owned())).is_err());
        assert!(arm(None).is_ok());
    }
}
