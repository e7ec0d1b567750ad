// Sockets of every family, and what comes through them.
#include "probe.h"

// `argument` is "family type protocol".
PROBE(socket_of_argument) {
    int family, type, protocol;
    EXPECT(sscanf(argument, "%d %d %d", &family, &type, &protocol) == 3);
    EXPECT(socket(family, type, protocol) < 0);
    return 0;
}
PROBE(socket_pair_of_argument) {
    int family, type, protocol, ends[2];
    EXPECT(sscanf(argument, "%d %d %d", &family, &type, &protocol) == 3);
    EXPECT(socketpair(family, type, protocol, ends) < 0);
    return 0;
}
static struct sockaddr_un name_of(const char *path) {
    struct sockaddr_un name = {AF_UNIX, ""};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return name;
}
static struct sockaddr_un abstract_name(const char *text) {
    struct sockaddr_un name = {AF_UNIX, ""};
    strncpy(name.sun_path + 1, text, sizeof name.sun_path - 2);
    return name;
}
static socklen_t abstract_length(const char *text) { return offsetof(struct sockaddr_un,
    sun_path) + 1 + strlen(text); }

static int take_and_write(int s) {
    char space[CMSG_SPACE(sizeof(int))] = {0}, byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
        .msg_controllen = sizeof space};
    TRY(recvmsg(s, &message, 0));
    EXPECT(CMSG_FIRSTHDR(&message));
    TRY(write(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)), "!", 1));
    return 0;
}
PROBE(descriptor_from_a_service) {
    struct sockaddr_un name = name_of(argument);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(connect(s, (void *)&name, sizeof name));
    return take_and_write(s);
}
PROBE(descriptor_from_an_abstract_service) {
    struct sockaddr_un name = abstract_name(argument);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(connect(s, (void *)&name, abstract_length(argument)));
    return take_and_write(s);
}
PROBE(datagram_to_a_service) {
    struct sockaddr_un name = name_of(argument);
    TRY(sendto(socket(AF_UNIX, SOCK_DGRAM, 0), "!", 1, 0, (void *)&name, sizeof name));
    return 0;
}
PROBE(message_to_a_service) {
    struct sockaddr_un name = name_of(argument);
    struct iovec part = {"!", 1};
    struct msghdr message = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &part,
        .msg_iovlen = 1};
    TRY(sendmsg(socket(AF_UNIX, SOCK_DGRAM, 0), &message, 0));
    return 0;
}
PROBE(messages_to_a_service) {
    // The first message of the call goes to a socket of its own, the second out.
    struct sockaddr_un name = name_of(argument), own = name_of("own.sock");
    struct iovec part = {"!", 1};
    struct mmsghdr messages[2] = {0};
    int s = socket(AF_UNIX, SOCK_DGRAM, 0), r = socket(AF_UNIX, SOCK_DGRAM, 0);
    TRY(bind(r, (void *)&own, sizeof own));
    messages[0].msg_hdr = (struct msghdr){.msg_name = &own, .msg_namelen = sizeof own,
        .msg_iov = &part, .msg_iovlen = 1};
    messages[1].msg_hdr = (struct msghdr){.msg_name = &name, .msg_namelen = sizeof name,
        .msg_iov = &part, .msg_iovlen = 1};
    TRY(sendmmsg(s, messages, 2, 0));
    return 0;
}
PROBE(service_by_a_symlink) {
    TRY(symlink(argument, "to-service"));
    struct sockaddr_un name = name_of("to-service");
    TRY(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
    return 0;
}
PROBE(service_by_a_directory_descriptor) {
    char path[108];
    int d = open("..", O_PATH | O_DIRECTORY);
    TRY(d);
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", d, argument);
    struct sockaddr_un name = name_of(path);
    TRY(connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
    return 0;
}
PROBE(abstract_name_is_taken) {
    struct sockaddr_un name = abstract_name("guard-adversarial");
    TRY(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&name, sizeof name));
    return 0;
}
// In four ways a local socket gets an abstract name that the kernel chooses. The probe ends well
// where it got none.
static int is_unnamed(int s) {
    struct sockaddr_un name;
    socklen_t size = sizeof name;
    TRY(getsockname(s, (void *)&name, &size));
    EXPECT(size == sizeof(sa_family_t));
    return 0;
}
PROBE(chosen_name_by_bind) {
    struct sockaddr_un none = {AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(s, (void *)&none, sizeof(sa_family_t));
    return is_unnamed(s);
}
// `argument` is the option: credentials, or a handle of the process.
PROBE(chosen_name_by_connect) {
    struct sockaddr_un missing = name_of("missing.sock");
    int s = socket(AF_UNIX, SOCK_STREAM, 0), on = 1;
    setsockopt(s, SOL_SOCKET, atoi(argument), &on, sizeof on);
    connect(s, (void *)&missing, sizeof missing);
    return is_unnamed(s);
}
PROBE(chosen_name_by_write) {
    int pair[2], on = 1;
    TRY(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    setsockopt(pair[0], SOL_SOCKET, atoi(argument), &on, sizeof on);
    TRY(write(pair[0], "!", 1));
    return is_unnamed(pair[0]);
}
PROBE(chosen_name_by_message) {
    int pair[2], on = 1;
    struct iovec part = {"!", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    TRY(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    setsockopt(pair[0], SOL_SOCKET, atoi(argument), &on, sizeof on);
    TRY(sendmsg(pair[0], &message, 0));
    return is_unnamed(pair[0]);
}
PROBE(credentials_on_named_sockets_and_streams) {
    struct sockaddr_un name = name_of("own.sock");
    int service = socket(AF_UNIX, SOCK_DGRAM, 0), pair[2], on = 1, off = 0, set = 0;
    socklen_t size = sizeof set;
    TRY(bind(service, (void *)&name, sizeof name));
    TRY(setsockopt(service, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    TRY(getsockopt(service, SOL_SOCKET, SO_PASSCRED, &set, &size));
    EXPECT(set == 1);
    TRY(setsockopt(socket(AF_UNIX, SOCK_DGRAM, 0), SOL_SOCKET, SO_PASSCRED, &off, sizeof off));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    EXPECT(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0);
    EXPECT(errno == EOPNOTSUPP);
    TRY(write(pair[0], "!", 1));
    TRY(is_unnamed(pair[0]) ? -1 : 0);
    TRY(unlink("own.sock"));
    return 0;
}
// What is sent by a socket of UDP that was never bound gives it a port. It must receive nothing
// there: a filter that keeps no byte is on it, and cannot be taken off.
PROBE(port_of_udp_by_write) {
    struct { uint16_t code; uint8_t on_true, on_false; uint32_t value; } filter[4];
    socklen_t instructions = 4;
    int s = socket(AF_INET, SOCK_DGRAM, 0), off = 0;
    TRY(s);
    EXPECT(write(s, "!", 1) < 0);
    TRY(getsockopt(s, SOL_SOCKET, SO_GET_FILTER, filter, &instructions));
    EXPECT(instructions == 1 && filter[0].code == 6 && filter[0].value == 0);
    EXPECT(setsockopt(s, SOL_SOCKET, SO_DETACH_FILTER, &off, sizeof off) < 0);
    EXPECT(setsockopt(s, SOL_SOCKET, SO_LOCK_FILTER, &off, sizeof off) < 0);
    return 0;
}
// Libraries find out in this way whether the machine has IPv6, some when they are loaded.
PROBE(loopback_is_probed) {
    struct sockaddr_in6 six = {AF_INET6, 0, 0, IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    TRY(bind(socket(AF_INET6, SOCK_STREAM, 0), (void *)&six, sizeof six));
    TRY(bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&four, sizeof four));
    return 0;
}
PROBE(loopback_is_probed_and_used) {
    struct sockaddr_in four = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    TRY(bind(s, (void *)&four, sizeof four));
    EXPECT(listen(s, 1) < 0);
    return 0;
}
PROBE(loopback_is_bound_for_datagrams) {
    struct sockaddr_in four = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    EXPECT(bind(socket(AF_INET, SOCK_DGRAM, 0), (void *)&four, sizeof four) < 0);
    return 0;
}
PROBE(every_address_is_bound) {
    struct sockaddr_in four = {AF_INET};
    EXPECT(bind(socket(AF_INET, SOCK_STREAM, 0), (void *)&four, sizeof four) < 0);
    return 0;
}
PROBE(own_service_and_client) {
    struct sockaddr_un name = name_of("own.sock");
    int service = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    TRY(bind(service, (void *)&name, sizeof name));
    TRY(listen(service, 1));
    TRY(connect(client, (void *)&name, sizeof name));
    int other = accept(service, 0, 0);
    TRY(other);
    TRY(write(client, "x", 1));
    char byte;
    EXPECT(read(other, &byte, 1) == 1);
    TRY(unlink("own.sock"));
    return 0;
}
PROBE(pairs_and_pipes) {
    int pair[2], ends[2];
    char byte;
    TRY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    TRY(pipe(ends));
    TRY(send(pair[0], "x", 1, 0));
    EXPECT(recv(pair[1], &byte, 1, 0) == 1);
    TRY(write(ends[1], "x", 1));
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    TRY(sendmsg(pair[0], &message, 0));
    return 0;
}
PROBE(inherited_descriptors) {
    int found = 0;
    for (int i = 3; i < 1024; i++) found += write(i, "!", 1) == 1;
    EXPECT(found == 0);
    return 0;
}
