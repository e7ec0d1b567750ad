//! What every command may read where reads are denied: the parts of a system that programs need to
//! start, and that hold no user's data.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::paths::existing;

/// The dynamic linker and its libraries, locales and time zones, certificates, random and null
/// devices, what the kernel publishes about processors, memory and control groups. Below `/proc`
/// only the tree's own processes and files about the whole system are readable, which the guard
/// checks beyond this list; `/etc/passwd`, `/etc/resolv.conf` and home directories are not in it.
const ALWAYS: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/locale",
    "/usr/share/i18n",
    "/usr/share/zoneinfo",
    "/usr/share/ca-certificates",
    "/usr/share/nodejs",
    "/usr/share/node",
    "/usr/share/icu",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld-musl-aarch64.path",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/nsswitch.conf",
    "/etc/inputrc",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/mime.types",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/terminfo",
    "/usr/share/terminfo",
    "/etc/crypto-policies",
    "/usr/share/crypto-policies",
    "/etc/gcrypt",
    "/etc/bash.bashrc",
    "/etc/profile",
    "/etc/profile.d",
    "/usr/share/misc",
    "/usr/share/mime",
    "/usr/share/gcc",
    "/usr/share/java",
    "/usr/share/zoneinfo-icu",
    "/etc/ssl/certs/java",
    "/etc/java-8-openjdk",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
    "/etc/jvm",
    "/etc/ssl/openssl.cnf",
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/python3",
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/random",
    "/dev/urandom",
    "/proc",
    "/sys/fs/cgroup",
    "/sys/devices/system",
    "/sys/kernel/mm/transparent_hugepage",
    "/sys/kernel/mm/hugepages",
];

/// Below `/proc`: what tells about the host's other programs and its network.
const ABOUT_HOST: &[&str] = &[
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/key-users",
    "/proc/keys",
    "/proc/locks",
    "/proc/modules",
    "/proc/net",
    "/proc/sysvipc",
    "/proc/timer_list",
];

/// Whether a file below `/proc`, by its resolved path, tells about the host's other programs or its
/// network. A process's own folder has the network too.
pub(crate) fn tells_about_host(path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix("/proc") else { return false };
    let names: Vec<&str> = inside.iter().filter_map(|name| name.to_str()).take(4).collect();
    matches!(names[..], [pid, "net", ..] if is_number(pid))
        || matches!(names[..], [pid, "task", tid, "net"] if is_number(pid) && is_number(tid))
        || ABOUT_HOST.iter().any(|closed| path.starts_with(closed))
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// With `Network`.
const NETWORK: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
];

/// With `Process:shell`.
const PROGRAMS: &[&str] = &[
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/libexec",
    "/usr/include",
    "/usr/local/include",
    "/usr/share/perl",
    "/etc/alternatives",
];

/// With `Process:git`.
const GIT: &[&str] = &["/usr/share/git-core", "/usr/local/share/git-core", "/etc/gitconfig"];

const LOADERS: [&str; 6] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu"];

/// The files and trees a command may read under [`crate::Reads::Deny`] whatever it declared, as far
/// as they existed here when this process asked first.
pub fn system_read_allow() -> Vec<PathBuf> {
    always()
}

pub(crate) fn always() -> Vec<PathBuf> {
    /// Some seventy paths, which only an update of the system changes.
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| listed(ALWAYS)).clone()
}

pub(crate) fn network() -> Vec<PathBuf> {
    listed(NETWORK)
}

pub(crate) fn programs() -> Vec<PathBuf> {
    listed(PROGRAMS)
}

pub(crate) fn git() -> Vec<PathBuf> {
    listed(GIT)
}

/// The dynamic linkers: the kernel executes one for every program that is linked dynamically.
pub(crate) fn loaders() -> Vec<PathBuf> {
    /// They are looked for in folders of thousands of libraries, and only an update of the system
    /// changes them.
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find_loaders).clone()
}

fn find_loaders() -> Vec<PathBuf> {
    let names =
        LOADERS.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().filter_map(Result::ok);
    existing(names.map(|entry| entry.path()).filter(|path| is_loader(path)))
}

fn is_loader(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (name.starts_with("ld-") || name.starts_with("ld.so") || name.starts_with("ld64"))
        && name.contains(".so")
        && path.is_file()
}

fn listed(paths: &[&str]) -> Vec<PathBuf> {
    existing(paths.iter().map(PathBuf::from))
}
