//! The launcher of shared namespaces: pid 1 of all containers of a template. It is in no
//! container's group. On the host's word it clones one more container into its own memory, with a
//! seat and a mailbox of its own, and has no part in that one's start and end. Where the kernel
//! does not tell the host of an end (before Linux 6.15), a waiter beside each container reports it.

use crate::container::{Seat, has_left};
use crate::keeper::PATIENCE;
use crate::launcher::{await_child, fail, null_streams, report, report_end, report_or_end};
use crate::wire::{
    BLOCKS_MAX, Kind, MAILBOX_BYTES, MAILBOXES_FD, Mailbox, Plan, Report, SLOT_FD, Seating, Step,
    bytes_of, message_of,
};
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};
use leanbox_sys::{Errno, Fd, fd, memory, process, socket, sync};

const WAITER_STACK_BYTES: usize = 8 * 1024;
/// Places are mapped so many at a time: few containers, little memory.
const ROW: usize = 64;
const ROWS: usize = BLOCKS_MAX / ROW;

/// What belongs to one place; a fresh mapping of zeroes is one that nobody has had.
#[repr(C, align(4096))]
struct Place {
    waiter_stack: UnsafeCell<[u8; WAITER_STACK_BYTES]>,
    waiting: UnsafeCell<MaybeUninit<Waiting>>,
    /// Not 0 while a waiter is on its stack.
    waited: AtomicU32,
    seat: Seat,
}

/// What a waiter is given.
#[derive(Clone, Copy)]
struct Waiting {
    plan: Plan,
    mailbox: *mut Mailbox,
    joining: Joining,
    place: &'static Place,
}

/// The most groups one joins: one in each hierarchy that limits or counts.
const GROUPS_MAX: usize = 8;

/// The socket of a container in shared namespaces, and what it writes `0` to.
#[derive(Clone, Copy)]
pub(crate) struct Joining {
    socket: Fd,
    groups: [Fd; GROUPS_MAX],
    count: usize,
}

impl Joining {
    /// Of a message's descriptors.
    pub(crate) fn new(fds: &[Fd]) -> leanbox_sys::Result<Self> {
        let (socket, rest) = fds.split_first().ok_or(Errno::INVAL)?;
        let mut groups = [-1; GROUPS_MAX];
        groups.get_mut(..rest.len()).ok_or(Errno::INVAL)?.copy_from_slice(rest);
        Ok(Self { socket: *socket, groups, count: rest.len() })
    }

    /// Puts the socket in the place of that of whoever has cloned us.
    pub(crate) fn take_socket(&mut self) -> leanbox_sys::Result<()> {
        if self.socket != SLOT_FD {
            fd::dup_to(self.socket, SLOT_FD, true)?;
            self.socket = SLOT_FD;
        }
        Ok(())
    }

    /// A session and groups of its own, and none of the descriptors of whoever has cloned us.
    pub(crate) fn carry_out(&mut self) -> Result<(), (u32, Errno)> {
        self.take_socket().map_err(|errno| (Step::DESCRIPTOR, errno))?;
        let _ = process::setsid();
        let groups = &self.groups[..self.count];
        let joined = groups.iter().try_for_each(|group| fd::write(*group, b"0").map(drop));
        joined.map_err(|errno| (Step::JOIN, errno))?;
        fd::close_from(SLOT_FD + 1).map_err(|errno| (Step::DESCRIPTOR, errno))
    }
}

/// The mailboxes of all places. A program has none of them: its exec leaves this memory.
pub(crate) fn map_mailboxes() -> leanbox_sys::Result<*mut Mailbox> {
    let length = BLOCKS_MAX * MAILBOX_BYTES;
    memory::map_shared(memory::ANYWHERE, MAILBOXES_FD, 0, length, true).map(<*mut u8>::cast)
}

/// Clones containers as the host says, until it closes the socket.
pub(crate) fn serve(plan: Plan, mailboxes: *mut Mailbox) -> ! {
    if let Err(errno) = null_streams().and_then(|()| process::keep_no_children()) {
        fail(Step::DESCRIPTOR, errno);
    }
    report_or_end(Report { kind: Kind::Ready as u32, ..Report::default() }, &[]);
    let mut rows = [core::ptr::null_mut(); ROWS];
    let mut patience = PATIENCE;
    loop {
        let mut bytes = [0; size_of::<Seating>()];
        let got = match socket::receive(SLOT_FD, &mut bytes) {
            Ok(got) if got.length > 0 => got,
            Err(_) if patience > 0 => {
                patience -= 1;
                continue;
            }
            _ => process::exit(0),
        };
        patience = PATIENCE;
        let fds = &got.fds[..got.count];
        if let (Some(seating), Some((socket, _))) = (message_of(&bytes), fds.split_first()) {
            let seated = match got.lost {
                true => Err(Errno::MFILE),
                false => seat_one(plan, mailboxes, &mut rows, seating, fds),
            };
            if let Err(errno) = seated {
                let (kind, step) = (Kind::Failed as u32, Step::PARK);
                let failed = Report { kind, step, errno: errno.0, status: 0 };
                let _ = socket::send(*socket, bytes_of(&failed), &[]);
            }
        }
        // The container has its own copies.
        fds.iter().copied().for_each(fd::close);
    }
}

fn seat_one(
    plan: Plan,
    mailboxes: *mut Mailbox,
    rows: &mut [*mut Place; ROWS],
    seating: Seating,
    fds: &[Fd],
) -> leanbox_sys::Result<()> {
    let place = place(rows, seating.place as usize)?;
    let joining = Joining::new(fds)?;
    // SAFETY: `place` has checked the number, and there are as many mailboxes as places.
    let mailbox = unsafe { mailboxes.add(seating.place as usize) };
    if plan.header().reports_end == 0 {
        return place.seat.park(plan, mailbox, Some(joining), None).map(drop);
    }
    if !has_left(&place.waited) {
        return Err(Errno::BUSY);
    }
    place.waited.store(1, Ordering::Release);
    let top = place.waiter_stack.get().cast::<u8>().wrapping_add(WAITER_STACK_BYTES);
    // SAFETY: the last waiter has left.
    unsafe { (*place.waiting.get()).write(Waiting { plan, mailbox, joining, place }) };
    let mut no_pidfd = -1;
    // SAFETY: stack and what it is given are this waiter's until the kernel has cleared `waited`.
    let cloned =
        unsafe { process::clone_vm(0, top, &mut no_pidfd, wait, place.waiting.get().cast()) };
    cloned.map(drop).inspect_err(|_| place.waited.store(0, Ordering::Release))
}

/// Its place, mapped with its row when the first of that row comes. It is never unmapped: whoever
/// has the place next takes it over.
fn place(rows: &mut [*mut Place; ROWS], number: usize) -> leanbox_sys::Result<&'static Place> {
    let row = rows.get_mut(number / ROW).ok_or(Errno::INVAL)?;
    if row.is_null() {
        let length = ROW * size_of::<Place>();
        *row = memory::map_anonymous(memory::ANYWHERE, length, false)?.cast();
    }
    // SAFETY: within the row, which is page-aligned, stays mapped, and began as zeroes.
    Ok(unsafe { &*row.add(number % ROW) })
}

/// A waiter: parks its one container, reports it, reaps it, reports its end. It is in no group,
/// and of the launcher's user, so that nothing inside can end or stop it.
extern "C" fn wait(waiting: *mut c_void) -> ! {
    // SAFETY: `seat_one` has written it, and does not before we have left.
    let Waiting { plan, mailbox, mut joining, place } = unsafe { waiting.cast::<Waiting>().read() };
    sync::clear_when_gone(&place.waited);
    let prepared = joining
        .take_socket()
        .and_then(|()| process::set_signal(process::SIGCHLD, false))
        .and_then(|()| place.seat.park(plan, mailbox, Some(joining), None));
    let parked = match prepared {
        Ok(parked) => parked,
        Err(errno) => fail(Step::PARK, errno),
    };
    place.seat.await_parked();
    let ready = Report { kind: Kind::Ready as u32, ..Report::default() };
    if place.seat.failure().0 == Step::NONE && report(ready, &[parked.pidfd]).is_err() {
        // The host sees that both of us are gone.
        let _ = process::kill(parked.pid, process::SIGKILL);
    }
    let status = await_child(parked.pid).map_or(process::SIGKILL, |ended| ended.1);
    let (step, errno) = place.seat.failure();
    report_end(Report { kind: Kind::Ended as u32, step, errno: errno.0, status });
    process::exit(0)
}
