//! Class D: processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use guard::Capability::{FsWrite, ProcessGit, ProcessShell};
use guard::{Category, Exit};

use crate::setting::{Setting, assert_exec, assert_pass, assert_undeclared, show, text};

#[test]
fn git_is_the_system_s_git_and_nothing_else() {
    let setting = Setting::new().declare(&[ProcessGit, FsWrite]);
    if !std::path::Path::new("/usr/bin/git").exists() {
        eprintln!("skipped: there is no git on this machine");
        return;
    }
    let by_c = |line: &str| {
        format!(
            "int main() {{ if (fork() == 0) {{ {line}; _exit(1); }} int s; wait(&s); return \
             WEXITSTATUS(s); }}"
        )
    };
    assert_pass(
        &setting.c(&by_c("execl(\"/usr/bin/git\", \"git\", \"init\", \"-q\", \".\", NULL)")),
    );
    assert_pass(&setting.c(&by_c("execl(\"/usr/bin/git\", \"git\", \"status\", NULL)")));
    setting.file("git", "#!/bin/sh\necho fake\n");
    fs::set_permissions(setting.root.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_undeclared(
        &setting.c(&by_c("execl(\"./git\", \"git\", \"status\", NULL)")),
        ProcessShell,
    );
    let report =
        setting.c(&by_c("execl(\"/bin/sh\", \"sh\", \"-c\", \"git --version; echo x > f\", NULL)"));
    assert_undeclared(&report, ProcessShell);
    assert!(!setting.root.join("f").exists());
}

#[test]
fn an_alias_of_git_is_a_shell() {
    let setting = Setting::new().declare(&[ProcessGit]);
    let report = setting.run(&setting.command("/usr/bin/git").args(["-c", "alias.x=!echo x", "x"]));
    assert_undeclared(&report, ProcessShell);
}

#[test]
fn a_child_without_environment_or_libraries_is_seen() {
    let setting = Setting::new().declare(&[ProcessShell]);
    setting.compile("child", "int main() { return open(\"f\", O_CREAT | O_WRONLY, 0600) < 0; }");
    let report = setting.c("int main() { char *none[] = {0}; if (!fork()) { execve(\"./child\", \
        none, none); _exit(1); } wait(0); return 0; }");
    assert_undeclared(&report, FsWrite);
}

#[test]
fn a_fork_alone_is_a_process() {
    let report = Setting::new().c("int main() { if (!fork()) { _exit(0); } wait(0); return 0; }");
    assert_undeclared(&report, ProcessShell);
    assert_eq!(report.forks, Some(1));
    let report = Setting::new()
        .c("int main() { if (!syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0)) {
        open(\"f\", O_CREAT | O_WRONLY, 0600); _exit(0); } wait(0); return 0; }");
    assert_undeclared(&report, ProcessShell);
    assert_undeclared(&report, FsWrite);
}

#[test]
fn an_effect_names_its_process_and_all_above_it() {
    let setting = Setting::new().declare(&[ProcessShell, FsWrite]);
    let report = setting.sh("sh -c 'sh -c \"echo 1 > a; :\"; :'");
    assert_pass(&report);
    let write = report.effects.iter().find(|effect| effect.category == Category::FsWrite).unwrap();
    assert!(write.target.ends_with("/a") && write.argv.last().unwrap().contains("echo 1 > a"));
    assert!(write.parents.len() >= 2, "{write:?}");
    assert!(write.parents.iter().all(|parent| parent.executable.ends_with("sh")), "{write:?}");
}

#[test]
fn no_way_of_signalling_reaches_outside() {
    for way in [
        "syscall(SYS_tgkill, getppid(), getppid(), SIGKILL)",
        "syscall(SYS_tkill, getppid(), SIGKILL)",
        "syscall(424, open(\"/proc/1\", O_DIRECTORY), SIGKILL, 0, 0)",
        "kill(-1, SIGCONT)",
        "fcntl(open(\"x\", O_RDONLY), F_SETOWN, getppid())",
        "setpriority(PRIO_USER, 0, 5)",
        "setpriority(PRIO_PROCESS, getppid(), 5)",
        "syscall(SYS_ptrace, PTRACE_ATTACH, getppid(), 0, 0)",
    ] {
        let report = Setting::new().c(&format!("int main() {{ {way}; return 0; }}"));
        crate::setting::assert_forbidden(&report);
    }
}

#[test]
fn a_group_is_signalled_after_its_leader_is_gone() {
    let source = "int main() { pid_t p = fork(); if (!p) { setpgid(0, 0); if (!fork()) for (;;) \
        pause(); _exit(0); } waitpid(p, 0, 0); return kill(-p, SIGKILL); }";
    assert_pass(&Setting::new().declare(&[ProcessShell]).c(source));
}

#[test]
fn threads_are_no_processes() {
    let source = "void *go(void *p) { return 0; } int main() { pthread_t t[20]; for (int i = 0; i \
        < 20; i++) if (pthread_create(&t[i], 0, go, 0)) return 1;
        for (int i = 0; i < 20; i++) pthread_join(t[i], 0); return 0; }";
    assert_pass(&Setting::new().c(source));
}

#[test]
fn a_storm_of_short_programs_is_counted_exactly() {
    let setting = Setting::new().declare(&[ProcessShell]);
    setting.compile("child", "int main() { return 0; }");
    let report =
        setting.c("int main() { for (int i = 0; i < 2000; i++) { pid_t p = vfork(); if (p \
        < 0) return 1;
        if (!p) { execl(\"./child\", \"child\", NULL); _exit(1); } int s; waitpid(p, &s, 0); if \
        (s) return 2; } return 0; }");
    assert_pass(&report);
    assert_eq!(report.counts.get(&Category::ProcessShell), Some(&2000));
    assert!(report.forks.is_none_or(|forks| forks == 2000), "{:?}", report.forks);
}

#[test]
fn forks_without_a_program_are_counted_where_the_host_counts() {
    let source = "void *go(void *p) { return 0; } int main() { for (int i = 0; i < 3000; i++) { \
        pid_t p = fork(); if (p < 0) return 1; if (!p) _exit(0); waitpid(p, 0, 0); }
        pthread_t t; for (int i = 0; i < 50; i++) { pthread_create(&t, 0, go, 0); pthread_join(t, \
        0); } return 0; }";
    let report = Setting::new().declare(&[ProcessShell]).c(source);
    assert_pass(&report);
    assert!(report.forks.is_none_or(|forks| forks == 3000), "{:?}", report.forks);
    eprintln!("forks: {:?}", report.forks);
}

#[test]
fn a_fork_bomb_ends_at_the_limit() {
    let mut setting = Setting::new().declare(&[ProcessShell]);
    setting.policy.limits.processes = 20;
    let report = setting.c("int main() { for (;;) fork(); }");
    assert_exec(&report);
    assert_eq!(report.exit, Exit::Limit("processes".to_owned()));
}

#[test]
fn a_command_deaf_to_signals_ends_with_all_its_children_at_the_timeout() {
    let mut setting = Setting::new().declare(&[ProcessShell, FsWrite]);
    setting.policy.limits.wall_ms = 700;
    let report = setting.sh("trap '' TERM HUP INT; (trap '' TERM; echo $$ > pid; while :; do :; \
        done) & while :; do :; done");
    assert_exec(&report);
    assert_eq!(report.exit, Exit::Timeout);
    assert!(report.wall_ms >= 700, "{}", report.wall_ms);
}

#[test]
fn a_daemon_does_not_outlive_the_command() {
    let setting = Setting::new().declare(&[ProcessShell, FsWrite]);
    let report = setting.c("int main() { int p[2]; pipe(p); if (!fork()) { setsid(); if (fork()) \
        _exit(0); prctl(PR_SET_NAME, \"guard-daemon\");
        printf(\"%d\\n\", getpid()); fflush(stdout); write(p[1], \"1\", 1); for (;;) pause(); } \
        char c; read(p[0], &c, 1); return 0; }");
    assert_pass(&report);
    let pid: u32 = text(&report.stdout.bytes).trim().parse().unwrap();
    let left = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_ne!(left.trim(), "guard-daemon", "{}", show(&report));
}

#[test]
fn a_child_that_is_left_at_the_end_is_mentioned() {
    let setting = Setting::new().declare(&[ProcessShell]);
    let report = setting.sh("sleep 60 & sleep 60 & exit 0");
    assert_pass(&report);
    assert_eq!(report.killed_at_end, 2, "{}", show(&report));
    assert_eq!(setting.sh("sleep 0 & wait").killed_at_end, 0);
}

#[test]
fn signals_reach_the_own_tree_only() {
    let setting = Setting::new().declare(&[ProcessShell]);
    assert_pass(
        &setting.c("int main() { pid_t p = fork(); if (!p) { pause(); } kill(p, SIGKILL); \
        wait(0); raise(SIGCONT); kill(getpid(), SIGCONT); return 0; }"),
    );
    crate::setting::assert_forbidden(
        &setting.c("int main() { kill(getppid(), SIGKILL); return 0; }"),
    );
    let mut bystander = std::process::Command::new("sleep").arg("30").spawn().unwrap();
    let report =
        setting.c(&format!("int main() {{ return kill({}, SIGKILL) == 0; }}", bystander.id()));
    crate::setting::assert_forbidden(&report);
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}
