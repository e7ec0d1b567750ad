//! The seccomp program made from the table of calls, written instruction by instruction.
//!
//! It stops the caller (user notification), lets it pass, or fails the call; it never kills. A
//! foreign architecture, and on x86-64 the x32 numbers, are stopped too: the supervisor then ends
//! the run, having seen who tried. Numbers that no known kernel has given out do not exist for a
//! command.

use libc::sock_filter;

use crate::calls::{
    Call, DESCRIPTOR_REQUESTS, NEW_NAMESPACES, OWNER_REQUESTS, Stop, UNKNOWN_NUMBERS,
};

#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: u32 = 0xc000_00b7;

/// Numbers from here on belong to x32 on x86-64, and to nothing elsewhere.
pub(crate) const FOREIGN_NUMBERS: u32 = 0x4000_0000;

const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const GO: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// As far as a jump of 8 bits leads.
const MAX_JUMP: usize = 255;

/// Numbers that are treated alike: from the first one up to the next span.
struct Span {
    first: u32,
    code: Vec<sock_filter>,
}

/// The program for a table.
pub(crate) fn program(calls: &[Call]) -> Vec<sock_filter> {
    let mut code = vec![
        // The architecture first: the numbers of another mean other calls.
        load(ARCH),
        jump(JUMP_EQUAL, NATIVE, 1, 0),
        notify(),
        load(NUMBER),
    ];
    code.extend(search(&spans(calls)));
    code
}

/// All numbers there are.
fn spans(calls: &[Call]) -> Vec<Span> {
    let mut sorted: Vec<&Call> = calls.iter().collect();
    // Stable: the rows of one call are alternatives in the order of the table.
    sorted.sort_by_key(|call| call.number);
    let mut spans: Vec<Span> = Vec::new();
    let mut add = |first: u32, code: Vec<sock_filter>| {
        // Neighbours that always stop, or always pass, are one span.
        let alike = spans.last().is_some_and(
            |last| matches!((&last.code[..], &code[..]), ([before], [now]) if before.k == now.k),
        );
        if !alike {
            spans.push(Span { first, code });
        }
    };
    let mut next = 0;
    for rows in sorted.chunk_by(|one, other| one.number == other.number) {
        let number = rows[0].number as u32;
        if next < number {
            add(next, vec![allow()]);
        }
        add(number, block(rows));
        next = number + 1;
    }
    add(next, vec![allow()]);
    add(UNKNOWN_NUMBERS, vec![fail(libc::ENOSYS as u16)]);
    add(FOREIGN_NUMBERS, vec![notify()]);
    spans
}

/// What is decided for one number.
fn block(rows: &[&Call]) -> Vec<sock_filter> {
    if matches!(rows[0].stop, Stop::Always) {
        return vec![notify()];
    }
    let mut block: Vec<_> = rows.iter().flat_map(|call| stop(call.stop)).collect();
    block.push(allow());
    block
}

/// Finds the span of the number by halves. At every start of a command the kernel runs the program
/// once for each number, to know those that always pass.
fn search(spans: &[Span]) -> Vec<sock_filter> {
    let (below, above) = match spans {
        [] => return Vec::new(),
        [only] => return only.code.clone(),
        spans => spans.split_at(spans.len() / 2),
    };
    let (first, below) = (above[0].first, search(below));
    let mut code = if below.len() <= MAX_JUMP {
        vec![jump(JUMP_AT_LEAST, first, below.len() as u8, 0)]
    } else {
        let over = sock_filter { code: GO, jt: 0, jf: 0, k: below.len() as u32 };
        vec![jump(JUMP_AT_LEAST, first, 0, 1), over]
    };
    code.extend(below);
    code.extend(search(above));
    code
}

/// The instructions that stop where the condition holds, and fall through where it does not.
fn stop(condition: Stop) -> Vec<sock_filter> {
    match condition {
        Stop::Always => vec![notify()],
        Stop::Bits(arg, mask) => vec![load(low(arg)), jump(JUMP_BITS, mask, 0, 1), notify()],
        Stop::NotZero(arg) => {
            vec![
                load(low(arg)),
                // Both halves: a 64-bit argument may be zero below and not above.
                jump(JUMP_EQUAL, 0, 0, 2),
                load(high(arg)),
                jump(JUMP_EQUAL, 0, 1, 0),
                notify(),
            ]
        }
        Stop::NotEqual(arg, value) => vec![load(low(arg)), jump(JUMP_EQUAL, value, 1, 0), notify()],
        Stop::Equal(arg, value) => vec![load(low(arg)), jump(JUMP_EQUAL, value, 0, 1), notify()],
        Stop::Between(arg, first, end) => vec![
            load(low(arg)),
            jump(JUMP_AT_LEAST, first, 0, 2),
            jump(JUMP_AT_LEAST, end, 1, 0),
            notify(),
        ],
        Stop::Clone => vec![
            load(low(0)),
            jump(JUMP_BITS, NEW_NAMESPACES, 1, 0),
            jump(JUMP_BITS, libc::CLONE_THREAD as u32, 1, 0),
            notify(),
        ],
        Stop::Ioctl => ioctl(),
        Stop::Fail(error) => vec![fail(error)],
    }
}

/// Requests that only ask, or change no more than the descriptor, pass; so do those of sockets, but
/// for the receiver of their signals.
fn ioctl() -> Vec<sock_filter> {
    const TYPE: u32 = 0xff00;
    const SOCKETS: u32 = 0x8900;
    let (own, owners) = (&DESCRIPTOR_REQUESTS, &OWNER_REQUESTS);
    let mut code = vec![load(low(1))];
    // Each jumps over all that follows it.
    let after = |left: usize| u8::try_from(left).unwrap_or(u8::MAX);
    for (index, request) in own.iter().enumerate() {
        code.push(jump(JUMP_EQUAL, *request, after(own.len() - index + owners.len() + 2), 0));
    }
    for (index, request) in owners.iter().enumerate() {
        code.push(jump(JUMP_EQUAL, *request, after(owners.len() - index + 1), 0));
    }
    code.push(sock_filter { code: AND, jt: 0, jf: 0, k: TYPE });
    code.push(jump(JUMP_EQUAL, SOCKETS, 1, 0));
    code.push(notify());
    code
}

/// Offset of the low half of an argument; both supported machines are little endian.
fn low(arg: usize) -> u32 {
    16 + 8 * arg as u32
}

fn high(arg: usize) -> u32 {
    low(arg) + 4
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn notify() -> sock_filter {
    give(libc::SECCOMP_RET_USER_NOTIF)
}

fn allow() -> sock_filter {
    give(libc::SECCOMP_RET_ALLOW)
}

fn fail(error: u16) -> sock_filter {
    give(libc::SECCOMP_RET_ERRNO | u32::from(error))
}

fn give(result: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k: result }
}

#[cfg(test)]
mod tests {
    use libc::c_long;

    use super::*;
    use crate::calls::{Options, Stopping, stopping, table};

    /// What the kernel does with the program.
    fn run(code: &[sock_filter], number: u32, args: [u64; 6]) -> u32 {
        counted(code, number, args).0
    }

    /// The same, and how many instructions that takes.
    fn counted(code: &[sock_filter], number: u32, args: [u64; 6]) -> (u32, usize) {
        let (mut at, mut value, mut steps) = (0, 0, 0);
        loop {
            let one = code[at];
            at += 1;
            steps += 1;
            let jump = |taken: bool| usize::from(if taken { one.jt } else { one.jf });
            match one.code {
                LOAD if one.k == NUMBER => value = number,
                LOAD if one.k == ARCH => value = NATIVE,
                LOAD => {
                    let arg = args[(one.k as usize - 16) / 8];
                    value = if one.k.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 };
                }
                AND => value &= one.k,
                JUMP_EQUAL => at += jump(value == one.k),
                JUMP_AT_LEAST => at += jump(value >= one.k),
                JUMP_BITS => at += jump(value & one.k != 0),
                GO => at += one.k as usize,
                RETURN => return (one.k, steps),
                other => panic!("no such instruction: {other}"),
            }
        }
    }

    #[test]
    fn the_program_decides_as_the_table_says() {
        let interesting = [
            0,
            1,
            2,
            3,
            15,
            62,
            libc::O_CREAT as u64,
            0x5401,
            0x5412,
            0x8901,
            0x8905,
            0x8927,
            1 << 28,
            1 << 32,
        ];
        for (reads, forks, listens, abi) in
            [(true, true, true, 7), (false, false, false, 7), (false, true, false, 2)]
        {
            let calls = table(Options { reads, forks, listens, denies: reads, abi });
            let code = program(&calls);
            for number in 0..UNKNOWN_NUMBERS + 10 {
                for index in 0..6 {
                    for value in interesting {
                        let mut args = [0; 6];
                        args[index] = value;
                        let expected = match stopping(&calls, c_long::from(number), &args) {
                            Stopping::Passes => libc::SECCOMP_RET_ALLOW,
                            Stopping::Stops => libc::SECCOMP_RET_USER_NOTIF,
                            Stopping::Fails(error) => {
                                libc::SECCOMP_RET_ERRNO | error.cast_unsigned()
                            }
                        };
                        assert_eq!(run(&code, number, args), expected, "{number} {args:x?}");
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_numbers_stop() {
        let code = program(&table(Options {
            reads: false,
            forks: true,
            listens: true,
            denies: true,
            abi: 7,
        }));
        for number in [FOREIGN_NUMBERS, FOREIGN_NUMBERS + 1, u32::MAX] {
            assert_eq!(run(&code, number, [0; 6]), libc::SECCOMP_RET_USER_NOTIF);
        }
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        for number in [UNKNOWN_NUMBERS, FOREIGN_NUMBERS - 1] {
            assert_eq!(run(&code, number, [0; 6]), absent);
        }
    }

    #[test]
    fn every_number_is_found_by_halves() {
        let code = program(&table(Options {
            reads: true,
            forks: true,
            listens: true,
            denies: true,
            abi: 7,
        }));
        // Eight halves of fewer than 256 spans, a jump over each, and the longest block,
        // `setsockopt`.
        for number in 0..UNKNOWN_NUMBERS + 10 {
            let steps = counted(&code, number, [0; 6]).1;
            assert!(steps <= 52, "{number}: {steps}");
        }
    }
}
