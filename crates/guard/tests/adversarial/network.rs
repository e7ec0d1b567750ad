//! Class E: sockets, and reading what is not the module's.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use guard::Capability::{FsRead, FsWrite, Network, ProcessShell};
use guard::{Category, Report};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::case::{Case, Expect, Program, case};
use crate::setting::Setting;

const NODE: &[(&str, &str)] = &[
    ("tcp-connect", "require('net').connect(9, '127.0.0.1').on('error', () => {})"),
    ("tcp-connect-ipv6", "require('net').connect(9, '::1').on('error', () => {})"),
    (
        "udp-send",
        "const s = require('dgram').createSocket('udp4').on('error', () => {}); s.send('x', 9, \
         '127.0.0.1', () => s.close())",
    ),
    (
        "udp-bind",
        "require('dgram').createSocket('udp4').on('error', () => {}).bind(0, function () { \
         this.close() })",
    ),
    (
        "multicast",
        "const s = require('dgram').createSocket('udp4').on('error', () => {}); s.bind(0, () => { \
         s.addMembership('239.1.2.3'); s.close() })",
    ),
    (
        "listen",
        "require('http').createServer().on('error', () => {}).listen(0, function () { this.close() \
         })",
    ),
    ("http-get", "require('http').get('http://127.0.0.1:9/').on('error', () => {})"),
    ("https-get", "require('https').get('https://127.0.0.1:9/').on('error', () => {})"),
    ("http2", "require('http2').connect('http://127.0.0.1:9').on('error', () => {})"),
    ("fetch", "fetch('http://127.0.0.1:59999').catch(() => {})"),
    (
        "web-socket",
        "const W = globalThis.WebSocket; W ? new W('ws://127.0.0.1:59999').onerror = () => {} : \
         fetch('http://127.0.0.1:59999').catch(() => {})",
    ),
    ("dns-lookup", "require('dns').lookup('example.com', () => {})"),
    (
        "dns-resolve",
        "const r = new (require('dns').Resolver)({timeout: 50, tries: 1}); \
         r.setServers(['127.0.0.1:9']); r.resolve4('example.com', () => {})",
    ),
    ("inspector", "require('inspector').open(0)"),
    (
        "from-a-worker",
        "new (require('worker_threads').Worker)(`require('net').connect(9, \
         '127.0.0.1').on('error', () => {})`, {eval: true})",
    ),
];

/// Family, type, protocol.
const FAMILIES: &[(&str, &str)] = &[
    ("netlink", "16 3 9"),
    ("packet", "17 3 0"),
    ("vsock", "40 1 0"),
    ("kernel-crypto", "38 5 0"),
    ("bluetooth", "31 3 1"),
    ("can", "29 3 1"),
    ("tipc", "30 1 0"),
    ("rds", "21 5 0"),
    ("kernel-connection-multiplexor", "41 2 0"),
    ("express-data-path", "44 3 0"),
    ("remote-procedure", "33 2 2"),
    ("smc", "43 1 0"),
    ("raw-ipv4", "2 3 1"),
    ("ping", "2 2 1"),
    ("multipath-tcp", "2 1 262"),
    ("sctp", "2 1 132"),
    ("udp-lite", "2 2 136"),
    ("raw-ipv6", "10 3 58"),
    ("netlink-close-on-exec", "16 524291 15"),
    ("family-that-is-none", "99 1 0"),
];

pub fn cases() -> Vec<Case> {
    let scripts = NODE.iter().map(|(name, text)| {
        case("E", name, Program::Script(text), &[], Expect::Undeclared(&[Network])).ready(shield)
    });
    let declared = ["tcp-connect", "listen", "udp-send", "fetch", "dns-lookup"];
    let allowed =
        NODE.iter().filter(move |(name, _)| declared.contains(name)).map(|(name, text)| {
            case("E", name, Program::Script(text), &[Network], Expect::Pass).strict().ready(shield)
        });
    let sockets = families().into_iter().chain(services()).chain(names()).chain(own());
    scripts.chain(allowed).chain(sockets).chain(reads()).collect()
}

/// Names and ports that the kernel gives a socket of its own accord.
fn names() -> Vec<Case> {
    let charged = Expect::Undeclared(&[Network]);
    let row = |name, expect| case("G", name, Program::Probe(name, ""), &[], expect);
    let by_option = |probe, what: &str, option| {
        let name = format!("{probe}, {what}");
        case("G", &name, Program::Probe(probe, ""), &[], charged).argument(option)
    };
    vec![
        by_option("chosen_name_by_connect", "credentials", "16"),
        by_option("chosen_name_by_connect", "handles", "76"),
        by_option("chosen_name_by_write", "credentials", "16"),
        by_option("chosen_name_by_write", "handles", "76"),
        by_option("chosen_name_by_message", "credentials", "16"),
        by_option("chosen_name_by_message", "handles", "76"),
        row("chosen_name_by_bind", charged),
        case(
            "G",
            "credentials_on_named_sockets_and_streams",
            Program::Probe("credentials_on_named_sockets_and_streams", ""),
            &[FsWrite],
            Expect::Pass,
        ),
        // A tracer cannot exchange the socket.
        row("port_of_udp_by_write", Expect::Pass).traced(charged),
        row("loopback_is_probed", Expect::Pass),
        row("loopback_is_probed_and_used", charged),
        row("loopback_is_bound_for_datagrams", charged),
        row("every_address_is_bound", charged),
    ]
}

fn shield(setting: &mut Setting) {
    std::fs::write(setting.root.join("pre.cjs"), "process.on('uncaughtException', () => {})")
        .unwrap();
    setting.env.push(("NODE_OPTIONS", "--require ./pre.cjs".to_owned()));
}

fn families() -> Vec<Case> {
    let rows = FAMILIES.iter().map(|(name, numbers)| {
        case(
            "E",
            &format!("socket, {name}"),
            Program::Probe("socket_of_argument", ""),
            &[],
            Expect::Undeclared(&[Network]),
        )
        .argument(numbers)
    });
    let pairs = [("tipc", "30 1 0"), ("ipv4", "2 1 0")].into_iter().map(|(name, numbers)| {
        case(
            "E",
            &format!("socket pair, {name}"),
            Program::Probe("socket_pair_of_argument", ""),
            &[],
            Expect::Pass,
        )
        .argument(numbers)
    });
    rows.chain(pairs).collect()
}

/// A service of another user, which hands a descriptor open for writing to every process that
/// connects.
fn hand_out(listener: UnixListener, setting: &Setting) {
    let victim = setting.base.join("victim");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let file = std::fs::OpenOptions::new().append(true).open(&victim).unwrap();
            let descriptors = [file.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut extra = SendAncillaryBuffer::new(&mut space);
            extra.push(SendAncillaryMessage::ScmRights(&descriptors));
            let _ = sendmsg(&stream, &[IoSlice::new(b"f")], &mut extra, SendFlags::NOSIGNAL);
        }
    });
}

fn open_to_all(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn services() -> Vec<Case> {
    let stream = |setting: &mut Setting| {
        let path = setting.base.join("service");
        hand_out(UnixListener::bind(&path).unwrap(), setting);
        open_to_all(&path);
        setting.argument = path.display().to_string();
    };
    let named = |setting: &mut Setting| {
        let path = setting.base.join("service");
        hand_out(UnixListener::bind(&path).unwrap(), setting);
        open_to_all(&path);
        setting.argument = "service".to_owned();
    };
    let abstract_name = |setting: &mut Setting| {
        let name = format!("guard-{}", setting.base.display());
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        hand_out(listener, setting);
        setting.argument = name;
    };
    let datagram = |setting: &mut Setting| {
        let path = setting.base.join("service");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        open_to_all(&path);
        setting.argument = path.display().to_string();
        setting.keep.push(Box::new(socket));
    };
    let nothing_came = |setting: &Setting, _: &Report| {
        let socket = setting.keep[0].downcast_ref::<UnixDatagram>().unwrap();
        if socket.recv(&mut [0; 8]).is_err() {
            Ok(())
        } else {
            Err("a datagram arrived".to_owned())
        }
    };
    let row = |name| {
        case("E", name, Program::Probe(name, ""), &[FsWrite], Expect::Undeclared(&[Network]))
    };
    vec![
        row("descriptor_from_a_service").ready(stream),
        row("descriptor_from_an_abstract_service").ready(abstract_name),
        row("service_by_a_symlink").ready(stream),
        row("service_by_a_directory_descriptor").ready(named),
        row("datagram_to_a_service").ready(datagram).check(nothing_came),
        row("message_to_a_service").ready(datagram).check(nothing_came),
        row("messages_to_a_service").ready(datagram).check(nothing_came),
    ]
}

fn own() -> Vec<Case> {
    let leak = |setting: &mut Setting| {
        let file =
            std::fs::OpenOptions::new().append(true).open(setting.base.join("victim")).unwrap();
        // Without close-on-exec, as careless callers open files.
        let leaked = rustix::io::dup(&file).unwrap();
        setting.keep.push(Box::new(leaked));
    };
    vec![
        case(
            "E",
            "own_service_and_client",
            Program::Probe("own_service_and_client", ""),
            &[FsWrite],
            Expect::Pass,
        ),
        case("E", "pairs_and_pipes", Program::Probe("pairs_and_pipes", ""), &[], Expect::Pass)
            .strict(),
        case(
            "E",
            "inherited_descriptors",
            Program::Probe("inherited_descriptors", ""),
            &[],
            Expect::Pass,
        )
        .ready(leak),
    ]
}

fn reads() -> Vec<Case> {
    let secret = |setting: &mut Setting| {
        std::fs::write(setting.base.join("secret"), "S0").unwrap();
        setting.argument = setting.base.join("secret").display().to_string();
    };
    let silent = |_: &Setting, report: &Report| {
        let text = String::from_utf8_lossy(&report.stdout.bytes);
        if text.contains("S0") || text.contains("daemon:") {
            Err(format!("read: {text}"))
        } else {
            Ok(())
        }
    };
    let listed = |_: &Setting, report: &Report| match report.counts.get(&Category::FsRead) {
        Some(_) => Ok(()),
        None => Err("the read is not listed".to_owned()),
    };
    let shell = |name, text| {
        case("E", name, Program::Shell(text), &[ProcessShell, FsWrite], Expect::Forbidden)
            .strict()
            .ready(secret)
            .check(silent)
    };
    vec![
        case("E", "read-outside", Program::Probe("read_argument", ""), &[], Expect::Forbidden)
            .strict()
            .ready(secret),
        case(
            "E",
            "read-outside-declared",
            Program::Probe("read_argument", ""),
            &[FsRead],
            Expect::Pass,
        )
        .ready(|setting| {
            std::fs::write(setting.base.join("secret"), "S0").unwrap();
            setting.argument = setting.base.join("secret").display().to_string();
            setting.policy.reads = guard::Reads::List;
        })
        .check(listed),
        case(
            "E",
            "read-password-file",
            Program::Script(
                "try { \
            console.log(require('fs').readFileSync('/etc/passwd', 'utf8')) } catch \
            {}",
            ),
            &[],
            Expect::Pass,
        )
        .strict()
        .traced(Expect::Harmless)
        .check(silent),
        case(
            "E",
            "read-what-is-missing",
            Program::Script(
                "for (const p of ['../none', \
            '/etc/none', '/missing/none']) try { require('fs').readFileSync(p) } catch (e) { if \
            (e.code != 'ENOENT') throw e }",
            ),
            &[],
            Expect::Pass,
        )
        .strict(),
        shell("read-by-a-program", "cat ../secret 2>/dev/null; true"),
        shell("read-by-a-link", "ln -s ../secret s; cat s 2>/dev/null; true"),
        shell("read-by-a-hard-link", "ln ../secret l 2>/dev/null; cat l 2>/dev/null; true"),
        shell("read-by-proc-root", "cat /proc/self/root$PWD/../secret 2>/dev/null; true"),
        shell("read-after-chdir", "cd ..; { read line < secret; } 2>/dev/null; echo $line"),
        shell("read-parent-environment", "cat /proc/$PPID/environ 2>/dev/null; true"),
        shell("read-parent-maps", "cat /proc/$PPID/maps 2>/dev/null; true"),
        shell("read-first-process", "cat /proc/1/environ 2>/dev/null; true"),
        shell(
            "read-as-a-program",
            "cp /bin/true ../tool 2>/dev/null; . ../secret 2>/dev/null; \
            true",
        ),
        case(
            "E",
            "read-through-a-path-descriptor",
            Program::Script(
                "const fs = require('fs'); try \
            { const f = fs.openSync('../secret', 0o10000000); \
            console.log(fs.readFileSync('/proc/self/fd/' + f, 'utf8')) } catch \
            {}",
            ),
            &[],
            Expect::Forbidden,
        )
        .strict()
        .ready(secret)
        .check(silent),
        case(
            "E",
            "list-outside",
            Program::Script(
                "try { require('fs').readdirSync('/home') } \
            catch {}",
            ),
            &[],
            Expect::Forbidden,
        )
        .strict()
        .needs("/home"),
    ]
}
