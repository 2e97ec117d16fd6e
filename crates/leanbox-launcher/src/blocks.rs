//! User namespaces for mapped mounts, one for each id block, and the id maps themselves.

use crate::pages::KeepersOwn;
use crate::text::Text;
use crate::wire::{BLOCKS_MAX, IDS_PER_SLOT, Step};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicU32, Ordering};
use leanbox_sys::process::{self, CloneArgs};
use leanbox_sys::{Errno, Fd, fd, sync};

/// User namespaces by id block, made at the first use of a block, for mapped mounts only.
pub(crate) struct Blocks {
    known: &'static mut [(u32, Fd); BLOCKS_MAX],
}

impl Blocks {
    pub(crate) fn new() -> leanbox_sys::Result<Self> {
        static OWN: KeepersOwn<[(u32, Fd); BLOCKS_MAX]> = KeepersOwn::new([(0, 0); BLOCKS_MAX]);
        // SAFETY: a keeper has one of these values, and nothing else points there.
        Ok(Self { known: unsafe { &mut *OWN.keep()? } })
    }

    pub(crate) fn user_namespace(&mut self, block: u32, id_base: u32) -> Result<Fd, (u32, Errno)> {
        let invalid = (Step::USER_NAMESPACE, Errno::INVAL);
        let entry = self.known.get_mut(block as usize).ok_or(invalid)?;
        if entry.0 != id_base {
            if entry.0 != 0 {
                fd::close(entry.1);
            }
            entry.0 = 0;
            entry.1 = new_user_namespace(id_base).map_err(|e| (Step::USER_NAMESPACE, e))?;
            entry.0 = id_base;
        }
        Ok(entry.1)
    }
}

/// Where the process of a new user namespace sleeps, and not 0 while it does.
struct Sleeper {
    stack: UnsafeCell<[u8; 4096]>,
    in_memory: AtomicU32,
}
// SAFETY: one sleeper at a time, see `new_user_namespace`.
unsafe impl Sync for Sleeper {}
static SLEEPER: Sleeper =
    Sleeper { stack: UnsafeCell::new([0; 4096]), in_memory: AtomicU32::new(0) };

/// How long a process that was killed may take to be gone; mostly it is when it is asked for.
const PATIENCE_MS: u64 = 5000;

/// It ends by itself, should the signal not come.
extern "C" fn sleep(_: *mut c_void) -> ! {
    const SLEEP_MS: u64 = 3000;
    let never = AtomicU32::new(0);
    sync::wait_while(&never, 0, SLEEP_MS);
    process::exit(0)
}

/// A user namespace with a block's map and nobody in it. Its process shares our memory, since a
/// copy takes longer than all the rest; its death is waited for only when the next one is made.
fn new_user_namespace(id_base: u32) -> leanbox_sys::Result<Fd> {
    if SLEEPER.in_memory.load(Ordering::Acquire) != 0 {
        sync::wait_while(&SLEEPER.in_memory, 1, PATIENCE_MS);
    }
    if SLEEPER.in_memory.load(Ordering::Acquire) != 0 {
        return Err(Errno::BUSY);
    }
    let args = CloneArgs {
        flags: process::CLONE_NEWUSER | process::CLONE_VM | process::CLONE_CHILD_CLEARTID,
        child_tid: SLEEPER.in_memory.as_ptr() as u64,
        exit_signal: process::SIGCHLD as u64,
        stack: SLEEPER.stack.get() as u64,
        stack_size: 4096,
        ..CloneArgs::default()
    };
    SLEEPER.in_memory.store(1, Ordering::Release);
    // SAFETY: the last one has left the stack; this one touches nothing else.
    let pid = unsafe { process::clone3_vm(&args, sleep, core::ptr::null_mut()) };
    let pid = pid.inspect_err(|_| SLEEPER.in_memory.store(0, Ordering::Release))?;
    let path = Text::new().push(c"/proc/").number(pid as u32).push(c"/ns/user");
    let opened = write_id_maps(pid, id_base)
        .and_then(|()| fd::open(path.as_cstr(), fd::O_RDONLY | fd::O_CLOEXEC));
    let _ = process::kill(pid, process::SIGKILL);
    opened
}

/// Maps 0–65,535 inside to the block that begins at `id_base` (user_namespaces(7)).
pub(crate) fn write_id_maps(pid: i32, id_base: u32) -> leanbox_sys::Result<()> {
    let map = Text::new().push(c"0 ").number(id_base).push(c" ").number(IDS_PER_SLOT).push(c"\n");
    write_given_maps(pid, map.as_cstr(), map.as_cstr())
}

/// The same with the lines as they are.
pub(crate) fn write_given_maps(pid: i32, users: &CStr, groups: &CStr) -> leanbox_sys::Result<()> {
    for (file, map) in [(c"/uid_map", users), (c"/gid_map", groups)] {
        let path = Text::new().push(c"/proc/").number(pid as u32).push(file);
        let opened = fd::open(path.as_cstr(), fd::O_WRONLY | fd::O_CLOEXEC)?;
        let written = fd::write(opened, map.to_bytes());
        fd::close(opened);
        written?;
    }
    Ok(())
}
