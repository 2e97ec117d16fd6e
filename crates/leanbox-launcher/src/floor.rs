//! The benchmark's floors, run by a small process so that they are not flattered (nor burdened)
//! by the size of the driver: a request names a kind and a count, the durations go into
//! memory shared with the driver.

use crate::classic;
use crate::wire::{CONTROL_FD, FLOOR_SAMPLES_MAX, FloorKind, FloorReply, FloorRequest, PLAN_FD};
use crate::wire::{bytes_of, message_of};
use core::ffi::{CStr, c_void};
use leanbox_sys::process::{self, CLONE_VFORK};
use leanbox_sys::{Errno, fd, socket, sync};

const STACK_SIZE: usize = 16 * 1024;
#[repr(C, align(16))]
struct Stack(core::cell::UnsafeCell<[u8; STACK_SIZE]>);
// SAFETY: one thread, and the caller sleeps (CLONE_VFORK) while its child is on the stack.
unsafe impl Sync for Stack {}
static STACK: Stack = Stack(core::cell::UnsafeCell::new([0; STACK_SIZE]));

/// The role's entry.
pub(crate) fn main() -> ! {
    let size = FLOOR_SAMPLES_MAX * size_of::<u64>();
    let Ok(samples) = fd::map_shared(PLAN_FD, size, true) else { process::exit(1) };
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
        let errno = measure(&request, &mut samples[..count]).err().map_or(0, |errno| errno.0);
        let _ = socket::send(CONTROL_FD, bytes_of(&FloorReply { errno, count: count as u32 }), &[]);
    }
}

fn measure(request: &FloorRequest, samples: &mut [u64]) -> leanbox_sys::Result<()> {
    if request.kind == FloorKind::Classic as u32 {
        return classic::measure(&request.texts, samples);
    }
    let path = CStr::from_bytes_until_nul(&request.texts).unwrap_or(c"");
    let start_one: fn(&CStr) -> leanbox_sys::Result<i32> = match request.kind {
        kind if kind == FloorKind::Vfork as u32 => |_| vfork(leave, core::ptr::null_mut()),
        kind if kind == FloorKind::VforkExec as u32 => {
            |path| vfork(execute, path.as_ptr().cast_mut().cast())
        }
        _ => |_| fork_and_leave(),
    };
    for sample in samples {
        let begin = sync::now_ns();
        let pid = start_one(path)?;
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

fn fork_and_leave() -> leanbox_sys::Result<i32> {
    // SAFETY: one thread; the child ends at once.
    let pid = unsafe { process::fork(0) }?;
    if pid == 0 {
        process::exit(0);
    }
    Ok(pid)
}
