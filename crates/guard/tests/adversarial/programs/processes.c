// Programs, forks, daemons, signals.
#include "probe.h"
#include <spawn.h>

extern char **environ;
static char *const QUIET[] = {"true", 0};

static int ended_well(pid_t child) {
    int status;
    if (waitpid(child, &status, 0) < 0) return failed("waitpid");
    return status != 0;
}

PROBE(fork_alone) {
    pid_t child = syscall(SYS_fork);
    TRY(child);
    if (!child) _exit(0);
    return ended_well(child);
}
PROBE(vfork_alone) {
    pid_t child = vfork();
    TRY(child);
    if (!child) _exit(0);
    return ended_well(child);
}
PROBE(clone_untraced) {
    pid_t child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
    TRY(child);
    if (!child) _exit(0);
    return ended_well(child);
}
PROBE(clone_untraced_and_write) {
    pid_t child = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
    TRY(child);
    if (!child) _exit(open("a", O_CREAT | O_WRONLY, 0600) < 0);
    return ended_well(child);
}
PROBE(clone_of_the_parent_s_parent) {
    // The child becomes the caller's sibling.
    pid_t child = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    TRY(child);
    if (!child) _exit(0);
    return 0;
}
PROBE(clone3_or_clone) {
    struct {
        uint64_t flags, pidfd, child, parent, signal, stack, size, tls;
    } ask = {0, 0, 0, 0, SIGCHLD};
    pid_t child = syscall(435, &ask, sizeof ask);
    if (child < 0) child = fork();
    TRY(child);
    if (!child) _exit(0);
    return ended_well(child);
}
PROBE(exec_in_place) { TRY(execl("/bin/true", "true", NULL)); return 0; }
PROBE(exec_itself) {
    char *again[] = {"probe", "exit_well", 0};
    TRY(execv("/proc/self/exe", again));
    return 0;
}
PROBE(exit_well) { return 0; }
PROBE(exit_badly) { return 7; }
PROBE(posix_spawn_call) {
    pid_t child;
    if ((errno = posix_spawn(&child, "/bin/true", 0, 0, QUIET,
        environ))) return failed("posix_spawn");
    return ended_well(child);
}
PROBE(system_call) { EXPECT(system("true") == 0); return 0; }
PROBE(popen_call) { EXPECT(popen("true", "r")); return 0; }
PROBE(execveat_descriptor) {
    int f = open("/bin/true", O_PATH);
    TRY(f);
    TRY(syscall(SYS_execveat, f, "", QUIET, environ, AT_EMPTY_PATH));
    return 0;
}
PROBE(exec_of_memory) {
    // A program that has no name in the file system.
    int from = open("/proc/self/exe", O_RDONLY), memory = syscall(SYS_memfd_create, "m", 0);
    struct stat size;
    char *again[] = {"probe", "exit_well", 0};
    TRY(from);
    TRY(memory);
    TRY(fstat(from, &size));
    for (off_t done = 0; done < size.st_size;) TRY(sendfile(memory, from, &done, size.st_size));
    TRY(syscall(SYS_execveat, memory, "", again, environ, AT_EMPTY_PATH));
    return 0;
}
PROBE(exec_of_memory_by_proc) {
    int from = open("/proc/self/exe", O_RDONLY), memory = syscall(SYS_memfd_create, "m", 0);
    struct stat size;
    char *again[] = {"probe", "exit_well", 0};
    TRY(fstat(from, &size));
    for (off_t done = 0; done < size.st_size;) TRY(sendfile(memory, from, &done, size.st_size));
    TRY(execv(proc_fd(memory), again));
    return 0;
}
PROBE(exec_of_a_script) { TRY(execl("./script", "script", NULL)); return 0; }
PROBE(exec_by_the_dynamic_linker) {
    TRY(execl("/lib64/ld-linux-x86-64.so.2", "ld.so", "/bin/true", NULL));
    return 0;
}
PROBE(exec_what_is_missing) { EXPECT(execl("./none", "none", NULL) < 0 && errno == ENOENT);
    return 0; }
PROBE(exec_what_is_no_program) { EXPECT(execl("./x", "x", NULL) < 0 && errno == EACCES); return 0; }
PROBE(exec_from_a_thread) {
    void *other(void *unused) {
        execl("/bin/true", "true", NULL);
        return unused;
    }
    pthread_t thread;
    pthread_create(&thread, 0, other, 0);
    pthread_join(thread, 0);
    return 0;
}
PROBE(child_without_environment) {
    char *none[] = {0}, *again[] = {"probe", "open_create", 0};
    pid_t child = fork();
    TRY(child);
    if (!child) _exit(execve("/proc/self/exe", again, none) ? 1 : 0);
    return ended_well(child);
}
PROBE(child_writes_outside) {
    pid_t child = fork();
    TRY(child);
    if (!child) _exit(open("../a", O_CREAT | O_WRONLY, 0600) < 0);
    return ended_well(child);
}
PROBE(unreadable_child_writes_outside) {
    // A program its user may execute but not read cannot be looked into.
    char *again[] = {"closed", "open_create", "../", 0};
    pid_t child = fork();
    TRY(child);
    if (!child) _exit(execve("./closed", again, environ) ? 1 : 0);
    ended_well(child);
    return 0;
}

// A daemon: forked twice, in a session of its own, the streams closed.
static void daemon_that(void (*work)(int, int)) {
    int ready[2], over[2];
    pipe(ready), pipe(over);
    if (!fork()) {
        setsid();
        if (fork()) _exit(0);
        setsid();
        for (int i = 0; i < 3; i++) close(i);
        close(over[1]);
        work(ready[1], over[0]);
        _exit(0);
    }
    char byte;
    read(ready[0], &byte, 1);
}
static void write_outside_at_once(int ready, int over) {
    open("../late", O_CREAT | O_WRONLY, 0600);
    write(ready, "1", 1);
    for (;;) pause();
}
static void write_outside_when_alone(int ready, int over) {
    char byte;
    write(ready, "1", 1);
    read(over, &byte, 1);  // until the main process is gone
    for (;;) open("../late", O_CREAT | O_WRONLY, 0600);
}
static void write_inside_for_ever(int ready, int over) {
    for (unsigned i = 0;; i++) {
        char name[16];
        snprintf(name, sizeof name, "late%u", i % 10);
        int f = open(name, O_CREAT | O_WRONLY, 0600);
        write(f, "1", 1);
        close(f);
        if (i == 3) write(ready, "1", 1);
        if (i % 7 == 0) unlink(name);
    }
}
static void ignore_everything(int ready, int over) {
    for (int i = 1; i < 65; i++) signal(i, SIG_IGN);
    write(ready, "1", 1);
    for (;;) pause();
}
static void fork_for_ever(int ready, int over) {
    for (unsigned i = 0;; i++) {
        if (fork()) _exit(0);
        if (i == 3) write(ready, "1", 1);
    }
}
PROBE(daemon_writes_outside) { daemon_that(write_outside_at_once); return 0; }
PROBE(daemon_writes_outside_when_alone) { daemon_that(write_outside_when_alone); return 0; }
PROBE(daemon_writes_inside_for_ever) { daemon_that(write_inside_for_ever); return 0; }
PROBE(daemon_ignores_signals) { daemon_that(ignore_everything); return 0; }
PROBE(daemon_never_stays) { daemon_that(fork_for_ever); return 0; }
PROBE(main_thread_ends_first) {
    void *later(void *unused) {
        usleep(20000);
        _exit(open("a", O_CREAT | O_WRONLY, 0600) < 0);
    }
    pthread_t thread;
    pthread_create(&thread, 0, later, 0);
    syscall(SYS_exit, 0);
    return 1;
}

PROBE(storm_of_programs) {
    char *again[] = {"probe", "exit_well", 0};
    for (int i = 0; i < atoi(argument); i++) {
        pid_t child = vfork();
        TRY(child);
        if (!child) {
            execv("/proc/self/exe", again);
            _exit(9);
        }
        EXPECT(ended_well(child) == 0);
    }
    return 0;
}
PROBE(storm_of_forks) {
    for (int i = 0; i < atoi(argument); i++) {
        pid_t child = fork();
        TRY(child);
        if (!child) _exit(i % 2 ? 0 : open("none", O_WRONLY) >= 0);
        EXPECT(ended_well(child) == 0);
    }
    return 0;
}
PROBE(fork_bomb) { for (;;) fork(); }
PROBE(thread_bomb) {
    void *sleep_on(void *unused) {
        pause();
        return unused;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 16384);
    for (;;) {
        pthread_t thread;
        pthread_create(&thread, &small, sleep_on, 0);
    }
}
PROBE(deaf_to_every_signal) {
    for (int i = 1; i < 65; i++) signal(i, SIG_IGN);
    if (fork() == 0)
        for (;;) pause();
    for (;;) pause();
}
PROBE(stops_itself) { raise(SIGSTOP); return 0; }
PROBE(dies_by_a_signal) { raise(SIGSEGV); return 0; }
PROBE(dumps_core) { struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_CORE, &all); abort(); }
