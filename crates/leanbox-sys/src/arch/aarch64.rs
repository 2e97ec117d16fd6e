//! System calls of aarch64: `svc 0`, number in `x8`, arguments in `x0`–`x5`.

use core::arch::{asm, global_asm};

/// What seccomp(2) and ptrace(2) call it (linux/audit.h).
pub(crate) const AUDIT: u32 = 0xc000_00b7;

/// One system call with six arguments; the kernel ignores those it does not use.
///
/// # Safety
/// The arguments must be what call `number` demands: pointers valid for what it reads and writes.
#[inline(always)]
pub(crate) unsafe fn syscall(number: usize, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel keeps every other register.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3],
            in("x4") args[4], in("x5") args[5], options(nostack));
    }
    result
}

// clone(flags, stack, parent_tid, tls, child_tid) with the child calling function(argument) on its own
// stack. In: x0 flags, x1 stack top, x2 pidfd/parent_tid pointer, x3 function, x4 argument.
global_asm!(
    ".globl leanbox_clone_call",
    ".type leanbox_clone_call,@function",
    "leanbox_clone_call:",
    "and x1, x1, #-16",
    "mov x9, x3",
    "mov x10, x4",
    "mov x3, xzr",
    "mov x4, xzr",
    "mov x8, #220",
    "svc 0",
    "cbnz x0, 2f",
    "mov x29, xzr",
    "mov x0, x10",
    "blr x9",
    "brk #1",
    "2: ret",
);

// clone3(args, size) likewise. In: x0 args, x1 size, x2 function, x3 argument.
global_asm!(
    ".globl leanbox_clone3_call",
    ".type leanbox_clone3_call,@function",
    "leanbox_clone3_call:",
    "mov x9, x2",
    "mov x10, x3",
    "mov x8, #435",
    "svc 0",
    "cbnz x0, 2f",
    "mov x29, xzr",
    "mov x0, x10",
    "blr x9",
    "brk #1",
    "2: ret",
);

// function() on the stack that ends at x0. In: x0 stack top, x1 function.
global_asm!(
    ".globl leanbox_on_stack",
    ".type leanbox_on_stack,@function",
    "leanbox_on_stack:",
    "and x0, x0, #-16",
    "mov sp, x0",
    "mov x29, xzr",
    "blr x1",
    "brk #1",
);

pub(crate) mod nr {
    pub(crate) const DUP3: usize = 24;
    pub(crate) const FCNTL: usize = 25;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const MKNODAT: usize = 33;
    pub(crate) const MKDIRAT: usize = 34;
    pub(crate) const SYMLINKAT: usize = 36;
    pub(crate) const UMOUNT2: usize = 39;
    pub(crate) const STATFS: usize = 43;
    pub(crate) const MOUNT: usize = 40;
    pub(crate) const PIVOT_ROOT: usize = 41;
    pub(crate) const FSTATFS: usize = 44;
    pub(crate) const CHDIR: usize = 49;
    pub(crate) const FCHDIR: usize = 50;
    pub(crate) const CHROOT: usize = 51;
    pub(crate) const FCHMOD: usize = 52;
    pub(crate) const FCHOWNAT: usize = 54;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const GETDENTS64: usize = 61;
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const PREAD64: usize = 67;
    pub(crate) const CAPSET: usize = 91;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const WAITID: usize = 95;
    pub(crate) const UNSHARE: usize = 97;
    pub(crate) const SET_TID_ADDRESS: usize = 96;
    pub(crate) const FUTEX: usize = 98;
    pub(crate) const SCHED_YIELD: usize = 124;
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const SCHED_SETAFFINITY: usize = 122;
    pub(crate) const KILL: usize = 129;
    pub(crate) const RT_SIGACTION: usize = 134;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const SETRESUID: usize = 147;
    pub(crate) const SETRESGID: usize = 149;
    pub(crate) const SETSID: usize = 157;
    pub(crate) const SETGROUPS: usize = 159;
    pub(crate) const SETHOSTNAME: usize = 161;
    pub(crate) const UMASK: usize = 166;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const GETPID: usize = 172;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const BIND: usize = 200;
    pub(crate) const SETSOCKOPT: usize = 208;
    pub(crate) const PPOLL: usize = 73;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVFROM: usize = 207;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const MUNMAP: usize = 215;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const MADVISE: usize = 233;
    pub(crate) const WAIT4: usize = 260;
    pub(crate) const PTRACE: usize = 117;
    pub(crate) const PRLIMIT64: usize = 261;
    pub(crate) const SCHED_SETSCHEDULER: usize = 119;
    pub(crate) const SCHED_GETSCHEDULER: usize = 120;
    pub(crate) const KEYCTL: usize = 219;
    pub(crate) const SETNS: usize = 268;
    pub(crate) const SECCOMP: usize = 277;
    pub(crate) const UNLINKAT: usize = 35;
    pub(crate) const GETCWD: usize = 17;
    pub(crate) const EXECVEAT: usize = 281;
    pub(crate) const STATX: usize = 291;
}
