//! System calls of x86_64: `syscall`, number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`.

use core::arch::{asm, global_asm};

/// What seccomp(2) and ptrace(2) call it (linux/audit.h).
pub(crate) const AUDIT: u32 = 0xc000_003e;

/// One system call with six arguments; the kernel ignores those it does not use.
///
/// # Safety
/// The arguments must be what call `number` demands: pointers valid for what it reads and writes.
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

// clone(flags, stack_top, parent_tid, child_tid, tls) with the child calling function(argument) on its own
// stack. In: rdi flags, rsi stack top, rdx pidfd/parent_tid pointer, rcx function, r8 argument.
global_asm!(
    ".globl leanbox_clone_call",
    ".type leanbox_clone_call,@function",
    "leanbox_clone_call:",
    "and rsi, -16",
    "sub rsi, 16",
    "mov [rsi], rcx",
    "mov [rsi + 8], r8",
    "xor r10d, r10d",
    "xor r8d, r8d",
    "mov eax, 56",
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "xor ebp, ebp",
    "pop rax",
    "pop rdi",
    "call rax",
    "ud2",
    "2: ret",
);

// clone3(args, size) likewise. In: rdi args, rsi size, rdx function, rcx argument.
global_asm!(
    ".globl leanbox_clone3_call",
    ".type leanbox_clone3_call,@function",
    "leanbox_clone3_call:",
    "mov r8, rcx",
    "mov eax, 435",
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "xor ebp, ebp",
    "mov rdi, r8",
    "call rdx",
    "ud2",
    "2: ret",
);

// function() on the stack that ends at rdi. In: rdi stack top, rsi function.
global_asm!(
    ".globl leanbox_on_stack",
    ".type leanbox_on_stack,@function",
    "leanbox_on_stack:",
    "mov rsp, rdi",
    "and rsp, -16",
    "xor ebp, ebp",
    "call rsi",
    "ud2",
);

pub(crate) mod nr {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MUNMAP: usize = 11;
    pub(crate) const MADVISE: usize = 28;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const PREAD64: usize = 17;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const BIND: usize = 49;
    pub(crate) const SETSOCKOPT: usize = 54;
    pub(crate) const PPOLL: usize = 271;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVFROM: usize = 45;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const SCHED_YIELD: usize = 24;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const WAIT4: usize = 61;
    pub(crate) const PTRACE: usize = 101;
    pub(crate) const KILL: usize = 62;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const CHDIR: usize = 80;
    pub(crate) const FCHDIR: usize = 81;
    pub(crate) const FCHMOD: usize = 91;
    pub(crate) const UMASK: usize = 95;
    pub(crate) const SETSID: usize = 112;
    pub(crate) const SETGROUPS: usize = 116;
    pub(crate) const SETRESUID: usize = 117;
    pub(crate) const SETRESGID: usize = 119;
    pub(crate) const CAPSET: usize = 126;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const PIVOT_ROOT: usize = 155;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const CHROOT: usize = 161;
    pub(crate) const STATFS: usize = 137;
    pub(crate) const MOUNT: usize = 165;
    pub(crate) const UMOUNT2: usize = 166;
    pub(crate) const SETHOSTNAME: usize = 170;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const FUTEX: usize = 202;
    pub(crate) const SCHED_SETAFFINITY: usize = 203;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const WAITID: usize = 247;
    pub(crate) const FSTATFS: usize = 138;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const MKDIRAT: usize = 258;
    pub(crate) const MKNODAT: usize = 259;
    pub(crate) const FCHOWNAT: usize = 260;
    pub(crate) const SYMLINKAT: usize = 266;
    pub(crate) const UNSHARE: usize = 272;
    pub(crate) const SET_TID_ADDRESS: usize = 218;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const PRLIMIT64: usize = 302;
    pub(crate) const SCHED_SETSCHEDULER: usize = 144;
    pub(crate) const SCHED_GETSCHEDULER: usize = 145;
    pub(crate) const KEYCTL: usize = 250;
    pub(crate) const SETNS: usize = 308;
    pub(crate) const SECCOMP: usize = 317;
    pub(crate) const UNLINKAT: usize = 263;
    pub(crate) const GETCWD: usize = 79;
    pub(crate) const EXECVEAT: usize = 322;
    pub(crate) const STATX: usize = 332;
}
