//! Starting the static program from a process of any size and number of threads: one clone in
//! shared memory, so that nothing of the caller is copied, into new namespaces where asked.

use crate::process::{self, CLONE_CLEAR_SIGHAND, CLONE_PIDFD, CLONE_VFORK, CLONE_VM, CloneArgs};
use crate::{Errno, Fd, Result, fd};
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicI32, Ordering};

const STACK_SIZE: usize = 64 * 1024;

/// What the child needs; it lives on the caller's stack, who sleeps meanwhile.
struct Plan<'a> {
    program: Fd,
    argv: [*const u8; 2],
    fds: &'a [Fd],
    errno: AtomicI32,
}

/// Executes the open file `program` with the one argument `name`, an empty environment, and
/// `fds` as its descriptors 3, 4, …; the standard streams are inherited. Its end sends no
/// signal to anybody. Returns its pid and a pidfd.
///
/// # Errors
/// clone3(2), dup3(2) or execveat(2) failed.
pub fn spawn(program: Fd, name: &CStr, namespaces: u64, fds: &[Fd]) -> Result<(i32, Fd)> {
    let stack = fd::map_anonymous(STACK_SIZE, false)?;
    let mut pidfd: Fd = -1;
    let args = CloneArgs {
        flags: namespaces | CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        stack: stack as u64,
        stack_size: STACK_SIZE as u64,
        ..CloneArgs::default()
    };
    let argv = [name.as_ptr().cast(), core::ptr::null()];
    let plan = Plan { program, argv, fds, errno: AtomicI32::new(0) };
    let mask = process::set_signal_mask(u64::MAX)?;
    let argument = (&raw const plan).cast_mut().cast();
    // SAFETY: CLONE_VFORK: stack and plan outlive the child's use of them. Signals are blocked,
    // so no handler of the caller's runs in the child.
    let cloned = unsafe { process::clone3_vm(&args, execute, argument) };
    let _ = process::set_signal_mask(mask);
    // SAFETY: the child no longer runs on it.
    unsafe { fd::unmap(stack, STACK_SIZE) };
    let pid = cloned?;
    match plan.errno.load(Ordering::Acquire) {
        0 => Ok((pid, pidfd)),
        errno => {
            let _ = process::wait(pid, process::WALL);
            fd::close(pidfd);
            Err(Errno(errno))
        }
    }
}

extern "C" fn execute(plan: *mut c_void) -> ! {
    // SAFETY: `spawn` passes its plan and sleeps.
    let plan = unsafe { &*plan.cast::<Plan<'_>>() };
    let errno = place(plan).map_or_else(
        |errno| errno,
        |program| {
            let envp = [core::ptr::null()];
            // SAFETY: both arrays end with a null pointer.
            unsafe { process::execve_fd(program, plan.argv.as_ptr(), envp.as_ptr()) }
        },
    );
    plan.errno.store(errno.0, Ordering::Release);
    process::exit(127)
}

/// Moves everything out of the way, then to its place; all other descriptors are closed.
fn place(plan: &Plan<'_>) -> Result<Fd> {
    const ASIDE: Fd = 64;
    let mut aside = [-1; 8];
    let program = fd::dup_above(plan.program, ASIDE)?;
    for (from, to) in plan.fds.iter().zip(aside.iter_mut()) {
        *to = fd::dup_above(*from, ASIDE)?;
    }
    let count = plan.fds.len().min(aside.len());
    for (from, target) in aside[..count].iter().zip(3..) {
        fd::dup_to(*from, target, false)?;
    }
    let program_at = 3 + count as Fd;
    fd::dup_to(program, program_at, true)?;
    fd::close_from(program_at + 1)?;
    let _ = process::set_signal_mask(0);
    Ok(program_at)
}
