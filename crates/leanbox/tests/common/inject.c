/* Has one system call of one process fail: that process is named by its descent, so that what an
 * earlier one does does not decide whether a later one is ever reached. (strace counts the calls
 * of each process, but gives the same fault to all of them, so the first to get there is the only
 * one.)
 *
 *   inject REPORT PROCESS CALL ERRNO PROGRAM [ARGUMENT…]
 *
 * "host" is the thread of the program that calls getcwd(2) first. The second process it makes is
 * "host.2", its third thread "host.t3", and so on. CALL counts from 1, from that call to the
 * second getcwd(2), and in a container to its exec. Without a process ("-") nothing fails, and all calls are listed. Into the report go
 * `pid PID`; `call PROCESS NUMBER`, or `hit NUMBER`; `end STATUS` (that of wait(2)); `runs PROCESS` for
 * whoever lives two seconds longer than the program; `hangs PROCESS` for who lives when the
 * program has not ended after 15, or LEANBOX_FAULT_SECONDS. Then all are killed. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TASKS_MAX = 4096, NAME_MAX_BYTES = 64, CONTAINER_DEPTH = 3 };
static const double RUN_ON_S = 2;
static double end_s = 15;

struct task {
    pid_t pid;
    char name[NAME_MAX_BYTES];
    int threads, processes, calls;
    int known;    /* whose child it is */
    int stopped;  /* before that was known */
    int left;     /* it is another program now */
    int in_call, faulted;
};

static struct task tasks[TASKS_MAX];
static FILE *report;
static const char *wanted;
static pid_t program;
static int wanted_call, wanted_errno, counting, marks, was_hit;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static struct task *find(pid_t pid) {
    struct task *free_one = NULL;
    for (int i = 0; i < TASKS_MAX; i++) {
        if (tasks[i].pid == pid) return &tasks[i];
        if (!tasks[i].pid && !free_one) free_one = &tasks[i];
    }
    if (!free_one) exit(99);
    memset(free_one, 0, sizeof *free_one);
    free_one->pid = pid;
    return free_one;
}

static int depth(const struct task *task) {
    int dots = 0;
    for (const char *c = task->name; *c; c++) dots += *c == '.';
    return dots;
}

static int is_thread(pid_t pid) {
    char path[64], line[256];
    int group = pid;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *status = fopen(path, "r");
    if (!status) return 0;
    while (fgets(line, sizeof line, status)) sscanf(line, "Tgid: %d", &group);
    fclose(status);
    return group != pid;
}

static void resume(struct task *task, int signal) {
    int listens = !was_hit || task->faulted;
    ptrace(listens ? PTRACE_SYSCALL : PTRACE_CONT, task->pid, 0, signal);
}

static void set_call(pid_t pid, long number) {
#ifdef __x86_64__
    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), number);
#else
    int value = number;
    struct iovec io = {&value, sizeof value};
    ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &io);
#endif
}

static void set_result(pid_t pid, long result) {
#ifdef __x86_64__
    ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, rax), result);
#else
    struct user_regs_struct registers;
    struct iovec io = {&registers, sizeof registers};
    ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &io);
    registers.regs[0] = result;
    ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &io);
#endif
}

/* Not those that do not return; nor those that cannot fail, as the C library and Rust's standard
 * library rely on: what only tells of the caller, what a thread does before it begins, their own
 * locks, and the clock, which most machines read without a call (vdso(7)). */
static int can_fail(long number, const uint64_t *args) {
    static const long never[] = {
        SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_restart_syscall, SYS_getpid, SYS_gettid,
        SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_umask, SYS_sched_yield,
        SYS_clock_gettime, SYS_gettimeofday, SYS_getrandom, SYS_rseq, SYS_set_robust_list, SYS_set_tid_address, SYS_sigaltstack,
    };
    enum { WAIT = 0, WAKE = 1 };
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (number == never[i]) return 0;
    int asks_for_limit = number == SYS_prlimit64 && !args[2];
    int is_lock = number == SYS_futex && args[1] != WAIT && args[1] != WAKE;
    return !asks_for_limit && !is_lock;
}

static void enter(struct task *task, long number, const uint64_t *args) {
    if (number == SYS_getcwd && depth(task) <= 1) {
        counting = ++marks == 1;
        if (counting) {
            strcpy(task->name, "host");
            fprintf(report, "pid %d\n", program);
        }
        task->threads = task->processes = 0;
        return;
    }
    if (!counting || task->left || !can_fail(number, args)) return;
    task->calls++;
    if (*wanted == '-') {
        fprintf(report, "call %s %ld\n", task->name, number);
    } else if (!strcmp(task->name, wanted) && task->calls == wanted_call) {
        fprintf(report, "hit %ld\n", number);
        was_hit = task->faulted = 1;
        /* A close that fails has closed it all the same (close(2)). */
        if (number != SYS_close) set_call(task->pid, -1);
    }
}

static void system_call(struct task *task) {
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, task->pid, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        enter(task, info.entry.nr, info.entry.args);
    } else if (task->faulted) {
        set_result(task->pid, -wanted_errno);
        task->faulted = 0;
    }
}

static void born(struct task *parent) {
    unsigned long pid;
    ptrace(PTRACE_GETEVENTMSG, parent->pid, 0, &pid);
    struct task *child = find(pid);
    int thread = is_thread(pid);
    int count = thread ? ++parent->threads : ++parent->processes;
    snprintf(child->name, sizeof child->name, "%.40s.%s%d", parent->name, thread ? "t" : "", count);
    child->left = parent->left;
    child->known = 1;
    if (child->stopped) resume(child, 0);
}

static void stopped(pid_t pid, int status) {
    struct task *task = find(pid);
    int signal = WSTOPSIG(status), event = status >> 16;
    if (!task->known) {
        task->stopped = 1;
        return;
    }
    if (signal == (SIGTRAP | 0x80)) {
        system_call(task);
        signal = 0;
    } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
        ptrace(PTRACE_LISTEN, pid, 0, 0);
        return;
    } else if (event) {
        if (event == PTRACE_EVENT_EXEC) task->left |= depth(task) >= CONTAINER_DEPTH;
        else if (event != PTRACE_EVENT_STOP) born(task);
        signal = 0;
    }
    resume(task, signal);
}

static void ignore(int signal) { (void)signal; }

static void tell_who_lives(const char *word) {
    for (int i = 0; i < TASKS_MAX; i++) {
        if (!tasks[i].pid) continue;
        char path[64], text[256] = "";
        snprintf(path, sizeof path, "/proc/%d/syscall", tasks[i].pid);
        FILE *where = fopen(path, "r");
        if (where) {
            if (!fgets(text, sizeof text, where)) text[0] = 0;
            fclose(where);
        }
        fprintf(report, "%s %s: system call %s", word, tasks[i].name, *text ? text : "none\n");
        kill(tasks[i].pid, SIGKILL);
    }
}

int main(int argc, char **argv) {
    const char *seconds = getenv("LEANBOX_FAULT_SECONDS");
    if (seconds) end_s = atof(seconds);
    if (argc < 6 || !(report = fopen(argv[1], "we"))) return 98;
    wanted = argv[2];
    wanted_call = atoi(argv[3]);
    wanted_errno = atoi(argv[4]);
    program = fork();
    if (!program) {
        raise(SIGSTOP);
        execv(argv[5], argv + 5);
        _exit(97);
    }
    waitpid(program, NULL, WUNTRACED);
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SEIZE, program, 0, options)) return 96;
    struct task *first = find(program);
    strcpy(first->name, "main");
    first->known = 1;
    kill(program, SIGCONT);
    /* So that waiting ends at times. */
    struct sigaction tick = {.sa_handler = ignore};
    sigaction(SIGALRM, &tick, NULL);
    struct itimerval interval = {{0, 100000}, {0, 100000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    double until = now() + end_s;
    int ended = 0;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == ECHILD) break;
        if (now() > until) {
            tell_who_lives(ended ? "runs" : "hangs");
            break;
        }
        if (pid < 0) {
            continue;
        } else if (WIFSTOPPED(status)) {
            stopped(pid, status);
        } else {
            find(pid)->pid = 0;
            if (pid == program) {
                fprintf(report, "end %d\n", status);
                ended = 1;
                until = now() + RUN_ON_S;
            }
        }
    }
    return fclose(report) ? 95 : 0;
}
