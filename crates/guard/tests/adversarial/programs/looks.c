// What happens to a call while it is looked at: another thread rewrites its arguments, puts another
// file under its descriptor, or ends the process.
#include "probe.h"

// A name that leads back and forth is followed part by part, which takes the guard milliseconds. It
// begins with a link, and whoever reads a link sets the link's time of access: from then on the look
// is under way.
static char winding[PATH_MAX];
static const struct timespec unread[2] = {{1, 0}, {2, 0}};
static volatile int returned;

static int wind(const char *last) {
    TRY(mkdir("to", 0700));
    TRY(symlink("to", "way"));
    strcpy(winding, "way");
    while (strlen(winding) + strlen("/../to/../") + strlen(last) < PATH_MAX)
        strcat(winding, "/../to");
    strcat(strcat(winding, "/../"), last);
    return 0;
}
static int forget_reads(void) {
    return utimensat(AT_FDCWD, "way", unread, AT_SYMLINK_NOFOLLOW);
}
static int is_read(void) {
    struct stat found = {0};
    lstat("way", &found);
    return found.st_atim.tv_sec != unread[0].tv_sec;
}
// Whether this file system keeps times of access at all.
static int notes_reads(void) {
    char target[8];
    forget_reads();
    readlink("way", target, sizeof target);
    if (!is_read()) puts("no times of access");
    return is_read();
}
static void *during_the_look(void *deed) {
    while (!is_read() && !returned) {}
    ((void (*)(void))deed)();
    return 0;
}

static struct {
    uint64_t flags, mode, resolve;
} how;
static void want_to_write(void) { how.flags = O_WRONLY | O_TRUNC; }
PROBE(open_how_rewritten_during_the_look) {
    if (wind("x")) return 1;
    if (!notes_reads()) return 0;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        TRY(forget_reads());
        // Asks for nothing: the file is there.
        how.flags = O_CREAT | O_EXCL | O_WRONLY, returned = 0;
        pthread_create(&thread, 0, during_the_look, want_to_write);
        long f = syscall(437, AT_FDCWD, winding, &how, sizeof how);
        int error = errno;
        returned = 1;
        pthread_join(thread, 0);
        if (f >= 0) {
            // Rewritten after the look was over: the file was opened, and cut.
            write(f, "x\n", 2);
            close(f);
            continue;
        }
        // Else the flags were rewritten too late even for the kernel.
        if (error != EEXIST) {
            puts(strerror(error));
            return 0;
        }
    }
    puts("never in time");
    return 0;
}

static void want_another_program(void) { winding[strlen(winding) - 1] = '2'; }
PROBE(program_exchanged_during_the_look) {
    pthread_t thread;
    TRY(symlink("/bin/true", "program1"));
    TRY(symlink("/bin/false", "program2"));
    if (wind("program1")) return 1;
    if (!notes_reads()) return 0;
    TRY(forget_reads());
    pthread_create(&thread, 0, during_the_look, want_another_program);
    execve(winding, (char *[]){"program", 0}, environ);
    puts(strerror(errno));
    returned = 1;
    pthread_join(thread, 0);
    return 0;
}

static void leave(void) { syscall(SYS_exit_group, 0); }
PROBE(ended_during_the_look) {
    pthread_t thread;
    if (wind("x")) return 1;
    if (!notes_reads()) return 0;
    TRY(forget_reads());
    pthread_create(&thread, 0, during_the_look, leave);
    write(1, "started\n", 8);
    chmod(winding, 0604);
    write(1, "returned\n", 9);
    returned = 1;
    pthread_join(thread, 0);
    return 0;
}
static void *after_the_change(void *unused) {
    struct stat found;
    do stat("x", &found);
    while ((found.st_mode & 0777) != 0604);
    leave();
    return unused;
}
PROBE(ended_after_the_change) {
    pthread_t thread;
    pthread_create(&thread, 0, after_the_change, 0);
    chmod("x", 0604);
    pthread_join(thread, 0);
    return 0;
}

// Under one number now a pipe, which anybody may change, now a file.
static int number, ends[2], file;
static void *flip_number(void *unused) {
    for (unsigned i = 0; !returned; i++) dup2(i & 1 ? file : ends[0], number);
    return unused;
}
PROBE(descriptor_swapped_during_the_look) {
    pthread_t thread;
    file = open("x", O_RDONLY);
    TRY(file);
    TRY(pipe(ends));
    number = dup(ends[0]);
    pthread_create(&thread, 0, flip_number, 0);
    // At least until both were under the number: the pipe can be changed, the file is refused.
    int changed = 0, refused = 0;
    for (int i = 0; i < 400 || i < 100000 && !(changed && refused); i++) {
        if (fchmod(number, 0604) == 0) changed++;
        else if (errno == EACCES) refused++;
    }
    returned = 1;
    pthread_join(thread, 0);
    EXPECT(changed && refused);
    return 0;
}
