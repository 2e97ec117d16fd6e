//! The container before its program: cloned ahead in the launcher's memory, with the
//! identity, session and capabilities it will run with, asleep on the slot's mailbox. A start
//! is one word in it: it wakes, places its descriptors, and executes. Nothing here allocates.

use crate::wire::{
    Go, INLINE_MAX, Kind, Mailbox, Plan, PlanHeader, Report, SLOT_FD, START_FDS_MAX, Start, Step,
    bytes_of,
};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use leanbox_sys::process::{self, CLONE_FILES, CLONE_PIDFD, CLONE_SIGHAND};
use leanbox_sys::{Errno, Fd, fd, memory, socket, sync};

const STACK_SIZE: usize = 16 * 1024;

/// Memory that only the one parked container touches, between its clone and its exec or end.
#[repr(C, align(16))]
struct Lent<T>(UnsafeCell<T>);
// SAFETY: the launcher has at most one parked container, and stays out while there is one.
unsafe impl<T> Sync for Lent<T> {}

static STACK: Lent<[u8; STACK_SIZE]> = Lent(UnsafeCell::new([0; STACK_SIZE]));
/// What the container could not do, told to the launcher through their common memory.
static FAILED_STEP: AtomicU32 = AtomicU32::new(0);
static FAILED_ERRNO: AtomicI32 = AtomicI32::new(0);
/// 1 when the container is about to sleep on its mailbox (or has given up before).
static PARKED: AtomicU32 = AtomicU32::new(0);

/// What all containers of a slot are given.
#[derive(Clone, Copy)]
struct Given {
    plan: Plan,
    mailbox: *mut Mailbox,
}
static GIVEN: Lent<Option<Given>> = Lent(UnsafeCell::new(None));

/// A container that was cloned.
pub(crate) struct Parked {
    pub(crate) pid: i32,
    /// Where the launcher reports; else negative.
    pub(crate) pidfd: Fd,
}

/// Clones the next container. It takes its identity, says that it is ready and parks: what it
/// did later would be done within the start that comes at once.
pub(crate) fn park(plan: Plan, mailbox: *mut Mailbox) -> leanbox_sys::Result<Parked> {
    FAILED_STEP.store(Step::NONE, Ordering::Relaxed);
    FAILED_ERRNO.store(0, Ordering::Relaxed);
    PARKED.store(0, Ordering::Relaxed);
    let mut pidfd: Fd = -1;
    let top = STACK.0.get().cast::<u8>().wrapping_add(STACK_SIZE);
    // SAFETY: the last container has ended.
    unsafe { *GIVEN.0.get() = Some(Given { plan, mailbox }) };
    // SAFETY: the mailbox is mapped as long as the process lives.
    unsafe { &*mailbox }.go.store(0, Ordering::Relaxed);
    let PlanHeader { reports_end, reuse, .. } = *plan.header();
    let pidfd_too = if reports_end == 1 { CLONE_PIDFD } else { 0 };
    // What is shared is neither copied here nor freed at the end; an exec makes its own copy, so
    // in a slot that serves once it would only be later.
    let shared = if reuse == 1 { CLONE_FILES | CLONE_SIGHAND } else { 0 };
    let flags = pidfd_too | shared;
    // SAFETY: the stack, what it is given and the mailbox belong to this one container until it
    // has executed its program or ended.
    let pid = unsafe { process::clone_vm(flags, top, &mut pidfd, run, GIVEN.0.get().cast()) }?;
    Ok(Parked { pid, pidfd })
}

/// Whether the container has told that it is ready, or why not.
pub(crate) fn has_parked() -> bool {
    PARKED.load(Ordering::Acquire) == 1
}

/// Waits until it has. One that was killed meanwhile says nothing; the host sees its end by the
/// pidfd.
pub(crate) fn await_parked() {
    let mut patience = 10;
    while !has_parked() && patience > 0 {
        sync::wait_while(&PARKED, 0, 100);
        patience -= 1;
    }
}

/// To whoever waits for it: the launcher where it reports, else the host.
fn tell_parked(plan: &Plan) {
    PARKED.store(1, Ordering::Release);
    if plan.header().reports_end == 1 {
        let _ = sync::wake_all(&PARKED);
    } else {
        let ready = Report { kind: Kind::Ready as u32, ..Report::default() };
        let _ = socket::send(SLOT_FD, bytes_of(&ready), &[]);
    }
}

/// What the ended container could not do.
pub(crate) fn failure() -> (u32, Errno) {
    (FAILED_STEP.load(Ordering::Relaxed), Errno(FAILED_ERRNO.load(Ordering::Relaxed)))
}

/// Ends with 127, which the host takes for a failure only with this report. Where the launcher
/// reports the end, it finds the reason in the common memory.
fn give_up(plan: &Plan, step: u32, errno: Errno) -> ! {
    FAILED_STEP.store(step, Ordering::Relaxed);
    FAILED_ERRNO.store(errno.0, Ordering::Relaxed);
    if plan.header().reports_end == 0 {
        let report = Report { kind: Kind::Ended as u32, step, errno: errno.0, status: 127 << 8 };
        let _ = socket::send(SLOT_FD, bytes_of(&report), &[]);
    }
    // After the report: one that never parked is not called ready before the host knows why.
    PARKED.store(1, Ordering::Release);
    let _ = sync::wake_all(&PARKED);
    process::exit(127)
}

extern "C" fn run(given: *mut c_void) -> ! {
    // SAFETY: `park` has written it, and does not before we have ended.
    let given = unsafe { *given.cast::<Option<Given>>() };
    let Some(Given { plan, mailbox }) = given else { process::exit(127) };
    if let Err((step, errno)) = take_identity(&plan) {
        give_up(&plan, step, errno);
    }
    tell_parked(&plan);
    let go = await_go(mailbox);
    if go == Go::Noop as u32 {
        process::exit(0);
    }
    if go != Go::Exec as u32 {
        give_up(&plan, Step::RECEIVE, Errno::INVAL);
    }
    // SAFETY: the host has written it, and writes no more until the next container is parked.
    let Mailbox { start, data, .. } = unsafe { &mut *mailbox };
    let mut fds = [-1; START_FDS_MAX + 2];
    let came = match receive_fds(start, &mut fds) {
        Ok(came) => came,
        Err(errno) => give_up(&plan, Step::RECEIVE, errno),
    };
    execute(&plan, start, data, &fds[..came])
}

/// Sleeps until the host's word. It needs no limit: when the host is gone, the keeper ends all.
fn await_go(mailbox: *mut Mailbox) -> u32 {
    // SAFETY: mapped as long as the process lives; these fields are atomic.
    let (go, stamp, begun_ns) =
        unsafe { (&(*mailbox).go, &(*mailbox).stamp, &(*mailbox).begun_ns) };
    loop {
        sync::wait_while(go, 0, 3_600_000);
        let word = go.load(Ordering::Acquire);
        if word != 0 {
            if stamp.load(Ordering::Relaxed) == 1 {
                begun_ns.store(sync::now_ns(), Ordering::Release);
            }
            return word;
        }
    }
}

/// The descriptors of a start that has any, which were sent before the word.
fn receive_fds(start: &Start, fds: &mut [Fd; START_FDS_MAX + 2]) -> leanbox_sys::Result<usize> {
    if start.fds + start.data_in_memfd + start.tell_exec == 0 {
        return Ok(0);
    }
    // The launcher's table of descriptors stays as it is.
    fd::unshare_from(SLOT_FD + 1)?;
    let got = socket::receive(SLOT_FD, &mut [0; 8])?;
    let came = got.count.min(fds.len());
    fds[..came].copy_from_slice(&got.fds[..came]);
    Ok(came)
}

/// The launcher has its groups, session and working folder (`/`) already.
fn take_identity(plan: &Plan) -> Result<(), (u32, Errno)> {
    let header = plan.header();
    let identity = |errno| (Step::IDENTITY, errno);
    process::setuid(header.uid).map_err(identity)?;
    process::capset(header.held, 0).map_err(identity)?;
    match plan.text(header.workdir) {
        dir if dir == c"/" => Ok(()),
        dir => fd::chdir(dir).map_err(|errno| (Step::WORKDIR, errno)),
    }
}

/// From the start to the program.
fn execute(plan: &Plan, start: &Start, data: &mut [u8; INLINE_MAX], fds: &[Fd]) -> ! {
    let count = (start.fds as usize).min(START_FDS_MAX).min(fds.len());
    let data = if start.data_in_memfd == 1 {
        map_data(plan, fds.last().copied().unwrap_or(-1), start.length as usize)
    } else {
        data.as_mut_ptr()
    };
    let tell = (start.tell_exec == 1).then(|| fds.get(count).copied().unwrap_or(-1));
    let tell = match place(&fds[..count], &start.targets[..count], tell) {
        Ok(tell) => tell,
        Err(errno) => tell_and_give_up(plan, tell, Step::DESCRIPTOR, errno),
    };
    // SAFETY: the host laid the data out: a text at each offset.
    let text = |offset: u64| unsafe { CStr::from_ptr(data.add(offset as usize).cast()) };
    if start.workdir != 0 {
        if let Err(errno) = fd::chdir(text(u64::from(start.workdir))) {
            tell_and_give_up(plan, tell, Step::WORKDIR, errno);
        }
    }
    let argv = relocate(data, start.argv);
    let envp = relocate(data, start.envp);
    let mut why = Errno::NOENT;
    // SAFETY: a table of offsets that ends with 0, 8 bytes aligned.
    let mut path = unsafe { data.add(start.paths as usize).cast::<u64>() };
    // SAFETY: within that table.
    while unsafe { *path } != 0 {
        // SAFETY: as above; argv and envp are null-ended.
        let errno = unsafe { process::execve(text(*path), argv, envp) };
        match errno {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCES => why = errno,
            _ => tell_and_give_up(plan, tell, Step::EXEC, errno),
        }
        // SAFETY: the table ends with 0, at which the loop stops.
        path = unsafe { path.add(1) };
    }
    tell_and_give_up(plan, tell, Step::EXEC, why)
}

fn tell_and_give_up(plan: &Plan, tell: Option<Fd>, step: u32, errno: Errno) -> ! {
    if let Some(tell) = tell {
        let word = (u64::from(step) << 32 | errno.0 as u64).to_ne_bytes();
        let _ = fd::write(tell, &word);
    }
    give_up(plan, step, errno)
}

fn map_data(plan: &Plan, memfd: Fd, length: usize) -> *mut u8 {
    match memory::map_private(memfd, length) {
        Ok(data) => data,
        Err(errno) => give_up(plan, Step::RECEIVE, errno),
    }
}

/// Turns a null-ended table of offsets into pointers.
fn relocate(data: *mut u8, table: u32) -> *const *const u8 {
    // SAFETY: the host laid out a table there, 8 bytes aligned, that ends with 0.
    let mut entry = unsafe { data.add(table as usize).cast::<u64>() };
    let pointers = entry.cast_const().cast();
    // SAFETY: as above; every offset lies in the data.
    unsafe {
        while *entry != 0 {
            *entry += data as u64;
            entry = entry.add(1);
        }
    }
    pointers
}

/// Puts every descriptor on its number; all others are close-on-exec. Returns where the one
/// that is told of a failed exec is now.
fn place(fds: &[Fd], targets: &[i32], tell: Option<Fd>) -> leanbox_sys::Result<Option<Fd>> {
    /// Above every target.
    const ASIDE: Fd = 512;
    if targets.iter().all(|target| *target < SLOT_FD) {
        // Descriptors come in above the standard streams, so none is overwritten.
        for (from, target) in fds.iter().zip(targets) {
            fd::dup_to(*from, *target, false)?;
        }
        return Ok(tell);
    }
    let mut aside = [-1; START_FDS_MAX];
    for (from, place) in fds.iter().zip(aside.iter_mut()) {
        *place = fd::dup_above(*from, ASIDE)?;
    }
    let tell = tell.map(|tell| fd::dup_above(tell, ASIDE)).transpose()?;
    for (from, target) in aside.iter().zip(targets) {
        fd::dup_to(*from, *target, false)?;
    }
    Ok(tell)
}
