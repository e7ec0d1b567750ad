//! Shows a person who waits how far reading is: on a terminal only, beside the answer.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

use crate::objects::{Meter, Metered, Objects};

const EVERY: Duration = Duration::from_millis(500);
/// Work that ends sooner shows nothing.
const AFTER: Duration = Duration::from_secs(2);
const BAR: u64 = 24;

/// The same store, what is read of it counted.
pub(super) fn metered(objects: &Objects) -> (Objects, Arc<Meter>) {
    let meter = Arc::<Meter>::default();
    (objects.metered(&meter), meter)
}

/// What `work` ends with; meanwhile a line shows the progress.
pub(super) async fn shown<T>(meter: &Meter, work: impl Future<Output = T>) -> T {
    let mut terminal = std::io::stderr();
    if !terminal.is_terminal() {
        return work.await;
    }
    let begun = Instant::now();
    let mut work = pin!(work);
    let mut ticks = interval_at(begun + AFTER, EVERY);
    let mut drawn = false;
    loop {
        tokio::select! {
            ended = &mut work => {
                if drawn {
                    // The answer begins on a clean line.
                    drop(write!(terminal, "\r\x1b[K"));
                }
                return ended;
            }
            _ = ticks.tick() => {
                drawn = true;
                let line = line(&meter.now(), begun.elapsed());
                // A terminal that went away is no reason to stop.
                drop(write!(terminal, "\r\x1b[K{line}"));
                drop(terminal.flush());
            }
        }
    }
}

/// `[======      ] 50 %, 12 files, 1.0 of 2.0 GB, 512.0 MB/s`.
fn line(now: &Metered, elapsed: Duration) -> String {
    let rate = u128::from(now.bytes_read) * 1000 / elapsed.as_millis().max(1);
    let rate = bytes(u64::try_from(rate).unwrap_or(u64::MAX));
    let (files, read) = (now.objects_read, bytes(now.bytes_read));
    // Lengths are known of some files only, so more may be read than was expected.
    let expected = now.bytes_expected.max(now.bytes_read);
    if now.bytes_expected == 0 {
        return format!("{files} files, {read}, {rate}/s");
    }
    let of = |most: u64| {
        u64::try_from(u128::from(now.bytes_read) * u128::from(most) / u128::from(expected.max(1)))
            .unwrap_or(most)
    };
    let full = usize::try_from(of(BAR)).unwrap_or_default();
    let width = usize::try_from(BAR).unwrap_or_default();
    let bar = "=".repeat(full);
    format!("[{bar:width$}] {} %, {files} files, {read} of {}, {rate}/s", of(100), bytes(expected))
}

/// A number of bytes in the unit that a person reads best, in powers of ten as disks count.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut whole, mut rest, mut unit) = (count, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        rest = whole % 1000 / 100;
        whole /= 1000;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{rest} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_share_files_bytes_and_rate() {
        let now = Metered {
            objects_read: 12,
            bytes_read: 1_000_000_000,
            objects_written: 0,
            bytes_written: 0,
            bytes_expected: 2_000_000_000,
        };
        let shown = line(&now, Duration::from_secs(2));
        assert_eq!(
            shown,
            "[============            ] 50 %, 12 files, 1.0 GB of 2.0 GB, 500.0 MB/s"
        );
        let unknown = line(&Metered { bytes_expected: 0, ..now }, Duration::from_secs(2));
        assert_eq!(unknown, "12 files, 1.0 GB, 500.0 MB/s");
        let more = line(&Metered { bytes_expected: 1, ..now }, Duration::ZERO);
        assert!(more.contains("100 %"), "{more}");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(u64::MAX), "18446744.0 TB");
    }
}
