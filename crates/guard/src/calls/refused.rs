//! The calls no guarded command gets: they reach around the guard, or outlive the tree.

use libc::c_long;

use super::{Call, ObjectKind, Shape, Stop, SystemObject, row};

const OPEN_TREE_ATTR: c_long = 467;
const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;

pub(super) fn rows() -> Vec<Call> {
    let no = |number, name, error| row(number, name, Stop::Always, Shape::Refuse(error));
    let absent = |number, name| {
        row(number, name, Stop::Fail(libc::ENOSYS as u16), Shape::Refuse(libc::ENOSYS))
    };
    let mut rows = vec![
        // Not there, without a word: runtimes ask for it at every start of an event loop, and go on
        // without.
        absent(libc::SYS_io_uring_setup, "io_uring_setup"),
        absent(libc::SYS_io_uring_enter, "io_uring_enter"),
        absent(libc::SYS_io_uring_register, "io_uring_register"),
        // Memory that only its owner can read would hide arguments.
        no(libc::SYS_memfd_secret, "memfd_secret", libc::ENOSYS),
        // The kernel allows a process one listener, which is the guard's; this is its own answer.
        row(libc::SYS_seccomp, "seccomp", Stop::Bits(1, NEW_LISTENER), Shape::Refuse(libc::EBUSY)),
        // What is not dumpable hides its memory from the supervisor, which could then judge
        // nothing.
        row(
            libc::SYS_prctl,
            "prctl",
            Stop::Equal(0, libc::PR_SET_DUMPABLE as u32),
            Shape::Refuse(libc::EPERM),
        ),
        // This would let another process trace the command.
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
    rows.extend(system_objects());
    rows.push(row(libc::SYS_ioctl, "ioctl", Stop::Ioctl, Shape::Ioctl));
    rows
}

fn privileged() -> Vec<(c_long, &'static str)> {
    vec![
        (libc::SYS_process_madvise, "process_madvise"),
        (libc::SYS_pidfd_getfd, "pidfd_getfd"),
        (libc::SYS_process_mrelease, "process_mrelease"),
        (libc::SYS_kcmp, "kcmp"),
        (libc::SYS_mount, "mount"),
        (libc::SYS_umount2, "umount2"),
        (libc::SYS_pivot_root, "pivot_root"),
        (libc::SYS_chroot, "chroot"),
        (libc::SYS_move_mount, "move_mount"),
        (libc::SYS_open_tree, "open_tree"),
        (OPEN_TREE_ATTR, "open_tree_attr"),
        (libc::SYS_fsopen, "fsopen"),
        (libc::SYS_fsconfig, "fsconfig"),
        (libc::SYS_fsmount, "fsmount"),
        (libc::SYS_fspick, "fspick"),
        (libc::SYS_mount_setattr, "mount_setattr"),
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
    ]
}

/// Objects of the system without a path, which outlive the tree. None can be made, so every number
/// of one means an object of another program.
fn system_objects() -> Vec<Call> {
    use ObjectKind::{Messages, Semaphores, SharedMemory};
    use SystemObject::{Id, Key, Queue};
    let object =
        |number, name, object| row(number, name, Stop::Always, Shape::SystemObject(object));
    let id = |kind| Id { kind, command: None };
    vec![
        object(libc::SYS_mq_open, "mq_open", Queue),
        object(libc::SYS_mq_unlink, "mq_unlink", Queue),
        object(libc::SYS_shmget, "shmget", Key(SharedMemory)),
        object(libc::SYS_shmat, "shmat", id(SharedMemory)),
        object(libc::SYS_shmctl, "shmctl", Id { kind: SharedMemory, command: Some(1) }),
        object(libc::SYS_semget, "semget", Key(Semaphores)),
        object(libc::SYS_semop, "semop", id(Semaphores)),
        object(libc::SYS_semtimedop, "semtimedop", id(Semaphores)),
        object(libc::SYS_semctl, "semctl", Id { kind: Semaphores, command: Some(2) }),
        object(libc::SYS_msgget, "msgget", Key(Messages)),
        object(libc::SYS_msgsnd, "msgsnd", id(Messages)),
        object(libc::SYS_msgrcv, "msgrcv", id(Messages)),
        object(libc::SYS_msgctl, "msgctl", Id { kind: Messages, command: Some(1) }),
    ]
}
