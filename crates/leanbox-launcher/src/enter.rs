//! A second program in a slot. The keeper clones an usher, from outside and not through the
//! launcher, which is not trusted; the usher joins the slot's groups and namespaces and clones the
//! newcomer, which becomes its user, takes the plan's limits and filter, and then waits for its
//! start like a parked container.
//!
//! The slot may be hostile. Until its exec the newcomer cannot be traced or looked into from inside:
//! it is not dumpable, and its memory is the keeper's, over which nobody inside has a capability.
//! It has no descriptor but its socket. The usher is in no pid namespace of the slot's, but in its
//! groups, so it may be starved, frozen or killed there; nobody waits for it without a bound.

use crate::container;
use crate::launcher::{fail, null_streams, report, take_socket};
use crate::making::Making;
use crate::wire::{
    ENTRY_GROUPS_MAX, Entry, Kind, Op, OpKind, Plan, Report, Request, SLOT_FD, Step, message_of,
};
use core::sync::atomic::AtomicU32;
use leanbox_sys::process::{self, CloneArgs, pr};
use leanbox_sys::{Errno, Fd, fd, memory, socket};

/// Of the operations that make a slot those that make a process; in the place of becoming the
/// launcher's user it becomes its own.
const OF_A_PROCESS: [OpKind; 4] =
    [OpKind::Rlimit, OpKind::DropBounding, OpKind::ScopeSockets, OpKind::Filter];

/// Clones an usher, born in the slot's group on v2; the keeper goes on. Descriptors as
/// [`Ask::Enter`](crate::wire::Ask) has them.
pub(crate) fn bring(
    plan: Plan,
    mapped: &'static AtomicU32,
    request: Request,
    fds: &[Fd],
) -> Result<(i32, Fd), (u32, Errno)> {
    let [socket, launcher, groups @ ..] = fds else { return Err((Step::ENTER, Errno::INVAL)) };
    let (mut pidfd, mut groups) = (-1, groups);
    let mut args = CloneArgs::with_pidfd(0, &mut pidfd);
    if let Some((into, rest)) = groups.split_first().filter(|_| request.into_group == 1) {
        args.flags |= process::CLONE_INTO_CGROUP;
        args.cgroup = *into as u64;
        groups = rest;
    }
    // SAFETY: one thread; the child goes its own way at once and never returns.
    let pid = unsafe { process::fork3(&args) }.map_err(|errno| (Step::CLONE, errno))?;
    if pid == 0 {
        take_socket(*socket);
        // SAFETY: only who makes slots looks at it.
        unsafe { memory::unmap(mapped.as_ptr().cast(), 4096) };
        if let Err((step, errno)) = usher(plan, *launcher, groups) {
            fail(step, errno);
        }
        process::exit(0);
    }
    Ok((pid, pidfd))
}

/// Enters, clones the newcomer and hands its pidfd to the host. Where the kernel does not tell how
/// a process ended (before Linux 6.15), it stays to reap and report.
#[inline(never)]
fn usher(plan: Plan, launcher: Fd, groups: &[Fd]) -> Result<(), (u32, Errno)> {
    let step = |step| move |errno| (step, errno);
    let _ = process::prctl(pr::SET_NAME, c"leanbox-enter".as_ptr() as usize, 0);
    let mut bytes = [0; size_of::<Entry>()];
    let got = socket::receive(SLOT_FD, &mut bytes).map_err(step(Step::RECEIVE))?;
    let entry = message_of::<Entry>(&bytes[..got.length]).ok_or((Step::RECEIVE, Errno::INVAL))?;
    groups
        .iter()
        .try_for_each(|group| fd::write(*group, b"0").map(drop))
        .map_err(step(Step::JOIN))?;
    let given = if plan.header().given_net == 1 { process::CLONE_NEWNET } else { 0 };
    let all = plan.header().namespaces | process::CLONE_NEWUSER | process::CLONE_NEWCGROUP | given;
    process::setns(launcher, all).map_err(step(Step::ENTER))?;
    // Nothing of the host's or the keeper's goes on from here.
    fd::close_from(SLOT_FD + 1).map_err(step(Step::DESCRIPTOR))?;
    let reports = plan.header().reports_end == 1;
    process::set_signal(process::SIGCHLD, false).map_err(step(Step::PARK))?;
    let mut pidfd: Fd = -1;
    let mut args = CloneArgs::with_pidfd(0, &mut pidfd);
    if !reports {
        // The keeper keeps no ended children, and the launcher is not to be its parent.
        args.flags |= process::CLONE_PARENT;
        args.exit_signal = 0;
    }
    // SAFETY: as in `bring`.
    let pid = unsafe { process::fork3(&args) }.map_err(step(Step::PARK))?;
    if pid == 0 {
        match become_itself(plan, &entry) {
            Ok(()) => container::execute_alone(plan, entry.terminal == 1),
            Err((step, errno)) => fail(step, errno),
        }
    }
    let ready = Report { kind: Kind::Ready as u32, ..Report::default() };
    if report(ready, &[pidfd]).is_err() {
        // The host has given up; the newcomer sees the same.
        return Ok(());
    }
    if reports {
        fd::close(pidfd);
        let status = process::wait(pid, process::WALL).map_or(process::SIGKILL, |ended| ended.1);
        let _ = report(Report { kind: Kind::Ended as u32, status, ..Report::default() }, &[]);
    }
    Ok(())
}

/// All that a container gets from its launcher and by itself, in the same order.
fn become_itself(plan: Plan, entry: &Entry) -> Result<(), (u32, Errno)> {
    let _ = process::setsid();
    null_streams().map_err(|errno| (Step::DESCRIPTOR, errno))?;
    let making = &mut Making::new(plan, &[]);
    for (index, op) in plan.table::<Op>(plan.header().slot_ops).iter().enumerate() {
        if op.kind == OpKind::BecomeLauncher as u32 {
            container::take_limits(&plan)?;
            take_identity(plan, entry).map_err(|errno| (Step::IDENTITY, errno))?;
        } else if OF_A_PROCESS.iter().any(|kind| *kind as u32 == op.kind) {
            making.one(op).map_err(|errno| (Step::FIRST_OP + index as u32, errno))?;
        }
    }
    fd::chdir(plan.text(plan.header().workdir)).map_err(|errno| (Step::WORKDIR, errno))
}

fn take_identity(plan: Plan, entry: &Entry) -> leanbox_sys::Result<()> {
    const SET_KEEPCAPS: i32 = 8;
    process::prctl(SET_KEEPCAPS, 1, 0)?;
    process::setgroups(&entry.groups[..(entry.count as usize).min(ENTRY_GROUPS_MAX)])?;
    process::setgid(entry.gid)?;
    process::setuid(entry.uid)?;
    // A change of user may have made it dumpable (proc_sys_fs(5), `suid_dumpable`); while it has
    // every capability of the slot, nobody else in there may trace it.
    process::prctl(pr::SET_DUMPABLE, 0, 0)?;
    process::capset(plan.header().held, 0)
}
