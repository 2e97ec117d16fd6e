//! The benchmark's floors, run by a small process so that they are not flattered (nor burdened)
//! by the size of the driver: a request names a kind and a count, the durations go into
//! memory shared with the driver.

use crate::classic;
use crate::wire::{CONTROL_FD, FLOOR_SAMPLES_MAX, FloorKind, FloorReply, FloorRequest, PLAN_FD};
use crate::wire::{bytes_of, message_of};
use core::ffi::{CStr, c_void};
use leanbox_sys::fork::{Inside, fork_into};
use leanbox_sys::process::{self, CLONE_VFORK};
use leanbox_sys::{Errno, Fd, fd, memory, socket, sync};

const STACK_SIZE: usize = 16 * 1024;
#[repr(C, align(16))]
struct Stack(core::cell::UnsafeCell<[u8; STACK_SIZE]>);
// SAFETY: one thread, and the caller sleeps (CLONE_VFORK) while its child is on the stack.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; STACK_SIZE]));

/// The role's entry.
pub(crate) fn main() -> ! {
    // Ctrl-C is for the driver: what is begun here has to be taken apart here.
    let _ = process::setsid();
    let size = FLOOR_SAMPLES_MAX * size_of::<u64>();
    let Ok(samples) = memory::map_shared(memory::ANYWHERE, PLAN_FD, 0, size, true) else {
        process::exit(1)
    };
    // SAFETY: the driver made the memfd that large, and reads only after our answer.
    let samples: &mut [u64] =
        unsafe { core::slice::from_raw_parts_mut(samples.cast(), FLOOR_SAMPLES_MAX) };
    let mut bytes = [0; size_of::<FloorRequest>()];
    loop {
        let got = match socket::receive(CONTROL_FD, &mut bytes) {
            Ok(got) if got.length > 0 => got,
            _ => process::exit(0),
        };
        let Some(request) = message_of::<FloorRequest>(&bytes[..got.length]) else {
            process::exit(1)
        };
        let count = (request.count as usize).min(FLOOR_SAMPLES_MAX);
        let fds = &got.fds[..got.count];
        let errno = measure(&request, fds, &mut samples[..count]).err().map_or(0, |errno| errno.0);
        fds.iter().copied().for_each(fd::close);
        let _ = socket::send(CONTROL_FD, bytes_of(&FloorReply { errno, count: count as u32 }), &[]);
    }
}

fn measure(request: &FloorRequest, fds: &[Fd], samples: &mut [u64]) -> leanbox_sys::Result<()> {
    let path = CStr::from_bytes_until_nul(&request.texts).unwrap_or(c"");
    let is = |kind: FloorKind| request.kind == kind as u32;
    if is(FloorKind::Classic) {
        classic::measure(&request.texts, samples)
    } else if is(FloorKind::Vfork) {
        each(samples, || vfork(leave, core::ptr::null_mut()))
    } else if is(FloorKind::VforkExec) {
        each(samples, || vfork(execute, path.as_ptr().cast_mut().cast()))
    } else if is(FloorKind::ForkInto) {
        let (process, rest) = fds.split_first().ok_or(Errno::INVAL)?;
        let (group, tasks) =
            rest.split_at_checked(request.into_group as usize).ok_or(Errno::INVAL)?;
        let namespaces = request.namespaces;
        let inside = Inside { group: group.first().copied(), tasks, process: *process, namespaces };
        // SAFETY: one thread; the child ends at once.
        each(samples, || leave_if_child(unsafe { fork_into(&inside) }?))
    } else {
        // SAFETY: as above.
        each(samples, || leave_if_child(unsafe { process::fork(0) }?))
    }
}

/// Nanoseconds from before the start of a child to after its end.
#[inline(always)]
fn each(
    samples: &mut [u64],
    start_one: impl Fn() -> leanbox_sys::Result<i32>,
) -> leanbox_sys::Result<()> {
    for sample in samples {
        let begin = sync::now_ns();
        let pid = start_one()?;
        let (_, status) = process::wait(pid, 0)?;
        *sample = sync::now_ns() - begin;
        if status != 0 {
            return Err(Errno::NOENT);
        }
    }
    Ok(())
}

fn vfork(
    child: extern "C" fn(*mut c_void) -> !,
    argument: *mut c_void,
) -> leanbox_sys::Result<i32> {
    let top = STACK.0.get().cast::<u8>().wrapping_add(STACK_SIZE);
    let mut unused = -1;
    // SAFETY: the caller sleeps until the child has executed or ended.
    unsafe { process::clone_vm(CLONE_VFORK, top, &mut unused, child, argument) }
}

extern "C" fn leave(_: *mut c_void) -> ! {
    process::exit(0)
}

extern "C" fn execute(path: *mut c_void) -> ! {
    // SAFETY: `measure` passes a NUL-terminated text.
    let path = unsafe { CStr::from_ptr(path.cast()) };
    let argv = [path.as_ptr().cast::<u8>(), core::ptr::null()];
    let envp = [core::ptr::null()];
    // SAFETY: both arrays end with a null pointer.
    let _ = unsafe { process::execve(path, argv.as_ptr(), envp.as_ptr()) };
    process::exit(127)
}

#[inline(always)]
fn leave_if_child(pid: i32) -> leanbox_sys::Result<i32> {
    if pid == 0 {
        process::exit(0);
    }
    Ok(pid)
}
