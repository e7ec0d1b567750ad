//! The calls no guarded command gets: they reach around the guard, or outlive the tree.

use libc::c_long;

use super::{Call, Shape, Stop, row};

const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;

pub(super) fn rows() -> Vec<Call> {
    let no = |number, name, error| row(number, name, Stop::Always, Shape::Refuse(error));
    let mut rows = vec![
        no(libc::SYS_io_uring_setup, "io_uring_setup", libc::ENOSYS),
        no(libc::SYS_io_uring_enter, "io_uring_enter", libc::ENOSYS),
        no(libc::SYS_io_uring_register, "io_uring_register", libc::ENOSYS),
        row(libc::SYS_seccomp, "seccomp", Stop::Bits(1, NEW_LISTENER), Shape::Refuse(libc::EBUSY)),
        row(
            libc::SYS_prctl,
            "prctl",
            Stop::Equal(0, libc::PR_SET_DUMPABLE as u32),
            Shape::Refuse(libc::EPERM),
        ),
        row(
            libc::SYS_prctl,
            "prctl",
            Stop::Equal(0, libc::PR_SET_PTRACER as u32),
            Shape::Refuse(libc::EPERM),
        ),
    ];
    for (number, name) in privileged() {
        rows.push(no(number, name, libc::EPERM));
    }
    for request in IOCTLS {
        rows.push(row(
            libc::SYS_ioctl,
            "ioctl",
            Stop::Equal(1, *request),
            Shape::Refuse(libc::EPERM),
        ));
    }
    rows
}

/// Inode flags and attributes, fs-verity, encryption, the file system's version; input typed into a terminal.
const IOCTLS: &[u32] = &[
    0x4008_6602,
    0x4004_6602,
    0x401c_5820,
    0x4008_7602,
    0x4004_7602,
    0x4080_6685,
    0x800c_6613,
    0x5412,
    0x541c,
];

fn privileged() -> Vec<(c_long, &'static str)> {
    vec![
        (libc::SYS_ptrace, "ptrace"),
        (libc::SYS_process_vm_writev, "process_vm_writev"),
        (libc::SYS_process_madvise, "process_madvise"),
        (libc::SYS_pidfd_getfd, "pidfd_getfd"),
        (libc::SYS_kcmp, "kcmp"),
        (libc::SYS_mount, "mount"),
        (libc::SYS_umount2, "umount2"),
        (libc::SYS_pivot_root, "pivot_root"),
        (libc::SYS_chroot, "chroot"),
        (libc::SYS_move_mount, "move_mount"),
        (libc::SYS_open_tree, "open_tree"),
        (libc::SYS_fsopen, "fsopen"),
        (libc::SYS_fsconfig, "fsconfig"),
        (libc::SYS_fsmount, "fsmount"),
        (libc::SYS_fspick, "fspick"),
        (libc::SYS_mount_setattr, "mount_setattr"),
        (libc::SYS_unshare, "unshare"),
        (libc::SYS_setns, "setns"),
        (libc::SYS_open_by_handle_at, "open_by_handle_at"),
        (libc::SYS_bpf, "bpf"),
        (libc::SYS_perf_event_open, "perf_event_open"),
        (libc::SYS_userfaultfd, "userfaultfd"),
        (libc::SYS_add_key, "add_key"),
        (libc::SYS_request_key, "request_key"),
        (libc::SYS_keyctl, "keyctl"),
        (libc::SYS_fanotify_init, "fanotify_init"),
        (libc::SYS_quotactl, "quotactl"),
        (libc::SYS_quotactl_fd, "quotactl_fd"),
        (libc::SYS_swapon, "swapon"),
        (libc::SYS_swapoff, "swapoff"),
        (libc::SYS_acct, "acct"),
        (libc::SYS_reboot, "reboot"),
        (libc::SYS_kexec_load, "kexec_load"),
        (libc::SYS_init_module, "init_module"),
        (libc::SYS_finit_module, "finit_module"),
        (libc::SYS_delete_module, "delete_module"),
        (libc::SYS_settimeofday, "settimeofday"),
        (libc::SYS_clock_settime, "clock_settime"),
        (libc::SYS_adjtimex, "adjtimex"),
        (libc::SYS_clock_adjtime, "clock_adjtime"),
        (libc::SYS_sethostname, "sethostname"),
        (libc::SYS_setdomainname, "setdomainname"),
        (libc::SYS_syslog, "syslog"),
        (libc::SYS_vhangup, "vhangup"),
        (libc::SYS_lookup_dcookie, "lookup_dcookie"),
        // Named objects of the system that outlive the tree.
        (libc::SYS_shmget, "shmget"),
        (libc::SYS_semget, "semget"),
        (libc::SYS_msgget, "msgget"),
        (libc::SYS_mq_open, "mq_open"),
        (libc::SYS_mq_unlink, "mq_unlink"),
    ]
}
