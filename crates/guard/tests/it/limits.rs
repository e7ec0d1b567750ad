//! Bounds on time, memory and output.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use guard::Capability::FsWrite;
use guard::{Category, Code, Exit, Stdin, Verdict};

use crate::setting::{Setting, assert_exec, assert_pass, show};

fn limit(name: &str) -> Exit {
    Exit::Limit(name.to_owned())
}

#[test]
fn a_flood_of_output_ends_at_the_limit() {
    let mut setting = Setting::new();
    setting.policy.limits.stdout_bytes = 100_000;
    let report = setting.sh("while :; do echo 0123456789012345678901234567890123456789; done");
    assert_exec(&report);
    assert_eq!(report.exit, limit("stdout_bytes"));
    assert!(report.stdout.truncated && report.stdout.bytes.len() == 100_000);
    setting.policy.limits.stderr_bytes = 10;
    let report = setting.sh("echo 01234567890123456789 >&2");
    assert_eq!(report.exit, limit("stderr_bytes"));
}

#[test]
fn output_just_at_the_limit_is_whole() {
    let mut setting = Setting::new();
    setting.policy.limits.stdout_bytes = 6;
    let report = setting.sh("echo 12345");
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"12345\n");
}

#[test]
fn much_output_arrives_byte_by_byte() {
    let report = Setting::new().sh("i=0; while [ $i -lt 20000 ]; do echo €uro$i; i=$((i+1)); done");
    assert_pass(&report);
    let expected: String = (0..20_000).map(|index| format!("€uro{index}\n")).collect();
    assert_eq!(report.stdout.bytes, expected.as_bytes());
}

#[test]
fn cpu_time_counts_for_the_whole_tree() {
    let mut setting = Setting::new();
    setting.policy.limits.cpu_ms = 300;
    let report = setting.c("void *spin(void *p) { for (;;); } int main() { pthread_t t; \
        pthread_create(&t, 0, spin, 0); spin(0); }");
    assert_exec(&report);
    assert_eq!(report.exit, limit("cpu_ms"));
    assert!(report.cpu_ms >= 300, "{}", report.cpu_ms);
}

#[test]
fn memory_is_bounded() {
    let mut setting = Setting::new();
    setting.policy.limits.memory_bytes = 50 << 20;
    let report = setting.c("int main() { for (int i = 0; i < 100; i++) { char *p = malloc(1 << \
        20); memset(p, 1, 1 << 20); } for (;;) pause(); }");
    assert_exec(&report);
    assert_eq!(report.exit, limit("memory_bytes"));
}

#[test]
fn files_are_bounded() {
    let mut setting = Setting::new().declare(&[FsWrite]);
    setting.policy.limits.file_bytes = 1_000;
    let report = setting.c("int main() { int f = open(\"big\", O_CREAT | O_WRONLY, 0600); char \
        b[600] = {0}; for (;;) write(f, b, 600); }");
    assert_exec(&report);
    assert_eq!(report.exit, limit("file_bytes"));
    assert_eq!(std::fs::metadata(setting.root.join("big")).unwrap().len(), 1_000);
}

#[test]
fn the_tree_is_bounded() {
    let mut setting = Setting::new().declare(&[FsWrite]);
    setting.policy.limits.tree_bytes = 1 << 20;
    let report = setting.c("char b[65536]; int main() { char p[32]; memset(b, 1, sizeof b); for \
        (int i = 0; i < 100; i++) { sprintf(p, \"f%d\", i); write(open(p, O_CREAT | O_WRONLY, \
        0600), b, sizeof b); } return 0; }");
    assert_exec(&report);
    assert_eq!(report.exit, limit("tree_bytes"));
    let mut setting = Setting::new().declare(&[FsWrite]);
    setting.policy.limits.tree_entries = 50;
    let report = setting.c("int main() { char p[32]; for (int i = 0; i < 60; i++) { sprintf(p, \
        \"d%d\", i); mkdir(p, 0700); } return 0; }");
    assert_eq!(report.exit, limit("tree_entries"));
}

#[test]
fn files_without_a_name_count_as_growth() {
    let makes = [
        // Not every file system has files that never had a name.
        "f = open(\".\", O_TMPFILE | O_RDWR, 0600); if (f < 0) { f = open(\"a\", O_CREAT | O_RDWR, \
         0600); unlink(\"a\"); }",
        "f = open(\"a\", O_CREAT | O_RDWR, 0600); close(open(\"b\", O_CREAT | O_WRONLY, 0600)); \
         rename(\"b\", \"a\");",
    ];
    let holds = [
        "",
        "mmap(0, 2 << 20, PROT_READ, MAP_SHARED, f, 0); close(f);",
        // A thread with descriptors of its own.
        "pthread_t t; pthread_create(&t, 0, holds, 0); while (!ready) sched_yield(); close(f);",
    ];
    for (make, hold) in makes.iter().flat_map(|make| holds.iter().map(move |hold| (make, hold))) {
        let mut setting = Setting::new().declare(&[FsWrite]);
        setting.policy.limits.tree_bytes = 1 << 20;
        let report = setting.c(&format!(
            "char b[65536]; volatile int ready;
            void *holds(void *unused) {{ unshare(CLONE_FILES); ready = 1; for (;;) pause(); }}
            int main() {{ int f; {make} memset(b, 1, sizeof b);
            for (int i = 0; i < 32; i++) write(f, b, sizeof b);
            {hold} for (;;) pause(); }}"
        ));
        assert_exec(&report);
        assert_eq!(report.exit, limit("tree_bytes"), "{make} {hold}");
    }
}

#[test]
fn memory_that_processes_share_counts_once_and_all_of_it() {
    let mut setting = Setting::new().declare(&[guard::Capability::ProcessShell]);
    // Children that end while they are added up are counted with other shares than those counted
    // before: at most 15 + 15 + 15 + 60.
    setting.policy.limits.memory_bytes = 120 << 20;
    let source = "int main() { size_t n = SIZE << 20; char *p = mmap(0, n, 3, MAP_SHARED | \
        MAP_ANONYMOUS, -1, 0); memset(p, 1, n);
        for (int i = 0; i < 3; i++) if (!fork()) { OWN; volatile char c = 0; for (size_t k = 0; k \
        < n; k += 4096) c += p[k]; WAIT; _exit(0); } while (wait(0) > 0); return 0; }";
    let once = source.replace("SIZE", "60").replace("OWN", "").replace("WAIT", "usleep(300000)");
    assert_pass(&setting.c(&once));
    let each = "p = mmap(0, n, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0); memset(p, 1, n)";
    // They wait to be seen, however long that takes.
    let each =
        source.replace("SIZE", "40").replace("OWN", each).replace("WAIT", "for (;;) pause()");
    let report = setting.c(&each);
    assert_eq!(report.exit, limit("memory_bytes"), "{}", show(&report));
}

#[test]
fn files_of_memory_count_as_memory() {
    let mut setting = Setting::new();
    setting.policy.limits.memory_bytes = 60 << 20;
    let source =
        "int main() { static char b[1 << 20]; memset(b, 1, sizeof b); for (int i = 0; i < \
        SIZE; i++) { int f = syscall(SYS_memfd_create, \"m\", 0);
        for (int k = 0; k < 8; k++) write(f, b, sizeof b); } WAIT; return 0; }";
    assert_pass(&setting.c(&source.replace("SIZE", "4").replace("WAIT", "usleep(300000)")));
    let report = setting.c(&source.replace("SIZE", "12").replace("WAIT", "for (;;) pause()"));
    assert_eq!(report.exit, limit("memory_bytes"), "{}", show(&report));
}

#[test]
fn one_processor_is_seen_as_one() {
    let mut setting = Setting::new();
    setting.policy.processor = Some(0);
    let source = "int main() { cpu_set_t s; sched_getaffinity(0, sizeof s, &s); return \
        CPU_COUNT(&s) != 1 || !CPU_ISSET(0, &s); }";
    assert_pass(&setting.c(source));
    setting.policy.processor = Some(100_000);
    let command = setting.command("/bin/true");
    assert!(guard::run(&command, &setting.policy).is_err());
}

#[test]
fn a_cancelled_run_says_nothing_about_the_command() {
    let mut setting = Setting::new();
    let cancel = Arc::new(AtomicBool::new(false));
    setting.policy.cancel = Some(Arc::clone(&cancel));
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| setting.sh("while :; do :; done"));
        cancel.store(true, Ordering::Relaxed);
        run.join().unwrap()
    });
    assert_eq!(
        (report.verdict, report.code),
        (Verdict::Inconclusive, Some(Code::Incomplete)),
        "{}",
        show(&report)
    );
}

#[test]
fn many_changes_are_counted_exactly_in_bounded_memory() {
    let setting = Setting::new().declare(&[FsWrite]);
    let report =
        setting.c("int main() { char p[32]; for (int i = 0; i < 20000; i++) { sprintf(p, \
        \"f%d\", i % 500); int f = open(p, O_CREAT | O_WRONLY, 0600);
        if (f < 0) return 1; close(f); } return 0; }");
    assert_pass(&report);
    assert_eq!(report.counts.get(&Category::FsWrite), Some(&20_000));
    assert!(report.effects.len() <= guard::Report::MAX_EFFECTS);
}

#[test]
fn an_exit_code_and_a_signal_are_failures_with_their_cause() {
    let setting = Setting::new();
    let report = setting.sh("exit 3");
    assert_exec(&report);
    assert_eq!(report.exit, Exit::Code(3));
    let report = setting.sh("kill -SEGV $$");
    assert_exec(&report);
    assert_eq!(report.exit, Exit::Signal(11));
}

#[test]
fn a_missing_program_is_the_host_s_fault() {
    let setting = Setting::new();
    let report = setting.run(&setting.command("no-such-program"));
    assert_eq!(
        (report.verdict, report.code, &report.exit),
        (Verdict::Inconclusive, Some(Code::Incomplete), &Exit::NotStarted)
    );
    assert!(report.reason.contains("no-such-program"), "{}", report.reason);
}

#[test]
fn input_is_what_was_given() {
    let setting = Setting::new().deny_reads();
    let command = setting
        .command("/bin/sh")
        .args(["-c", "read a; echo $a; read b || echo end"])
        .stdin(Stdin::Bytes(b"hello\n".to_vec()));
    let report = setting.run(&command);
    assert_pass(&report);
    assert_eq!(report.stdout.bytes, b"hello\nend\n");
    let report = setting.sh("read a || echo end");
    assert_eq!(report.stdout.bytes, b"end\n");
}
