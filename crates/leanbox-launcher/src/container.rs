//! The container before its program: cloned ahead in the launcher's memory, with the
//! identity, session and capabilities it will run with, asleep on the slot's mailbox. A start
//! is one word in it: it wakes, places its descriptors, and executes. Nothing here allocates.

mod alone;
mod itself;

use crate::crowd::Joining;
use crate::wire::{
    Go, INLINE_MAX, Kind, Mailbox, Plan, PlanHeader, Report, SLOT_FD, START_FDS_MAX, Start, Step,
    bytes_of,
};
pub(crate) use alone::execute_alone;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering};
pub(crate) use itself::take_limits;
use itself::{take_identity, take_terminal};
use leanbox_sys::process::{self, CLONE_FILES, CLONE_PIDFD, CLONE_SIGHAND};
use leanbox_sys::{Errno, Fd, fd, memory, socket, sync, terminal};

const STACK_SIZE: usize = 16 * 1024;

/// What one parked container has to itself, from its clone to its exec or end, in the memory of
/// whoever clones it. One of zeroes is one that nobody has had.
#[repr(C, align(16))]
pub(crate) struct Seat {
    stack: UnsafeCell<[u8; STACK_SIZE]>,
    given: UnsafeCell<MaybeUninit<Given>>,
    /// What the container could not do, told through the common memory.
    failed_step: AtomicU32,
    failed_errno: AtomicI32,
    /// 1 when the container is about to sleep on its mailbox (or has given up before).
    parked: AtomicU32,
    /// Not 0 while one in shared namespaces that has given up is on its way out: of whoever never
    /// joined its groups, these do not tell.
    leaving: AtomicU32,
    /// Data of a start that came in a memfd, mapped here: its length, and where.
    data_bytes: AtomicUsize,
    data: AtomicUsize,
}
// SAFETY: a seat has at most one parked container, and whoever clones it stays out of what is no
// atomic while there is one.
unsafe impl Sync for Seat {}

/// That of the one container of a slot.
static OWN: Seat = Seat {
    stack: UnsafeCell::new([0; STACK_SIZE]),
    given: UnsafeCell::new(MaybeUninit::uninit()),
    failed_step: AtomicU32::new(0),
    failed_errno: AtomicI32::new(0),
    parked: AtomicU32::new(0),
    leaving: AtomicU32::new(0),
    data_bytes: AtomicUsize::new(0),
    data: AtomicUsize::new(0),
};

/// What a container is given.
#[derive(Clone, Copy)]
struct Given {
    plan: Plan,
    mailbox: *mut Mailbox,
    seat: &'static Seat,
    /// What one in shared namespaces does for itself, and a launcher has done for its own.
    joining: Option<Joining>,
    /// The slave of its terminal; a second program's is its standard input.
    terminal: Option<Fd>,
    /// A second program in a slot, in memory of its own: it speaks for itself.
    alone: bool,
}

/// A container that was cloned.
pub(crate) struct Parked {
    pub(crate) pid: i32,
    /// Where the launcher reports; else negative.
    pub(crate) pidfd: Fd,
}

/// Clones the next container of a slot.
pub(crate) fn park(
    plan: Plan,
    mailbox: *mut Mailbox,
    terminal: Option<Fd>,
) -> leanbox_sys::Result<Parked> {
    OWN.park(plan, mailbox, None, terminal)
}

/// Whether the slot's container has told that it is ready, or why not.
pub(crate) fn has_parked() -> bool {
    OWN.has_parked()
}

/// Waits until it has.
pub(crate) fn await_parked() {
    OWN.await_parked();
}

/// What it could not do.
pub(crate) fn failure() -> (u32, Errno) {
    OWN.failure()
}

impl Seat {
    /// Clones a container. It takes its identity, says that it is ready and parks: what it did
    /// later would be done within the start that comes at once.
    pub(crate) fn park(
        &'static self,
        plan: Plan,
        mailbox: *mut Mailbox,
        joining: Option<Joining>,
        terminal: Option<Fd>,
    ) -> leanbox_sys::Result<Parked> {
        if !has_left(&self.leaving) {
            return Err(Errno::BUSY);
        }
        self.failed_step.store(Step::NONE, Ordering::Relaxed);
        self.failed_errno.store(0, Ordering::Relaxed);
        self.parked.store(0, Ordering::Relaxed);
        self.unmap_data();
        let mut pidfd: Fd = -1;
        let top = self.stack.get().cast::<u8>().wrapping_add(STACK_SIZE);
        let given = Given { plan, mailbox, seat: self, joining, terminal, alone: false };
        // SAFETY: the last container has ended.
        unsafe { (*self.given.get()).write(given) };
        // SAFETY: the mailbox is mapped as long as the process lives.
        unsafe { &*mailbox }.go.store(0, Ordering::Relaxed);
        let PlanHeader { reports_end, reuse, .. } = *plan.header();
        let pidfd_too = if reports_end == 1 { CLONE_PIDFD } else { 0 };
        // What is shared is neither copied here nor freed at the end; an exec makes its own copy,
        // so in a slot that serves once it would only be later.
        let shared = if reuse == 1 { CLONE_FILES | CLONE_SIGHAND } else { 0 };
        let flags = pidfd_too | shared;
        let given = self.given.get().cast();
        // SAFETY: the seat and the mailbox belong to this one container until it has executed its
        // program or ended.
        let pid = unsafe { process::clone_vm(flags, top, &mut pidfd, run, given) }?;
        Ok(Parked { pid, pidfd })
    }

    fn has_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire) == 1
    }

    /// Waits until the container is ready. One that was killed meanwhile says nothing; the host
    /// sees its end by the pidfd.
    pub(crate) fn await_parked(&self) {
        let mut patience = 10;
        while !self.has_parked() && patience > 0 {
            sync::wait_while(&self.parked, 0, 100);
            patience -= 1;
        }
    }

    /// What the container could not do.
    pub(crate) fn failure(&self) -> (u32, Errno) {
        let errno = Errno(self.failed_errno.load(Ordering::Relaxed));
        (self.failed_step.load(Ordering::Relaxed), errno)
    }

    /// The exec that left our memory left them here.
    fn unmap_data(&self) {
        let length = self.data_bytes.load(Ordering::Relaxed);
        self.data_bytes.store(0, Ordering::Relaxed);
        if length > 0 {
            // SAFETY: the container that had mapped it has ended.
            unsafe { memory::unmap(self.data.load(Ordering::Relaxed) as *mut u8, length) };
        }
    }
}

/// Whether the word is 0, or the kernel clears it in time, since whoever it stands for has left.
pub(crate) fn has_left(word: &AtomicU32) -> bool {
    const PATIENCE_MS: u64 = 1000;
    if word.load(Ordering::Acquire) != 0 {
        sync::wait_while(word, 1, PATIENCE_MS);
    }
    word.load(Ordering::Acquire) == 0
}

impl Given {
    /// To whoever waits for it: the launcher where it reports, else the host.
    fn tell_parked(&self) -> Result<(), (u32, Errno)> {
        if self.plan.header().reports_end == 0 {
            let ready = Report { kind: Kind::Ready as u32, ..Report::default() };
            socket::send(SLOT_FD, bytes_of(&ready), &[]).map_err(|errno| (Step::TELL, errno))?;
        }
        self.seat.parked.store(1, Ordering::Release);
        if self.plan.header().reports_end == 1 {
            let _ = sync::wake_all(&self.seat.parked);
        }
        Ok(())
    }

    /// Ends with 127, which the host takes for a failure only with this report. Where the launcher
    /// reports the end, it finds the reason in the common memory.
    fn give_up(&self, step: u32, errno: Errno) -> ! {
        if self.joining.is_some() {
            self.seat.leaving.store(1, Ordering::Release);
            sync::clear_when_gone(&self.seat.leaving);
        }
        self.seat.failed_step.store(step, Ordering::Relaxed);
        self.seat.failed_errno.store(errno.0, Ordering::Relaxed);
        if self.alone || self.plan.header().reports_end == 0 {
            let (kind, status) = (Kind::Ended as u32, 127 << 8);
            let report = Report { kind, step, errno: errno.0, status };
            if socket::send(SLOT_FD, bytes_of(&report), &[]).is_err() {
                // One that has not parked: the launcher looks, and tells.
                process::exit(127);
            }
        }
        // After the report: one that never parked is not called ready before the host knows why.
        self.seat.parked.store(1, Ordering::Release);
        let _ = sync::wake_all(&self.seat.parked);
        process::exit(127)
    }

    /// Where other containers run beside it, none of them may stop or alter it while it waits: so
    /// it becomes of their user when it starts.
    fn prepare(&mut self) -> Result<(), (u32, Errno)> {
        match &mut self.joining {
            Some(joining) => joining.carry_out(),
            None => take_identity(&self.plan),
        }?;
        self.terminal.map_or(Ok(()), take_terminal).map_err(|errno| (Step::TERMINAL, errno))
    }
}

extern "C" fn run(given: *mut c_void) -> ! {
    // SAFETY: `park` has written it, and does not before we have ended.
    let mut given = unsafe { given.cast::<Given>().read() };
    if let Err((step, errno)) = given.prepare().and_then(|()| given.tell_parked()) {
        given.give_up(step, errno);
    }
    let go = await_go(given.mailbox);
    if given.joining.is_some() {
        if let Err((step, errno)) = take_identity(&given.plan) {
            given.give_up(step, errno);
        }
    }
    if go == Go::Noop as u32 {
        process::exit(0);
    }
    if go != Go::Exec as u32 {
        given.give_up(Step::RECEIVE, Errno::INVAL);
    }
    // SAFETY: the host has written it, and writes no more until the next container is parked.
    let Mailbox { start, data, .. } = unsafe { &mut *given.mailbox };
    let mut fds = [-1; START_FDS_MAX + 2];
    let came = match receive_fds(start, &mut fds) {
        Ok(came) => came,
        Err(errno) => given.give_up(Step::RECEIVE, errno),
    };
    execute(&given, start, data, &fds[..came])
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
    let got = socket::receive(SLOT_FD, &mut [0; 8])?.whole()?;
    let came = got.count.min(fds.len());
    fds[..came].copy_from_slice(&got.fds[..came]);
    Ok(came)
}

/// From the start to the program.
fn execute(given: &Given, start: &Start, data: &mut [u8; INLINE_MAX], fds: &[Fd]) -> ! {
    let count = (start.fds as usize).min(START_FDS_MAX).min(fds.len());
    let data = if start.data_in_memfd == 1 {
        map_data(given, fds.last().copied().unwrap_or(-1), start.length as usize)
    } else {
        data.as_mut_ptr()
    };
    let tell = (start.tell_exec == 1).then(|| fds.get(count).copied().unwrap_or(-1));
    let tell = match place(&fds[..count], &start.targets[..count], tell) {
        Ok(tell) => tell,
        Err(errno) => tell_and_give_up(given, tell, Step::DESCRIPTOR, errno),
    };
    if let Some(stdin) = given.terminal.filter(|_| given.alone) {
        if let Err(errno) = terminal::make_controlling(stdin) {
            tell_and_give_up(given, tell, Step::TERMINAL, errno);
        }
    }
    // SAFETY: the host laid the data out: a text at each offset.
    let text = |offset: u64| unsafe { CStr::from_ptr(data.add(offset as usize).cast()) };
    if start.workdir != 0 {
        if let Err(errno) = fd::chdir(text(u64::from(start.workdir))) {
            tell_and_give_up(given, tell, Step::WORKDIR, errno);
        }
    }
    if given.alone && fd::is_below_root() != Ok(true) {
        tell_and_give_up(given, tell, Step::WORKDIR, Errno::NOENT);
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
            _ => tell_and_give_up(given, tell, Step::EXEC, errno),
        }
        // SAFETY: the table ends with 0, at which the loop stops.
        path = unsafe { path.add(1) };
    }
    tell_and_give_up(given, tell, Step::EXEC, why)
}

fn tell_and_give_up(given: &Given, tell: Option<Fd>, step: u32, errno: Errno) -> ! {
    if let Some(tell) = tell {
        let word = (u64::from(step) << 32 | errno.0 as u64).to_ne_bytes();
        let _ = fd::write(tell, &word);
    }
    given.give_up(step, errno)
}

fn map_data(given: &Given, memfd: Fd, length: usize) -> *mut u8 {
    match memory::map_private(memfd, length) {
        Ok(data) => {
            given.seat.data.store(data as usize, Ordering::Relaxed);
            given.seat.data_bytes.store(length, Ordering::Relaxed);
            data
        }
        Err(errno) => given.give_up(Step::RECEIVE, errno),
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
