// The hostile program of the tests: each word is one thing that a container might try. What was
// refused is printed as an errno, what was not as 0. Built by the tests with gcc -static.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef F_SETLEASE
#define F_SETLEASE 1024
#endif

static void say(const char *name, long result) { printf("%s %d\n", name, result < 0 ? errno : 0); }

#define TRY(call) (errno = 0, say(#call, (long)(call)))
#define NAMED(name, call) (errno = 0, say(name, (long)(call)))

static int reads(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY);
    int got = fd < 0 ? -1 : (int)read(fd, &byte, 1);
    if (fd >= 0) close(fd);
    return got;
}

static int writes(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    int put = fd < 0 ? -1 : (int)write(fd, text, strlen(text));
    if (fd >= 0) close(fd);
    return put;
}

static int lists(const char *path) {
    DIR *dir = opendir(path);
    if (dir) closedir(dir);
    return dir ? 0 : -1;
}

static int link_of(const char *path) {
    char text[256];
    return (int)readlink(path, text, sizeof text);
}

static int lease(const char *path, int kind) {
    int fd = open(path, O_RDONLY);
    signal(SIGIO, SIG_IGN); // which asks for it back
    return fcntl(fd, F_SETLEASE, kind);
}

static int all_capabilities(void) {
    unsigned head[2] = {0x20080522, 0}, data[6] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u};
    return (int)syscall(SYS_capset, head, data);
}

static int prlimit_of(pid_t pid) {
    struct rlimit limit = {5, 5};
    return prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}

static int reads_memory_of(pid_t pid) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    return (int)process_vm_readv(pid, &here, 1, &there, 1, 0);
}

// Everything a container without capabilities must not be able to do.
static void refused(void) {
    char page[4096] = {0};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    struct timeval now = {1, 0};
    NAMED("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    NAMED("bind", mount("/", "/tmp", NULL, MS_BIND, NULL));
    NAMED("remount", mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL));
    NAMED("umount", umount2("/proc", MNT_DETACH));
    NAMED("unmask", umount2("/proc/kcore", MNT_DETACH));
    NAMED("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    NAMED("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    NAMED("move_mount", syscall(SYS_move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/etc", 0));
    NAMED("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, page, 32));
    NAMED("unshare_user", unshare(CLONE_NEWUSER));
    NAMED("unshare_mount", unshare(CLONE_NEWNS));
    NAMED("unshare_net", unshare(CLONE_NEWNET));
    NAMED("setns", setns(open("/proc/self/ns/mnt", O_RDONLY), 0));
    NAMED("clone_newuser", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    NAMED("clone3", syscall(SYS_clone3, page, 64));
    NAMED("chroot", chroot("/tmp"));
    NAMED("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp"));
    NAMED("ptrace_1", ptrace(PTRACE_ATTACH, 1, 0, 0));
    NAMED("seize_1", ptrace(PTRACE_SEIZE, 1, 0, 0));
    NAMED("kill_1", kill(1, SIGKILL));
    NAMED("stop_1", kill(1, SIGSTOP));
    NAMED("pidfd_kill_1", syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, 1, 0), 9, 0, 0));
    NAMED("pidfd_getfd_1", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, 1, 0), 3, 0));
    NAMED("prlimit_1", prlimit_of(1));
    NAMED("affinity_1", sched_setaffinity(1, sizeof cpus, &cpus));
    NAMED("priority_1", setpriority(PRIO_PROCESS, 1, 19));
    NAMED("vm_readv_1", reads_memory_of(1));
    NAMED("proc_1_mem", reads("/proc/1/mem"));
    NAMED("proc_1_environ", reads("/proc/1/environ"));
    NAMED("proc_1_maps", reads("/proc/1/maps"));
    NAMED("proc_1_fd", lists("/proc/1/fd"));
    NAMED("proc_1_root", link_of("/proc/1/root"));
    NAMED("proc_1_exe", link_of("/proc/1/exe"));
    NAMED("proc_1_ns", link_of("/proc/1/ns/mnt"));
    NAMED("proc_1_oom", writes("/proc/1/oom_score_adj", "1000"));
    NAMED("oom_lower", writes("/proc/self/oom_score_adj", "-1000"));
    NAMED("proc_sys_hostname", writes("/proc/sys/kernel/hostname", "x"));
    NAMED("proc_sys_shmmax", writes("/proc/sys/kernel/shmmax", "1"));
    NAMED("proc_sys_core", writes("/proc/sys/kernel/core_pattern", "|/bin/x"));
    NAMED("proc_sys_ipv4", writes("/proc/sys/net/ipv4/ip_default_ttl", "3"));
    NAMED("sysrq", writes("/proc/sysrq-trigger", "h"));
    NAMED("uid_map", writes("/proc/self/uid_map", "0 0 1"));
    NAMED("setgroups_file", writes("/proc/self/setgroups", "allow"));
    NAMED("kmsg", reads("/proc/kmsg"));
    NAMED("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    NAMED("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    NAMED("request_key", syscall(SYS_request_key, "user", "x", 0, 0));
    NAMED("bpf", syscall(SYS_bpf, 0, page, 64));
    NAMED("io_uring", syscall(SYS_io_uring_setup, 4, page));
    NAMED("perf_event", syscall(SYS_perf_event_open, page, 0, -1, -1, 0));
    NAMED("userfaultfd", syscall(SYS_userfaultfd, 0));
    NAMED("init_module", syscall(SYS_init_module, page, 64, ""));
    NAMED("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
    NAMED("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0x89abcdef, 0));
    NAMED("swapon", syscall(SYS_swapon, "/tmp/x", 0));
    NAMED("sethostname", sethostname("x", 1));
    NAMED("settimeofday", settimeofday(&now, NULL));
    NAMED("syslog", syscall(SYS_syslog, 3, page, 64));
    NAMED("open_by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, page, O_RDONLY));
    NAMED("quotactl", syscall(SYS_quotactl, 0, "/", 0, 0));
    NAMED("fanotify", syscall(SYS_fanotify_init, 0, O_RDONLY));
    NAMED("mknod_null", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
    NAMED("mknod_disk", mknod("/tmp/disk", S_IFBLK | 0666, makedev(254, 0)));
    NAMED("mknod_dev", mknod("/dev/x", S_IFIFO | 0666, 0));
    NAMED("dev_file", open("/dev/x", O_CREAT | O_WRONLY, 0600));
    NAMED("dev_chmod", chmod("/dev/null", 0));
    NAMED("root_file", open("/etc/x", O_CREAT | O_WRONLY, 0600));
    NAMED("root_write", open("/etc/passwd", O_WRONLY));
    NAMED("root_chmod", chmod("/etc/passwd", 0777));
    NAMED("root_xattr", setxattr("/etc/passwd", "user.x", "y", 1, 0));
    NAMED("capset", all_capabilities());
    NAMED("ambient", syscall(SYS_prctl, 47, 2, 21, 0, 0));
    NAMED("setuid_launcher", setuid(65535));
    NAMED("setgid", setgid(7));
    NAMED("setgroups", syscall(SYS_setgroups, 0, 0));
    NAMED("socket_alg", socket(38, SOCK_SEQPACKET, 0));
    NAMED("socket_vsock", socket(40, SOCK_STREAM, 0));
    NAMED("socket_raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    NAMED("socket_packet", socket(AF_PACKET, SOCK_RAW, 0));
    NAMED("tiocsti", ioctl(0, TIOCSTI, "x"));
    NAMED("tiocsti_high_bits", syscall(SYS_ioctl, 0, 0x100000000ul | TIOCSTI, "x"));
    NAMED("tioclinux", ioctl(0, TIOCLINUX, "x"));
    NAMED("write_lease", lease("/etc/group", F_WRLCK));
    NAMED("read_lease", lease("/root/secret", F_RDLCK));
    NAMED("past_the_last_call", syscall(1000));
#ifdef __x86_64__
    NAMED("x32_getpid", syscall(0x40000000 | SYS_getpid));
    NAMED("iopl", syscall(SYS_iopl, 3));
#endif
}

static void descriptors(void) {
    for (int fd = 0; fd < 1024; fd++) {
        struct stat at;
        if (fstat(fd, &at) == 0) {
            printf("%d %s %lu:%lu\n", fd, S_ISCHR(at.st_mode) ? "device" : "other", at.st_dev, at.st_ino);
        }
    }
    struct stat null;
    stat("/dev/null", &null);
    printf("null device %lu:%lu\n", null.st_dev, null.st_ino);
}

static void touch_memory(long mib) {
    char *memory = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long at = 0; memory != MAP_FAILED && at < mib << 20; at += 4096) memory[at] = 1;
}

static void fork_bomb(void) {
    int children = 0;
    for (pid_t pid; (pid = fork()) >= 0; children++) {
        if (pid == 0) pause();
    }
    printf("%d %d\n", children, errno);
}

static void daemons(int count) {
    while (count-- > 0) {
        if (fork() == 0) {
            setsid();
            signal(SIGHUP, SIG_IGN);
            signal(SIGTERM, SIG_IGN);
            if (fork()) _exit(0);
            close(0), close(1), close(2);
            sleep(1000);
        }
    }
}

// The limits of a process that was executed, soft and hard.
static void rlimits(void) {
    for (int resource = 0; resource < 16; resource++) {
        struct rlimit limit;
        getrlimit(resource, &limit);
        printf("%d %lld %lld\n", resource, (long long)limit.rlim_cur, (long long)limit.rlim_max);
    }
}

// Reads a file past the page cache; how many bytes it was.
static void direct_read(const char *path) {
    static char buffer[65536] __attribute__((aligned(4096)));
    long all = 0, got;
    int fd = open(path, O_RDONLY | O_DIRECT);
    while (fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0) all += got;
    printf("%ld\n", fd < 0 ? -errno : all);
}

static void direct_write(const char *path) {
    static char buffer[65536] __attribute__((aligned(4096)));
    long all = 0, put = 0;
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_DIRECT, 0644);
    while (fd >= 0 && all < 16 << 20 && (put = write(fd, buffer, sizeof buffer)) > 0) all += put;
    printf("%ld\n", fd < 0 || put < 0 ? -errno : all);
}

static long ms_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void spin(clockid_t clock, long ms) {
    long until = ms_of(clock) + ms;
    while (ms_of(clock) < until) {
    }
}

static void system_v(void) {
    TRY(shmget(7, 4096, IPC_CREAT | 0600));
    TRY(semget(7, 1, IPC_CREAT | 0600));
    int queue = msgget(7, IPC_CREAT | 0600);
    struct { long type; char text[4]; } message = {1, "abc"};
    NAMED("msgsnd", queue < 0 ? -1 : msgsnd(queue, &message, 4, IPC_NOWAIT));
}

static void system_v_look(void) {
    NAMED("shm", shmget(7, 0, 0));
    NAMED("sem", semget(7, 0, 0));
    NAMED("msg", msgget(7, 0));
}

static void posix_queue(void) {
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    TRY((int)mq_open("/left", O_CREAT | O_RDWR, 0600, &attr));
}

// Alters something of /tmp and puts the times of its contents back.
static void hidden(const char *what) {
    struct stat before;
    stat("/tmp", &before);
    if (strcmp(what, "flag") == 0) {
        int flags = FS_NODUMP_FL, fd = open("/tmp", O_RDONLY);
        NAMED("flag", ioctl(fd, FS_IOC_SETFLAGS, &flags));
    } else if (strcmp(what, "xattr") == 0) {
        NAMED("xattr", setxattr("/tmp", "user.left", "x", 1, 0));
    } else if (strcmp(what, "mode") == 0) {
        NAMED("mode", chmod("/tmp", 0700));
    } else if (strcmp(what, "atime") == 0) {
        struct timespec times[2] = {{12345, 0}, {0, UTIME_OMIT}};
        NAMED("atime", utimensat(AT_FDCWD, "/tmp", times, 0));
    } else {
        NAMED("file", open("/tmp/file", O_CREAT | O_WRONLY, 0600));
        unlink("/tmp/file");
    }
    struct timespec times[2] = {{0, UTIME_OMIT}, before.st_mtim};
    utimensat(AT_FDCWD, "/tmp", times, 0);
}

static void hidden_look(void) {
    struct stat now;
    char list[256];
    int flags = 0, fd = open("/tmp", O_RDONLY);
    ioctl(fd, FS_IOC_GETFLAGS, &flags);
    stat("/tmp", &now);
    printf("flags %d, %o, %d attributes, read at %s\n", flags & FS_NODUMP_FL, now.st_mode & 07777,
           (int)listxattr("/tmp", list, sizeof list), now.st_atime == 12345 ? "12345" : "its time");
}

static void loopback(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    TRY(sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&to, sizeof to));
}

static void terminals(void) {
    int count = 0;
    while (open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0) count++;
    printf("%d %d\n", count, errno);
}

static void pids(int last) {
    for (int pid = 1; pid <= last; pid++) {
        char path[64];
        if (pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
        if (prlimit_of(pid) == 0 || writes(path, "500") > 0) printf("altered %d\n", pid);
    }
}

// A child holds this process's end back by tracing it.
static void held_end(void) {
    pid_t parent = getpid();
    int ready[2];
    char byte;
    if (pipe(ready)) exit(1);
    if (fork() == 0) {
        if (ptrace(PTRACE_SEIZE, parent, 0, 0) < 0) perror("seize");
        if (write(ready[1], "x", 1) != 1) _exit(1);
        close(0), close(1), close(2);
        sleep(1000);
    }
    if (read(ready[0], &byte, 1) != 1) exit(1);
    exit(7);
}

static void foreign_call(void) {
#ifdef __x86_64__
    long result = 20; // getpid of the 32-bit table
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
    printf("%ld\n", result);
#else
    kill(getpid(), SIGSYS);
#endif
}

// Connects to an abstract socket, or makes one and waits.
static int abstract(const char *name, int makes) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strncpy(at.sun_path + 1, name, sizeof at.sun_path - 2);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!makes) return connect(s, (struct sockaddr *)&at, length);
    return bind(s, (struct sockaddr *)&at, length) || listen(s, 1);
}

static void *make_folder(void *path) {
    mkdir(path, 0755);
    return NULL;
}

static void *become_mkdir(void *path) {
    execl("/bin/mkdir", "mkdir", path, (char *)NULL);
    return NULL;
}

// Folders that cannot be made, each by somebody else: a thread, a child by vfork, an orphan, and a
// program that a thread has become.
static void folders(void) {
    pthread_t thread;
    char *words[] = {"mkdir", "/of-vfork", NULL}, *none[] = {NULL};
    pid_t child;
    pthread_create(&thread, NULL, make_folder, "/of-thread");
    pthread_join(thread, NULL);
    if (posix_spawn(&child, "/bin/mkdir", NULL, NULL, words, none) == 0) waitpid(child, NULL, 0);
    if ((child = fork()) == 0) {
        if (fork() == 0) make_folder("/of-orphan");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    usleep(200000);
    pthread_create(&thread, NULL, become_mkdir, "/of-exec");
    pause();
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    const char *with = argc > 2 ? argv[2] : "0";
    setvbuf(stdout, NULL, _IOLBF, 0);
#define WORD(word, call) if (strcmp(what, word) == 0) { call; return 0; }
    WORD("refused", refused());
    WORD("descriptors", descriptors());
    WORD("hog", touch_memory(atol(with)));
    WORD("hold", (touch_memory(atol(with)), puts("held"), fflush(stdout), sleep(1000)));
    WORD("rlimits", rlimits());
    WORD("direct-read", direct_read(with));
    WORD("direct-write", direct_write(with));
    WORD("fork-bomb", fork_bomb());
    WORD("daemons", daemons(atoi(with)));
    WORD("spin-wall", spin(CLOCK_MONOTONIC, atol(with)));
    WORD("spin-when-told", (puts("here"), getchar(), spin(CLOCK_PROCESS_CPUTIME_ID, atol(with)),
                            puts("spun"), sleep(1000)));
    WORD("spin-cpu", spin(CLOCK_PROCESS_CPUTIME_ID, atol(with)));
    WORD("system-v", system_v());
    WORD("system-v-look", system_v_look());
    WORD("posix-queue", posix_queue());
    WORD("hidden", hidden(with));
    WORD("hidden-look", hidden_look());
    WORD("loopback", loopback());
    WORD("terminals", terminals());
    WORD("pids", pids(atoi(with)));
    WORD("held-end", held_end());
    WORD("foreign-call", foreign_call());
    WORD("folders", folders());
    WORD("call", say("call", syscall(atol(with), argc > 3 ? atol(argv[3]) : 0,
                                     argc > 4 ? atol(argv[4]) : 0, 0)));
    WORD("abstract", NAMED("abstract", abstract(with, 0)));
    WORD("abstract-own", (abstract(with, 1), NAMED("abstract", abstract(with, 0))));
    WORD("ids", printf("%d %d\n", (int)geteuid(), (int)getegid()));
    WORD("sleep", sleep(atoi(with)));
    WORD("lease", (NAMED("lease", lease(with, F_WRLCK)), sleep(20)));
    return 2;
}
