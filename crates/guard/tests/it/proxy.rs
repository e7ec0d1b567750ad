//! A proxy as the only destination: what leads to it, and every way round it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use guard::Capability::{FsWrite, Network};
use guard::{Charge, Code, Destinations, Proxy, Report, Verdict};

use crate::setting::{Setting, assert_pass, no_node, show, text};

/// The placeholder address of the proxy; nothing listens there.
const SHOWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4280);

/// A listener that answers every connection with a greeting, and what was admitted to it.
struct Service {
    listener: SocketAddrV4,
    admitted: Arc<Mutex<Vec<SocketAddr>>>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Service {
    /// Who has connected, in order. A connection of the test's own comes last: once it is answered,
    /// all before it were noted.
    fn peers(&self) -> Vec<SocketAddr> {
        let mut last = TcpStream::connect(self.listener).unwrap();
        last.read_exact(&mut [0]).unwrap();
        let own = last.local_addr().unwrap();
        let mut peers = self.peers.lock().unwrap();
        peers.retain(|peer| *peer != own);
        peers.clone()
    }
}

fn service() -> Service {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
    let peers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&peers);
    // Ends with the test's process.
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            seen.lock().unwrap().push(peer);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\n\
                content-length: 5\r\n\r\nhello",
            );
            let _ = stream.read(&mut [0; 1_024]);
        }
    });
    Service { listener: address, admitted: Arc::default(), peers }
}

fn setting(service: &Service) -> Setting {
    let mut setting = Setting::new().declare(&[Network, FsWrite]).deny_reads();
    let admitted = Arc::clone(&service.admitted);
    setting.policy.destinations = Destinations::Proxy(Proxy {
        shown: SHOWN,
        listener: service.listener,
        admit: Arc::new(move |own| admitted.lock().unwrap().push(own)),
    });
    setting
}

fn assert_charged(report: &Report, what: &str) {
    let found = (report.verdict, report.code);
    assert_eq!(found, (Verdict::Fail, Some(Code::Undeclared)), "{what}: {}", show(report));
    assert!(report.reason.contains("Network is declared for other addresses alone"), "{what}");
}

const CONNECT: &str = "int main() { struct sockaddr_in a = {AF_INET, htons(PORT)}; \
    a.sin_addr.s_addr = inet_addr(\"HOST\"); int s = socket(AF_INET, SOCK_STREAM, 0); \
    if (connect(s, (void *)&a, sizeof a)) { perror(\"connect\"); return 0; } \
    char b[9] = {0}; write(s, \"GET /\", 5); read(s, b, 8); puts(b); return 0; }";

#[test]
fn the_placeholder_address_of_the_proxy_leads_to_it() {
    let service = service();
    let report = setting(&service).c(&CONNECT.replace("PORT", "4280").replace("HOST", "127.0.0.1"));
    assert_pass(&report);
    assert_eq!(text(&report.stdout.bytes).trim(), "HTTP/1.1");
    let admitted = service.admitted.lock().unwrap().clone();
    assert_eq!(admitted, service.peers(), "the command's own address is named");

    // The record has the name and not the port, so that two runs have the same transcript.
    let connect = report.effects.iter().find(|effect| effect.operation == "connect").unwrap();
    assert_eq!((connect.target.as_str(), connect.charge), ("127.0.0.1:4280", Charge::Declared));
    assert!(connect.exact, "it was made by the supervisor");
}

#[test]
fn a_connection_that_does_not_wait_leads_to_it_too() {
    if no_node() {
        return;
    }
    let service = service();
    let script = "fetch('http://127.0.0.1:4280/').then((r) => r.text()).then(console.log)";
    let report = setting(&service).cjs(script);
    assert_pass(&report);
    assert_eq!(text(&report.stdout.bytes).trim(), "hello", "{}", show(&report));
    assert_eq!(service.admitted.lock().unwrap().len(), 1);
}

#[test]
fn every_other_address_is_refused_and_charged() {
    let service = service();
    let port = service.listener.port().to_string();
    for (port, host) in [
        // Where the proxy really listens is not for the command to name.
        (port.as_str(), "127.0.0.1"),
        ("22", "127.0.0.1"),
        ("4280", "127.0.0.2"),
        ("4280", "0.0.0.0"),
        ("443", "93.184.216.34"),
    ] {
        let source = CONNECT.replace("PORT", port).replace("HOST", host);
        assert_charged(&setting(&service).c(&source), &format!("{host}:{port}"));
    }
    assert!(service.peers().is_empty(), "nothing arrived");
}

/// Name and code; `a` is the proxy's address, `s` a socket of TCP over IPv4.
const WAYS: &[(&str, &str)] = &[
    ("udp", "socket(AF_INET, SOCK_DGRAM, 0)"),
    ("raw", "socket(AF_INET, SOCK_RAW, 1)"),
    ("multipath tcp", "socket(AF_INET, SOCK_STREAM, 262)"),
    ("sctp", "socket(AF_INET, SOCK_STREAM, 132)"),
    ("packet", "socket(AF_PACKET, SOCK_RAW, 0)"),
    ("bind", "bind(s, (void *)&a, sizeof a)"),
    ("bind to an address of no family", "memset(&a, 0, sizeof a); bind(s, (void *)&a, sizeof a)"),
    ("listen without an address", "listen(s, 1)"),
    (
        "listen on a descriptor that becomes another",
        "int u = socket(AF_UNIX, SOCK_STREAM, 0); dup2(s, u); listen(u, 1)",
    ),
    ("fast open", "sendto(s, \"x\", 1, MSG_FASTOPEN, (void *)&a, sizeof a)"),
    (
        "fast open by a message",
        "struct iovec v = {\"x\", 1}; struct msghdr m = {&a, sizeof a, &v, 1}; sendmsg(s, &m, \
         MSG_FASTOPEN)",
    ),
    (
        "fast open by an option, elsewhere",
        "int one = 1; setsockopt(s, IPPROTO_TCP, 30, &one, sizeof one); a.sin_port = htons(9); \
         connect(s, (void *)&a, sizeof a)",
    ),
    (
        "connected again, elsewhere",
        "connect(s, (void *)&a, sizeof a); struct sockaddr n = {AF_UNSPEC}; connect(s, &n, sizeof \
         n); a.sin_port = htons(9); connect(s, (void *)&a, sizeof a)",
    ),
    (
        "an abstract name",
        "struct sockaddr_un u = {AF_UNIX, \"\\0guard-proxy\"}; int l = socket(AF_UNIX, \
         SOCK_STREAM, 0); connect(l, (void *)&u, sizeof u)",
    ),
    (
        "an interface by its name",
        "setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, \"lo\", 3); connect(s, (void *)&a, sizeof a)",
    ),
    (
        "an interface by its number",
        "int i = 1; setsockopt(s, SOL_SOCKET, 62, &i, sizeof i); connect(s, (void *)&a, sizeof a)",
    ),
    (
        "a way that packets take",
        "unsigned char o[8] = {131, 7, 4, 192, 0, 2, 1, 0}; setsockopt(s, IPPROTO_IP, IP_OPTIONS, \
         o, sizeof o); connect(s, (void *)&a, sizeof a)",
    ),
    ("sockets of the machine's host", "socket(40, SOCK_STREAM, 0)"),
    ("ciphers of the kernel", "socket(AF_ALG, SOCK_SEQPACKET, 0)"),
    ("packets of the link layer", "socket(AF_PACKET, SOCK_DGRAM, 0)"),
    ("netlink beyond the list of interfaces", "socket(AF_NETLINK, SOCK_RAW, 12)"),
    (
        "a helper process",
        "struct sockaddr_in b = {AF_INET, htons(9)}; \
         b.sin_addr = a.sin_addr; if (!fork()) { connect(s, (void *)&b, sizeof b); _exit(0); } \
         wait(0)",
    ),
    (
        "an address of another family",
        "struct sockaddr_in6 b = {AF_INET6, htons(4280)}; connect(s, (void *)&b, sizeof b)",
    ),
];

#[test]
fn every_way_round_it_is_refused_and_charged() {
    for (name, code) in WAYS {
        let service = service();
        let source = format!(
            "int main() {{ struct sockaddr_in a = {{AF_INET, htons(4280)}}; a.sin_addr.s_addr = \
             inet_addr(\"127.0.0.1\"); int s = socket(AF_INET, SOCK_STREAM, 0); {code}; return 0; }}"
        );
        assert_charged(&setting(&service).c(&source), name);
        let admitted = service.admitted.lock().unwrap().len();
        assert_eq!(service.peers().len(), admitted, "{name}");
    }
}

/// Options of the same numbers at other levels, and those that take something away.
#[test]
fn ordinary_options_of_a_connection_are_its_own() {
    let service = service();
    let source = "int main() { int s = socket(AF_INET, SOCK_STREAM, 0), n = 20; socklen_t l = sizeof \
        n; return setsockopt(s, IPPROTO_TCP, 4, &n, l) || setsockopt(s, IPPROTO_TCP, 25, &n, l) || \
        setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &n, l) || setsockopt(s, IPPROTO_IP, IP_OPTIONS, 0, \
        0); }";
    assert_pass(&setting(&service).c(source));
}

/// Clients ask in this way whether the machine has IPv6, and go on without it.
#[test]
fn a_look_for_ipv6_is_answered_and_not_charged() {
    let service = service();
    let source = "int main() { int s = socket(AF_INET6, SOCK_STREAM, 0); return s != -1 || errno != \
        EAFNOSUPPORT; }";
    assert_pass(&setting(&service).c(source));
}

#[test]
fn local_sockets_of_its_own_work_as_ever() {
    let service = service();
    let source = "int main() { struct sockaddr_un a = {AF_UNIX, \"s\"}; int l = socket(AF_UNIX, \
        SOCK_STREAM, 0); if (bind(l, (void *)&a, sizeof a) || listen(l, 1)) return 1; int c = \
        socket(AF_UNIX, SOCK_STREAM, 0); return connect(c, (void *)&a, sizeof a); }";
    assert_pass(&setting(&service).c(source));
}

/// One thread rewrites the address while another connects, thousands of times.
#[test]
fn an_address_that_is_rewritten_never_leads_elsewhere() {
    let (service, other) = (service(), service());
    let source = "struct sockaddr_in a = {AF_INET}; volatile int stop; int other; \
        void *swap(void *x) { while (!stop) { a.sin_port = htons(4280); a.sin_port = htons(other); \
        } return 0; } \
        int main(int n, char **v) { other = OTHER; a.sin_addr.s_addr = inet_addr(\"127.0.0.1\"); \
        pthread_t t; pthread_create(&t, 0, swap, 0); \
        for (int i = 0; i < 400; i++) { int s = socket(AF_INET, SOCK_STREAM, 0); connect(s, (void \
        *)&a, sizeof a); close(s); } stop = 1; pthread_join(t, 0); return 0; }";
    let report = setting(&service).c(&source.replace("OTHER", &other.listener.port().to_string()));
    assert_ne!(report.verdict, Verdict::Pass, "{}", show(&report));
    assert!(other.peers().is_empty(), "the other listener was never reached");
}

#[test]
fn without_a_destination_sockets_lead_to_nobody() {
    let service = service();
    let mut setting = setting(&service);
    setting.policy.destinations = Destinations::None;
    assert_pass(&setting.c("int main() { return socket(AF_INET, SOCK_STREAM, 0) < 0; }"));
    assert_charged(
        &setting.c(&CONNECT.replace("PORT", "4280").replace("HOST", "127.0.0.1")),
        "the proxy's name without a proxy",
    );
}

/// Where the declaration is missing a proxy changes nothing.
#[test]
fn without_the_declaration_there_is_no_socket() {
    let service = service();
    let mut setting = setting(&service);
    setting.policy.declared.remove(&Network);
    let report = setting.c(&CONNECT.replace("PORT", "4280").replace("HOST", "127.0.0.1"));
    assert_eq!((report.verdict, report.code), (Verdict::Fail, Some(Code::Undeclared)));
    assert!(report.reason.contains("Network is not declared"), "{}", show(&report));
}
