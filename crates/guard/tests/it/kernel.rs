//! Class B: undeclared changes by the kernel's less used doors.

use guard::Capability::FsWrite;

#[cfg(target_arch = "x86_64")]
use crate::setting::assert_exec;
use crate::setting::{Setting, assert_pass, assert_undeclared, show};

const DOORS: &[(&str, &str)] = &[
    (
        "openat2",
        "struct { unsigned long f, m, r; } how = {O_CREAT | O_WRONLY, 0600, 0}; syscall(437, \
         AT_FDCWD, \"a\", &how, sizeof how)",
    ),
    ("creat", "syscall(SYS_creat, \"a\", 0600)"),
    ("read-only truncation", "open(\"x\", O_RDONLY | O_TRUNC)"),
    ("read-only creation", "open(\"a\", O_RDONLY | O_CREAT, 0600)"),
    (
        "restore",
        "int f = open(\"x\", O_RDWR); write(f, \"y\", 1); pwrite(f, \"x\", 1, 0); struct timespec \
         t[2] = {{1,0},{1,0}}; futimens(f, t)",
    ),
    (
        "mmap",
        "int f = open(\"x\", O_RDWR); char *p = mmap(0, 1, PROT_WRITE, MAP_SHARED, f, 0); if (p != \
         MAP_FAILED) *p = 'y'",
    ),
    ("xattr", "setxattr(\"x\", \"user.a\", \"1\", 1, 0)"),
    ("fsetxattr", "fsetxattr(open(\"x\", O_RDONLY), \"user.a\", \"1\", 1, 0)"),
    ("removexattr", "removexattr(\"x\", \"user.a\")"),
    (
        "tmpfile",
        "int f = open(\".\", O_TMPFILE | O_RDWR, 0600); char p[64]; sprintf(p, \
         \"/proc/self/fd/%d\", f); linkat(AT_FDCWD, p, AT_FDCWD, \"t\", AT_SYMLINK_FOLLOW)",
    ),
    ("fifo", "mkfifo(\"ff\", 0600)"),
    ("fchmodat2", "syscall(452, AT_FDCWD, \"x\", 0600, 0)"),
    (
        "fchmodat2 by descriptor",
        "int f = open(\"x\", O_PATH); syscall(452, f, \"\", 0600, AT_EMPTY_PATH)",
    ),
    ("fchown", "fchown(open(\"x\", O_RDONLY), -1, getgid())"),
    ("lchown", "lchown(\"x\", -1, getgid())"),
    (
        "utime of a descriptor",
        "struct timespec t[2] = {{1,0},{1,0}}; syscall(SYS_utimensat, open(\"x\", O_RDONLY), 0, t, \
         0)",
    ),
    ("renameat2", "syscall(SYS_renameat2, AT_FDCWD, \"x\", AT_FDCWD, \"y\", 1)"),
    (
        "another thread's folder",
        "int d = open(\".\", O_PATH | O_DIRECTORY); mkdirat(d, \"new\", 0700)",
    ),
];

#[test]
fn every_door_of_the_kernel_is_charged_without_the_declaration() {
    for (name, code) in DOORS {
        eprintln!("{name}");
        assert_undeclared(
            &Setting::new().c(&format!("int main() {{ {code}; return 0; }}")),
            FsWrite,
        );
    }
}

#[test]
fn every_door_of_the_kernel_is_open_with_the_declaration_and_every_change_has_its_cause() {
    for (name, code) in DOORS {
        eprintln!("{name}");
        assert_pass(
            &Setting::new().declare(&[FsWrite]).c(&format!("int main() {{ {code}; return 0; }}")),
        );
    }
}

#[test]
fn operations_that_change_nothing_are_free() {
    let source = "int main() { mkdir(\"d\", 0700); mkdir(\".\", 0700); unlink(\"none\"); \
        rmdir(\"none\"); rename(\"x\", \"x\"); rename(\"none\", \"y\");
        open(\"none\", O_WRONLY); open(\"x\", O_CREAT | O_EXCL | O_WRONLY, 0600); open(\"none/a\", \
        O_CREAT | O_WRONLY, 0600); chmod(\"none\", 0600);
        open(\"x\", O_RDONLY | O_CREAT, 0600); symlink(\"a\", \"x\"); open(\"d\", O_WRONLY); \
        truncate(\"none\", 0); unlink(\"/missing\"); return 0; }";
    let setting = Setting::new();
    std::fs::create_dir(setting.root.join("d")).unwrap();
    let report = setting.c(source);
    assert_pass(&report);
    assert!(report.counts.is_empty(), "{}", show(&report));
}

#[test]
fn metadata_changes_as_it_does_without_a_guard() {
    let source = "int main() { struct stat s; struct timespec t[2] = {{1, 2}, {3, 4}}; char v[8]; \
        umask(0);
        if (chmod(\"x\", 0640) || stat(\"x\", &s) || (s.st_mode & 07777) != 0640) return 1;
        if (utimensat(AT_FDCWD, \"x\", t, 0) || stat(\"x\", &s) || s.st_mtim.tv_sec != 3 || \
        s.st_mtim.tv_nsec != 4) return 2;
        symlink(\"x\", \"l\"); if (utimensat(AT_FDCWD, \"l\", t, AT_SYMLINK_NOFOLLOW) || \
        lstat(\"l\", &s) || s.st_mtim.tv_sec != 3) return 3;
        if (setxattr(\"x\", \"user.a\", \"12\", 2, 0) == 0 && (getxattr(\"x\", \"user.a\", v, 8) \
        != 2 || removexattr(\"x\", \"user.a\"))) return 4;
        if (setxattr(\"x\", \"security.a\", \"1\", 1, 0) == 0 || setxattr(\"x\", \"trusted.a\", \
        \"1\", 1, 0) == 0) return 5;
        if (chown(\"x\", 0, 0) == 0 || errno != EPERM) return 6; if (chmod(\"none\", 0600) == 0 || \
        errno != ENOENT) return 7;
        if (chmod(\"x/y\", 0600) == 0 || errno != ENOTDIR) return 8; int p[2]; pipe(p); if \
        (fchmod(p[0], 0600)) return 9; return 0; }";
    assert_pass(&Setting::new().declare(&[FsWrite]).c(source));
}

#[test]
fn attempts_that_cannot_succeed_fail_as_they_do_without_a_guard() {
    let source = "#define IS(call, code) if ((call) != -1 || errno != code) return __LINE__;
int main() { mkdir(\"d/e\", 0700);
IS(rmdir(\"d\"), ENOTEMPTY)
IS(rmdir(\"x\"), ENOTDIR)
IS(unlink(\"d\"), EISDIR)
IS(mkdir(\"d\", 0700), EEXIST)
IS(rename(\"x\", \"d\"), EISDIR)
IS(rename(\"d\", \"x\"), ENOTDIR)
IS(rename(\"d\", \"d/e/f\"), EINVAL)
IS(rename(\"none\", \"x\"), ENOENT)
IS(syscall(SYS_renameat2, AT_FDCWD, \"x\", AT_FDCWD, \"d\", 1), EEXIST)
IS(link(\"x\", \"d\"), EEXIST)
IS(unlink(\"x/\"), ENOTDIR)
IS(open(\"none/../a\", O_CREAT | O_WRONLY, 0600), ENOENT)
if (rename(\"x\", \"x\")) return 1;
return 0; }";
    let setting = Setting::new();
    std::fs::create_dir_all(setting.root.join("d/e")).unwrap();
    let report = setting.c(source);
    assert_pass(&report);
    assert!(report.counts.is_empty(), "{}", show(&report));
}

#[test]
fn a_directory_deeper_than_a_path_may_be() {
    let source = "int main() { char n[201] = {0}; memset(n, 'n', 200); for (int i = 0; i < 40; \
        i++) if (mkdir(n, 0700) || chdir(n)) return 1;
        int f = open(\"f\", O_CREAT | O_WRONLY, 0600); return f < 0; }";
    assert_undeclared(&Setting::new().c(source), FsWrite);
    assert_pass(&Setting::new().declare(&[FsWrite]).c(source));
}

#[test]
fn a_request_that_changes_an_inode_is_a_write() {
    let source = "int main() { int flags = 0; ioctl(open(\"PATH\", O_RDONLY), 0x40086602, &flags); \
        return 0; }";
    assert_undeclared(&Setting::new().c(&source.replace("PATH", "x")), FsWrite);
    crate::setting::assert_forbidden(
        &Setting::new().declare(&[FsWrite]).c(&source.replace("PATH", "../victim")),
    );
}

#[test]
fn settings_of_somebody_s_terminal_are_outside() {
    let source = "int main() { int other = posix_openpt(O_RDONLY | O_NOCTTY); char t[64] = {0}; \
        ACT; return 0; }";
    // Asking is free, and so is everything about what is no terminal.
    let asks = "int f = open(\"/dev/ptmx\", O_RDONLY | O_NOCTTY); ioctl(f, 0x5401, t); ioctl(0, \
        0x5402, t); ioctl(1, 0x5402, t); ioctl(open(\"x\", O_RDONLY), 0x5402, t); int n; ioctl(1, \
        FIONREAD, &n)";
    assert_pass(&Setting::new().c(&source.replace("ACT", asks)));
    let sets = "ioctl(open(\"/dev/ptmx\", O_RDONLY | O_NOCTTY), 0x5402, t)";
    crate::setting::assert_forbidden(&Setting::new().c(&source.replace("ACT", sets)));
}

#[test]
fn metadata_of_a_path_swapped_meanwhile_stays_what_it_was() {
    // One process exchanges a folder and a link that leads out, the other changes modes through the
    // name they share.
    let source = "int main() { mkdir(\"in\", 0700); close(open(\"in/victim\", O_CREAT | O_WRONLY, \
        0600)); symlink(\"..\", \"up\");
        pid_t p = fork(); if (!p) for (;;) syscall(SYS_renameat2, AT_FDCWD, \"in\", AT_FDCWD, \
        \"up\", 2);
        for (int i = 0; i < 2000; i++) { chmod(\"in/victim\", 0777); } kill(p, SIGKILL); \
        chmod(\"../victim\", 0777); return 0; }";
    let setting = Setting::new().declare(&[FsWrite, guard::Capability::ProcessShell]);
    let victim = setting.base.join("victim");
    let mode = || {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(&victim).unwrap().permissions().mode() & 0o7777
    };
    let before = mode();
    let report = setting.c(source);
    // Whether the two met is the scheduler's to say; the last attempt was made alone.
    crate::setting::assert_forbidden(&report);
    assert_eq!(mode(), before);
}

#[test]
fn io_uring_is_not_there() {
    let report = Setting::new()
        .c("int main() { char p[256] = {0}; return syscall(425, 8, p) == -1 \
        && errno == ENOSYS ? 0 : 1; }");
    assert_pass(&report);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_entry_ends_the_run() {
    // open("a", O_CREAT | O_WRONLY, 0600) with the path in low memory.
    let source = "int main() { char *p = mmap((void *)0x100000, 4096, 3, MAP_PRIVATE | \
        MAP_ANONYMOUS | MAP_FIXED, -1, 0); strcpy(p, \"a\"); long r;
        asm volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(5), \"b\"(p), \"c\"(0101), \"d\"(0600) : \
        \"memory\"); return 0; }";
    let setting = Setting::new().declare(&[FsWrite]);
    assert_exec(&setting.c(source));
    assert!(!setting.root.join("a").exists());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_x32_entry_ends_the_run() {
    assert_exec(&Setting::new().declare(&[FsWrite]).c(
        "int main() { syscall(0x40000000 + SYS_open, \"a\", O_CREAT | O_WRONLY, 0600); return 0; }",
    ));
}

#[test]
fn calls_nobody_gets_are_refused_and_listed() {
    let source =
        "int main() { int bad = 0; char b[128] = {0}; bad += ptrace(PTRACE_TRACEME, 0, 0, \
        0) == 0; bad += unshare(CLONE_NEWUSER) == 0;
        bad += syscall(SYS_bpf, 0, b, 72) >= 0; bad += syscall(SYS_userfaultfd, 0) >= 0; bad += \
        syscall(SYS_keyctl, 0, -3, 0) >= 0; bad += mount(\"a\", \"b\", \"tmpfs\", 0, 0) == 0;
        bad += syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0; bad += chroot(\".\") \
        == 0; bad += prctl(PR_SET_DUMPABLE, 0) == 0;
        struct iovec v = {b, 8}; bad += process_vm_writev(getpid(), &v, 1, &v, 1, 0) >= 0; bad += \
        syscall(SYS_pidfd_getfd, 0, 0, 0) >= 0;
        bad += syscall(447, 0) >= 0; bad += syscall(999) >= 0 || errno != ENOSYS; return bad; }";
    let report = Setting::new().c(source);
    assert_pass(&report);
    assert!(report.denied >= 11, "{}", show(&report));
}

#[test]
fn a_filter_of_its_own_blinds_nobody() {
    let setting = Setting::new();
    let own = "#include <linux/seccomp.h>\n#include <linux/filter.h>\nint main() { struct \
        sock_filter c[] = {{6, 0, 0, ACTION}}; struct sock_fprog p = {1, c};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); long r = syscall(SYS_seccomp, 1, FLAGS, &p); \
        WRITE; return r < 0; }";
    let write = own.replace("FLAGS", "0").replace("WRITE", "open(\"a\", O_CREAT | O_WRONLY, 0600)");
    assert_undeclared(&setting.c(&write.replace("ACTION", "SECCOMP_RET_ALLOW")), FsWrite);
    let listener = own
        .replace("FLAGS", "8")
        .replace("WRITE", "return !(r == -1 && errno == EBUSY)")
        .replace("ACTION", "SECCOMP_RET_USER_NOTIF");
    assert_pass(&setting.c(&listener));
}

#[test]
fn a_path_swapped_while_it_is_looked_at_reaches_nothing_outside() {
    let source = "char path[64] = \"in/victim\"; volatile int over; void *swap(void *p) { for \
        (volatile int i = 0; !over; i++) *(volatile short *)path = i & 1024 ? 0x2e2e : 0x6e69; \
        return 0; }
        int main() { mkdir(\"in\", 0700); pthread_t t; pthread_create(&t, 0, swap, 0);
        for (int i = 0; i < 3000; i++) { int f = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600); \
        if (f >= 0) { write(f, \"!\", 1); close(f); } }
        over = 1; pthread_join(t, 0); open(\"../victim\", O_WRONLY | O_TRUNC); return 0; }";
    let setting = Setting::new().declare(&[FsWrite]);
    let report = setting.c(source);
    crate::setting::assert_forbidden(&report);
    assert_eq!(std::fs::read_to_string(setting.base.join("victim")).unwrap(), "victim");
}
