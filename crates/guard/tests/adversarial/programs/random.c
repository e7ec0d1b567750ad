// `random <seed> <operations> <threads> <processes> apart|together`: changes names below the
// working directory by chance. `apart`, each thread of each process keeps to a folder of its own,
// so that none changes what another is about to name. Every operation is printed as it is tried,
// with its result: `<result> <operation> <path> [<path>]`.
#include "probe.h"

static __thread uint64_t state;
// What each path begins with.
static __thread char lane[16];

static unsigned chance(unsigned below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (state >> 11) % below;
}

// Three levels of few names, so that operations meet each other.
static void some_path(char *path) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "..foo", "\xff"};
    int levels = 1 + chance(3);
    strcpy(path, lane);
    for (int i = 0; i < levels; i++) {
        if (i) strcat(path, "/");
        strcat(path, names[chance(7)]);
    }
}

static void say(long result, const char *operation, const char *one, const char *two) {
    char line[300];
    int length = snprintf(line, sizeof line, "%d %s %s %s\n", result < 0 ? -errno : 0, operation,
        one, two);
    write(1, line, length);
}

static void one_operation(void) {
    char one[80], two[80] = "";
    some_path(one);
    long result;
    const char *name;
    switch (chance(16)) {
    case 0: case 1: case 2:
        name = "mkdir", result = mkdir(one, 0700);
        break;
    case 3: case 4: {
        name = "create";
        result = open(one, O_CREAT | O_WRONLY | (chance(2) ? O_TRUNC : 0), 0600);
        if (result >= 0) write(result, "text", chance(5)), close(result);
        break;
    }
    case 5: {
        name = "append", result = open(one, O_WRONLY | O_APPEND);
        if (result >= 0) write(result, "more", 4), close(result);
        break;
    }
    case 6:
        name = "unlink", result = unlink(one);
        break;
    case 7:
        name = "rmdir", result = rmdir(one);
        break;
    case 8: case 9:
        some_path(two), name = "rename", result = rename(one, two);
        break;
    case 10:
        some_path(two), name = "exchange", result = syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD,
            two, 2);
        break;
    case 11:
        some_path(two), name = "link", result = link(one, two);
        break;
    case 12:
        some_path(two), name = "symlink", result = symlink(one + strlen(lane), two);
        break;
    case 13:
        name = "chmod", result = chmod(one, 0700 | chance(64));
        break;
    case 14: {
        struct timespec times[2] = {{chance(1000), 0}, {chance(1000), 0}};
        name = "utimensat", result = utimensat(AT_FDCWD, one, times, AT_SYMLINK_NOFOLLOW);
        break;
    }
    default:
        name = "truncate", result = truncate(one, chance(9));
    }
    say(result, name, one, two);
}

static int operations, apart;
static uint64_t seed;

static void *work(void *which) {
    // Far apart, never zero.
    state = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ ((uintptr_t)which + 1) * 0xbf58476d1ce4e5b9ULL;
    if (apart) {
        sprintf(lane, "w%d", (int)(uintptr_t)which);
        say(mkdir(lane, 0700), "mkdir", lane, "");
        strcat(lane, "/");
    }
    for (int i = 0; i < operations; i++) one_operation();
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 6) return 99;
    int threads = atoi(argv[3]), processes = atoi(argv[4]), mine = 0;
    seed = strtoull(argv[1], 0, 10), operations = atoi(argv[2]), apart = !strcmp(argv[5], "apart");
    for (int i = 1; i < processes; i++)
        if (!fork()) {
            mine = i;
            break;
        }
    pthread_t others[16];
    for (long i = 1; i < threads; i++) pthread_create(&others[i], 0, work, (void *)(mine * 16 + i));
    work((void *)(uintptr_t)(mine * 16));
    for (int i = 1; i < threads; i++) pthread_join(others[i], 0);
    if (!mine)
        while (wait(0) > 0);
    return 0;
}
