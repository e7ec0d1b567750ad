// Much of something: changes, output, memory, interruptions.
#include "probe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

PROBE(many_changes) {
    char name[32];
    for (long i = 0; i < atol(argument); i++) {
        snprintf(name, sizeof name, "f%ld", i % 500);
        int f = open(name, O_CREAT | O_WRONLY, 0600);
        TRY(f);
        close(f);
    }
    return 0;
}
PROBE(many_names) {
    char name[32];
    for (long i = 0; i < atol(argument); i++) {
        snprintf(name, sizeof name, "n%ld", i);
        TRY(mknod(name, S_IFREG | 0600, 0));
        TRY(unlink(name));
    }
    return 0;
}
PROBE(much_output) {
    static char block[1 << 16];
    memset(block, 'o', sizeof block);
    for (long long left = atoll(argument); left > 0; left -= sizeof block)
        for (size_t done = 0; done < sizeof block;) {
            ssize_t n = write(1, block + done, sizeof block - done);
            TRY(n);
            done += n;
        }
    return 0;
}
PROBE(much_memory) {
    for (int i = 0; i < 120; i++) {
        char *part = malloc(1 << 20);
        memset(part, 1, 1 << 20);
    }
    for (;;) pause();
}
PROBE(much_time) { for (volatile long i = 0;; i++); }
PROBE(large_file) {
    static char block[600];
    int f = open("big", O_CREAT | O_WRONLY, 0600);
    TRY(f);
    for (;;) write(f, block, sizeof block);
}

// Signals that arrive without pause, as Go's runtime sends SIGURG to its own threads.
static volatile int storm_over;
static void nothing(int number) {}
static void *send_signals(void *target) {
    while (!storm_over) pthread_kill(*(pthread_t *)target, SIGURG);
    return 0;
}
static int storm(int flags) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = flags};
    pthread_t self = pthread_self(), sender;
    sigaction(SIGURG, &action, 0);
    EXPECT(pthread_create(&sender, 0, send_signals, &self) == 0);
    for (int i = 0; i < 300; i++) {
        int f;
        do f = open("s", O_CREAT | O_WRONLY, 0600);
        while (f < 0 && errno == EINTR);
        TRY(f);
        close(f);
        int gone;
        do gone = unlink("s");
        while (gone < 0 && errno == EINTR);
        TRY(gone);
    }
    storm_over = 1;
    pthread_join(sender, 0);
    return 0;
}
PROBE(storm_of_signals_restarting) { return storm(SA_RESTART); }
PROBE(storm_of_signals_interrupting) { return storm(0); }
PROBE(killed_while_it_waits) {
    // Processes that die in the middle of their calls, each by its parent's hand.
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        TRY(child);
        if (!child)
            for (;;) {
                mkdir("k", 0700);
                rmdir("k");
            }
        usleep(i * 7 % 1500);
        kill(child, SIGKILL);
        waitpid(child, 0, 0);
    }
    rmdir("k");
    return 0;
}
PROBE(all_end_at_once) {
    // The last tasks end while calls of theirs still wait.
    for (int i = 0; i < 8; i++)
        if (!fork())
            for (;;) close(open("e", O_CREAT | O_WRONLY, 0600));
    usleep(3000);
    kill(0, SIGKILL);
    return 0;
}
PROBE(folder_moved_under_an_open_file) {
    TRY(mkdir("m", 0700));
    int f = open("m/f", O_CREAT | O_WRONLY, 0600);
    TRY(f);
    TRY(rename("m", "n"));
    TRY(write(f, "1", 1));
    TRY(open("n/g", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(moves_across_folders) {
    // What package managers do: fill a folder, then move parts of it elsewhere.
    TRY(mkdir("one", 0700));
    TRY(mkdir("two", 0700));
    TRY(mkdir("one/in", 0700));
    TRY(open("one/in/f", O_CREAT | O_WRONLY, 0600));
    TRY(rename("one/in/f", "two/f"));
    TRY(rename("one/in", "two/in"));
    TRY(rename("two/f", "x"));
    TRY(link("x", "two/in/x"));
    TRY(rename("two/in", "in2"));
    return 0;
}
PROBE(calls_without_effect) {
    // What runtimes do all day.
    int memory = syscall(SYS_memfd_create, "m", 0), watch = inotify_init1(0),
        queue = epoll_create1(0), f = open("x", O_RDONLY);
    int event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    sigset_t none;
    struct flock lock = {.l_type = F_RDLCK};
    char byte;
    TRY(f);
    TRY(ftruncate(memory, 4096));
    TRY(write(memory, "text", 4));
    TRY(fchmod(memory, 0600));
    EXPECT(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0) != MAP_FAILED);
    EXPECT(mmap(0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0) != MAP_FAILED);
    EXPECT(mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
        0) != MAP_FAILED);
    TRY(inotify_add_watch(watch, ".", IN_ALL_EVENTS));
    struct epoll_event any = {.events = EPOLLIN};
    TRY(epoll_ctl(queue, EPOLL_CTL_ADD, event, &any));
    TRY(timer);
    sigemptyset(&none);
    TRY(signalfd(-1, &none, 0));
    TRY(flock(f, LOCK_SH));
    TRY(fcntl(f, F_SETLK, &lock));
    TRY(fcntl(f, F_DUPFD_CLOEXEC, 50));
    TRY(prctl(PR_SET_NAME, "own) name"));
    TRY(getrandom(&byte, 1, 0));
    TRY(setpgid(0, 0) < 0 && errno != EPERM ? -1 : 0);
    struct rlimit limit;
    TRY(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 100;
    TRY(setrlimit(RLIMIT_NOFILE, &limit));
    umask(077);
    TRY(sched_yield());
    TRY(open(".", O_RDONLY | O_DIRECTORY));
    TRY(open("/dev/null", O_RDWR));
    TRY(open("/proc/self/maps", O_RDONLY));
    TRY(access("x", W_OK));
    TRY(chdir("full"));
    TRY(fchdir(open("..", O_PATH)));
    return 0;
}
