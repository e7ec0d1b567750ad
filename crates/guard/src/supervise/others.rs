//! What a run waits for beside stopped calls: word of the reaper, output, the time.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::TICK_MS;

const REAPER: u64 = 0;
const OUTPUT: u64 = 1;
const TICK: u64 = 2;

/// What there is to do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ready {
    pub(super) listener: bool,
    pub(super) reaper: bool,
    pub(super) output: bool,
    /// Time and limits are to be looked at.
    pub(super) tick: bool,
}

/// One descriptor for all of them: waiting for a call takes two then, however many these are. The
/// time is among them since a wait with an end of its own costs a timer set and taken back for
/// every call.
#[derive(Debug)]
pub(super) struct Others {
    /// Readable when one of them is.
    pub(super) handle: OwnedFd,
    timer: OwnedFd,
}

impl Others {
    /// Watches from now on. A pipe that is closed is no longer watched.
    ///
    /// # Errors
    /// This process has no descriptors left.
    pub(super) fn new(reaper: &OwnedFd, pipes: [&OwnedFd; 2]) -> io::Result<Self> {
        let handle = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        let tick = Timespec { tv_sec: 0, tv_nsec: (TICK_MS * 1_000_000).cast_signed() };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        for (descriptor, what) in
            [(reaper, REAPER), (pipes[0], OUTPUT), (pipes[1], OUTPUT), (&timer, TICK)]
        {
            epoll::add(&handle, descriptor, EventData::new_u64(what), EventFlags::IN)?;
        }
        Ok(Self { handle, timer })
    }

    /// Which of them have something to say.
    ///
    /// # Errors
    /// The kernel's own.
    pub(super) fn ready(&self) -> io::Result<Ready> {
        let nothing = Event { flags: EventFlags::empty(), data: EventData::new_u64(TICK) };
        let mut events = [nothing; 4];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let count = match epoll::wait(&self.handle, &mut events, Some(&at_once)) {
            Err(rustix::io::Errno::INTR) => 0,
            count => count?,
        };
        let mut ready = Ready::default();
        for event in &events[..count] {
            match event.data.u64() {
                REAPER => ready.reaper = true,
                OUTPUT => ready.output = true,
                _ => {
                    ready.tick = true;
                    // Only whether it has passed is of interest, not how often.
                    let _ = rustix::io::read(&self.timer, &mut [0; 8]);
                }
            }
        }
        Ok(ready)
    }
}
