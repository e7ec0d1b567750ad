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
    // The first message of the call goes to the own pair, the second out.
    struct sockaddr_un name = name_of(argument), own = abstract_name("");
    struct iovec part = {"!", 1};
    struct mmsghdr messages[2] = {0};
    int s = socket(AF_UNIX, SOCK_DGRAM, 0), r = socket(AF_UNIX, SOCK_DGRAM, 0);
    socklen_t size = sizeof own;
    TRY(bind(r, (void *)&own, sizeof(sa_family_t)));
    TRY(getsockname(r, (void *)&own, &size));
    messages[0].msg_hdr = (struct msghdr){.msg_name = &own, .msg_namelen = size, .msg_iov = &part,
        .msg_iovlen = 1};
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
