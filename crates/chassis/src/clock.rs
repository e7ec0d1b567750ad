//! The only readers of the clock and of chance. Rules take `now` and ids as arguments.

use time::OffsetDateTime;
use uuid::Uuid;

/// The time in UTC, to the microsecond: what Postgres keeps, so that a value read back is equal.
pub fn now() -> OffsetDateTime {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(now.microsecond() * 1_000).unwrap_or(now)
}

/// A new id whose order is roughly that of time (UUID version 7, RFC 9562).
pub fn new_uuid() -> Uuid {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    Uuid::now_v7()
}
