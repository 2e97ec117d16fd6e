//! The birth of a slot: its launcher is cloned into all its namespaces at once, and its ids are
//! mapped.
//!
//! What the kernel counts for each user (inotify instances, message queues, pending signals,
//! namespaces) it counts in a user namespace, and once more for whoever made that: its owner
//! (`inc_ucount`). So every slot's is made by another user, the first of its block; else all
//! slots would have root's 128 inotify instances together, and root none.

use super::{Keeper, Outcome};
use crate::blocks::{write_given_maps, write_id_maps};
use crate::launcher;
use crate::wire::{Request, Step};
use core::sync::atomic::Ordering;
use leanbox_sys::process::{self, CloneArgs, pr};
use leanbox_sys::{Errno, Fd, fd, sync};

/// Becoming oneself again fails for want of memory at most.
const TRIES: u32 = 100;

/// Has capabilities stay with the process whoever its effective user is (capabilities(7),
/// `SECBIT_NO_SETUID_FIXUP`); a new user namespace begins without that. Where it cannot be set the
/// clone has none, and says so if it needs one.
pub(super) fn keep_rights_as_any_user() {
    const NO_SETUID_FIXUP: usize = 1 << 2;
    let _ = process::prctl(pr::SET_SECUREBITS, NO_SETUID_FIXUP, 0);
}

/// Becomes whom the next user namespace belongs to.
fn own_as(user: u32) -> leanbox_sys::Result<()> {
    process::set_effective_user(user)?;
    // A change of user may have undone it (proc_sys_fs(5), `suid_dumpable`).
    process::prctl(pr::SET_DUMPABLE, 0, 0).map(drop)
}

impl Keeper {
    /// The launcher's pid and pidfd.
    pub(super) fn bear(
        &mut self,
        request: Request,
        fds: &[Fd],
        trees: &[Fd],
    ) -> Outcome<(i32, Fd)> {
        let mut pidfd: Fd = -1;
        let header = self.plan.header();
        // With a leased network namespace the keeper is in it already.
        let leased = if header.leases_net == 1 { process::CLONE_NEWNET } else { 0 };
        let namespaces = header.namespaces & !leased;
        let mut args = CloneArgs::with_pidfd(namespaces | process::CLONE_NEWUSER, &mut pidfd);
        let (socket, mut groups) = fds.split_first().ok_or((Step::CLONE, Errno::INVAL))?;
        if let Some((into, rest)) = groups.split_first().filter(|_| request.into_group == 1) {
            args.flags |= process::CLONE_INTO_CGROUP;
            args.cgroup = *into as u64;
            groups = rest;
        }
        self.turn += 1;
        // Where all slots have the same ids, they have the same owner.
        let owner = if header.uid_map == 0 { request.id_base } else { 0 };
        own_as(owner).map_err(|errno| (Step::CLONE, errno))?;
        // SAFETY: one thread; the child goes its own way at once and never returns.
        let born = unsafe { process::fork3(&args) };
        if born != Ok(0) && (0..TRIES).all(|_| own_as(0).is_err()) {
            // Nothing would be its own any more; its end is that of all it made.
            process::exit(1);
        }
        let pid = born.map_err(|errno| (Step::CLONE, errno))?;
        if pid == 0 {
            let turn = (self.mapped, self.turn);
            launcher::main(self.plan, *socket, groups, trees, turn, request);
        }
        let written = match header.uid_map {
            0 => write_id_maps(pid, request.id_base),
            users => write_given_maps(pid, self.plan.text(users), self.plan.text(header.gid_map)),
        };
        self.mapped.store(self.turn, Ordering::Release);
        let _ = sync::wake_all(self.mapped);
        if let Err(errno) = written {
            let _ = process::kill(pid, process::SIGKILL);
            fd::close(pidfd);
            return Err((Step::ID_MAPS, errno));
        }
        Ok((pid, pidfd))
    }
}
