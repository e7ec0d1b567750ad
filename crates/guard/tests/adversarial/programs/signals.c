// Other processes: signals to them, and changes of them.
#include "probe.h"

extern char **environ;

PROBE(kill_parent) { EXPECT(kill(getppid(), SIGKILL) < 0); return 0; }
PROBE(stop_parent) { EXPECT(kill(getppid(), SIGSTOP) < 0); return 0; }
PROBE(kill_argument) { EXPECT(kill(atoi(argument), SIGKILL) < 0); return 0; }
PROBE(thread_kill_argument) { EXPECT(syscall(SYS_tgkill, atoi(argument), atoi(argument),
    SIGKILL) < 0); return 0; }
PROBE(queue_to_argument) {
    siginfo_t info = {.si_signo = SIGKILL, .si_code = SI_QUEUE};
    EXPECT(syscall(SYS_rt_sigqueueinfo, atoi(argument), SIGKILL, &info) < 0);
    return 0;
}
PROBE(handle_of_argument) {
    int handle = syscall(SYS_pidfd_open, atoi(argument), 0);
    EXPECT(handle < 0 || syscall(SYS_pidfd_send_signal, handle, SIGKILL, 0, 0) < 0);
    return 0;
}
PROBE(handle_of_argument_by_proc) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%s", argument);
    int handle = open(name, O_DIRECTORY | O_RDONLY);
    EXPECT(handle < 0 || syscall(SYS_pidfd_send_signal, handle, SIGKILL, 0, 0) < 0);
    return 0;
}
PROBE(kill_everybody) {
    signal(SIGTERM, SIG_IGN);
    kill(-1, SIGTERM);
    return 0;
}
PROBE(kill_group_of_argument) { EXPECT(kill(-atoi(argument), SIGKILL) < 0); return 0; }
PROBE(signal_by_descriptor_owner) {
    // The kernel sends SIGKILL to the owner when the pipe can be read.
    int ends[2];
    TRY(pipe(ends));
    fcntl(ends[0], F_SETSIG, SIGKILL);
    fcntl(ends[0], F_SETOWN, atoi(argument));
    fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK);
    TRY(write(ends[1], "1", 1));
    return 0;
}
PROBE(limits_of_parent) {
    struct rlimit none = {0, 0};
    EXPECT(prlimit(getppid(), RLIMIT_NOFILE, &none, 0) < 0);
    return 0;
}
PROBE(priority_of_parent) { EXPECT(setpriority(PRIO_PROCESS, getppid(), 19) < 0); return 0; }
PROBE(processors_of_parent) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    EXPECT(sched_setaffinity(getppid(), sizeof one, &one) < 0);
    return 0;
}
PROBE(own_processors_and_priority) {
    cpu_set_t all;
    struct rlimit limit;
    TRY(sched_getaffinity(0, sizeof all, &all));
    TRY(sched_setaffinity(0, sizeof all, &all));
    TRY(sched_setaffinity(getpid(), sizeof all, &all));
    TRY(setpriority(PRIO_PROCESS, getpid(), getpriority(PRIO_PROCESS, 0)));
    TRY(prlimit(getpid(), RLIMIT_NOFILE, 0, &limit));
    return 0;
}
PROBE(signals_in_the_tree) {
    pid_t child = fork();
    TRY(child);
    if (!child)
        for (;;) pause();
    TRY(kill(child, 0));
    TRY(kill(child, SIGKILL));
    int status;
    TRY(waitpid(child, &status, 0));
    EXPECT(WTERMSIG(status) == SIGKILL);
    TRY(kill(getpid(), SIGCONT));
    TRY(raise(SIGCONT));
    TRY(kill(0, SIGCONT));
    return 0;
}
PROBE(trace_parent) {
    EXPECT(ptrace(PTRACE_ATTACH, getppid(), 0, 0) < 0);
    EXPECT(ptrace(PTRACE_SEIZE, getppid(), 0, 0) < 0);
    return 0;
}
PROBE(write_parent_memory) {
    char text[8] = "text";
    struct iovec part = {text, sizeof text};
    EXPECT(syscall(SYS_process_vm_writev, getppid(), &part, 1, &part, 1, 0) < 0);
    return 0;
}
PROBE(read_parent_memory) {
    char text[8];
    struct iovec here = {text, sizeof text}, there = {(void *)environ, sizeof text};
    EXPECT(syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0) < 0);
    return 0;
}
