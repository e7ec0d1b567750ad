//! The conditions of the table as the filter decides them, for calls that no filter stops.

use libc::c_long;

use super::{Call, DESCRIPTOR_REQUESTS, NEW_NAMESPACES, OWNER_REQUESTS, Stop, UNKNOWN_NUMBERS};

/// What becomes of a call before anybody looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopping {
    Passes,
    Stops,
    /// With this error number.
    Fails(i32),
}

/// The filter's decision over a call of this machine's own kind.
pub(crate) fn stopping(rows: &[Call], number: c_long, args: &[u64; 6]) -> Stopping {
    if number >= c_long::from(UNKNOWN_NUMBERS) {
        return Stopping::Fails(libc::ENOSYS);
    }
    let of_call = rows.iter().filter(|row| row.number == number);
    of_call
        .map(|row| row.stop.of(args))
        // Rows of one call are alternatives, as their blocks in the filter are.
        .find(|stopping| *stopping != Stopping::Passes)
        .unwrap_or(Stopping::Passes)
}

impl Stop {
    fn of(self, args: &[u64; 6]) -> Stopping {
        // The filter compares 32 bits as well: descriptors, flags and commands have no more.
        let low = |index: usize| args[index] as u32;
        let stops = match self {
            Self::Always => true,
            Self::Bits(index, mask) => low(index) & mask != 0,
            Self::NotZero(index) => args[index] != 0,
            Self::NotEqual(index, value) => low(index) != value,
            Self::Equal(index, value) => low(index) == value,
            Self::Between(index, first, end) => (first..end).contains(&low(index)),
            Self::Clone => low(0) & NEW_NAMESPACES != 0 || low(0) & libc::CLONE_THREAD as u32 == 0,
            Self::Ioctl => is_far(low(1)),
            Self::Fail(error) => return Stopping::Fails(i32::from(error)),
        };
        if stops { Stopping::Stops } else { Stopping::Passes }
    }
}

/// Requests that change more than the descriptor.
fn is_far(request: u32) -> bool {
    OWNER_REQUESTS.contains(&request)
        || !(DESCRIPTOR_REQUESTS.contains(&request) || request & 0xff00 == 0x8900)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{Options, table};

    fn of(number: c_long, args: [u64; 6]) -> Stopping {
        stopping(
            &table(Options { reads: false, forks: true, listens: true, denies: true, abi: 7 }),
            number,
            &args,
        )
    }

    #[test]
    fn conditions_look_at_the_arguments() {
        let write = libc::O_WRONLY as u64;
        assert_eq!(of(libc::SYS_openat, [0, 0, write, 0, 0, 0]), Stopping::Stops);
        assert_eq!(of(libc::SYS_openat, [0; 6]), Stopping::Passes);
        assert_eq!(
            of(libc::SYS_clone, [libc::CLONE_THREAD as u64, 0, 0, 0, 0, 0]),
            Stopping::Passes
        );
        assert_eq!(of(libc::SYS_clone, [17, 0, 0, 0, 0, 0]), Stopping::Stops);
        assert_eq!(of(libc::SYS_clone3, [0; 6]), Stopping::Fails(libc::ENOSYS));
        assert_eq!(of(999, [0; 6]), Stopping::Fails(libc::ENOSYS));
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0]), Stopping::Passes);
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5412, 0, 0, 0, 0]), Stopping::Stops);
        assert_eq!(of(libc::SYS_ioctl, [0, 0x4008_6602, 0, 0, 0, 0]), Stopping::Stops);
        assert_eq!(of(libc::SYS_read, [0; 6]), Stopping::Passes);
    }
}
