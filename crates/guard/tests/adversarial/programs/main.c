#include "probe.h"

#define MOST 512

const char *argument = "";
static const char *prefix = "";
static struct {
    const char *name;
    int (*run)(void);
} probes[MOST];
static int count;

void add_probe(const char *name, int (*run)(void)) {
    if (count == MOST) abort();
    probes[count].name = name;
    probes[count++].run = run;
}

int failed(const char *call) {
    int absent = errno == ENOSYS || errno == EOPNOTSUPP || errno == EXDEV;
    fprintf(stderr, "%s: %s\n", call, strerror(errno));
    return !absent;
}

static char names[16][PATH_MAX];
static int next_name;

const char *at(const char *name) {
    char *full = names[next_name++ % 16];
    snprintf(full, PATH_MAX, "%s%s", prefix, name);
    return full;
}

const char *proc_fd(int fd) {
    char *full = names[next_name++ % 16];
    snprintf(full, PATH_MAX, "/proc/self/fd/%d", fd);
    return full;
}

int run_probe(const char *name) {
    for (int i = 0; i < count; i++)
        if (!strcmp(probes[i].name, name)) return probes[i].run();
    fprintf(stderr, "no probe %s\n", name);
    return 99;
}

int main(int argc, char **argv) {
    if (argc < 2) return 99;
    if (argc > 2) prefix = argv[2];
    if (argc > 3) argument = argv[3];
    return run_probe(argv[1]);
}
