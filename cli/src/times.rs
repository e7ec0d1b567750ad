//! Times as people read them: the date in UTC, and how long it is until then or since.

use time::OffsetDateTime;
use time::macros::format_description;

/// A moment of ledger time, seen from another one: `2026-11-28 15:04:05 UTC (in 2 h 5 min)`.
pub fn show(at: u64, now: u64) -> String {
    let Some(date) = date(at) else { return format!("{at} (no date)") };
    let distance = span(at.abs_diff(now));
    match at {
        at if at > now => format!("{date} (in {distance})"),
        at if at == now => format!("{date} (now)"),
        _ => format!("{date} ({distance} ago)"),
    }
}

/// The date alone.
pub fn date(at: u64) -> Option<String> {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(at).ok()?).ok()?;
    at.format(format).ok()
}

/// A length of time in its two largest units.
pub fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(size, _)| seconds >= *size).unwrap_or(UNITS.len() - 1);
    let (size, name) = UNITS[largest];
    let first = format!("{} {name}", seconds / size);
    match UNITS.get(largest + 1).map(|(smaller, name)| (seconds % size / smaller, name)) {
        Some((rest, name)) if rest > 0 => format!("{first} {rest} {name}"),
        _ => first,
    }
}

/// The present in Unix seconds, by this machine's clock.
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);

    // A clock before 1970 is no clock.
    since.map(|since| since.as_secs()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_and_a_distance() {
        assert_eq!(show(1_800_000_000, 1_799_996_400), "2027-01-15 08:00:00 UTC (in 1 h)");
        assert_eq!(show(1_800_000_000, 1_800_000_090), "2027-01-15 08:00:00 UTC (1 min 30 s ago)");
        assert_eq!(span(0), "0 s");
        assert_eq!(span(90_061), "1 d 1 h");
        assert!(show(u64::MAX, 0).contains("no date"));
    }
}
