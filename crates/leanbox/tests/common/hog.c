// What the kernel counts for each user: takes all of one thing that it can get, or a little.
//
//   hog THING all    takes until it is refused, says how much, and keeps it
//   hog THING some   says "ok", or why not
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

static int pipes(int number) {
    (void)number;
    int ends[2];
    if (pipe(ends)) return -1;
    // pipe(7), pipe-user-pages-soft: beyond it an unprivileged pipe may not grow.
    return fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) < 0 ? -1 : 0;
}

static int watchers(int number) {
    (void)number;
    return inotify_init() < 0 ? -1 : 0; // inotify(7), max_user_instances
}

static int in_flight(int number) {
    static int pair[2];
    // unix(7), ETOOMANYREFS: descriptors that were sent and not received.
    if (number % 100 == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1;
    char byte = 0, space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    message.msg_control = space, message.msg_controllen = sizeof space;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &pair[0], sizeof(int));
    int sent = sendmsg(pair[0], &message, MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return -1;
        sent = sendmsg(pair[0], &message, MSG_DONTWAIT);
    }
    return sent < 0 ? -1 : 0;
}

static int queues(int number) {
    char name[32];
    snprintf(name, sizeof name, "/q%d-%d", (int)getpid(), number);
    struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    // mq_overview(7), RLIMIT_MSGQUEUE
    return mq_open(name, O_CREAT | O_RDWR, 0600, &attributes) == (mqd_t)-1 ? -1 : 0;
}

static int pending_signals(int number) {
    static int blocked;
    if (!blocked) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        blocked = 1;
    }
    union sigval value = {.sival_int = number};
    return sigqueue(getpid(), SIGRTMIN, value); // signal(7), RLIMIT_SIGPENDING
}

int main(int argc, char **argv) {
    struct {
        const char *name;
        int (*take)(int);
    } things[] = {{"pipes", pipes},
                  {"watchers", watchers},
                  {"in-flight", in_flight},
                  {"queues", queues},
                  {"signals", pending_signals}};
    if (argc != 3) return 2;
    for (size_t at = 0; at < sizeof things / sizeof *things; at++) {
        if (strcmp(argv[1], things[at].name)) continue;
        if (!strcmp(argv[2], "some")) {
            int refused = 0;
            for (int number = 0; number < 8 && !refused; number++) refused = things[at].take(number);
            puts(refused ? strerror(errno) : "ok");
            return 0;
        }
        int taken = 0;
        while (taken < 1000000 && things[at].take(taken) == 0) taken++;
        printf("%d, then %s\n", taken, strerror(errno));
        fflush(stdout);
        pause();
    }
    return 2;
}
