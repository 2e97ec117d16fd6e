//! What a keeper takes over from the process that began it and its slots must not have: the
//! session's keys, and a scheduling policy that starves others or itself. Niceness, I/O priority
//! and CPU affinity stay: a host that was told to make way has its containers make way as well.

use core::arch::asm;

#[cfg(target_arch = "x86_64")]
mod nr {
    pub(super) const KEYCTL: usize = 250;
    pub(super) const SCHED_SETSCHEDULER: usize = 144;
    pub(super) const SCHED_GETSCHEDULER: usize = 145;
}
#[cfg(target_arch = "aarch64")]
mod nr {
    pub(super) const KEYCTL: usize = 219;
    pub(super) const SCHED_SETSCHEDULER: usize = 119;
    pub(super) const SCHED_GETSCHEDULER: usize = 120;
}

/// Leaves it behind. A kernel without keys has none to leave, and one that keeps us from another
/// policy has its reason.
pub(crate) fn leave() {
    const JOIN_SESSION_KEYRING: usize = 1;
    const SCHED_OTHER: isize = 0;
    // SAFETY: no name, so an empty keyring of our own (keyctl(2)).
    unsafe { call(nr::KEYCTL, [JOIN_SESSION_KEYRING, 0, 0]) };
    // Asked first: to set what is set already takes 2 us, to ask next to nothing.
    // SAFETY: 0 is the caller itself (sched_getscheduler(2)).
    if unsafe { call(nr::SCHED_GETSCHEDULER, [0, 0, 0]) } != SCHED_OTHER {
        // struct sched_param.
        let priority = 0i32;
        let parameters = &raw const priority as usize;
        // SAFETY: as above, and the parameters are valid.
        unsafe { call(nr::SCHED_SETSCHEDULER, [0, SCHED_OTHER as usize, parameters]) };
    }
}

/// One system call.
///
/// # Safety
/// The arguments must be what call `number` demands.
unsafe fn call(number: usize, args: [usize; 3]) -> isize {
    let result: isize;
    // SAFETY: the caller answers for the arguments; the kernel keeps every other register.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") args[0] as isize => result,
            in("x1") args[1], in("x2") args[2], options(nostack));
    }
    result
}
