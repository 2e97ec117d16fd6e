//! Starting the static program from a process of any size and number of threads: one clone in
//! shared memory, so that nothing of the caller is copied, into new namespaces where asked. The
//! caller goes on while the child is on its way to its program.

use crate::process::{self, CLONE_CHILD_CLEARTID, CLONE_CLEAR_SIGHAND, CLONE_VM, CloneArgs};
use crate::{Errno, Fd, Result, fd, memory, sync};
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};

const STACK_SIZE: usize = 64 * 1024;
const FDS_MAX: usize = 8;

/// What the child needs, at the lower end of its stack.
#[repr(C)]
struct Plan {
    /// Not 0 while the child is in our memory: the kernel clears it at the exec or the end
    /// (`CLONE_CHILD_CLEARTID`).
    in_memory: AtomicU32,
    errno: AtomicI32,
    program: Fd,
    count: usize,
    fds: [Fd; FDS_MAX],
    argv: [*const u8; 2],
}

/// A child that may not have executed its program yet.
#[derive(Debug)]
pub struct Spawning {
    plan: *const Plan,
    pid: i32,
}

// SAFETY: the memory is this value's and the child's alone, and what both look at is atomic.
unsafe impl Send for Spawning {}

/// Executes the open file `program` with the one argument `name`, an empty environment, and
/// `fds` (at most 8) as its descriptors 3, 4, …; the standard streams are inherited. Its end sends
/// no signal to anybody.
///
/// # Errors
/// mmap(2) or clone3(2) failed.
pub fn spawn(program: Fd, name: &'static CStr, namespaces: u64, fds: &[Fd]) -> Result<Spawning> {
    let stack = memory::map_anonymous(memory::ANYWHERE, STACK_SIZE, false)?;
    let plan = stack.cast::<Plan>();
    let mut own = [-1; FDS_MAX];
    let count = fds.len().min(FDS_MAX);
    own[..count].copy_from_slice(&fds[..count]);
    // SAFETY: a fresh mapping, larger than a plan and page-aligned.
    unsafe {
        plan.write(Plan {
            in_memory: AtomicU32::new(1),
            errno: AtomicI32::new(0),
            program,
            count,
            fds: own,
            argv: [name.as_ptr().cast(), core::ptr::null()],
        });
    }
    let args = CloneArgs {
        flags: namespaces | CLONE_VM | CLONE_CLEAR_SIGHAND | CLONE_CHILD_CLEARTID,
        child_tid: plan as u64,
        stack: stack as u64,
        stack_size: STACK_SIZE as u64,
        ..CloneArgs::default()
    };
    let cloned = process::set_signal_mask(u64::MAX).and_then(|mask| {
        // SAFETY: stack and plan stay mapped until the kernel has told that the child has left our
        // memory. Signals are blocked, so no handler of the caller's runs in the child; it uses
        // nothing of a thread's own memory.
        let cloned = unsafe { process::clone3_vm(&args, execute, plan.cast()) };
        let _ = process::set_signal_mask(mask);
        cloned
    });
    match cloned {
        Ok(pid) => {
            // A new process mostly waits for this CPU; once it executes it is moved to an idle one.
            sync::yield_now();
            Ok(Spawning { plan, pid })
        }
        Err(errno) => {
            // SAFETY: no child runs on it.
            unsafe { memory::unmap(stack, STACK_SIZE) };
            Err(errno)
        }
    }
}

impl Spawning {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the program was executed.
    ///
    /// # Errors
    /// dup3(2) or execveat(2) failed; the child was waited for.
    pub fn finish(self) -> Result<()> {
        match self.left() {
            Errno(0) => Ok(()),
            errno => {
                let _ = process::wait(self.pid, process::WALL);
                Err(errno)
            }
        }
    }

    /// Waits until the child has left our memory; how that went.
    fn left(&self) -> Errno {
        // SAFETY: mapped until this value is dropped.
        let plan = unsafe { &*self.plan };
        while plan.in_memory.load(Ordering::Acquire) != 0 {
            sync::wait_while(&plan.in_memory, 1, 1000);
        }
        Errno(plan.errno.load(Ordering::Acquire))
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        let _ = self.left();
        // SAFETY: the child has left it.
        unsafe { memory::unmap(self.plan.cast_mut().cast(), STACK_SIZE) };
    }
}

extern "C" fn execute(plan: *mut c_void) -> ! {
    // SAFETY: `spawn` passes its plan, which stays until this process has left the memory.
    let plan = unsafe { &*plan.cast::<Plan>() };
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
fn place(plan: &Plan) -> Result<Fd> {
    /// Above all places.
    const ASIDE: Fd = 3 + FDS_MAX as Fd + 1;
    let mut aside = [-1; FDS_MAX];
    let program = fd::dup_above(plan.program, ASIDE)?;
    for (from, to) in plan.fds[..plan.count].iter().zip(aside.iter_mut()) {
        *to = fd::dup_above(*from, ASIDE)?;
    }
    for (from, target) in aside[..plan.count].iter().zip(3..) {
        fd::dup_to(*from, target, false)?;
    }
    let program_at = 3 + plan.count as Fd;
    fd::dup_to(program, program_at, true)?;
    fd::close_from(program_at + 1)?;
    let _ = process::set_signal_mask(0);
    Ok(program_at)
}
