//! What the command finds when it starts: what it was given, and nothing else.

use crate::setting::{Setting, assert_pass, text};

#[test]
fn the_environment_is_exactly_the_one_given() {
    let setting = Setting::new();
    let program = setting.compile("prog", "extern char **environ; int main() { for (char **e = environ; *e; e++) puts(*e); return 0; }");
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
    let source = "int main() { int open_ones = 0; for (int i = 3; i < 4096; i++) if (fcntl(i, F_GETFD) != -1 || write(i, \"x\", 1) == 1) open_ones++; return open_ones; }";
    assert_pass(&Setting::new().c(source));
    drop(leak);
}

#[test]
fn signals_and_session_are_fresh() {
    let source = "int main() { sigset_t s; sigprocmask(SIG_SETMASK, 0, &s); for (int i = 1; i < 32; i++) { if (sigismember(&s, i)) return 1;
        struct sigaction a; if (sigaction(i, 0, &a) == 0 && a.sa_handler != SIG_DFL) return 2; } return getsid(0) != getpid() ? 3 : 0; }";
    assert_pass(&Setting::new().c(source));
}

#[test]
fn no_right_is_left() {
    let report = Setting::new().sh("while read -r line; do case $line in Cap*|Uid*|NoNewPrivs*|Groups*) echo $line;; esac; done < /proc/self/status");
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
    let report = Setting::new().deny_reads().sh("echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/null; echo d > /proc/self/fd/1; echo e > $OUT/f");
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
