//! Class B, and by another prefix class C: every way in which the kernel lets a file, a name or
//! metadata be changed.

use guard::Capability::{FsWrite, Network, ProcessShell};

use crate::case::{Case, Expect, Program, case};

/// Each must be charged without the declaration, work with it, and be refused outside the root
/// whatever was declared.
const CHANGES: &[&str] = &[
    "open_create",
    "open_append",
    "open_truncating_only",
    "open_creating_only",
    "open_exclusive",
    "open_access_mode_3",
    "open_through_symlink",
    "open_high_flag_bits",
    "creat_call",
    "open_call",
    "openat_directory",
    "openat_parent_of_directory",
    "openat_absolute",
    "openat2_create",
    "openat2_in_root",
    "openat2_in_root_clamped",
    "openat2_beneath",
    "reopen_read_only",
    "reopen_by_dev_fd",
    "reopen_path_only",
    "reopen_by_thread_self",
    "reopen_directory_by_proc",
    "tmpfile_unnamed",
    "tmpfile_linked",
    "tmpfile_linked_by_descriptor",
    "mkdir_call",
    "mkdirat_directory",
    "mkdir_trailing_slash",
    "mknod_file",
    "mknodat_socket",
    "make_fifo",
    "symlink_call",
    "symlinkat_directory",
    "link_call",
    "linkat_descriptor",
    "link_of_symlink",
    "unlink_call",
    "unlink_symlink",
    "unlinkat_directory",
    "rmdir_call",
    "rename_call",
    "rename_over",
    "rename_directory",
    "renameat_directories",
    "rename_without_replacing",
    "rename_exchange",
    "bind_socket_file",
    "truncate_call",
    "truncate_through_symlink",
    "write_and_restore",
    "create_and_remove",
    "map_shared",
    "map_shared_made_writable_later",
    "copy_range",
    "send_file",
    "splice_from_pipe",
    "vmsplice_from_memory",
    "write_vector",
    "write_asynchronously",
    "truncate_descriptor",
    "allocate",
    "punch_hole",
    "clone_blocks",
    "deduplicate_blocks",
    "chmod_call",
    "chmod_directory",
    "fchmod_read_only",
    "fchmodat_call",
    "fchmodat2_call",
    "fchmodat2_descriptor",
    "chmod_through_proc",
    "chmod_set_user_id",
    "chown_call",
    "lchown_call",
    "fchown_read_only",
    "fchownat_descriptor",
    "utime_call",
    "utimes_call",
    "futimesat_call",
    "utimensat_call",
    "utimensat_of_a_symlink",
    "utimensat_read_only",
    "utimensat_descriptor",
    "touch_directory",
    "setxattr_call",
    "lsetxattr_call",
    "fsetxattr_read_only",
    "setxattrat_call",
    "setxattrat_descriptor",
    "setxattrat_without_path",
    "setxattr_of_a_directory",
    "removexattr_call",
    "lremovexattr_call",
    "fremovexattr_read_only",
    "removexattrat_call",
    "access_control_list",
    "file_setattr_call",
    "io_uring_or_else",
    "own_filter_then_write",
    "own_filter_of_all_threads",
    "own_tracing_filter",
    "own_filter_by_prctl",
    "own_listener_is_refused",
];

/// Of these, one by one, other ways of saying "outside" too.
const BY_OTHER_PATHS: &[&str] = &[
    "open_create",
    "openat2_create",
    "mkdir_call",
    "symlink_call",
    "link_call",
    "unlink_call",
    "rename_over",
    "bind_socket_file",
    "truncate_call",
    "chmod_call",
    "utimensat_call",
    "setxattr_call",
];

pub fn changes_inside() -> Vec<Case> {
    let rows = CHANGES.iter().flat_map(|name| {
        let probe = Program::Probe(name, "");
        [
            case("B", name, probe, &[], Expect::Undeclared(&[FsWrite])),
            case("B", name, probe, &[FsWrite], Expect::Pass),
        ]
    });
    rows.collect()
}

pub fn changes_outside() -> Vec<Case> {
    let row = |name: &str, place: &str, probe| {
        case("C", &format!("{name}, {place}"), probe, &[FsWrite], Expect::Forbidden)
    };
    let plain = CHANGES.iter().map(|name| row(name, "outside", Program::Probe(name, "../")));
    let other = BY_OTHER_PATHS.iter().flat_map(|name| {
        [
            row(name, "through a link out", Program::Probe(name, "up/")),
            row(name, "through /proc", Program::Probe(name, "/proc/self/cwd/../")),
        ]
    });
    plain.chain(other).collect()
}

pub fn other_entries() -> Vec<Case> {
    let probe = |name| Program::Probe(name, "");
    let row = |name, declared: &[_], expect| case("B", name, probe(name), declared, expect);
    vec![
        row("io_uring_is_absent", &[], Expect::Pass),
        row("open_by_int_80", &[FsWrite], Expect::Exec("signal 31")),
        row("getpid_by_int_80", &[], Expect::Exec("signal 31")),
        row("mkdir_by_x32", &[FsWrite], Expect::Exec("signal 31")),
        row("negative_call_number", &[], Expect::NoPass),
        row("unknown_call_number", &[], Expect::Pass),
        row("privileged_calls_fail", &[FsWrite], Expect::Pass),
        row("new_namespaces_fail", &[ProcessShell], Expect::Pass),
        row("namespaces_by_clone3_fail", &[], Expect::Pass),
        row("objects_that_outlive_fail", &[FsWrite], Expect::Forbidden),
        row("inode_flags_by_ioctl", &[], Expect::Undeclared(&[FsWrite])),
        case(
            "C",
            "inode-flags-by-ioctl, outside",
            Program::Probe("inode_flags_by_ioctl", "../"),
            &[FsWrite],
            Expect::Forbidden,
        ),
        row("open_by_handle", &[FsWrite], Expect::Pass),
        row("own_notifying_filter", &[], Expect::Harmless),
        row("own_landlock", &[FsWrite], Expect::Pass),
        row("descriptor_of_a_child", &[ProcessShell], Expect::Undeclared(&[FsWrite])),
        row("descriptor_of_a_child", &[ProcessShell, FsWrite], Expect::Pass),
        row("abstract_name_is_taken", &[], Expect::Undeclared(&[Network])),
        row("racing_open_flags", &[], Expect::Undeclared(&[FsWrite])),
    ]
}
