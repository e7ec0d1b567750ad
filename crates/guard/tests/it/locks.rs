//! Doors to other programs without a change of a file: pipes of the root, locks, leases, sockets
//! that are made and not used.

use guard::Capability::{FsWrite, Network};
use guard::{Identity, prepare_ownership, run};

use crate::setting::{Setting, assert_forbidden, assert_pass, assert_undeclared};

#[test]
fn a_pipe_that_stood_in_the_root_is_refused_before_the_run() {
    let setting = Setting::new().declare(&[FsWrite]);
    let pipe = setting.root.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    prepare_ownership(&setting.base, Identity::Auto).unwrap();
    let command = setting.command("/bin/sh").args(["-c", "true"]);
    let refused = run(&command, &setting.policy).unwrap_err().to_string();
    assert!(refused.contains("pipe or device"), "{refused}");
    std::fs::remove_file(pipe).unwrap();
    let own = "int main() { return mkfifo(\"own\", 0600) || open(\"own\", O_RDWR) < 0; }";
    assert_pass(&setting.c(own));
}

#[test]
fn a_lock_on_a_file_outside_is_a_write_there() {
    let ways = [
        "flock(f, LOCK_SH | LOCK_NB)",
        "fcntl(f, F_SETLK, &l)",
        "fcntl(f, F_OFD_SETLK, &l)",
        "fcntl(f, F_SETLEASE, F_RDLCK)",
    ];
    for way in ways {
        let source = |path: &str| {
            format!(
                "#include <sys/file.h>
                int main() {{ struct flock l = {{F_RDLCK}}; int f = open({path:?}, O_RDONLY);
                return {way} < 0; }}"
            )
        };
        let report = Setting::new().c(&source("../victim"));
        assert_forbidden(&report);
        assert_eq!(report.exit, guard::Exit::Code(1), "{way}");
        if !way.contains("LEASE") {
            assert_pass(&Setting::new().c(&source("x")));
            // Devices that may be written freely are outside too, and keep their locks.
            assert_forbidden(&Setting::new().c(&source("/dev/null")));
        }
    }
}

#[test]
fn a_hint_about_a_file_outside_is_a_write_there() {
    let source = |path: &str| {
        format!(
            "int main() {{ unsigned long hint = 2; int f = open({path:?}, O_RDONLY);
            return !(fcntl(f, 1036, &hint) < 0 && errno == EINVAL); }}"
        )
    };
    for outside in ["../victim", "/dev/null"] {
        let report = Setting::new().declare(&[FsWrite]).c(&source(outside));
        assert_forbidden(&report);
        assert_eq!(report.exit, guard::Exit::Code(0), "{outside}: it was refused");
    }
    assert_undeclared(&Setting::new().c(&source("x")), FsWrite);
    assert_pass(&Setting::new().declare(&[FsWrite]).c(&source("x")));
}

#[test]
fn the_times_of_a_free_device_stay_what_they_were() {
    let times = || {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata("/dev/null").unwrap();
        (found.atime_nsec(), found.mtime_nsec(), found.mode())
    };
    let before = times();
    let source = "int main() { int f = open(\"/dev/null\", O_WRONLY);
        return !(utimensat(AT_FDCWD, \"/dev/null\", 0, 0) < 0 && errno == EPERM
            && futimens(f, 0) < 0 && errno == EPERM); }";
    assert_pass(&Setting::new().c(source));
    assert_eq!(times(), before);
}

#[test]
fn a_pipe_or_terminal_outside_is_not_read() {
    let reads = |path: &std::path::Path| {
        format!("int main() {{ return open({path:?}, O_RDONLY | O_NONBLOCK | O_NOCTTY) >= 0; }}")
    };
    let listed = |mut setting: Setting| {
        setting.policy.reads = guard::Reads::List;
        setting
    };
    for setting in [listed(Setting::new().declare(&[FsWrite])), Setting::new().deny_reads()] {
        let pipe = setting.base.join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for outside in [pipe.as_path(), std::path::Path::new("/dev/ptmx")] {
            let report = setting.c(&reads(outside));
            assert_forbidden(&report);
            assert_eq!(report.exit, guard::Exit::Code(0), "{}: it was refused", outside.display());
        }
    }
    // Its own pipes, and what gives every reader the same.
    let own = "int main() { return mkfifo(\"own\", 0600) || open(\"own\", O_RDONLY | O_NONBLOCK) < \
        0 || open(\"/dev/urandom\", O_RDONLY) < 0 || open(\"/dev/null\", O_RDONLY) < 0; }";
    assert_pass(&listed(Setting::new().declare(&[FsWrite])).c(own));
    // And what it was given to read. It is open for writing, so nothing waits for a writer.
    let setting = listed(Setting::new());
    let pipe = setting.base.join("given");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let _both = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let again = "int main() { return open(\"/dev/stdin\", O_RDONLY | O_NONBLOCK) < 0; }";
    let command = setting.command(setting.compile("again", again));
    assert_pass(&setting.run(&command.stdin(guard::Stdin::File(pipe))));
}

#[test]
fn a_lock_is_waited_for_until_it_is_given_up_or_a_signal_comes() {
    let takes = ["flock(mine, LOCK_EX)", "fcntl(mine, F_OFD_SETLKW, &(struct flock){F_WRLCK})"];
    for take in takes {
        let source = format!(
            "#include <sys/file.h>
            #include <sys/time.h>
            int mine, released;
            void *waits(void *unused) {{
                if ({take} < 0) return \"refused\";
                return released ? 0 : \"taken while another had it\";
            }}
            void nothing(int number) {{}}
            int main() {{
                int other = open(\"x\", O_RDWR);
                mine = open(\"x\", O_RDWR);
                {held};
                pthread_t thread; void *failure;
                pthread_create(&thread, 0, waits, 0);
                usleep(50000);
                released = 1;
                {given_up}
                pthread_join(thread, &failure);
                if (failure) {{ puts(failure); return 1; }}
                close(mine);
                mine = open(\"x\", O_RDWR);
                {held};
                struct sigaction action = {{.sa_handler = nothing}};
                sigaction(SIGALRM, &action, 0);
                struct itimerval often = {{{{0, 20000}}, {{0, 20000}}}};
                setitimer(ITIMER_REAL, &often, 0);
                return !({take} < 0 && errno == EINTR);
            }}",
            held = take.replace("mine", "other"),
            given_up = if take.starts_with("flock") {
                "flock(other, LOCK_UN);"
            } else {
                "fcntl(other, F_OFD_SETLK, &(struct flock){F_UNLCK});"
            },
        );
        let setting = Setting::new().declare(&[FsWrite]);
        let report = setting.c(&source);
        assert_pass(&report);
        assert_eq!(report.exit, guard::Exit::Code(0), "{take}");
    }
}

#[test]
fn a_watch_shows_what_appears_in_the_root_and_nothing_of_the_outside() {
    let source = |path: &str| {
        format!(
            "#include <sys/inotify.h>
            int main() {{
                char event[4096]; int watch = inotify_init1(IN_NONBLOCK);
                if (inotify_add_watch(watch, {path:?}, IN_CREATE) < 0) return errno;
                close(open(\"new\", O_CREAT | O_WRONLY, 0600));
                return read(watch, event, sizeof event) < 0;
            }}"
        )
    };
    let report = Setting::new().deny_reads().declare(&[FsWrite]).c(&source("."));
    assert_pass(&report);
    assert_eq!(report.exit, guard::Exit::Code(0));
    let report = Setting::new().deny_reads().declare(&[FsWrite]).c(&source("/var/lib"));
    assert_forbidden(&report);
    assert_eq!(report.exit, guard::Exit::Code(libc::EACCES));
}

#[test]
fn a_socket_that_is_not_used_reaches_nobody() {
    for kind in ["AF_INET, SOCK_STREAM", "AF_INET6, SOCK_DGRAM"] {
        let source = format!("int main() {{ return socket({kind}, 0) < 0; }}");
        let report = Setting::new().c(&source);
        // A tracer cannot give the command a socket of UDP that receives nothing.
        match report.tier == guard::Tier::Traced && kind.contains("DGRAM") {
            true => assert_undeclared(&report, Network),
            false => assert_pass(&report),
        }
    }
    let address = "struct sockaddr_in a = {FAMILY, htons(9), {htonl(0x7f000001)}};";
    let uses = [
        "connect(s, (void *)&a, sizeof a)",
        "sendto(s, \"x\", 1, 0, (void *)&a, sizeof a)",
        "bind(s, (void *)&a, sizeof a)",
    ];
    for used in uses {
        let source = format!(
            "int main() {{ {} int s = socket(AF_INET, SOCK_DGRAM, 0); return {used} >= 0; }}",
            address.replace("FAMILY", "AF_INET")
        );
        assert_undeclared(&Setting::new().c(&source), Network);
    }
    // The kernel takes an address of no family for one of IPv4.
    let source = format!(
        "int main() {{ {} int s = socket(AF_INET, SOCK_DGRAM, 0); return {} >= 0; }}",
        address.replace("FAMILY", "AF_UNSPEC"),
        uses[1]
    );
    assert_undeclared(&Setting::new().c(&source), Network);
    // Options that join a group of receivers are used alike; at the other level the same numbers
    // mean something else.
    for (level, option, joins) in [
        ("IPPROTO_IP", 35, true),
        ("IPPROTO_IP", 20, false),
        ("IPPROTO_IPV6", 20, true),
        ("IPPROTO_IPV6", 35, false),
    ] {
        let family = if level == "IPPROTO_IP" { "AF_INET" } else { "AF_INET6" };
        let source = format!(
            "int main() {{ int one = 1, s = socket({family}, SOCK_DGRAM, 0);
            setsockopt(s, {level}, {option}, &one, sizeof one); return 0; }}"
        );
        let report = Setting::new().c(&source);
        match joins {
            true => assert_undeclared(&report, Network),
            false => assert_pass(&report),
        }
    }
    let listens = "int main() { return listen(socket(AF_INET, SOCK_STREAM, 0), 1) >= 0; }";
    assert_undeclared(&Setting::new().c(listens), Network);
}
