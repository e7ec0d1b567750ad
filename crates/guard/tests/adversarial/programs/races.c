// A second thread rewrites what a call names while the call waits to be looked at, or puts another
// descriptor under its number. Nothing here shows the guard what it is about: losing costs nothing.
#include "probe.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <mqueue.h>

#define TRIES 400

static struct sockaddr_un outside, own, flipping;
static volatile int over;
static pthread_t second;

static void fill(struct sockaddr_un *name, const char *path) {
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    strncpy(name->sun_path, path, sizeof name->sun_path - 1);
}
static void *flip_family(void *unused) {
    for (unsigned i = 0; !over; i++) {
        flipping.sun_family = i & 32 ? AF_UNSPEC : AF_UNIX;
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
static void *flip_path(void *unused) {
    for (unsigned i = 0; !over; i++) {
        memcpy(&flipping, i & 32 ? &own : &outside, sizeof flipping);
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
static void begin(void *(*run)(void *)) {
    fill(&outside, argument);
    fill(&own, "own.sock");
    memcpy(&flipping, &outside, sizeof flipping);
    pthread_create(&second, 0, run, 0);
}
static int end(void) {
    over = 1;
    pthread_join(second, 0);
    return 0;
}

PROBE(race_connect_family) {
    begin(flip_family);
    for (int i = 0; i < TRIES; i++) {
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(s, (void *)&flipping, sizeof flipping) == 0) send(s, "!", 1, MSG_NOSIGNAL);
        close(s);
    }
    return end();
}
PROBE(race_connect_path) {
    fill(&own, "own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(listen(service, 128));
    begin(flip_path);
    for (int i = 0; i < TRIES; i++) {
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        fcntl(s, F_SETFL, O_NONBLOCK);
        if (connect(s, (void *)&flipping, sizeof flipping) == 0) send(s, "!", 1, MSG_NOSIGNAL);
        close(s);
        fcntl(service, F_SETFL, O_NONBLOCK);
        close(accept(service, 0, 0));
    }
    return end();
}
static int datagram(void) { return socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0); }
PROBE(race_send_to) {
    int s = datagram();
    begin(flip_family);
    for (int i = 0; i < TRIES; i++) sendto(s, "!", 1, 0, (void *)&flipping, sizeof flipping);
    return end();
}
PROBE(race_send_message) {
    struct iovec part = {"!", 1};
    struct msghdr message = {.msg_name = &flipping, .msg_namelen = sizeof flipping,
        .msg_iov = &part, .msg_iovlen = 1};
    int s = datagram();
    begin(flip_family);
    for (int i = 0; i < TRIES; i++) sendmsg(s, &message, 0);
    return end();
}
// The header itself: with an address and without.
static struct msghdr flipping_header;
static void *flip_header(void *unused) {
    for (unsigned i = 0; !over; i++) {
        flipping_header.msg_name = i & 32 ? 0 : &outside;
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
PROBE(race_message_header) {
    static struct iovec part = {"!", 1};
    flipping_header = (struct msghdr){.msg_namelen = sizeof outside, .msg_iov = &part,
        .msg_iovlen = 1};
    int s = datagram();
    begin(flip_header);
    for (int i = 0; i < TRIES; i++) sendmsg(s, &flipping_header, 0);
    return end();
}
PROBE(race_send_messages) {
    struct iovec part = {"!", 1};
    struct mmsghdr messages[2] = {0};
    int s = datagram();
    begin(flip_family);
    for (int i = 0; i < 2; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_name = &flipping, .msg_namelen = sizeof flipping,
            .msg_iov = &part, .msg_iovlen = 1};
    for (int i = 0; i < TRIES; i++) sendmmsg(s, messages, 2, 0);
    return end();
}
// A stream ignores addresses, a datagram socket does not: now one, now the other under one number.
static int number, stream, datagrams;
static void *flip_descriptor(void *unused) {
    for (unsigned i = 0; !over; i++) dup2(i & 1 ? stream : datagrams, number);
    return unused;
}
PROBE(race_descriptor) {
    int pair[2];
    struct iovec part = {"!", 1};
    struct msghdr message = {.msg_name = &outside, .msg_namelen = sizeof outside, .msg_iov = &part,
        .msg_iovlen = 1};
    TRY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    stream = pair[0], datagrams = datagram(), number = dup(stream);
    begin(flip_descriptor);
    for (int i = 0; i < TRIES; i++) sendmsg(number, &message, MSG_NOSIGNAL);
    return end();
}
// Prints every abstract name that it came to have.
PROBE(race_bind) {
    begin(flip_path);
    memcpy(&outside, &own, sizeof own);
    outside.sun_path[0] = 0;
    for (int i = 0; i < TRIES; i++) {
        struct sockaddr_un got = {0};
        socklen_t size = sizeof got;
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(s, (void *)&flipping, sizeof flipping) == 0
            && getsockname(s, (void *)&got, &size) == 0 && !got.sun_path[0])
            puts("an abstract name");
        unlink("own.sock");
        close(s);
    }
    return end();
}
static struct {
    int type;
    pid_t pid;
} whom;
static pid_t other;
static void *flip_owner(void *unused) {
    for (unsigned i = 0; !over; i++) {
        whom.pid = i & 32 ? getpid() : other;
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
PROBE(race_owner) {
    int ends[2];
    other = atoi(argument), whom.type = 1 /* F_OWNER_PID */;
    signal(SIGUSR1, SIG_IGN);
    TRY(pipe(ends));
    TRY(fcntl(ends[0], F_SETSIG, SIGUSR1));
    TRY(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    begin(flip_owner);
    for (int i = 0; i < TRIES; i++) {
        char byte;
        fcntl(ends[0], 15 /* F_SETOWN_EX */, &whom);
        write(ends[1], "!", 1);
        read(ends[0], &byte, 1);
    }
    return end();
}
static struct {
    uint64_t flags, mode, resolve;
} how;
static void *flip_how(void *unused) {
    for (unsigned i = 0; !over; i++) {
        how.flags = i & 32 ? O_RDONLY | O_PATH : O_WRONLY | O_TRUNC;
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
PROBE(race_open_how) {
    begin(flip_how);
    for (int i = 0; i < TRIES; i++) {
        long f = syscall(437, AT_FDCWD, argument, &how, sizeof how);
        if (f >= 0) write(f, "!", 1), close(f);
    }
    return end();
}

// A file of the root that also stands outside, by a name that means another file half of the time.
static char flipping_name[16];
static void *flip_name(void *unused) {
    for (unsigned i = 0; !over; i++) {
        memcpy(flipping_name, i & 32 ? "ours__" : "shared", 7);
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
PROBE(race_shared_file) {
    TRY(open("ours__", O_CREAT | O_WRONLY, 0600));
    // Its name has been seen: a change of it would have its cause.
    open("shared", O_CREAT | O_EXCL | O_WRONLY, 0600);
    strcpy(flipping_name, "ours__");
    begin(flip_name);
    for (int i = 0; i < TRIES; i++) {
        int f = open(flipping_name, O_WRONLY);
        if (f >= 0) write(f, "!", 1), close(f);
    }
    return end();
}

// What is executed, in the memory of a process whose threads run on while its child waits.
static char *flipping_program[4];
static char *const *ends_of_program[2];
static char flipping_file[64];
static const char *ends_of_file[2];
static void *flip_program(void *unused) {
    for (unsigned i = 0; !over; i++) {
        memcpy(flipping_program, ends_of_program[i >> 5 & 1], sizeof flipping_program);
        strcpy(flipping_file, ends_of_file[i >> 5 & 1]);
        __asm__ volatile("" ::: "memory");
    }
    return unused;
}
static int child(void *unused) {
    execve(flipping_file, flipping_program, environ);
    _exit(0);
}
static void race_programs(char *const first[4], char *const second[4], const char *file,
    const char *other_file) {
    ends_of_program[0] = first, ends_of_program[1] = second;
    ends_of_file[0] = file, ends_of_file[1] = other_file;
    memcpy(flipping_program, first, sizeof flipping_program);
    strcpy(flipping_file, file);
    begin(flip_program);
    for (int i = 0; i < TRIES / 4; i++) {
        static char stack[1 << 16] __attribute__((aligned(16)));
        clone(child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
        wait(0);
    }
    end();
}
// The dynamic linker starts any program, and git is dynamic: both may be executed.
PROBE(race_exec_as_git) {
    static char *const git[] = {"git", "--version", 0, 0},
        *const shell[] = {"ld.so", "/bin/echo", "another program", 0};
    race_programs(git, shell, "/usr/bin/git", "/lib64/ld-linux-x86-64.so.2");
    return 0;
}
PROBE(race_arguments) {
    static char *const one[] = {"echo", "first", "a", 0}, *const two[] = {"echo", "second", "b", 0};
    race_programs(one, two, "/bin/echo", "/bin/echo");
    return 0;
}
// Shows other arguments than those it was started with, and writes.
PROBE(rewritten_arguments) {
    char *own_argv = (char *)strstr(argument, "truth");
    EXPECT(own_argv);
    memcpy(own_argv, "false", 5);
    TRY(open("a", O_CREAT | O_WRONLY, 0600));
    return 0;
}

// Objects of the system.
PROBE(queue_of_posix) { return mq_open("/guard-queue", O_CREAT | O_RDWR, 0600, 0) != (mqd_t)-1; }
PROBE(queue_of_posix_removed) { return mq_unlink("/guard-queue") == 0; }
PROBE(shared_memory_by_key) { return shmget(0x67756172, 4096, 0600 | IPC_CREAT) >= 0; }
PROBE(shared_memory_private) { return shmget(IPC_PRIVATE, 4096, 0600 | IPC_CREAT) >= 0; }
PROBE(shared_memory_of_somebody) { return shmat(atoi(argument), 0, 0) != (void *)-1; }
PROBE(shared_memory_of_somebody_removed) { return shmctl(atoi(argument), IPC_RMID, 0) == 0; }
PROBE(shared_memory_that_is_none) {
    EXPECT(shmat(0x7ffffff0, 0, 0) == (void *)-1 && errno == EINVAL);
    return 0;
}
PROBE(semaphores_by_key) { return semget(0x67756172, 1, 0600 | IPC_CREAT) >= 0; }
PROBE(queue_by_key) { return msgget(0x67756172, 0600 | IPC_CREAT) >= 0; }
PROBE(queue_of_somebody) {
    struct {
        long type;
        char text[4];
    } message = {1, "!"};
    return msgsnd(atoi(argument), &message, 4, IPC_NOWAIT) == 0;
}
// A socket that stood there before, moved to where this run binds one.
PROBE(older_socket) {
    fill(&own, "older");
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(s, (void *)&own, sizeof own);
    send(s, "!", 1, MSG_NOSIGNAL);
    return 0;
}
PROBE(older_socket_in_its_place) {
    fill(&own, "own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0), s = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(rename("older", "own.sock"));
    connect(s, (void *)&own, sizeof own);
    send(s, "!", 1, MSG_NOSIGNAL);
    return 0;
}
PROBE(older_socket_replaced) {
    TRY(unlink("older"));
    fill(&own, "older");
    int service = socket(AF_UNIX, SOCK_STREAM, 0), s = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(listen(service, 1));
    TRY(connect(s, (void *)&own, sizeof own));
    TRY(send(s, "!", 1, 0));
    return 0;
}
// Messages of every kind between own sockets, with descriptors.
PROBE(own_datagrams) {
    fill(&own, "own.sock");
    int service = datagram(), s = datagram(), ends[2], got;
    char byte, space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_name = &own, .msg_namelen = sizeof own, .msg_iov = &part,
        .msg_iovlen = 1};
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(pipe(ends));
    byte = 'a';
    TRY(sendto(s, &byte, 1, 0, (void *)&own, sizeof own));
    EXPECT(recv(service, &byte, 1, 0) == 1 && byte == 'a');
    byte = 'b';
    message.msg_control = space, message.msg_controllen = sizeof space;
    *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)) = ends[1];
    EXPECT(sendmsg(s, &message, 0) == 1);
    message.msg_name = 0, message.msg_namelen = 0;
    EXPECT(recvmsg(service, &message, 0) == 1 && byte == 'b' && CMSG_FIRSTHDR(&message));
    got = *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message));
    TRY(write(got, "x", 1));
    EXPECT(read(ends[0], &byte, 1) == 1 && byte == 'x');
    struct mmsghdr many[2] = {0};
    for (int i = 0; i < 2; i++)
        many[i].msg_hdr = (struct msghdr){.msg_name = &own, .msg_namelen = sizeof own,
            .msg_iov = &part, .msg_iovlen = 1};
    EXPECT(sendmmsg(s, many, 2, 0) == 2 && many[0].msg_len == 1 && many[1].msg_len == 1);
    return 0;
}
// Waits for room as it would without a guard.
static void *accept_later(void *service) {
    usleep(100000);
    for (int i = 0; i < 8; i++) accept((int)(long)service, 0, 0);
    return 0;
}
PROBE(own_service_that_is_slow) {
    pthread_t thread;
    fill(&own, "own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(listen(service, 0));
    pthread_create(&thread, 0, accept_later, (void *)(long)service);
    for (int i = 0; i < 8; i++) TRY(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&own,
        sizeof own));
    pthread_join(thread, 0);
    return 0;
}
PROBE(own_service_that_never_answers) {
    fill(&own, "own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&own, sizeof own));
    TRY(listen(service, 0));
    for (int i = 0; i < 8; i++)
        if (fork() == 0) _exit(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&own,
            sizeof own) < 0);
    usleep(200000);
    return 0;
}
PROBE(peer_is_the_own_user) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    fill(&own, "own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0), s = socket(AF_UNIX, SOCK_STREAM, 0);
    umask(0077);
    TRY(bind(service, (void *)&own, sizeof own));
    struct stat found;
    TRY(stat("own.sock", &found));
    EXPECT((found.st_mode & 0777) == 0700 && found.st_uid == getuid());
    TRY(listen(service, 1));
    TRY(connect(s, (void *)&own, sizeof own));
    int other = accept(service, 0, 0);
    TRY(getsockopt(other, SOL_SOCKET, SO_PEERCRED, &peer, &size));
    EXPECT(peer.uid == getuid() && peer.gid == getgid());
    struct sockaddr_un name = {0};
    size = sizeof name;
    TRY(getsockname(service, (void *)&name, &size));
    EXPECT(!strcmp(name.sun_path, "own.sock"));
    return 0;
}
// Something is typed for whoever reads the terminal.
PROBE(type_into_a_terminal) {
    int f = open(argument, O_RDONLY | O_NOCTTY);
    TRY(f);
    ioctl(f, TIOCSTI, "!");
    return 0;
}
PROBE(request_to_the_console) {
    char what[2] = {2, 0};
    int f = open(argument, O_RDONLY | O_NOCTTY);
    TRY(f);
    ioctl(f, 0x541c /* TIOCLINUX */, what);
    return 0;
}
PROBE(type_into_what_is_no_terminal) {
    int ends[2];
    TRY(pipe(ends));
    EXPECT(ioctl(ends[0], TIOCSTI, "!") < 0 && errno == ENOTTY);
    EXPECT(ioctl(open("x", O_RDONLY), TIOCSTI, "!") < 0 && errno == ENOTTY);
    return 0;
}
