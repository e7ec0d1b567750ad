// Ways out of the root that need more than a path that begins with `../`.
#include "probe.h"

PROBE(write_argument) { TRY(open(argument, O_WRONLY | O_CREAT, 0600)); return 0; }
PROBE(read_argument) {
    char byte;
    int f = open(argument, O_RDONLY);
    TRY(f);
    TRY(read(f, &byte, 1));
    return 0;
}
PROBE(change_directory) { TRY(chdir("..")); TRY(open("a", O_CREAT | O_WRONLY, 0600)); return 0; }
PROBE(change_directory_by_descriptor) {
    int d = open("..", O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(fchdir(d));
    TRY(open("a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(directory_descriptor_outside) {
    int d = open("..", O_RDONLY | O_DIRECTORY);
    TRY(d);
    TRY(openat(d, "a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(descriptor_over_the_edge) {
    int d = open("d", O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(openat(d, "../../a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(parent_s_working_directory) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/cwd/a", getppid());
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(parent_s_root) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "/proc/%d/root%s", getppid(), argument);
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(own_root_link) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/root%s", argument);
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(task_root_link) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/task/%d/root/proc/../%s", getpid(), argument);
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(parent_s_descriptors) {
    char name[64];
    int reached = 0;
    for (int i = 0; i < 64; i++) {
        snprintf(name, sizeof name, "/proc/%d/fd/%d", getppid(), i);
        reached += open(name, O_WRONLY) >= 0;
    }
    EXPECT(reached == 0);
    return 0;
}
PROBE(parent_s_memory) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/mem", getppid());
    TRY(open(name, O_RDWR));
    return 0;
}
PROBE(swap_the_root) {
    char here[PATH_MAX], there[PATH_MAX];
    getcwd(here, sizeof here);
    snprintf(there, sizeof there, "%s.bak", here);
    TRY(rename(here, there));
    TRY(mkdir(here, 0700));
    TRY(open("a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(rename_out) { TRY(rename("x", "../out-of-it")); return 0; }
PROBE(rename_in) { TRY(rename("../victim", "mine")); return 0; }
PROBE(exchange_with_outside) { TRY(syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "../victim", 2));
    return 0; }
PROBE(directory_out_by_descriptor) {
    int d = open("d", O_PATH | O_DIRECTORY);
    TRY(d);
    rename("d", "../d2");
    TRY(openat(d, "new", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(link_in) { TRY(link("../victim", "mine")); return 0; }
PROBE(link_in_by_descriptor) {
    int f = open("../victim", O_PATH);
    TRY(f);
    TRY(linkat(AT_FDCWD, proc_fd(f), AT_FDCWD, "mine", AT_SYMLINK_FOLLOW));
    return 0;
}
PROBE(link_out) { TRY(link("x", "../theirs")); return 0; }
PROBE(tmpfile_outside) { TRY(open("..", O_TMPFILE | O_RDWR, 0600)); return 0; }
PROBE(tmpfile_linked_out) {
    int f = open(".", O_TMPFILE | O_RDWR, 0600);
    TRY(f);
    TRY(linkat(AT_FDCWD, proc_fd(f), AT_FDCWD, "../theirs", AT_SYMLINK_FOLLOW));
    return 0;
}
PROBE(dangling_symlink) {
    TRY(symlink("../not-yet", "dangling"));
    TRY(open("dangling", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(chain_of_symlinks) {
    TRY(symlink("two", "one"));
    TRY(symlink("d/../three", "two"));
    TRY(symlink("up/victim", "three"));
    TRY(open("one", O_WRONLY));
    return 0;
}
PROBE(symlink_to_own_descriptor) {
    int f = open("../victim", O_PATH);
    TRY(f);
    TRY(symlink(proc_fd(f), "l"));
    TRY(open("l", O_WRONLY));
    return 0;
}
PROBE(file_shared_with_outside_is_written) { TRY(open("shared", O_WRONLY)); return 0; }
PROBE(file_shared_with_outside_gets_another_mode) { TRY(chmod("shared", 0600)); return 0; }
PROBE(file_shared_with_outside_by_a_new_name) {
    TRY(link("shared", "again"));
    TRY(open("again", O_WRONLY));
    return 0;
}
PROBE(file_shared_with_outside_loses_its_name) { TRY(unlink("shared")); return 0; }
PROBE(own_memory_file) { TRY(open("/proc/self/mem", O_RDWR)); return 0; }
PROBE(shared_memory_file) { TRY(shm_open("/guard-escape", O_CREAT | O_RDWR, 0600)); return 0; }
PROBE(very_long_way_out) {
    char path[PATH_MAX] = "";
    for (int i = 0; i < 900; i++) strcat(path, i % 2 ? "../" : "d/");
    strcat(path, "../a");
    TRY(open(path, O_CREAT | O_WRONLY, 0600));
    return 0;
}

// Inside, though its name is unusual.
PROBE(deeper_than_a_path_may_be) {
    char name[201];
    memset(name, 'n', 200);
    name[200] = 0;
    for (int i = 0; i < 40; i++) {
        TRY(mkdir(name, 0700));
        TRY(chdir(name));
    }
    TRY(open("bottom", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(deep_and_then_out) {
    // From a working directory whose name no call can give, up again and out.
    char name[201], up[1024] = "";
    memset(name, 'n', 200);
    name[200] = 0;
    for (int i = 0; i < 40; i++) {
        TRY(mkdir(name, 0700));
        TRY(chdir(name));
    }
    for (int i = 0; i < 41; i++) strcat(up, "../");
    strcat(up, "a");
    TRY(open(up, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(working_directory_removed) {
    TRY(mkdir("gone", 0700));
    TRY(chdir("gone"));
    TRY(rmdir("../gone"));
    EXPECT(open("a", O_CREAT | O_WRONLY, 0600) < 0 && errno == ENOENT);
    EXPECT(mkdir("b", 0700) < 0 && errno == ENOENT);
    return 0;
}
PROBE(removed_directory_and_up) {
    TRY(mkdir("gone", 0700));
    TRY(chdir("gone"));
    TRY(rmdir("../gone"));
    // The kernel still knows what was above.
    TRY(open("../a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(removed_file_is_written_by_descriptor) {
    int f = open("x", O_RDWR);
    TRY(f);
    TRY(unlink("x"));
    TRY(write(f, "z", 1));
    TRY(fchmod(f, 0600));
    TRY(open(proc_fd(f), O_WRONLY));
    return 0;
}
PROBE(name_that_ends_in_deleted) {
    TRY(open("x (deleted)", O_CREAT | O_WRONLY, 0600));
    TRY(chmod("x (deleted)", 0640));
    TRY(link("x (deleted)", "y (deleted)"));
    TRY(unlink("y (deleted)"));
    return 0;
}
PROBE(link_out_of_a_file_named_deleted) {
    TRY(open("x (deleted)", O_CREAT | O_WRONLY, 0600));
    TRY(link("x (deleted)", "../theirs"));
    return 0;
}
PROBE(link_in_of_a_file_named_deleted) {
    TRY(link("../victim (deleted)", "mine"));
    return 0;
}
PROBE(odd_names) {
    const char *names[] = {"\xff\xfe", "line\nbreak", "..foo", "...", " ", "-rf", "a\\b",
        "\x1b[31m", "\"quoted\"", "tab\t", "*?[", "$(echo)"};
    for (int i = 0; i < 12; i++) {
        int f = open(names[i], O_CREAT | O_WRONLY | O_EXCL, 0600);
        TRY(f);
        close(f);
    }
    return 0;
}
PROBE(longest_names) {
    char name[257] = "";
    memset(name, 'm', 256);
    EXPECT(open(name, O_CREAT | O_WRONLY, 0600) < 0 && errno == ENAMETOOLONG);
    name[255] = 0;
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(path_at_the_end_of_memory) {
    // The string ends with the last byte that is mapped.
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(pages != MAP_FAILED);
    TRY(munmap(pages + 4096, 4096));
    strcpy(pages + 4094, "a");
    TRY(open(pages + 4094, O_CREAT | O_WRONLY, 0600));
    memset(pages + 4090, 'q', 6);
    EXPECT(open(pages + 4090, O_CREAT | O_WRONLY, 0600) < 0 && errno == EFAULT);
    EXPECT(open((char *)8, O_CREAT | O_WRONLY, 0600) < 0 && errno == EFAULT);
    EXPECT(mkdir(0, 0700) < 0);
    return 0;
}
PROBE(nothing_can_change) {
    mkdir("d", 0700), mkdir(".", 0700), mkdir("..", 0700), mkdir("/", 0700);
    unlink("none"), rmdir("none"), rename("x", "x"), rename("none", "other");
    open("none", O_WRONLY), open("x", O_CREAT | O_EXCL | O_WRONLY, 0600);
    open("none/a", O_CREAT | O_WRONLY, 0600), open("x", O_RDONLY | O_CREAT, 0600);
    chmod("none", 0600), symlink("a", "x"), open("d", O_WRONLY), truncate("none", 0);
    unlink("/missing"), utimes("none", 0), removexattr("none", "user.a"), link("none", "a");
    open("none/../a", O_CREAT | O_WRONLY, 0600), mkdir("x/a", 0700), unlink("x/"),
        open("", O_CREAT | O_WRONLY, 0600);
    openat(-1, "a", O_CREAT | O_WRONLY, 0600), fchmod(-1, 0600), close(-1);
    return 0;
}
