// Content, by every way into a file that was opened for writing.
#include "probe.h"
#include <linux/aio_abi.h>

PROBE(write_and_restore) {
    int f = open(at("x"), O_RDWR);
    struct stat was;
    TRY(f);
    TRY(fstat(f, &was));
    TRY(write(f, "z", 1));
    TRY(pwrite(f, "x", 1, 0));
    struct timespec times[2] = {was.st_atim, was.st_mtim};
    TRY(futimens(f, times));
    return 0;
}
PROBE(create_and_remove) {
    TRY(open(at("a"), O_CREAT | O_WRONLY, 0600));
    TRY(unlink(at("a")));
    return 0;
}
PROBE(map_shared) {
    int f = open(at("x"), O_RDWR);
    TRY(f);
    char *map = mmap(0, 1, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
    EXPECT(map != MAP_FAILED);
    *map = 'z';
    return 0;
}
PROBE(map_shared_made_writable_later) {
    int f = open(at("x"), O_RDWR);
    TRY(f);
    char *map = mmap(0, 1, PROT_READ, MAP_SHARED, f, 0);
    EXPECT(map != MAP_FAILED);
    close(f);
    TRY(mprotect(map, 1, PROT_READ | PROT_WRITE));
    *map = 'z';
    return 0;
}
PROBE(copy_range) {
    int from = open("y", O_RDONLY), to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(syscall(SYS_copy_file_range, from, 0, to, 0, 1, 0));
    return 0;
}
PROBE(send_file) {
    int from = open("y", O_RDONLY), to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(sendfile(to, from, 0, 1));
    return 0;
}
PROBE(splice_from_pipe) {
    int ends[2], to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(pipe(ends));
    TRY(write(ends[1], "z", 1));
    TRY(splice(ends[0], 0, to, 0, 1, 0));
    return 0;
}
PROBE(vmsplice_from_memory) {
    int ends[2], to = open(at("x"), O_WRONLY);
    struct iovec part = {"z", 1};
    TRY(to);
    TRY(pipe(ends));
    TRY(vmsplice(ends[1], &part, 1, 0));
    TRY(splice(ends[0], 0, to, 0, 1, 0));
    return 0;
}
PROBE(write_vector) {
    int to = open(at("x"), O_WRONLY);
    struct iovec part = {"z", 1};
    TRY(to);
    TRY(pwritev2(to, &part, 1, 0, 0));
    return 0;
}
PROBE(write_asynchronously) {
    int to = open(at("x"), O_WRONLY);
    aio_context_t context = 0;
    struct iocb block = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_buf = (uintptr_t) "z",
        .aio_nbytes = 1}, *list[] = {&block};
    struct io_event done;
    TRY(to);
    block.aio_fildes = to;
    TRY(syscall(SYS_io_setup, 1, &context));
    TRY(syscall(SYS_io_submit, context, 1, list));
    TRY(syscall(SYS_io_getevents, context, 1, 1, &done, 0));
    return 0;
}
PROBE(truncate_descriptor) {
    int to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(ftruncate(to, 0));
    return 0;
}
PROBE(allocate) {
    int to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(fallocate(to, 0, 0, 100));
    return 0;
}
PROBE(punch_hole) {
    int to = open(at("x"), O_WRONLY);
    TRY(to);
    TRY(fallocate(to, 3, 0, 1));
    return 0;
}
PROBE(clone_blocks) {
    int from = open("y", O_RDONLY), to = open(at("x"), O_WRONLY);
    TRY(to);
    if (ioctl(to, FICLONE, from) < 0 && errno != EINVAL) return failed("FICLONE");
    return 0;
}
PROBE(deduplicate_blocks) {
    int from = open("y", O_RDONLY), to = open(at("x"), O_RDWR);
    struct {
        struct file_dedupe_range range;
        struct file_dedupe_range_info info;
    } ask = {{0, 1, 1, 0, 0}, {0}};
    TRY(to);
    ask.info.dest_fd = to;
    if (ioctl(from, FIDEDUPERANGE, &ask) < 0 && errno != EINVAL) return failed("FIDEDUPERANGE");
    return 0;
}
PROBE(descriptor_of_a_child) {
    // One process opens, another, which got the descriptor, writes.
    int pair[2];
    TRY(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    pid_t child = fork();
    TRY(child);
    char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {"f", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
        .msg_controllen = sizeof space};
    if (!child) {
        int f = open(at("x"), O_WRONLY);
        if (f < 0) _exit(1);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(header), &f, sizeof f);
        _exit(sendmsg(pair[1], &message, 0) < 0);
    }
    int status;
    TRY(waitpid(child, &status, 0));
    EXPECT(status == 0);
    char byte;
    part.iov_base = &byte;
    TRY(recvmsg(pair[0], &message, 0));
    TRY(write(*(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)), "z", 1));
    return 0;
}
