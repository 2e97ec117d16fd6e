//! Processes: clone, exec, wait, identities, capabilities, namespaces, limits.

mod end;

use crate::arch::nr;
use crate::errno::{Errno, call, int};
use crate::{AT_EMPTY_PATH, Fd, Result};
use core::ffi::{CStr, c_void};
pub use end::{End, exit_status, peek_end, wait};

/// clone(2): share memory.
pub const CLONE_VM: u64 = 0x100;
/// clone(2): share the table of descriptors.
pub const CLONE_FILES: u64 = 0x400;
/// clone(2): share the table of signal handlers.
pub const CLONE_SIGHAND: u64 = 0x800;
/// clone(2): give back a pidfd.
pub const CLONE_PIDFD: u64 = 0x1000;
/// clone(2): the parent waits until exec or exit.
pub const CLONE_VFORK: u64 = 0x4000;
/// clone(2): the caller's parent becomes the child's.
pub const CLONE_PARENT: u64 = 0x8000;
/// clone(2): new mount namespace.
pub const CLONE_NEWNS: u64 = 0x0002_0000;
/// clone(2): new cgroup namespace.
pub const CLONE_NEWCGROUP: u64 = 0x0200_0000;
/// clone(2): new UTS namespace.
pub const CLONE_NEWUTS: u64 = 0x0400_0000;
/// clone(2): new IPC namespace.
pub const CLONE_NEWIPC: u64 = 0x0800_0000;
/// clone(2): new user namespace.
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
/// clone(2): new pid namespace.
pub const CLONE_NEWPID: u64 = 0x2000_0000;
/// clone(2): new network namespace.
pub const CLONE_NEWNET: u64 = 0x4000_0000;
/// clone3(2): signal handlers become the default ones.
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
/// clone(2): clear the word at `child_tid` and wake who waits on it when the child leaves the
/// shared memory.
pub const CLONE_CHILD_CLEARTID: u64 = 0x0020_0000;
/// clone3(2): be born in the cgroup of `cgroup` (v2).
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// SIGKILL.
pub const SIGKILL: i32 = 9;
/// SIGCHLD.
pub const SIGCHLD: i32 = 17;
/// wait4(2): do not block.
pub const WNOHANG: i32 = 1;
/// wait4(2): children of every kind.
pub const WALL: i32 = 0x4000_0000;

const CLONE3: usize = 435;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// struct clone_args of clone3(2).
#[repr(C)]
#[derive(Default)]
pub struct CloneArgs {
    /// `CLONE_*`.
    pub flags: u64,
    /// Address of an `i32` that gets the pidfd.
    pub pidfd: u64,
    /// Address of the word for [`CLONE_CHILD_CLEARTID`].
    pub child_tid: u64,
    /// Unused here.
    pub parent_tid: u64,
    /// Signal to the parent at the end; 0 for none.
    pub exit_signal: u64,
    /// Lowest byte of the child's stack.
    pub stack: u64,
    /// Its size.
    pub stack_size: u64,
    /// Unused here.
    pub tls: u64,
    /// Unused here.
    pub set_tid: u64,
    /// Unused here.
    pub set_tid_size: u64,
    /// A directory of cgroup v2, with [`CLONE_INTO_CGROUP`].
    pub cgroup: u64,
}

impl CloneArgs {
    /// A child whose pidfd is put there, and whose end sends SIGCHLD.
    pub fn with_pidfd(flags: u64, pidfd: &mut Fd) -> Self {
        Self {
            flags: flags | CLONE_PIDFD,
            pidfd: core::ptr::from_mut(pidfd) as u64,
            exit_signal: SIGCHLD as u64,
            ..Self::default()
        }
    }
}

unsafe extern "C" {
    fn leanbox_clone_call(
        flags: u64,
        stack_top: *mut u8,
        pidfd: *mut Fd,
        function: extern "C" fn(*mut c_void) -> !,
        argument: *mut c_void,
    ) -> isize;
    fn leanbox_clone3_call(
        args: *const CloneArgs,
        size: usize,
        function: extern "C" fn(*mut c_void) -> !,
        argument: *mut c_void,
    ) -> isize;
    fn leanbox_on_stack(stack_top: *mut u8, function: extern "C" fn() -> !) -> !;
}

/// Goes on with `function` on the stack that ends at `stack_top`.
///
/// # Safety
/// Nobody else uses that stack; nothing on the present one is needed any more.
pub unsafe fn on_stack(stack_top: *mut u8, function: extern "C" fn() -> !) -> ! {
    // SAFETY: passed on to the caller.
    unsafe { leanbox_on_stack(stack_top, function) }
}

fn pid_of(result: isize) -> Result<i32> {
    if result < 0 { Err(Errno(-(result as i32))) } else { Ok(result as i32) }
}

/// clone3(2) that returns twice, like fork(2): 0 in the child.
///
/// # Safety
/// Without `CLONE_VM`; the child has a copy of the caller's memory with only one thread, so it
/// may use nothing that another thread might have held locked. Any pidfd pointer must be valid.
#[inline(always)]
pub unsafe fn fork3(args: &CloneArgs) -> Result<i32> {
    let size = size_of::<CloneArgs>();
    // SAFETY: the structure is valid; the caller answers for what the child does.
    unsafe { call(CLONE3, [core::ptr::from_ref(args) as usize, size]) }.map(|pid| pid as i32)
}

/// fork(2) by clone(2) with `flags`; 0 in the child.
///
/// # Safety
/// As for [`fork3`].
pub unsafe fn fork(flags: u64) -> Result<i32> {
    // SAFETY: no stack of its own: the child runs on a copy.
    unsafe { call(nr::CLONE, [(flags as usize) | SIGCHLD as usize, 0, 0, 0, 0]) }.map(|p| p as i32)
}

/// clone(2) in shared memory: the child calls `function(argument)` on the stack that ends at
/// `stack_top`, and never returns.
///
/// # Safety
/// The stack and all that `function` touches must stay valid until the child has executed a
/// program or ended; nobody else may use them meanwhile.
pub unsafe fn clone_vm(
    flags: u64,
    stack_top: *mut u8,
    pidfd: &mut Fd,
    function: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> Result<i32> {
    let flags = flags | CLONE_VM | SIGCHLD as u64;
    // SAFETY: passed on to the caller.
    pid_of(unsafe { leanbox_clone_call(flags, stack_top, pidfd, function, argument) })
}

/// clone3(2) in shared memory on the stack named in `args`, likewise.
///
/// # Safety
/// As for [`clone_vm`].
pub unsafe fn clone3_vm(
    args: &CloneArgs,
    function: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> Result<i32> {
    // SAFETY: passed on to the caller.
    pid_of(unsafe { leanbox_clone3_call(args, size_of::<CloneArgs>(), function, argument) })
}

/// exit_group(2).
#[inline(always)]
pub fn exit(code: i32) -> ! {
    loop {
        // SAFETY: a number.
        let _ = unsafe { call(nr::EXIT_GROUP, [int(code)]) };
    }
}

/// execve(2); it only returns to say why not.
///
/// # Safety
/// `argv` and `envp` must be null-terminated arrays of NUL-terminated strings.
pub unsafe fn execve(path: &CStr, argv: *const *const u8, envp: *const *const u8) -> Errno {
    let args = [path.as_ptr() as usize, argv as usize, envp as usize];
    // SAFETY: the caller answers for the arrays.
    unsafe { call(nr::EXECVE, args) }.err().unwrap_or(Errno::INVAL)
}

/// execveat(2) of an open file; it only returns to say why not.
///
/// # Safety
/// As for [`execve`].
pub unsafe fn execve_fd(fd: Fd, argv: *const *const u8, envp: *const *const u8) -> Errno {
    let args =
        [int(fd), c"".as_ptr() as usize, argv as usize, envp as usize, AT_EMPTY_PATH as usize];
    // SAFETY: the caller answers for the arrays.
    unsafe { call(nr::EXECVEAT, args) }.err().unwrap_or(Errno::INVAL)
}

/// kill(2).
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::KILL, [int(pid), int(signal)]) }.map(drop)
}

/// getpid(2).
#[must_use]
pub fn getpid() -> i32 {
    // SAFETY: no arguments.
    unsafe { call(nr::GETPID, [0]) }.unwrap_or(0) as i32
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    // SAFETY: no arguments.
    unsafe { call(nr::SETSID, [0]) }.map(drop)
}

/// umask(2).
pub fn umask(mask: u32) {
    // SAFETY: a number.
    let _ = unsafe { call(nr::UMASK, [mask as usize]) };
}

/// setgroups(2).
pub fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the list is valid for its length.
    unsafe { call(nr::SETGROUPS, [groups.len(), groups.as_ptr() as usize]) }.map(drop)
}

/// setresgid(2), all three the same.
pub fn setgid(gid: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::SETRESGID, [gid as usize; 3]) }.map(drop)
}

/// setresuid(2), all three the same.
pub fn setuid(uid: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::SETRESUID, [uid as usize; 3]) }.map(drop)
}

/// setresuid(2) of the effective user alone, and so of whoever owns the next user namespace.
pub fn set_effective_user(uid: u32) -> Result<()> {
    const AS_IT_IS: usize = u32::MAX as usize;
    // SAFETY: numbers only.
    unsafe { call(nr::SETRESUID, [AS_IT_IS, uid as usize, AS_IT_IS]) }.map(drop)
}

/// capset(2): permitted and effective become `held`, inheritable `inheritable`.
pub fn capset(held: u64, inheritable: u64) -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let low = [held as u32, held as u32, inheritable as u32];
    let high = [(held >> 32) as u32, (held >> 32) as u32, (inheritable >> 32) as u32];
    let data = [low, high];
    // SAFETY: header and data have the layout of version 3.
    unsafe { call(nr::CAPSET, [header.as_ptr() as usize, data.as_ptr() as usize]) }.map(drop)
}

/// prctl(2) with numbers.
pub fn prctl(option: i32, second: usize, third: usize) -> Result<usize> {
    // SAFETY: the options used here take numbers.
    unsafe { call(nr::PRCTL, [int(option), second, third, 0, 0]) }
}

/// prctl(2) options.
pub mod pr {
    /// `PR_SET_DUMPABLE`.
    pub const SET_DUMPABLE: i32 = 4;
    /// `PR_SET_NAME`.
    pub const SET_NAME: i32 = 15;
    /// `PR_CAPBSET_DROP`.
    pub const CAPBSET_DROP: i32 = 24;
    /// `PR_SET_SECUREBITS`.
    pub const SET_SECUREBITS: i32 = 28;
    /// `PR_SET_NO_NEW_PRIVS`.
    pub const SET_NO_NEW_PRIVS: i32 = 38;
}

/// setns(2).
#[inline(always)]
pub fn setns(fd: Fd, flags: u64) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::SETNS, [int(fd), flags as usize]) }.map(drop)
}

/// unshare(2).
pub fn unshare(flags: u64) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::UNSHARE, [flags as usize]) }.map(drop)
}

/// sethostname(2).
pub fn sethostname(name: &CStr) -> Result<()> {
    let bytes = name.to_bytes();
    // SAFETY: the name is valid for its length.
    unsafe { call(nr::SETHOSTNAME, [bytes.as_ptr() as usize, bytes.len()]) }.map(drop)
}

/// prlimit(2) on oneself: soft and hard become `value`.
pub fn set_limit(resource: u32, value: u64) -> Result<()> {
    set_limits(resource, value, value)
}

/// prlimit(2) on oneself.
pub fn set_limits(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: the limit is a struct rlimit64.
    unsafe { call(nr::PRLIMIT64, [0, resource as usize, limit.as_ptr() as usize, 0]) }.map(drop)
}

/// Ignores a signal, or gives it its default action (sigaction(2)).
pub fn set_signal(signal: i32, ignore: bool) -> Result<()> {
    // struct sigaction of the kernel: handler, flags, restorer (x86_64), mask.
    let action = [usize::from(ignore), 0, 0, 0];
    let args = [signal as usize, action.as_ptr() as usize, 0, 8];
    // SAFETY: the action is at least as long as the kernel's structure on both machines.
    unsafe { call(nr::RT_SIGACTION, args) }.map(drop)
}

/// Has the kernel reap this process's children, as ignoring SIGCHLD would, but so that a child
/// inherits nothing of it through its exec (sigaction(2), `SA_NOCLDWAIT`).
pub fn keep_no_children() -> Result<()> {
    const SA_NOCLDWAIT: usize = 2;
    let action = [0, SA_NOCLDWAIT, 0, 0];
    let args = [SIGCHLD as usize, action.as_ptr() as usize, 0, 8];
    // SAFETY: as above.
    unsafe { call(nr::RT_SIGACTION, args) }.map(drop)
}

/// Replaces the set of blocked signals and returns the old one (sigprocmask(2)).
pub fn set_signal_mask(mask: u64) -> Result<u64> {
    let mut old = 0u64;
    let args = [2, &raw const mask as usize, &raw mut old as usize, 8];
    // SAFETY: both sets are 8 bytes long.
    unsafe { call(nr::RT_SIGPROCMASK, args) }.map(|_| old)
}

/// Binds the calling thread to one CPU (sched_setaffinity(2)).
pub fn pin(cpu: u32) -> Result<()> {
    let mut set = [0u64; 16];
    let word = set.get_mut((cpu / 64) as usize).ok_or(Errno::INVAL)?;
    *word = 1 << (cpu % 64);
    // SAFETY: the set is 128 bytes long.
    unsafe { call(nr::SCHED_SETAFFINITY, [0, 128, set.as_ptr() as usize]) }.map(drop)
}

/// Joins a new session keyring with nothing in it (keyctl(2), `KEYCTL_JOIN_SESSION_KEYRING`).
pub fn leave_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: no name.
    unsafe { call(nr::KEYCTL, [JOIN_SESSION_KEYRING, 0]) }.map(drop)
}

/// Returns to the ordinary scheduling policy (sched_setscheduler(2), `SCHED_OTHER`).
pub fn leave_scheduling_policy() -> Result<()> {
    const SCHED_OTHER: usize = 0;
    // Asked first: to set what is set already takes 2 us, to ask next to nothing.
    // SAFETY: 0 is the caller itself.
    if unsafe { call(nr::SCHED_GETSCHEDULER, [0]) }? == SCHED_OTHER {
        return Ok(());
    }
    let priority = 0i32; // struct sched_param
    // SAFETY: as above, and the parameters are valid.
    unsafe { call(nr::SCHED_SETSCHEDULER, [0, SCHED_OTHER, &raw const priority as usize]) }
        .map(drop)
}
