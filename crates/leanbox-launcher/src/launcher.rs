//! The launcher: pid 1 of a slot. It carries out the plan's operations (`making`) and parks the container;
//! then, in a slot that serves again, does so once more when the host says so in their mailbox.
//! Where the kernel does not tell the host of an end (before Linux 6.15), it reports what it
//! parked, reaps it and reports the end. It takes orders from the host only, and holds the
//! capabilities that parking a container needs and those that the container has.

use crate::container::{self, Parked};
use crate::crowd;
use crate::keeper::PATIENCE;
use crate::making::Making;
use crate::pages;
use crate::text::Text;
use crate::wire::{
    Kind, MAILBOX_BYTES, MAILBOXES_FD, Mailbox, Park, Plan, Report, Request, SLOT_FD, Step,
    TREES_MAX, bytes_of,
};
use core::sync::atomic::{AtomicU32, Ordering};
use leanbox_sys::mount::{self, Reach};
use leanbox_sys::process::{self, pr};
use leanbox_sys::{AT_FDCWD, Errno, Fd, fd, memory, socket, sync};

/// After how long it is looked whether a container that has not parked is there.
const PARK_PATIENCE_MS: u64 = 1000;

/// Becomes the launcher of a slot. In a frame of its own: the keeper's is on every page of stack
/// that a launcher writes to. `turn`: the word to wait on, and from which value on this slot's ids
/// are mapped.
#[inline(never)]
pub(crate) fn main(
    plan: Plan,
    socket: Fd,
    groups: &[Fd],
    trees: &[Fd],
    turn: (&'static AtomicU32, u32),
    request: Request,
) -> ! {
    take_socket(socket);
    let mut locked = [-1; TREES_MAX];
    let trees = match plan.header().locks_trees {
        1 => match clone_locked(trees.len(), &mut locked) {
            Ok(trees) => trees,
            Err(errno) => fail(Step::TREE, errno),
        },
        _ => trees,
    };
    let mut making = Making::slot(plan, trees, groups, turn, request.cold == 1);
    // The kernel shares the CPUs out to sessions: each slot gets its share.
    let _ = process::setsid();
    let is_shared = plan.header().shared == 1;
    let mapped = if is_shared { crowd::map_mailboxes() } else { map_mailbox(request.place) };
    let mailbox = match mapped {
        Ok(mailbox) => mailbox,
        Err(errno) => fail(Step::RECEIVE, errno),
    };
    let ops = plan.table(plan.header().slot_ops);
    if let Err((step, errno)) = making.carry_out(ops) {
        fail(step, errno);
    }
    // The one page that keeper and launchers write in common: no container's launcher keeps it.
    // SAFETY: it was read for the last time when the ids were awaited.
    unsafe { memory::unmap(turn.0.as_ptr().cast(), 4096) };
    if is_shared {
        crowd::serve(plan, mailbox);
    }
    serve(plan, mailbox, making.for_host(), making.terminal())
}

/// Where a tree is mounted in the keeper.
pub(crate) fn place_of(tree: usize) -> Text {
    Text::new().push(c"/t/").number(tree as u32)
}

/// Copies of the trees that were inherited mounted.
fn clone_locked(count: usize, trees: &mut [Fd; TREES_MAX]) -> leanbox_sys::Result<&[Fd]> {
    let trees = trees.get_mut(..count).ok_or(Errno::INVAL)?;
    for (index, tree) in trees.iter_mut().enumerate() {
        *tree = mount::clone_tree(AT_FDCWD, place_of(index).as_cstr(), Reach::Tree)?;
    }
    Ok(trees)
}

/// The slot's own, and no other's.
fn map_mailbox(place: u32) -> leanbox_sys::Result<*mut Mailbox> {
    let (near, offset) = (pages::near(pages::MAILBOX), place as usize * MAILBOX_BYTES);
    memory::map_shared(near, MAILBOXES_FD, offset, MAILBOX_BYTES, true).map(<*mut u8>::cast)
}

/// Becomes the keeper of the fork mode's cached namespaces, until the host closes the socket.
pub(crate) fn hold(plan: Plan, socket: Fd, trees: &[Fd]) -> ! {
    let mut making = Making::new(plan, trees);
    take_socket(socket);
    let ops = plan.table(plan.header().holder_ops);
    if let Err((step, errno)) = making.carry_out(ops) {
        fail(step, errno);
    }
    report_or_end(Report { kind: Kind::Ready as u32, ..Report::default() }, &[]);
    let _ = socket::receive(SLOT_FD, &mut [0; 8]);
    process::exit(0)
}

/// Sleeps in the groups until the host closes the socket.
pub(crate) fn keep(socket: Fd, groups: &[Fd]) -> ! {
    take_socket(socket);
    if let Err(errno) = groups.iter().try_for_each(|group| fd::write(*group, b"0").map(drop)) {
        fail(Step::FIRST_OP, errno);
    }
    let _ = fd::close_from(SLOT_FD + 1);
    report_or_end(Report { kind: Kind::Ready as u32, ..Report::default() }, &[]);
    let _ = socket::receive(SLOT_FD, &mut [0; 8]);
    process::exit(0)
}

/// Puts the slot's socket on its number, which was the keeper's socket's.
pub(crate) fn take_socket(socket: Fd) {
    let _ = process::prctl(pr::SET_NAME, c"leanbox-init".as_ptr() as usize, 0);
    if fd::dup_to(socket, SLOT_FD, true).is_err() {
        process::exit(1);
    }
}

pub(crate) fn report(report: Report, fds: &[Fd]) -> leanbox_sys::Result<()> {
    socket::send(SLOT_FD, bytes_of(&report), fds)
}

/// For what the host waits for: it sees the end of who cannot tell it.
pub(crate) fn report_or_end(said: Report, fds: &[Fd]) {
    if report(said, fds).is_err() {
        process::exit(1);
    }
}

/// Of an end the host hears from nobody else: what fails once is tried again.
pub(crate) fn report_end(ended: Report) {
    for _ in 0..PATIENCE {
        if report(ended, &[]).is_ok() {
            return;
        }
    }
}

/// Waits for a child of that number, or for any (-1), though that fail once.
pub(crate) fn await_child(pid: i32) -> leanbox_sys::Result<(i32, i32)> {
    for _ in 0..PATIENCE {
        match process::wait(pid, process::WALL) {
            Err(errno) if errno != Errno::CHILD => {}
            known => return known,
        }
    }
    Err(Errno::CHILD)
}

pub(crate) fn fail(step: u32, errno: Errno) -> ! {
    let _ = report(Report { kind: Kind::Failed as u32, step, errno: errno.0, status: 0 }, &[]);
    process::exit(1)
}

/// Parks a container, and in a slot that serves again the next ones.
fn serve(plan: Plan, mailbox: *mut Mailbox, for_host: &[Fd], terminal: Option<Fd>) -> ! {
    let reports = plan.header().reports_end == 1;
    // Where the kernel tells the host how a process ended, nobody needs to be told here.
    let children = || match reports {
        true => process::set_signal(process::SIGCHLD, false),
        false => process::keep_no_children(),
    };
    if let Err(errno) = null_streams().and_then(|()| children()) {
        fail(Step::DESCRIPTOR, errno);
    }
    if !for_host.is_empty() {
        report_or_end(Report { kind: Kind::Opened as u32, ..Report::default() }, for_host);
        for_host.iter().copied().for_each(fd::close);
    }
    loop {
        let parked = container::park(plan, mailbox, terminal);
        // The container's alone, so that the host sees when nobody has it open any more. A slot with
        // a terminal serves once.
        terminal.into_iter().for_each(fd::close);
        let pid = match parked {
            Ok(parked) => {
                let pid = parked.pid;
                if reports {
                    report_both(parked);
                }
                pid
            }
            Err(errno) => fail(Step::PARK, errno),
        };
        // SAFETY: the mailbox is mapped as long as the process lives.
        await_order(unsafe { &(*mailbox).order }, pid);
    }
}

/// The container's beginning and, when it has come, its end.
fn report_both(parked: Parked) {
    container::await_parked();
    let ready = Report { kind: Kind::Ready as u32, ..Report::default() };
    if report(ready, &[parked.pidfd]).is_err() {
        process::exit(0);
    }
    fd::close(parked.pidfd);
    report_end(await_end(parked.pid));
}

/// Standard streams of the slot's own `/dev/null`, for containers that are given none.
pub(crate) fn null_streams() -> leanbox_sys::Result<()> {
    let null = fd::open(c"/dev/null", fd::O_RDWR | fd::O_CLOEXEC)?;
    (0..3).try_for_each(|stream| fd::dup_to(null, stream, false))?;
    fd::close(null);
    Ok(())
}

/// Reaps whatever ends until the container does, and what ended with it.
fn await_end(container: i32) -> Report {
    let status = loop {
        match await_child(-1) {
            Ok((pid, status)) if pid == container => break status,
            Ok(_) => {}
            Err(_) => process::exit(1),
        }
    };
    while process::wait(-1, process::WALL | process::WNOHANG).is_ok_and(|(pid, _)| pid > 0) {}
    let (step, errno) = container::failure();
    Report { kind: Kind::Ended as u32, step, errno: errno.0, status }
}

/// Sleeps until the host has found the slot clean. One that serves once is killed instead, and
/// when the host is gone, all end with the keeper.
fn await_order(order: &AtomicU32, container: i32) {
    loop {
        // One that was killed before it had parked can tell nobody.
        let patience_ms = if container::has_parked() { 3_600_000 } else { PARK_PATIENCE_MS };
        sync::wait_while(order, 0, patience_ms);
        // The host writes no other before the next container has parked. Two plain accesses: a swap
        // would call a library on aarch64.
        let word = order.load(Ordering::Acquire);
        order.store(0, Ordering::Relaxed);
        match word {
            // One that is starved of the CPU is there yet.
            0 if container::has_parked() || process::kill(container, 0) != Err(Errno::SRCH) => {}
            0 => fail(Step::PARK, Errno::CHILD),
            word => {
                if word == Park::Drained as u32 {
                    socket::drain(SLOT_FD);
                }
                return;
            }
        }
    }
}

const _: () = assert!(TREES_MAX <= socket::FDS_MAX, "all trees fit into one message");
