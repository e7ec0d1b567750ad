//! Doors to other programs without a change of a file: pipes of the root, locks, leases, sockets
//! that are made and not used.

use guard::Capability::{FsWrite, Network};
use guard::{Identity, prepare_ownership, run};

use crate::setting::{Setting, assert_forbidden, assert_pass, assert_undeclared};

#[test]
fn a_pipe_that_stood_in_the_root_is_refused_before_the_run() {
    let setting = Setting::new().declare(&[FsWrite]);
    let pipe = setting.root.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    prepare_ownership(&setting.base, Identity::Auto).unwrap();
    let command = setting.command("/bin/sh").args(["-c", "true"]);
    let refused = run(&command, &setting.policy).unwrap_err().to_string();
    assert!(refused.contains("pipe or device"), "{refused}");
    std::fs::remove_file(pipe).unwrap();
    let own = "int main() { return mkfifo(\"own\", 0600) || open(\"own\", O_RDWR) < 0; }";
    assert_pass(&setting.c(own));
}

#[test]
fn a_lock_on_a_file_outside_is_a_write_there() {
    let ways = [
        "flock(f, LOCK_SH | LOCK_NB)",
        "fcntl(f, F_SETLK, &l)",
        "fcntl(f, F_OFD_SETLK, &l)",
        "fcntl(f, F_SETLEASE, F_RDLCK)",
    ];
    for way in ways {
        let source = |path: &str| {
            format!(
                "#include <sys/file.h>
                int main() {{ struct flock l = {{F_RDLCK}}; int f = open({path:?}, O_RDONLY);
                return {way} < 0; }}"
            )
        };
        let report = Setting::new().c(&source("../victim"));
        assert_forbidden(&report);
        assert_eq!(report.exit, guard::Exit::Code(1), "{way}");
        if !way.contains("LEASE") {
            assert_pass(&Setting::new().c(&source("x")));
        }
    }
}

#[test]
fn a_socket_that_is_not_used_reaches_nobody() {
    for kind in ["AF_INET, SOCK_STREAM", "AF_INET6, SOCK_DGRAM"] {
        let source = format!("int main() {{ return socket({kind}, 0) < 0; }}");
        assert_pass(&Setting::new().c(&source));
    }
    let address = "struct sockaddr_in a = {FAMILY, htons(9), {htonl(0x7f000001)}};";
    let uses = [
        "connect(s, (void *)&a, sizeof a)",
        "sendto(s, \"x\", 1, 0, (void *)&a, sizeof a)",
        "bind(s, (void *)&a, sizeof a)",
    ];
    for used in uses {
        let source = format!(
            "int main() {{ {} int s = socket(AF_INET, SOCK_DGRAM, 0); return {used} >= 0; }}",
            address.replace("FAMILY", "AF_INET")
        );
        assert_undeclared(&Setting::new().c(&source), Network);
    }
    // The kernel takes an address of no family for one of IPv4.
    let source = format!(
        "int main() {{ {} int s = socket(AF_INET, SOCK_DGRAM, 0); return {} >= 0; }}",
        address.replace("FAMILY", "AF_UNSPEC"),
        uses[1]
    );
    assert_undeclared(&Setting::new().c(&source), Network);
    let listens = "int main() { return listen(socket(AF_INET, SOCK_STREAM, 0), 1) >= 0; }";
    assert_undeclared(&Setting::new().c(listens), Network);
}
