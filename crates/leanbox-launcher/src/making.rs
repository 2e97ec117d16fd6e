//! Making a slot from within: the plan's operations, one after the other, by its launcher or by
//! the process that keeps the fork mode's namespaces.
//!
//! In: the plan and the descriptors that came with the request. Out: the slot as the plan has it,
//! and what was opened for the host. Never: decides anything.

use crate::launcher::report;
use crate::nets;
use crate::wire::{Kind, LAUNCHER_ID, Op, OpKind, Plan, Report, SLOT_FD, Step};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU32, Ordering};
use leanbox_sys::mount::{self, FsOption, Reach};
use leanbox_sys::process::{self, pr};
use leanbox_sys::{AT_FDCWD, Errno, Fd, fd, landlock, seccomp, socket, sync, terminal};

/// The most descriptors a launcher opens for the host.
const FOR_HOST_MAX: usize = 8;
/// The most groups it joins: one for each hierarchy of v1.
const GROUPS_MAX: usize = 16;

/// The groups to join.
struct Groups {
    fds: [Fd; GROUPS_MAX],
    count: usize,
}

/// What a launcher was born with.
pub(crate) struct Making<'a> {
    plan: Plan,
    cold: bool,
    groups: Groups,
    trees: &'a [Fd],
    turn: Option<(&'static AtomicU32, u32)>,
    for_host: [Fd; FOR_HOST_MAX],
    opened: usize,
    terminal: Option<Fd>,
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
    /// Of nothing but the plan and its trees.
    pub(crate) fn new(plan: Plan, trees: &'a [Fd]) -> Self {
        let groups = Groups { fds: [-1; GROUPS_MAX], count: 0 };
        Self {
            plan,
            cold: false,
            groups,
            trees,
            turn: None,
            for_host: [-1; FOR_HOST_MAX],
            opened: 0,
            terminal: None,
        }
    }

    /// Of a slot: with its groups, and what tells that its ids are mapped.
    pub(crate) fn slot(
        plan: Plan,
        trees: &'a [Fd],
        groups: &[Fd],
        turn: (&'static AtomicU32, u32),
        cold: bool,
    ) -> Self {
        let mut making = Self { cold, turn: Some(turn), ..Self::new(plan, trees) };
        making.groups.take(groups);
        making
    }

    /// What was opened for the host.
    pub(crate) fn for_host(&self) -> &[Fd] {
        &self.for_host[..self.opened]
    }

    /// The slave of the terminal that was made for the container.
    pub(crate) fn terminal(&self) -> Option<Fd> {
        self.terminal
    }

    /// All operations in order; what the host wants opened comes last, when all else is closed.
    pub(crate) fn carry_out(&mut self, ops: &[Op]) -> Result<(), (u32, Errno)> {
        let for_host =
            |op: &&Op| [OpKind::OpenForHost, OpKind::Terminal].iter().any(|k| *k as u32 == op.kind);
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

    pub(crate) fn one(&mut self, op: &Op) -> leanbox_sys::Result<()> {
        type CarryOut = fn(&mut Making<'_>, &Op) -> leanbox_sys::Result<()>;
        const KINDS: [(OpKind, CarryOut); 21] = [
            (OpKind::AttachTree, |making, op| {
                let tree = *making.trees.get(op.number as usize).ok_or(Errno::INVAL)?;
                making.attach(op, tree, op.text)
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
            (OpKind::Move, |making, op| {
                mount::relocate(making.text(op.text), making.text(op.text2))
            }),
            (OpKind::ReadOnly, |making, op| {
                unless_missing(read_only(making.text(op.text), op.number))
            }),
            (OpKind::LoopbackUp, |_, _| nets::set_up_fresh()),
            (OpKind::AwaitWarming, |making, _| making.await_warming()),
            (OpKind::JoinGroups, |making, _| making.groups.join()),
            (OpKind::Unshare, |_, op| process::unshare(op.number)),
            (OpKind::Rlimit, |_, op| process::set_limit(op.number as u32, op.extra)),
            (OpKind::AwaitIds, |making, _| making.await_ids()),
            (OpKind::EnsureFile, |making, op| {
                let flags = fd::O_CREAT | fd::O_EXCL | fd::O_RDONLY | fd::O_CLOEXEC;
                making.ensure(op, |dir, name| fd::openat(dir, name, flags, 0o644).map(fd::close))
            }),
            (OpKind::EnsureDir, |making, op| {
                making.ensure(op, |dir, name| fd::mkdirat(dir, name, 0o755))
            }),
            (OpKind::DropBounding, |_, op| drop_bounding(op.number)),
            (OpKind::BecomeLauncher, |making, op| become_launcher(&making.plan, op.number)),
            (OpKind::Filter, |making, op| {
                let filter = making.plan.table::<u64>(making.plan.header().filter);
                // SAFETY: the plan's filter table holds struct sock_filter, 8 bytes each.
                unsafe {
                    seccomp::set_filter(filter.as_ptr().cast(), filter.len() as u16, op.number)
                }
            }),
            (OpKind::ScopeSockets, |_, _| landlock::scope_abstract_sockets()),
            (OpKind::OpenForHost, |making, op| {
                let flags = op.number as i32 | fd::O_CLOEXEC;
                let opened = fd::open(making.text(op.text), flags)?;
                making.keep_for_host(opened)
            }),
            (OpKind::Terminal, |making, op| {
                let (master, slave) = terminal::new_pair(making.text(op.text))?;
                making.terminal = Some(slave);
                making.keep_for_host(master)
            }),
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
        let attached = self.attach(op, made, op.extra as u32);
        fd::close(made);
        attached
    }

    /// Attaches what is mounted nowhere at the text's place. Where that was asked for by somebody
    /// who knows nothing of the root's links, and may be below what others write to, it is looked up
    /// once, inside, and mounted on what was found: no link and no swap of a folder leads the mount
    /// elsewhere (CVE-2021-30465), or over a part of `/proc` (CVE-2023-27561).
    fn attach(&self, op: &Op, tree: Fd, place: u32) -> leanbox_sys::Result<()> {
        const PROC_SUPER_MAGIC: u64 = 0x9fa0;
        if op.inside == 0 {
            return mount::attach(tree, self.text(place));
        }
        let found = fd::open_inside(self.text(place), false)?;
        let attached = match fd::filesystem_of(found) {
            Ok(PROC_SUPER_MAGIC) => Err(Errno::PERM),
            Ok(_) => mount::attach_at(tree, found),
            Err(errno) => Err(errno),
        };
        fd::close(found);
        attached
    }

    /// Makes a mount point: on the root itself, or with `inside` also in what is mounted on it. Else
    /// that is left as it is, and has the mount point or lacks it.
    fn ensure(
        &self,
        op: &Op,
        make: impl Fn(Fd, &CStr) -> leanbox_sys::Result<()>,
    ) -> leanbox_sys::Result<()> {
        let folder = match fd::open_inside(self.text(op.text), op.inside == 0) {
            Err(Errno::XDEV) => return Ok(()),
            other => other?,
        };
        let made = make(folder, self.text(op.text2));
        fd::close(folder);
        match made {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
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
        let got = socket::receive(SLOT_FD, &mut [0; 8])?.whole()?;
        if got.length == 0 {
            process::exit(0);
        }
        self.groups.take(&got.fds[..got.count]);
        Ok(())
    }

    fn keep_for_host(&mut self, opened: Fd) -> leanbox_sys::Result<()> {
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
/// are bound from it out of sight; move_mount(2) does not. What is mounted below comes along: the
/// host's devices, where none can be made.
fn bind_on_no_link(source: &CStr, target: &CStr) -> leanbox_sys::Result<()> {
    let tree = mount::clone_tree(AT_FDCWD, source, Reach::Tree)?;
    let attached = mount::attach(tree, target);
    fd::close(tree);
    attached
}

/// Of a path in a file system that is the slot's own, where no image has a link.
fn read_only(path: &CStr, attributes: u64) -> leanbox_sys::Result<()> {
    mount::mount(path, path, mount::MS_BIND)?;
    mount::set_attributes(path, attributes | mount::ATTR_RDONLY)
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
