// `beside <program> <arguments>`: starts the program as if a supervisor of seccomp notifications
// were already there.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sock_filter code[] = {{0x06, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog program = {1, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
        &program);
    // It exists as long as a process has it open: the program inherits it.
    if (listener < 0 || fcntl(listener, F_SETFD, 0) < 0) return 98;
    execv(argv[1], argv + 1);
    perror("execv");
    return 99;
}
