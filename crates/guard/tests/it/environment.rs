//! What the command finds when it starts: what it was given, and nothing else.

use crate::setting::{Setting, assert_pass, text};

#[test]
fn the_environment_is_exactly_the_one_given() {
    let setting = Setting::new();
    let program = setting.compile(
        "prog",
        "extern char **environ; int main() { for (char **e = \
        environ; *e; e++) puts(*e); return 0; }",
    );
    let report =
        setting.run(&guard::Command::new(program, &setting.root).env("A", "1").env("B", "x y"));
    assert_pass(&report);
    assert_eq!(text(&report.stdout.bytes), "A=1\nB=x y\n");
}

#[test]
fn no_descriptor_is_inherited() {
    let leak = std::fs::File::open("/etc/hostname")
        .or_else(|_| std::fs::File::open("/etc/passwd"))
        .unwrap();
    let source = "int main() { int open_ones = 0; for (int i = 3; i < 4096; i++) if (fcntl(i, \
        F_GETFD) != -1 || write(i, \"x\", 1) == 1) open_ones++; return open_ones; }";
    assert_pass(&Setting::new().c(source));
    drop(leak);
}

#[test]
fn signals_and_session_are_fresh() {
    let source = "int main() { sigset_t s; sigprocmask(SIG_SETMASK, 0, &s); for (int i = 1; i < \
        32; i++) { if (sigismember(&s, i)) return 1;
        struct sigaction a; if (sigaction(i, 0, &a) == 0 && a.sa_handler != SIG_DFL) return 2; } \
        return getsid(0) != getpid() ? 3 : 0; }";
    assert_pass(&Setting::new().c(source));
}

#[test]
fn no_right_is_left() {
    let report = Setting::new().sh("while read -r line; do case $line in \
        Cap*|Uid*|NoNewPrivs*|Groups*) echo $line;; esac; done < /proc/self/status");
    assert_pass(&report);
    let status = text(&report.stdout.bytes);
    assert!(
        status.contains("CapEff: 0000000000000000") && status.contains("CapPrm: 0000000000000000"),
        "{status}"
    );
    assert!(status.contains("NoNewPrivs: 1") && !status.contains("Uid: 0"), "{status}");
}

#[test]
fn standard_streams_can_be_opened_again_and_devices_are_free() {
    let report =
        Setting::new().deny_reads().sh("echo a > /dev/stdout; echo b > /dev/stderr; echo \
        c > /dev/null; echo d > /proc/self/fd/1; echo e > $OUT/f");
    assert_pass(&report);
    assert_eq!(
        (text(&report.stdout.bytes).as_str(), text(&report.stderr.bytes).as_str()),
        ("a\nd\n", "b\n")
    );
    assert!(report.counts.is_empty());
}

#[test]
fn runs_at_the_same_time_do_not_touch_each_other() {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6)
            .map(|index| {
                scope.spawn(move || (index, Setting::new().sh(&format!("echo {index}; exit 0"))))
            })
            .collect();
        for run in runs {
            let (index, report) = run.join().unwrap();
            assert_pass(&report);
            assert_eq!(text(&report.stdout.bytes), format!("{index}\n"));
        }
    });
}

#[test]
fn the_host_says_what_it_gives_and_a_run_keeps_to_it() {
    let support = guard::probe();
    assert_eq!(support.tiers.len(), 3, "{support:?}");
    assert!(support.tiers.iter().all(|tier| !tier.reason.is_empty()), "{support:?}");
    let chosen = support.tiers.iter().find(|tier| tier.available).map(|tier| tier.tier);
    assert_eq!(chosen, Some(support.tier), "{support:?}");
    assert_eq!(Setting::new().sh("true").tier, support.tier);
}

#[test]
fn a_run_in_a_copy_leaves_the_original_alone() {
    let mut setting = Setting::new().declare(&[guard::Capability::FsWrite]);
    let copy = setting.base.join("copy");
    guard::copy_tree(&setting.root, &copy, guard::Identity::Auto).unwrap();
    setting.policy.root = copy.clone();
    let command =
        guard::Command::new("/bin/sh", &copy).args(["-c", "echo changed > x; echo new > y"]);
    assert_pass(&setting.run(&command));
    assert_eq!(std::fs::read_to_string(setting.root.join("x")).unwrap(), "x");
    assert!(copy.join("y").exists() && !setting.root.join("y").exists());
}

#[test]
fn output_is_handed_on_while_the_command_runs() {
    let setting = Setting::new();
    let fifo = setting.scratch.join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    guard::prepare_ownership(&setting.base, guard::Identity::Auto).unwrap();
    // It waits for an answer to its first line.
    let script = "echo ready; read word < $HOME/go; echo $word; echo other >&2";
    let command = setting.command("/bin/sh").args(["-c", script]);
    let (mut out, mut error) = (Vec::new(), Vec::new());
    let report = std::thread::scope(|scope| {
        guard::run_live(&command, &setting.policy, |stream, bytes| match stream {
            guard::OutputStream::Stdout => {
                if out.is_empty() {
                    let fifo = fifo.clone();
                    scope.spawn(move || std::fs::write(fifo, "word\n").unwrap());
                }
                out.extend_from_slice(bytes);
            }
            guard::OutputStream::Stderr => error.extend_from_slice(bytes),
        })
        .unwrap()
    });
    assert_pass(&report);
    assert_eq!((text(&out).as_str(), text(&error).as_str()), ("ready\nword\n", "other\n"));
    assert_eq!((out, error), (report.stdout.bytes, report.stderr.bytes));
}

#[test]
fn who_cannot_get_there_learns_what_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let setting = Setting::new();
    let closed = setting.base.join("closed");
    let root = closed.join("root");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let run = guard::run(&guard::Command::new("/bin/true", &root), &guard::Policy::new(&root));
    // Only as root the command runs as another user.
    if let Err(error) = run {
        let text = error.to_string();
        assert!(text.contains(&format!("chmod o+x {}", closed.display())), "{text}");
        assert!(text.contains("user 65534"), "{text}");
    }
}
