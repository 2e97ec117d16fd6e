// The hostile program of the test of second programs: for as long as it runs it tries to trace, read
// and alter whoever appears in its pid namespace. What worked while that was not yet its program
// (its name is still that of leanbox's own) is printed. Built by the test with gcc -static.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int is_on_its_way(int pid) {
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return 0;
    ssize_t got = read(fd, name, sizeof name - 1);
    close(fd);
    return got > 0 && strncmp(name, "leanbox-enter", 13) == 0;
}

static void told(const char *what, int pid, int worked) {
    if (worked && is_on_its_way(pid)) {
        printf("worked: %s\n", what);
        fflush(stdout);
    }
}

static int opens(int pid, const char *file, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) close(fd);
    return fd >= 0;
}

static void hunt(int pid) {
    char bytes[16];
    struct iovec own = {bytes, sizeof bytes}, theirs = {(void *)0x400000, sizeof bytes};
    int seized = ptrace(PTRACE_SEIZE, pid, 0, 0) == 0;
    told("ptrace", pid, seized);
    if (seized) ptrace(PTRACE_DETACH, pid, 0, 0);
    told("process_vm_readv", pid, process_vm_readv(pid, &own, 1, &theirs, 1, 0) > 0);
    told("process_vm_writev", pid, process_vm_writev(pid, &own, 1, &theirs, 1, 0) > 0);
    // Not the folder "fd" itself, which in the middle of an exec belongs to root inside already: the
    // memory is the program's by then, and nothing in the folder can be opened.
    const char *files[] = {"mem", "maps", "environ", "exe", "root", "cwd", "fd/0", "fd/3", "auxv"};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        told(files[i], pid, opens(pid, files[i], O_RDONLY));
    told("exe to write", pid, opens(pid, "exe", O_WRONLY));
    told("mem to write", pid, opens(pid, "mem", O_RDWR));
    int pidfd = syscall(SYS_pidfd_open, pid, 0);
    int taken = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, 3, 0);
    told("pidfd_getfd", pid, taken >= 0);
    if (taken >= 0) close(taken);
    if (pidfd >= 0) close(pidfd);
}

int main(void) {
    int seen = 0;
    printf("hunting\n");
    fflush(stdout);
    // The next numbers, and all there are now and then.
    for (int last = getpid();;) {
        for (int pid = last + 1; pid < last + 8; pid++)
            if (is_on_its_way(pid)) {
                hunt(pid);
                if (seen++ % 50 == 0) printf("seen\n"), fflush(stdout);
            }
        DIR *all = opendir("/proc");
        for (struct dirent *entry; all && (entry = readdir(all));) {
            int pid = atoi(entry->d_name);
            if (pid > last) last = pid - 1 > last ? pid - 1 : last;
            if (pid > 1 && pid != getpid() && is_on_its_way(pid)) hunt(pid);
        }
        if (all) closedir(all);
    }
}
