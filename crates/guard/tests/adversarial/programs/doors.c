// Ways round: other entries into the kernel, calls no guarded command gets, races.
#include "probe.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/io_uring.h>

// io_uring as a program uses it: openat by the ring, and by the call where there is no ring.
PROBE(io_uring_or_else) {
    struct io_uring_params setup = {0};
    long ring = syscall(SYS_io_uring_setup, 4, &setup);
    if (ring < 0) {
        EXPECT(errno == ENOSYS);
        TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
        return 0;
    }
    char *entries = mmap(0, setup.sq_off.array + setup.sq_entries * 4, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *queue = mmap(0, setup.sq_entries * sizeof *queue, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
    EXPECT(entries != MAP_FAILED && queue != MAP_FAILED);
    memset(queue, 0, sizeof *queue);
    queue->opcode = IORING_OP_OPENAT;
    queue->fd = AT_FDCWD;
    queue->addr = (uintptr_t)at("a");
    queue->open_flags = O_CREAT | O_WRONLY;
    queue->len = 0600;
    *(unsigned *)(entries + setup.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(entries + setup.sq_off.tail), 1, __ATOMIC_RELEASE);
    TRY(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, 0, 0));
    return 0;
}
PROBE(io_uring_is_absent) {
    struct io_uring_params setup = {0};
    EXPECT(syscall(SYS_io_uring_setup, 4, &setup) < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_io_uring_enter, 3, 1, 0, 0, 0, 0) < 0 && errno == ENOSYS);
    EXPECT(syscall(SYS_io_uring_register, -1, 0, 0, 0) < 0 && errno == ENOSYS);
    return 0;
}

#ifdef __x86_64__
// 32-bit calls take 32-bit pointers.
static char *low_copy(const char *text) {
    char *page = mmap((void *)0x100000, 4096, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return page == MAP_FAILED ? 0 : strcpy(page, text);
}
static long enter_32(long number, long one, long two, long three) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(one), "c"(two), "d"(three)
        : "memory", "r8", "r9", "r10", "r11");
    return result;
}
PROBE(open_by_int_80) { return enter_32(5, (long)low_copy(at("a")), O_CREAT | O_WRONLY, 0600) < 0; }
PROBE(getpid_by_int_80) { return enter_32(20, 0, 0, 0) != getpid(); }
PROBE(mkdir_by_x32) { TRY(syscall(0x40000000 + SYS_mkdir, at("new"), 0700)); return 0; }
#endif

PROBE(negative_call_number) { EXPECT(syscall(-5, 0) < 0); return 0; }
PROBE(unknown_call_number) { EXPECT(syscall(1023, 0) < 0 && errno == ENOSYS); return 0; }

PROBE(privileged_calls_fail) {
    char space[256] = {0};
    EXPECT(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0);
    EXPECT(syscall(SYS_pidfd_getfd, 0, 0, 0) < 0);
    EXPECT(mount("none", ".", "tmpfs", 0, 0) < 0);
    EXPECT(umount2("/", MNT_DETACH) < 0);
    EXPECT(chroot(".") < 0);
    EXPECT(syscall(SYS_pivot_root, ".", ".") < 0);
    EXPECT(syscall(SYS_open_tree, AT_FDCWD, ".", 1) < 0);
    EXPECT(syscall(SYS_move_mount, 0, "", AT_FDCWD, ".", 4) < 0);
    EXPECT(syscall(SYS_fsopen, "tmpfs", 0) < 0);
    EXPECT(syscall(442, AT_FDCWD, ".", 0, space, 32) < 0);  // mount_setattr
    EXPECT(syscall(SYS_bpf, 0, space, 72) < 0);
    EXPECT(syscall(SYS_userfaultfd, 0) < 0);
    EXPECT(syscall(SYS_perf_event_open, space, 0, -1, -1, 0) < 0);
    EXPECT(syscall(SYS_fanotify_init, 0, 0) < 0);
    EXPECT(syscall(SYS_open_by_handle_at, AT_FDCWD, space, O_WRONLY) < 0);
    EXPECT(syscall(SYS_quotactl, 0, 0, 0, 0) < 0);
    EXPECT(syscall(SYS_acct, at("x")) < 0);
    EXPECT(syscall(SYS_swapon, at("x"), 0) < 0);
    EXPECT(syscall(SYS_sethostname, "other", 5) < 0);
    EXPECT(syscall(SYS_settimeofday, space, 0) < 0);
    EXPECT(syscall(SYS_init_module, space, 8, "") < 0);
    EXPECT(prctl(PR_SET_DUMPABLE, 0) < 0);
    return 0;
}
PROBE(new_namespaces_fail) {
    long kinds[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
        CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80 /* time */};
    for (int i = 0; i < 8; i++) EXPECT(unshare(kinds[i]) < 0);
    EXPECT(unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0);
    EXPECT(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) < 0);
    EXPECT(setns(open("/proc/self/ns/net", O_RDONLY), 0) < 0);
    return 0;
}
PROBE(namespaces_by_clone3_fail) {
    struct {
        uint64_t flags, pidfd, child, parent, signal, stack, size, tls, set, set_size, cgroup;
    } ask = {CLONE_NEWUSER | CLONE_NEWNS, 0, 0, 0, SIGCHLD};
    EXPECT(syscall(435, &ask, sizeof ask) < 0);
    return 0;
}
PROBE(objects_that_outlive_fail) {
    EXPECT(syscall(SYS_shmget, 7, 4096, 0600 | 01000) < 0);
    EXPECT(syscall(SYS_semget, 7, 1, 0600 | 01000) < 0);
    EXPECT(syscall(SYS_msgget, 7, 0600 | 01000) < 0);
    EXPECT(syscall(SYS_mq_open, "guard-queue", O_CREAT | O_RDWR, 0600, 0) < 0);
    EXPECT(syscall(SYS_add_key, "user", "guard", "1", 1, -3) < 0);
    EXPECT(syscall(SYS_request_key, "user", "guard", 0, -3) < 0);
    EXPECT(syscall(SYS_keyctl, 0, -3, 1) < 0);
    return 0;
}
PROBE(inode_flags_by_ioctl) {
    int flags = 0, f = open(at("x"), O_RDONLY);
    TRY(f);
    if (ioctl(f, FS_IOC_SETFLAGS, &flags) == 0) return 0;
    fprintf(stderr, "FS_IOC_SETFLAGS: %s\n", strerror(errno));
    return 0;
}
PROBE(open_by_handle) {
    struct {
        struct file_handle head;
        char bytes[128];
    } handle = {.head.handle_bytes = 128};
    int mount_id;
    TRY(name_to_handle_at(AT_FDCWD, at("x"), &handle.head, &mount_id, 0));
    EXPECT(open_by_handle_at(AT_FDCWD, &handle.head, O_WRONLY) < 0);
    return 0;
}

static int install(unsigned action, unsigned flags, int number, unsigned otherwise) {
    struct sock_filter code[] = {{0x20, 0, 0, 0}, {0x15, 0, 1, number}, {0x06, 0, 0, action},
        {0x06, 0, 0, otherwise}};
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
PROBE(own_filter_then_write) {
    TRY(install(SECCOMP_RET_ERRNO | EPERM, 0, SYS_ptrace, SECCOMP_RET_ALLOW));
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_filter_of_all_threads) {
    TRY(install(SECCOMP_RET_ALLOW, SECCOMP_FILTER_FLAG_TSYNC, SYS_ptrace, SECCOMP_RET_ALLOW));
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_tracing_filter) {
    // RET_TRACE without a tracer fails the call; the guard's answer outranks it.
    TRY(install(SECCOMP_RET_TRACE, 0, SYS_openat, SECCOMP_RET_ALLOW));
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_filter_by_prctl) {
    struct sock_filter code[] = {{0x06, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog program = {1, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    TRY(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_listener_is_refused) {
    EXPECT(install(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER, SYS_openat,
        SECCOMP_RET_ALLOW) < 0);
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_notifying_filter) {
    // Without a listener of its own the call fails; it does not slip past the guard's.
    TRY(install(SECCOMP_RET_USER_NOTIF, 0, SYS_openat, SECCOMP_RET_ALLOW));
    open(at("a"), O_CREAT | O_WRONLY, 0600);
    return 0;
}
PROBE(own_landlock) {
    uint64_t handled = 2;  // write to files
    long rules = syscall(444, &handled, sizeof handled, 0);
    TRY(rules);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    TRY(syscall(446, rules, 0));
    EXPECT(open(at("x"), O_WRONLY) < 0);
    return 0;
}

// A thread that changes the path while the call that names it waits to be seen. How often the two
// meet is the scheduler's to say; a last attempt, made alone, is not.
#define ATTEMPTS 1500
static char racing_path[64];
static const char *racing_ends[2];
static volatile int race_over;
static pthread_t racer;
static void *rewrite(void *unused) {
    for (unsigned i = 0; !race_over; i++) {
        memcpy(racing_path, racing_ends[i >> 6 & 1], 16);
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
static void race(void *(*run)(void *)) {
    racing_ends[0] = "in/victim\0\0\0\0\0\0";
    racing_ends[1] = "..////victim\0\0\0";
    memcpy(racing_path, racing_ends[0], 16);
    pthread_create(&racer, 0, run, 0);
}
static void end_race(void) {
    race_over = 1;
    pthread_join(racer, 0);
    memcpy(racing_path, racing_ends[1], 16);
}
PROBE(racing_open) {
    race(rewrite);
    for (int i = 0; i < ATTEMPTS; i++) {
        int f = open(racing_path, O_WRONLY | O_TRUNC);
        if (f >= 0) write(f, "!", 1), close(f);
    }
    end_race();
    open(racing_path, O_WRONLY | O_TRUNC);
    return 0;
}
PROBE(racing_unlink) {
    race(rewrite);
    for (int i = 0; i < ATTEMPTS; i++) unlink(racing_path);
    end_race();
    unlink(racing_path);
    return 0;
}
PROBE(racing_rename) {
    race(rewrite);
    for (int i = 0; i < ATTEMPTS; i++) close(open("x", O_CREAT | O_WRONLY, 0600)),
        rename("x", racing_path);
    end_race();
    close(open("x", O_CREAT | O_WRONLY, 0600));
    rename("x", racing_path);
    return 0;
}
// The flags of openat2 are in memory too.
static struct {
    uint64_t flags, mode, resolve;
} racing_how;
static void *flip(void *unused) {
    for (unsigned i = 0; !race_over; i++) {
        racing_how.flags = i & 64 ? O_RDONLY : O_WRONLY | O_TRUNC;
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
PROBE(racing_open_flags) {
    race(flip);
    for (int i = 0; i < ATTEMPTS; i++) {
        long f = syscall(437, AT_FDCWD, at("x"), &racing_how, sizeof racing_how);
        if (f >= 0) write(f, "!", 1), close(f);
    }
    end_race();
    racing_how.flags = O_WRONLY | O_TRUNC;
    syscall(437, AT_FDCWD, at("x"), &racing_how, sizeof racing_how);
    return 0;
}
// A directory on the way that is now a folder, now a symbolic link out.
static pid_t exchange_for_ever(void) {
    pid_t other = fork();
    if (!other)
        for (;;) syscall(SYS_renameat2, AT_FDCWD, "in", AT_FDCWD, "up", 2);
    return other;
}
PROBE(racing_symlink) {
    pid_t other = exchange_for_ever();
    for (int i = 0; i < ATTEMPTS; i++) {
        int f = open("in/victim", O_WRONLY | O_TRUNC);
        if (f >= 0) write(f, "!", 1), close(f);
    }
    kill(other, SIGKILL);
    open("../victim", O_WRONLY | O_TRUNC);
    return 0;
}
PROBE(racing_chmod) {
    pid_t other = exchange_for_ever();
    for (int i = 0; i < ATTEMPTS; i++) chmod("in/victim", 0604);
    kill(other, SIGKILL);
    chmod("../victim", 0604);
    return 0;
}
