//! The launcher: pid 1 of a slot. It carries out the plan's operations and parks the container;
//! then, in a slot that serves again, does so once more when the host says so in their mailbox.
//! Where the kernel does not tell the host of an end (before Linux 6.15), it reports what it
//! parked, reaps it and reports the end. It takes orders from the host only, and holds the
//! capabilities that parking a container needs and those that the container has.

use crate::container::{self, Parked};
use crate::crowd;
use crate::pages;
use crate::wire::{
    Kind, LAUNCHER_ID, MAILBOX_BYTES, MAILBOXES_FD, Mailbox, Op, OpKind, Park, Plan, Report,
    Request, SLOT_FD, Step, TREES_MAX, bytes_of,
};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};
use leanbox_sys::mount::{self, FsOption};
use leanbox_sys::process::{self, pr};
use leanbox_sys::{AT_FDCWD, Errno, Fd, fd, memory, socket, sync};

/// The most descriptors a launcher opens for the host.
const FOR_HOST_MAX: usize = 8;
/// The most groups it joins: one for each hierarchy of v1.
const GROUPS_MAX: usize = 16;

/// The groups to join.
struct Groups {
    fds: [Fd; GROUPS_MAX],
    count: usize,
}

/// How long a container may take to park: it is scheduled like any process.
const PARK_PATIENCE_MS: u64 = 1000;

/// What a launcher was born with.
struct Making<'a> {
    plan: Plan,
    cold: bool,
    groups: Groups,
    trees: &'a [Fd],
    turn: Option<(&'static AtomicU32, u32)>,
    for_host: [Fd; FOR_HOST_MAX],
    opened: usize,
}

/// Becomes the launcher of a slot. `turn`: the word to wait on, and from which value on this
/// slot's ids are mapped.
pub(crate) fn main(
    plan: Plan,
    socket: Fd,
    groups: &[Fd],
    trees: &[Fd],
    turn: (&'static AtomicU32, u32),
    request: Request,
) -> ! {
    let mut making =
        Making { cold: request.cold == 1, turn: Some(turn), ..Making::new(plan, trees) };
    making.groups.take(groups);
    take_socket(socket);
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
    serve(plan, mailbox, &making.for_host[..making.opened])
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
    let _ = report(Report { kind: Kind::Ready as u32, ..Report::default() }, &[]);
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
    let _ = report(Report { kind: Kind::Ready as u32, ..Report::default() }, &[]);
    let _ = socket::receive(SLOT_FD, &mut [0; 8]);
    process::exit(0)
}

/// Puts the slot's socket on its number, which was the keeper's socket's.
fn take_socket(socket: Fd) {
    let _ = process::prctl(pr::SET_NAME, c"leanbox-init".as_ptr() as usize, 0);
    if fd::dup_to(socket, SLOT_FD, true).is_err() {
        process::exit(1);
    }
}

pub(crate) fn report(report: Report, fds: &[Fd]) -> leanbox_sys::Result<()> {
    socket::send(SLOT_FD, bytes_of(&report), fds)
}

pub(crate) fn fail(step: u32, errno: Errno) -> ! {
    let _ = report(Report { kind: Kind::Failed as u32, step, errno: errno.0, status: 0 }, &[]);
    process::exit(1)
}

/// The options of a file system in the plan: `key\0value\0…\0`.
pub(crate) fn options(plan: &Plan, mut offset: u32) -> impl Iterator<Item = FsOption<'_>> {
    core::iter::from_fn(move || {
        let key = plan.text(offset);
        if key.is_empty() {
            return None;
        }
        offset += key.count_bytes() as u32 + 1;
        let value = plan.text(offset);
        offset += value.count_bytes() as u32 + 1;
        Some(FsOption { key, value })
    })
}

impl Groups {
    fn take(&mut self, fds: &[Fd]) {
        self.count = fds.len().min(GROUPS_MAX);
        self.fds[..self.count].copy_from_slice(&fds[..self.count]);
    }

    fn join(&self) -> leanbox_sys::Result<()> {
        self.fds[..self.count].iter().try_for_each(|group| fd::write(*group, b"0").map(drop))
    }
}

impl<'a> Making<'a> {
    fn new(plan: Plan, trees: &'a [Fd]) -> Self {
        let groups = Groups { fds: [-1; GROUPS_MAX], count: 0 };
        Self {
            plan,
            cold: false,
            groups,
            trees,
            turn: None,
            for_host: [-1; FOR_HOST_MAX],
            opened: 0,
        }
    }

    /// All operations in order; what the host wants opened comes last, when all else is closed.
    fn carry_out(&mut self, ops: &[Op]) -> Result<(), (u32, Errno)> {
        let for_host = |op: &&Op| op.kind == OpKind::OpenForHost as u32;
        let step = |index: usize, errno| (Step::FIRST_OP + index as u32, errno);
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| !for_host(op)) {
            self.one(op).map_err(|errno| step(index, errno))?;
        }
        fd::close_from(SLOT_FD + 1).map_err(|errno| step(0, errno))?;
        for (index, op) in ops.iter().enumerate().filter(|(_, op)| for_host(op)) {
            self.one(op).map_err(|errno| step(index, errno))?;
        }
        process::prctl(pr::SET_DUMPABLE, 0, 0).map(drop).map_err(|errno| step(0, errno))
    }

    fn one(&mut self, op: &Op) -> leanbox_sys::Result<()> {
        type CarryOut = fn(&mut Making<'_>, &Op) -> leanbox_sys::Result<()>;
        const KINDS: [(OpKind, CarryOut); 18] = [
            (OpKind::AttachTree, |making, op| {
                let tree = *making.trees.get(op.number as usize).ok_or(Errno::INVAL)?;
                mount::attach(tree, making.text(op.text))
            }),
            (OpKind::Chdir, |making, op| fd::chdir(making.text(op.text))),
            (OpKind::Pivot, |_, _| mount::pivot_here()),
            (OpKind::Filesystem, |making, op| making.filesystem(op)),
            (OpKind::Bind, |making, op| {
                let (source, target) = (making.text(op.text), making.text(op.text2));
                if op.number == 1 {
                    unless_missing(mount::mount(source, target, mount::MS_BIND))
                } else {
                    bind_on_no_link(source, target)
                }
            }),
            (OpKind::ReadOnly, |making, op| unless_missing(read_only(making.text(op.text)))),
            (OpKind::LoopbackUp, |_, _| socket::loopback_up()),
            (OpKind::AwaitWarming, |making, _| making.await_warming()),
            (OpKind::JoinGroups, |making, _| making.groups.join()),
            (OpKind::Unshare, |_, op| process::unshare(op.number)),
            (OpKind::Rlimit, |_, op| process::set_limit(op.number as u32, op.extra)),
            (OpKind::AwaitIds, |making, _| making.await_ids()),
            (OpKind::EnsureFile, |making, op| {
                let flags = fd::O_CREAT | fd::O_RDONLY | fd::O_CLOEXEC;
                fd::openat(AT_FDCWD, making.text(op.text), flags, 0o644).map(fd::close)
            }),
            (OpKind::EnsureDir, |making, op| {
                match fd::mkdirat(AT_FDCWD, making.text(op.text), 0o755) {
                    Err(Errno::EXIST) => Ok(()),
                    made => made,
                }
            }),
            (OpKind::DropBounding, |_, op| drop_bounding(op.number)),
            (OpKind::BecomeLauncher, |making, op| become_launcher(&making.plan, op.number)),
            (OpKind::Filter, |making, _| {
                let filter = making.plan.table::<u64>(making.plan.header().filter);
                // SAFETY: the plan's filter table holds struct sock_filter, 8 bytes each.
                unsafe { process::set_filter(filter.as_ptr().cast(), filter.len() as u16) }
            }),
            (OpKind::OpenForHost, |making, op| making.open_for_host(op)),
        ];
        let (_, carry_out) =
            KINDS.iter().find(|(kind, _)| *kind as u32 == op.kind).ok_or(Errno::NOSYS)?;
        carry_out(self, op)
    }

    fn text(&self, offset: u32) -> &'static CStr {
        let text = self.plan.text(offset);
        // SAFETY: the plan stays mapped for the whole life of the process.
        unsafe { CStr::from_ptr(text.as_ptr()) }
    }

    fn filesystem(&self, op: &Op) -> leanbox_sys::Result<()> {
        let options = options(&self.plan, op.text2);
        let made = mount::new_filesystem(self.text(op.text), options, op.number)?;
        let attached = mount::attach(made, self.text(op.extra as u32));
        fd::close(made);
        attached
    }

    fn await_ids(&self) -> leanbox_sys::Result<()> {
        if let Some((word, turn)) = self.turn {
            // The keeper needs microseconds; one that is gone takes this process along.
            loop {
                let seen = word.load(Ordering::Acquire);
                if seen >= turn {
                    break;
                }
                sync::wait_while(word, seen, 1000);
            }
        }
        process::setgroups(&[])?;
        process::setgid(0)?;
        process::setuid(0)
    }

    fn await_warming(&mut self) -> leanbox_sys::Result<()> {
        if !self.cold {
            return Ok(());
        }
        report(Report { kind: Kind::Cold as u32, ..Report::default() }, &[])?;
        let got = socket::receive(SLOT_FD, &mut [0; 8])?;
        if got.length == 0 {
            process::exit(0);
        }
        self.groups.take(&got.fds[..got.count]);
        Ok(())
    }

    fn open_for_host(&mut self, op: &Op) -> leanbox_sys::Result<()> {
        let flags = op.number as i32 | fd::O_CLOEXEC;
        let opened = fd::open(self.text(op.text), flags)?;
        *self.for_host.get_mut(self.opened).ok_or(Errno::INVAL)? = opened;
        self.opened += 1;
        Ok(())
    }
}

/// A kernel without that file has nothing to hide there.
fn unless_missing(result: leanbox_sys::Result<()>) -> leanbox_sys::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// mount(2) would follow a link that an image has there, and leave `/dev` and the masks that
/// are bound from it out of sight; move_mount(2) does not.
fn bind_on_no_link(source: &CStr, target: &CStr) -> leanbox_sys::Result<()> {
    let tree = mount::clone_tree(AT_FDCWD, source)?;
    let attached = mount::attach(tree, target);
    fd::close(tree);
    attached
}

fn read_only(path: &CStr) -> leanbox_sys::Result<()> {
    let tree = mount::clone_tree(AT_FDCWD, path)?;
    mount::set_attributes(tree, mount::ATTR_RDONLY, None)?;
    let attached = mount::attach(tree, path);
    fd::close(tree);
    attached
}

fn drop_bounding(keep: u64) -> leanbox_sys::Result<()> {
    for capability in (0..64usize).filter(|number| keep >> number & 1 == 0) {
        match process::prctl(pr::CAPBSET_DROP, capability, 0) {
            // The kernel's last capability is behind us.
            Err(Errno::INVAL) => break,
            other => other?,
        };
    }
    Ok(())
}

/// A user of its own, and the groups of the container, which so has nothing to do about them.
fn become_launcher(plan: &Plan, held: u64) -> leanbox_sys::Result<()> {
    const SET_KEEPCAPS: i32 = 8;
    process::prctl(SET_KEEPCAPS, 1, 0)?;
    process::setgroups(plan.table(plan.header().groups))?;
    process::setgid(plan.header().gid)?;
    process::setuid(LAUNCHER_ID)?;
    process::capset(held, 0)
}

/// Parks a container, and in a slot that serves again the next ones.
fn serve(plan: Plan, mailbox: *mut Mailbox, for_host: &[Fd]) -> ! {
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
        let _ = report(Report { kind: Kind::Opened as u32, ..Report::default() }, for_host);
        for_host.iter().copied().for_each(fd::close);
    }
    loop {
        match container::park(plan, mailbox) {
            Ok(parked) if reports => report_both(parked),
            Ok(_) => {}
            Err(errno) => fail(Step::PARK, errno),
        }
        // SAFETY: the mailbox is mapped as long as the process lives.
        await_order(unsafe { &(*mailbox).order });
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
    let ended = await_end(parked.pid);
    let _ = report(ended, &[]);
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
        match process::wait(-1, process::WALL) {
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
fn await_order(order: &AtomicU32) {
    loop {
        // One that was killed before it had parked can tell nobody.
        let patience_ms = if container::has_parked() { 3_600_000 } else { PARK_PATIENCE_MS };
        sync::wait_while(order, 0, patience_ms);
        match order.swap(0, Ordering::Acquire) {
            0 if container::has_parked() => {}
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
