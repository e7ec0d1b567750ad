//! How old a receipt may be, where the profile asks for it.
//!
//! A receipt says itself when its gate spoke, and the view's bundle hash binds that; a signed
//! statement says it under its signature. Each has to be young enough at the time of the check.

use seal::facts::GateReceipt;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::check::subject::Subject;
use crate::reasons::Reason;

/// How far the clock of another machine may be ahead.
const CLOCK_SKEW: Duration = Duration::minutes(1);

/// Why a receipt that says PASS does not count, or `None`.
pub(super) fn receipt(subject: &Subject<'_>, receipt: &GateReceipt) -> Option<(Reason, String)> {
    let most = subject.rules.max_receipt_age?;
    let Some(stated) = &receipt.produced_at_utc else {
        return Some((Reason::GateReceiptUndated, "it does not say when it was made".to_owned()));
    };
    match OffsetDateTime::parse(stated, &Rfc3339) {
        Ok(made) => judge(made, most, subject.now),
        Err(_) => Some((Reason::GateReceiptUndated, "its time is not one of RFC 3339".to_owned())),
    }
}

/// The same of the time in a signed statement.
pub(super) fn signed(subject: &Subject<'_>, made: OffsetDateTime) -> Option<(Reason, String)> {
    judge(made, subject.rules.max_receipt_age?, subject.now)
}

/// The text does not depend on when the check runs, so that equal answers have equal texts.
fn judge(made: OffsetDateTime, most: Duration, now: OffsetDateTime) -> Option<(Reason, String)> {
    let age = now - made;
    if age < -CLOCK_SKEW {
        return Some((Reason::GateReceiptUndated, format!("{made} is yet to come")));
    }
    let seconds = most.whole_seconds();
    (age > most)
        .then(|| (Reason::GateReceiptStale, format!("of {made}; at most {seconds} s old counts")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const DAY: Duration = Duration::DAY;

    fn code(age: Duration) -> Option<Reason> {
        judge(NOW - age, DAY, NOW).map(|(reason, _)| reason)
    }

    #[test]
    fn a_receipt_counts_up_to_its_last_moment() {
        let moment = Duration::nanoseconds(1);
        for age in [Duration::ZERO, moment, DAY, -CLOCK_SKEW] {
            assert_eq!(code(age), None, "{age}");
        }
        assert_eq!(code(DAY + moment), Some(Reason::GateReceiptStale));
        assert_eq!(code(-CLOCK_SKEW - moment), Some(Reason::GateReceiptUndated));
    }

    proptest! {
        /// At any time of the check and any age, and none overflows.
        #[test]
        fn only_what_is_young_enough_counts(
            made in -377_705_116_800_i64..=253_402_300_799,
            now in -377_705_116_800_i64..=253_402_300_799,
            most in 1..=u32::MAX,
        ) {
            let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds);
            let (Ok(made), Ok(now)) = (at(made), at(now)) else { return Ok(()) };
            let age = (now - made).whole_seconds();
            let most = Duration::seconds(most.into());
            let counts = judge(made, most, now).is_none();
            prop_assert_eq!(counts, age >= -60 && age <= most.whole_seconds());
        }
    }
}
