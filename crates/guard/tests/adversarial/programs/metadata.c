// Modes, owners, times, attributes.
#include "probe.h"

struct xattr_args {
    uint64_t value;
    uint32_t size, flags;
};
struct file_attributes {
    uint64_t xflags;
    uint32_t extent, extents, project, cow_extent;
};

static const struct timespec LONG_AGO[2] = {{1, 0}, {1, 0}};

PROBE(chmod_call) { TRY(syscall(SYS_chmod, at("x"), 0600)); return 0; }
PROBE(chmod_directory) { TRY(chmod(at("d"), 0700)); return 0; }
PROBE(fchmod_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    TRY(fchmod(f, 0600));
    return 0;
}
PROBE(fchmodat_call) { TRY(syscall(SYS_fchmodat, AT_FDCWD, at("x"), 0600)); return 0; }
PROBE(fchmodat2_call) { TRY(syscall(452, AT_FDCWD, at("x"), 0600, 0)); return 0; }
PROBE(fchmodat2_descriptor) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(syscall(452, f, "", 0600, AT_EMPTY_PATH));
    return 0;
}
PROBE(chmod_through_proc) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(chmod(proc_fd(f), 0600));
    return 0;
}
PROBE(chmod_set_user_id) { TRY(chmod(at("x"), 04755)); return 0; }
PROBE(chown_call) { TRY(syscall(SYS_chown, at("x"), -1, getgid())); return 0; }
PROBE(lchown_call) { TRY(syscall(SYS_lchown, at("link"), -1, getgid())); return 0; }
PROBE(fchown_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    TRY(fchown(f, -1, getgid()));
    return 0;
}
PROBE(fchownat_descriptor) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(fchownat(f, "", -1, getgid(), AT_EMPTY_PATH));
    return 0;
}
PROBE(utime_call) {
    struct utimbuf times = {1, 1};
    TRY(syscall(SYS_utime, at("x"), &times));
    return 0;
}
PROBE(utimes_call) {
    struct timeval times[2] = {{1, 0}, {1, 0}};
    TRY(syscall(SYS_utimes, at("x"), times));
    return 0;
}
PROBE(futimesat_call) {
    struct timeval times[2] = {{1, 0}, {1, 0}};
    TRY(syscall(SYS_futimesat, AT_FDCWD, at("x"), times));
    return 0;
}
PROBE(utimensat_call) { TRY(utimensat(AT_FDCWD, at("x"), LONG_AGO, 0)); return 0; }
PROBE(utimensat_of_a_symlink) { TRY(utimensat(AT_FDCWD, at("link"), LONG_AGO, AT_SYMLINK_NOFOLLOW));
    return 0; }
PROBE(utimensat_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    TRY(syscall(SYS_utimensat, f, 0, LONG_AGO, 0));
    return 0;
}
PROBE(utimensat_descriptor) {
    int f = open(at("x"), O_PATH);
    TRY(f);
    TRY(syscall(SYS_utimensat, f, "", LONG_AGO, AT_EMPTY_PATH));
    return 0;
}
PROBE(touch_directory) { TRY(utimensat(AT_FDCWD, at("d"), 0, 0)); return 0; }
PROBE(setxattr_call) { TRY(setxattr(at("x"), "user.a", "1", 1, 0)); return 0; }
PROBE(lsetxattr_call) { TRY(lsetxattr(at("x"), "user.a", "1", 1, 0)); return 0; }
PROBE(fsetxattr_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    TRY(fsetxattr(f, "user.a", "1", 1, 0));
    return 0;
}
PROBE(setxattrat_call) {
    struct xattr_args value = {(uintptr_t) "1", 1, 0};
    TRY(syscall(463, AT_FDCWD, at("x"), 0, "user.a", &value, sizeof value));
    return 0;
}
PROBE(setxattrat_descriptor) {
    int f = open(at("x"), O_RDONLY);
    struct xattr_args value = {(uintptr_t) "1", 1, 0};
    TRY(f);
    TRY(syscall(463, f, "", AT_EMPTY_PATH, "user.a", &value, sizeof value));
    return 0;
}
PROBE(setxattrat_without_path) {
    int f = open(at("x"), O_RDONLY);
    struct xattr_args value = {(uintptr_t) "1", 1, 0};
    TRY(f);
    TRY(syscall(463, f, 0, AT_EMPTY_PATH, "user.a", &value, sizeof value));
    return 0;
}
PROBE(setxattr_of_a_directory) { TRY(setxattr(at("d"), "user.a", "1", 1, 0)); return 0; }
PROBE(removexattr_call) {
    if (removexattr(at("x"), "user.kept") < 0 && errno != ENODATA) return failed("removexattr");
    return 0;
}
PROBE(lremovexattr_call) {
    if (lremovexattr(at("x"), "user.kept") < 0 && errno != ENODATA) return failed("lremovexattr");
    return 0;
}
PROBE(fremovexattr_read_only) {
    int f = open(at("x"), O_RDONLY);
    TRY(f);
    if (fremovexattr(f, "user.kept") < 0 && errno != ENODATA) return failed("fremovexattr");
    return 0;
}
PROBE(removexattrat_call) {
    if (syscall(466, AT_FDCWD, at("x"), 0, "user.kept") < 0
        && errno != ENODATA) return failed("removexattrat");
    return 0;
}
PROBE(access_control_list) {
    // Version 2; owner, group and others, as mode 0600 says.
    unsigned char list[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 0, 0, 255, 255, 255,
        255, 32, 0, 0, 0, 255, 255, 255, 255};
    TRY(setxattr(at("x"), "system.posix_acl_access", list, sizeof list, 0));
    return 0;
}
PROBE(file_setattr_call) {
    struct file_attributes none = {0};
    if (syscall(469, AT_FDCWD, at("x"), &none, sizeof none, 0) < 0 && errno != EINVAL
        && errno != ENOTTY) return failed("file_setattr");
    return 0;
}
