//! Class E: sockets.

use guard::Capability::{FsWrite, Network};

use crate::setting::{Setting, assert_forbidden, assert_pass, assert_undeclared, no_node};

#[test]
fn every_way_to_the_network_is_charged() {
    if no_node() {
        return;
    }
    let ways = [
        "require('net').connect(9, '127.0.0.1').on('error', () => {})",
        "require('dgram').createSocket('udp4').send('x', 9, '127.0.0.1', function () { \
         this.close() })",
        "require('http').createServer().listen(0, function () { this.close() }).on('error', () => \
         {})",
        "require('dns').lookup('example.com', () => {})",
        "fetch('http://127.0.0.1:59999').catch(() => {})",
    ];
    for way in ways {
        eprintln!("{way}");
        assert_undeclared(
            &Setting::new().cjs(&format!("process.on('uncaughtException', () => {{}}); {way}")),
            Network,
        );
    }
    assert_pass(&Setting::new().declare(&[Network]).deny_reads().cjs(ways[0]));
    assert_pass(&Setting::new().declare(&[Network]).deny_reads().cjs(ways[2]));
}

#[test]
fn odd_families_are_refused_or_charged() {
    for family in ["AF_INET6", "AF_PACKET", "40 /* vsock */", "38 /* alg */"] {
        let report = Setting::new()
            .c(&format!("int main() {{ return socket({family}, SOCK_RAW, 0) >= 0; }}"));
        assert_undeclared(&report, Network);
        assert_eq!(report.exit, guard::Exit::Code(0), "no socket was given");
    }
}

const CONNECT: &str =
    "int main() { struct sockaddr_un a = {AF_UNIX}; strcpy(a.sun_path + OFFSET, NAME);
    int s = socket(AF_UNIX, TYPE, 0); SEND; return 0; }";

#[test]
fn a_socket_of_another_program_is_the_network() {
    let setting = Setting::new().declare(&[FsWrite]);
    let path = setting.base.join("service.sock");
    let _service = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let datagram = setting.base.join("log.sock");
    let log = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    log.set_nonblocking(true).unwrap();
    let name = |path: &std::path::Path| format!("{path:?}");
    let source = |name: &str, kind: &str, send: &str| {
        CONNECT
            .replace("OFFSET", "0")
            .replace("NAME", name)
            .replace("TYPE", kind)
            .replace("SEND", send)
    };
    assert_undeclared(
        &setting.c(&source(&name(&path), "SOCK_STREAM", "connect(s, (void *)&a, sizeof a)")),
        Network,
    );
    let to = "sendto(s, \"x\", 1, 0, (void *)&a, sizeof a)";
    assert_undeclared(&setting.c(&source(&name(&datagram), "SOCK_DGRAM", to)), Network);
    let message =
        "struct iovec v = {\"x\", 1}; struct msghdr m = {&a, sizeof a, &v, 1}; sendmsg(s, &m, 0)";
    assert_undeclared(&setting.c(&source(&name(&datagram), "SOCK_DGRAM", message)), Network);
    let many = "struct iovec v = {\"x\", 1}; struct mmsghdr m[2] = {{{0, 0, &v, 1}}, {{&a, sizeof \
        a, &v, 1}}}; m[0].msg_hdr.msg_name = 0; sendmmsg(s, m + 1, 1, 0)";
    assert_undeclared(&setting.c(&source(&name(&datagram), "SOCK_DGRAM", many)), Network);
    let abstract_name = CONNECT
        .replace("OFFSET", "1")
        .replace("NAME", "\"guard-abstract\"")
        .replace("TYPE", "SOCK_STREAM");
    assert_undeclared(
        &setting.c(&abstract_name.replace("SEND", "connect(s, (void *)&a, sizeof a)")),
        Network,
    );
    assert!(log.recv(&mut [0; 8]).is_err(), "nothing arrived");
}

#[test]
fn own_pipes_and_socket_pairs_are_free() {
    let source = "int main() { int s[2], p[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, s); pipe(p); \
        write(p[1], \"x\", 1); send(s[0], \"x\", 1, 0);
        struct iovec v = {\"x\", 1}; struct msghdr m = {0, 0, &v, 1}; sendmsg(s[0], &m, 0); char \
        c; return read(s[1], &c, 1) != 1; }";
    assert_pass(&Setting::new().deny_reads().c(source));
}

#[test]
fn a_socket_file_outside_is_a_write_outside() {
    let source = "int main() { struct sockaddr_un a = {AF_UNIX, \"../s\"}; int s = socket(AF_UNIX, \
        SOCK_STREAM, 0); bind(s, (void *)&a, sizeof a); return 0; }";
    assert_forbidden(&Setting::new().declare(&[FsWrite]).c(source));
}
