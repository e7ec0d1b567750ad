// Names: making, opening, moving, removing. Each works on x, y, d, full/f and link below the
// prefix.
#include "probe.h"

struct how {
    uint64_t flags, mode, resolve;
};

static long openat2_(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct how how = {flags, mode, resolve};
    return syscall(437, dir, path, &how, sizeof how);
}

PROBE(open_create) { TRY(open(at("a"), O_CREAT | O_WRONLY, 0600)); return 0; }
PROBE(open_append) { TRY(open(at("x"), O_WRONLY | O_APPEND)); return 0; }
PROBE(open_truncating_only) { TRY(open(at("x"), O_RDONLY | O_TRUNC)); return 0; }
PROBE(open_creating_only) { TRY(open(at("a"), O_RDONLY | O_CREAT, 0600)); return 0; }
PROBE(open_exclusive) { TRY(open(at("a"), O_RDWR | O_CREAT | O_EXCL, 0600)); return 0; }
PROBE(open_access_mode_3) { TRY(open(at("x"), 3)); return 0; }
PROBE(open_through_symlink) { TRY(open(at("link"), O_WRONLY)); return 0; }
PROBE(open_high_flag_bits) { TRY(syscall(SYS_openat, AT_FDCWD, at("a"),
    0xffffffff00000000UL | O_CREAT | O_WRONLY, 0600)); return 0; }
PROBE(creat_call) { TRY(syscall(SYS_creat, at("a"), 0600)); return 0; }
PROBE(open_call) { TRY(syscall(SYS_open, at("a"), O_CREAT | O_WRONLY, 0600)); return 0; }
PROBE(openat_directory) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(openat(d, "new", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(openat_parent_of_directory) {
    int d = open(at("d"), O_RDONLY | O_DIRECTORY);
    TRY(d);
    TRY(openat(d, "../a", O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(openat_absolute) {
    // The directory descriptor means nothing to an absolute path, not even where it is no
    // descriptor.
    char full[PATH_MAX], here[PATH_MAX];
    TRY(realpath(*at("") ? at("") : ".", here) ? 0 : -1);
    snprintf(full, sizeof full, "%s/a", here);
    TRY(openat(-77, full, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(openat2_create) { TRY(openat2_(AT_FDCWD, at("a"), O_CREAT | O_WRONLY, 0600, 0)); return 0; }
PROBE(openat2_in_root) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(openat2_(d, "/new", O_CREAT | O_WRONLY, 0600, 0x10));
    return 0;
}
PROBE(openat2_in_root_clamped) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(openat2_(d, "../../../new", O_CREAT | O_WRONLY, 0600, 0x10));
    return 0;
}
PROBE(openat2_beneath) {
    int d = open(at("full"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(openat2_(d, "f", O_WRONLY, 0, 0x08));
    return 0;
}
PROBE(reopen_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    TRY(open(proc_fd(f), O_RDWR));
    return 0;
}
PROBE(reopen_by_dev_fd) {
    int f = open(at("x"), O_RDONLY);
    char name[32];
    TRY(f);
    snprintf(name, sizeof name, "/dev/fd/%d", f);
    TRY(open(name, O_WRONLY));
    return 0;
}
PROBE(reopen_path_only) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(open(proc_fd(f), O_WRONLY | O_TRUNC));
    return 0;
}
PROBE(reopen_by_thread_self) {
    int f = open(at("x"), O_PATH);
    char name[64];
    TRY(f);
    snprintf(name, sizeof name, "/proc/thread-self/fd/%d", f);
    TRY(open(name, O_WRONLY));
    return 0;
}
PROBE(reopen_directory_by_proc) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    char name[64];
    TRY(d);
    snprintf(name, sizeof name, "/proc/self/fd/%d/new", d);
    TRY(open(name, O_CREAT | O_WRONLY, 0600));
    return 0;
}
PROBE(tmpfile_unnamed) { TRY(open(*at("") ? at("") : ".", O_TMPFILE | O_RDWR, 0600)); return 0; }
PROBE(tmpfile_linked) {
    int f = open(*at("") ? at("") : ".", O_TMPFILE | O_RDWR, 0600);
    TRY(f);
    TRY(linkat(AT_FDCWD, proc_fd(f), AT_FDCWD, at("a"), AT_SYMLINK_FOLLOW));
    return 0;
}
PROBE(tmpfile_linked_by_descriptor) {
    int f = open(*at("") ? at("") : ".", O_TMPFILE | O_RDWR, 0600);
    TRY(f);
    // Before Linux 6.10 this needs a capability and fails with ENOENT.
    if (linkat(f, "", AT_FDCWD, at("a"), AT_EMPTY_PATH) < 0
        && errno != ENOENT) return failed("linkat");
    return 0;
}
PROBE(mkdir_call) { TRY(syscall(SYS_mkdir, at("new"), 0700)); return 0; }
PROBE(mkdirat_directory) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(mkdirat(d, "new", 0700));
    return 0;
}
PROBE(mkdir_trailing_slash) { TRY(mkdir(at("new/"), 0700)); return 0; }
PROBE(mknod_file) { TRY(syscall(SYS_mknod, at("a"), S_IFREG | 0600, 0)); return 0; }
PROBE(mknodat_socket) { TRY(mknodat(AT_FDCWD, at("a"), S_IFSOCK | 0600, 0)); return 0; }
PROBE(make_fifo) { TRY(mkfifo(at("ff"), 0600)); return 0; }
PROBE(symlink_call) { TRY(syscall(SYS_symlink, "/etc/passwd", at("ln"))); return 0; }
PROBE(symlinkat_directory) {
    int d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(d);
    TRY(symlinkat("x", d, "ln"));
    return 0;
}
PROBE(link_call) { TRY(syscall(SYS_link, at("x"), at("hard"))); return 0; }
PROBE(linkat_descriptor) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(linkat(AT_FDCWD, proc_fd(f), AT_FDCWD, at("hard"), AT_SYMLINK_FOLLOW));
    return 0;
}
PROBE(link_of_symlink) { TRY(linkat(AT_FDCWD, at("link"), AT_FDCWD, at("hard"), 0)); return 0; }
PROBE(unlink_call) { TRY(syscall(SYS_unlink, at("x"))); return 0; }
PROBE(unlink_symlink) { TRY(unlink(at("link"))); return 0; }
PROBE(unlinkat_directory) { TRY(unlinkat(AT_FDCWD, at("d"), AT_REMOVEDIR)); return 0; }
PROBE(rmdir_call) { TRY(syscall(SYS_rmdir, at("d"))); return 0; }
PROBE(rename_call) { TRY(syscall(SYS_rename, at("x"), at("z"))); return 0; }
PROBE(rename_over) { TRY(rename(at("x"), at("y"))); return 0; }
PROBE(rename_directory) { TRY(rename(at("full"), at("moved"))); return 0; }
PROBE(renameat_directories) {
    int f = open(at("full"), O_PATH | O_DIRECTORY), d = open(at("d"), O_PATH | O_DIRECTORY);
    TRY(f);
    TRY(d);
    TRY(renameat(f, "f", d, "f"));
    return 0;
}
PROBE(rename_without_replacing) { TRY(syscall(SYS_renameat2, AT_FDCWD, at("x"), AT_FDCWD, at("z"),
    1)); return 0; }
PROBE(rename_exchange) { TRY(syscall(SYS_renameat2, AT_FDCWD, at("x"), AT_FDCWD, at("full"), 2));
    return 0; }
PROBE(bind_socket_file) {
    struct sockaddr_un name = {AF_UNIX, ""};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(name.sun_path, at("sock"), sizeof name.sun_path - 1);
    TRY(bind(s, (void *)&name, sizeof name));
    return 0;
}
PROBE(truncate_call) { TRY(truncate(at("x"), 0)); return 0; }
PROBE(truncate_through_symlink) { TRY(truncate(at("link"), 1)); return 0; }
