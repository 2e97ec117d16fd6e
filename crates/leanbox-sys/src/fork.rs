//! The fork that returns twice with the child inside: one clone, one write per v1 hierarchy, one
//! setns. All of it is inlined into its caller: each page of code that a forked child touches is
//! mapped anew, with fifteen neighbours, and unmapped at its end (90 -> 81 us p50).

use crate::process::{self, CLONE_INTO_CGROUP, CloneArgs, SIGCHLD};
use crate::{Fd, Result, fd};

/// What a forked child enters.
#[derive(Debug, Clone, Copy)]
pub struct Inside<'a> {
    /// The v2 group to be born in.
    pub group: Option<Fd>,
    /// A `tasks` file in each v1 hierarchy to join.
    pub tasks: &'a [Fd],
    /// A pidfd of the process whose namespaces these are.
    pub process: Fd,
    /// Which of them: `CLONE_NEW*`.
    pub namespaces: u64,
}

/// Forks into `inside`: 0 in the child, which ends with 125 where it cannot enter. Its end sends
/// SIGCHLD.
///
/// # Safety
/// As for [`fork3`](process::fork3).
///
/// # Errors
/// clone3(2) failed.
#[inline(always)]
pub unsafe fn fork_into(inside: &Inside<'_>) -> Result<i32> {
    let mut args = CloneArgs { exit_signal: SIGCHLD as u64, ..CloneArgs::default() };
    if let Some(group) = inside.group {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group as u64;
    }
    // On the stack: a constant's page would have to be mapped into the child first.
    let zero = core::hint::black_box([b'0']);
    // SAFETY: no CLONE_VM; the caller answers for what the child does.
    let pid = unsafe { process::fork3(&args) }?;
    if pid == 0 {
        let entered = inside
            .tasks
            .iter()
            .try_for_each(|tasks| fd::write(*tasks, &zero).map(drop))
            .and_then(|()| process::setns(inside.process, inside.namespaces));
        if entered.is_err() {
            process::exit(125);
        }
    }
    Ok(pid)
}
