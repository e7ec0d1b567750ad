//! Class G: what is rewritten while it is looked at, and what reaches beyond the tree by doors that
//! have no path.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};

use guard::Capability::{FsWrite, ProcessGit, ProcessShell};
use guard::{Category, Report, Verdict};

use crate::case::{Case, Expect, Program, case, show};
use crate::setting::Setting;

const OBJECTS: &[&str] = &[
    "queue_of_posix",
    "queue_of_posix_removed",
    "shared_memory_by_key",
    "shared_memory_private",
    "semaphores_by_key",
    "queue_by_key",
];

/// Everything that rewrites an address, and what it is rewritten to.
const STREAMS: &[&str] = &["race_connect_family", "race_connect_path"];
const DATAGRAMS: &[&str] = &[
    "race_send_to",
    "race_send_message",
    "race_message_header",
    "race_send_messages",
    "race_descriptor",
];

pub fn cases() -> Vec<Case> {
    let pass = |name| case("G", name, Program::Probe(name, ""), &[FsWrite], Expect::Pass);
    let objects = OBJECTS
        .iter()
        .map(|name| case("G", name, Program::Probe(name, ""), &[FsWrite], Expect::Forbidden));
    let older = |setting: &mut Setting| {
        let listener = UnixListener::bind(setting.root.join("older")).unwrap();
        open_to_all(&setting.root.join("older"));
        listener.set_nonblocking(true).unwrap();
        setting.keep.push(Box::new(listener));
    };
    let terminal = |setting: &mut Setting| {
        let (keep, path) = terminal();
        setting.argument = path;
        setting.keep.push(Box::new(keep));
    };
    let rows = vec![
        case(
            "G",
            "older_socket",
            Program::Probe("older_socket", ""),
            &[FsWrite],
            Expect::Undeclared(&[guard::Capability::Network]),
        )
        .ready(older)
        .check(|setting, _| nobody_connected(setting)),
        case(
            "G",
            "older_socket_in_its_place",
            Program::Probe("older_socket_in_its_place", ""),
            &[FsWrite],
            Expect::Undeclared(&[guard::Capability::Network]),
        )
        .ready(older)
        .check(|setting, _| nobody_connected(setting)),
        pass("older_socket_replaced").ready(older),
        pass("own_datagrams"),
        pass("own_service_that_is_slow").traced(Expect::Harmless),
        case(
            "G",
            "own_service_that_never_answers",
            Program::Probe("own_service_that_never_answers", ""),
            &[FsWrite, ProcessShell],
            Expect::Pass,
        )
        .traced(Expect::Harmless),
        pass("peer_is_the_own_user"),
        pass("shared_memory_that_is_none"),
        pass("type_into_what_is_no_terminal"),
        case(
            "G",
            "type_into_a_terminal",
            Program::Probe("type_into_a_terminal", ""),
            &[FsWrite],
            Expect::Forbidden,
        )
        .ready(terminal),
        case(
            "G",
            "request_to_the_console",
            Program::Probe("request_to_the_console", ""),
            &[FsWrite],
            Expect::Forbidden,
        )
        .ready(terminal),
        pass("rewritten_arguments").argument("truth").check(|_, report| {
            let shown = |text: &str| {
                report.effects.iter().any(|effect| effect.argv.iter().any(|one| one == text))
            };
            let exact = report.effects.iter().all(|effect| effect.argv_exact);
            if exact && shown("truth") && !shown("false") {
                Ok(())
            } else {
                Err("the arguments are not those it was started with".to_owned())
            }
        }),
    ];
    objects.chain(rows).chain(races()).chain(of_somebody()).collect()
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn nobody_connected(setting: &Setting) -> Result<(), String> {
    let listener = setting.keep[0].downcast_ref::<UnixListener>().unwrap();
    if listener.accept().is_ok() { Err("the older socket was reached".to_owned()) } else { Ok(()) }
}

/// A pseudo terminal that the command's user may read.
fn terminal() -> (rustix::fd::OwnedFd, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&main).unwrap();
    unlockpt(&main).unwrap();
    let path = ptsname(&main, Vec::new()).unwrap().into_string().unwrap();
    open_to_all(std::path::Path::new(&path));
    (main, path)
}

/// How a race ends is the scheduler's to say. That no process outside is reached, and what is
/// stated of the programs that ran, is not.
fn races() -> Vec<Case> {
    let race = |name, declared: &[_]| {
        case("G", name, Program::Probe(name, ""), declared, Expect::Harmless)
    };
    let streams = STREAMS.iter().map(|name| {
        race(name, &[FsWrite]).ready(stream).check(|setting, _| nobody_connected(setting))
    });
    let datagrams = DATAGRAMS.iter().map(|name| {
        race(name, &[FsWrite]).ready(datagram).check(|setting, _| nothing_arrived(setting))
    });
    let programs = vec![
        race("race_bind", &[FsWrite]).check(|_, report| {
            if report.stdout.bytes.is_empty() { Ok(()) } else { Err("it was bound".to_owned()) }
        }),
        race("race_owner", &[])
            .ready(other_process)
            .check(|setting, _| other_process_lives(setting)),
        race("race_open_how", &[FsWrite]).ready(|setting| {
            setting.argument = setting.base.join("victim").display().to_string();
        }),
        race("race_shared_file", &[FsWrite])
            .ready(|setting| {
                std::fs::hard_link(setting.base.join("victim"), setting.root.join("shared"))
                    .unwrap();
            })
            .lets_outside_change()
            .check(|setting, report| {
                let victim = std::fs::read(setting.base.join("victim")).unwrap();
                if victim != b"victim" && report.verdict == Verdict::Pass {
                    Err("the file outside was changed by a run that passed".to_owned())
                } else {
                    Ok(())
                }
            }),
        race("race_exec_as_git", &[ProcessGit]).needs("/usr/bin/git").check(|_, report| {
            let printed = String::from_utf8_lossy(&report.stdout.bytes);
            if printed.contains("another program") {
                Err("another program ran as git".to_owned())
            } else {
                Ok(())
            }
        }),
        race("race_arguments", &[ProcessShell]).check(|_, report| as_printed(report)),
    ];
    streams.chain(datagrams).chain(programs).collect()
}

fn stream(setting: &mut Setting) {
    let path = setting.base.join("service");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    open_to_all(&path);
    setting.argument = path.display().to_string();
    setting.keep.push(Box::new(listener));
}

fn datagram(setting: &mut Setting) {
    let path = setting.base.join("service");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    open_to_all(&path);
    setting.argument = path.display().to_string();
    setting.keep.push(Box::new(socket));
}

fn nothing_arrived(setting: &Setting) -> Result<(), String> {
    let socket = setting.keep[0].downcast_ref::<UnixDatagram>().unwrap();
    if socket.recv(&mut [0; 8]).is_ok() { Err("a datagram arrived".to_owned()) } else { Ok(()) }
}

struct OtherProcess(Child);

impl Drop for OtherProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process outside, of the command's user, which any signal ends.
fn other_process(setting: &mut Setting) {
    use std::os::unix::process::CommandExt;
    let mut sleep = Command::new("/bin/sleep");
    sleep.arg("60").stdin(Stdio::null());
    if rustix::process::geteuid().is_root() {
        sleep.uid(65534).gid(65534);
    }
    let child = sleep.spawn().unwrap();
    setting.argument = child.id().to_string();
    setting.keep.push(Box::new(std::sync::Mutex::new(OtherProcess(child))));
}

fn other_process_lives(setting: &Setting) -> Result<(), String> {
    let other_process = setting.keep[0].downcast_ref::<std::sync::Mutex<OtherProcess>>().unwrap();
    match other_process.lock().unwrap().0.try_wait().unwrap() {
        None => Ok(()),
        Some(status) => Err(format!("a process outside was ended: {status}")),
    }
}

/// What was printed is what was recorded: as many starts with either line of arguments.
fn as_printed(report: &Report) -> Result<(), String> {
    let printed = String::from_utf8_lossy(&report.stdout.bytes).into_owned();
    for (line, arguments) in [("first a", "echo first a"), ("second b", "echo second b")] {
        let ran = printed.lines().filter(|printed| *printed == line).count();
        let starts = report.effects.iter().filter(|effect| {
            effect.category == Category::ProcessShell
                && effect.exact
                && effect.other.as_deref() == Some(arguments)
        });
        let recorded = starts.count();
        if ran != recorded {
            return Err(format!("{ran} times {line:?}, recorded {recorded}"));
        }
    }
    Ok(())
}

/// Objects of the system that another user made.
fn of_somebody() -> Vec<Case> {
    let memory = |setting: &mut Setting| {
        let object = Object::memory();
        setting.argument = object.id().to_string();
        setting.keep.push(Box::new(object));
    };
    let queue = |setting: &mut Setting| {
        let object = Object::queue();
        setting.argument = object.id().to_string();
        setting.keep.push(Box::new(object));
    };
    let row = |name| case("G", name, Program::Probe(name, ""), &[FsWrite], Expect::Forbidden);
    vec![
        row("shared_memory_of_somebody").ready(memory),
        row("shared_memory_of_somebody_removed").ready(memory),
        row("queue_of_somebody").ready(queue),
    ]
}

/// A System V object that everybody may use, gone with this value.
enum Object {
    Memory(i32),
    Queue(i32),
}

#[expect(unsafe_code, reason = "System V objects have no safe wrapper")]
impl Object {
    fn memory() -> Self {
        // SAFETY: takes numbers.
        Self::Memory(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o666 | libc::IPC_CREAT) })
    }

    fn queue() -> Self {
        // SAFETY: takes numbers.
        Self::Queue(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o666 | libc::IPC_CREAT) })
    }

    fn id(&self) -> i32 {
        let (Self::Memory(id) | Self::Queue(id)) = self;
        *id
    }
}

#[expect(unsafe_code, reason = "System V objects have no safe wrapper")]
impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: removes the object that this value made.
        unsafe {
            match self {
                Self::Memory(id) => libc::shmctl(*id, libc::IPC_RMID, std::ptr::null_mut()),
                Self::Queue(id) => libc::msgctl(*id, libc::IPC_RMID, std::ptr::null_mut()),
            }
        };
    }
}

/// Many races of every kind, none of which may reach the outside. A run races 400 times, or 100
/// times where every race starts a program. `LUMIO_LONG=1` makes it a hundred runs of each kind.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test run")]
fn no_race_reaches_the_outside() {
    let runs = if std::env::var("LUMIO_LONG").is_ok_and(|long| long == "1") { 100 } else { 3 };
    let wanted = std::env::var("GUARD_CASE").unwrap_or_default();
    let named = |case: &&Case| case.name.contains(&wanted) && case.can_run();
    for case in races().iter().filter(named) {
        for run in 0..runs {
            let (report, result) = case.run();
            if let Err(wrong) = result {
                panic!("{} in run {run}: {wrong}\n{}", case.name, show(&report));
            }
        }
        eprintln!("{}: {runs} runs, none of which reached the outside", case.name);
    }
}

/// More effects than are shown: what is left out is compared anyway, and said to be missing.
#[test]
fn transcripts_stand_for_all_effects_in_any_order() {
    let run = |script: &str, listed: u32| {
        let mut setting = Setting::new();
        setting.declare(&[FsWrite]);
        setting.policy.transcript_key = Some([7; 32]);
        setting.policy.reads = guard::Reads::List;
        for number in 0..listed {
            std::fs::write(setting.base.join(format!("read-{number}")), "").unwrap();
        }
        // Paths are compared as they are: every run in the same place.
        let report = setting.run(&setting.command("/bin/sh").args(["-c", script]));
        assert_eq!(report.verdict, Verdict::Pass, "{}", show(&report));
        (report, setting.root.display().to_string())
    };
    let many = |last: &str| {
        format!("i=0; while [ $i -lt 1500 ]; do : > f$i; i=$((i+1)); done; : > {last}")
    };
    let (report, _) = run(&many("same"), 0);
    assert!(report.effects.len() < 1_501 && report.effects_omitted > 500, "{}", show(&report));
    assert_eq!(report.transcript.effects, 1_501);
    assert_eq!(report.effects.len() as u64 + report.effects_omitted, 1_501);

    // 1,000 reads that are listed displace no write.
    let reads = "i=0; while [ $i -lt 1000 ]; do : < ../read-$i; i=$((i+1)); done; : > written";
    let (report, root) = run(reads, 1_000);
    let written = format!("{root}/written");
    assert!(report.effects.iter().any(|effect| effect.target == written), "{}", show(&report));
}

/// The same command in the same place: equal transcripts for another order, different ones for one
/// other name among many.
#[test]
fn transcripts_differ_by_one_name_among_many() {
    let setting = {
        let mut setting = Setting::new();
        setting.declare(&[FsWrite]);
        setting
    };
    let transcript = |script: &str| {
        // The script is in a file, so that its text is no argument.
        std::fs::write(setting.base.join("scratch/script"), script).unwrap();
        let script = setting.base.join("scratch/script");
        let report = setting.run(&setting.command("/bin/sh").arg(script));
        assert_eq!(report.verdict, Verdict::Pass, "{}", show(&report));
        report.transcript
    };
    let up = "i=0; while [ $i -lt 1500 ]; do : > f$i; i=$((i+1)); done";
    let down = "i=1499; while [ $i -ge 0 ]; do : > f$i; i=$((i-1)); done";
    let first = transcript(&format!("{up}; : > one"));
    assert_eq!(first, transcript(&format!("{down}; : > one")));
    assert_ne!(first, transcript(&format!("{up}; : > another")));
    assert_ne!(first, transcript(&format!("{up}; : > one; : > one")));
}
