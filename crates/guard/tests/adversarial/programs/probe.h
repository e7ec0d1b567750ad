// What every probe starts from. A probe is one deed, called by its name: `probe <name> [<prefix> [<argument>]]`.
// It ends with 0 where the deed succeeded, or where the kernel or file system has no such thing; else with 1.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#define PROBE(id)                                                                      \
    static int id(void);                                                               \
    __attribute__((constructor)) static void register_##id(void) { add_probe(#id, id); } \
    static int id(void)

// Ends the probe where a call fails.
#define TRY(call)                                  \
    do {                                           \
        if ((long)(call) < 0) return failed(#call); \
    } while (0)

// Ends the probe where a condition does not hold.
#define EXPECT(condition)                                                   \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "not so: %s (%s)\n", #condition, strerror(errno)); \
            return 1;                                                       \
        }                                                                   \
    } while (0)

void add_probe(const char *name, int (*run)(void));
int failed(const char *call);
// A name below the prefix the probe was called with.
const char *at(const char *name);
// `/proc/self/fd/<n>`.
const char *proc_fd(int fd);
// The third argument: a process, an address, a path.
extern const char *argument;
int run_probe(const char *name);
