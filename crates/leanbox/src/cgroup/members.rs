//! The end of all that lives in a group, where no pid namespace of its own takes them along: of
//! containers in shared namespaces.
//!
//! In: the folders of a group. Out: everything in it was killed. Never: waits for it to be gone, or
//! signals a process by a bare pid.

use super::file;
use super::layout::{Hierarchy, Version};
use super::remove::{kill_listed, processes, signal_listed};
use rustix::process::{Pid, Signal};
use std::collections::HashSet;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Each round kills all that the group lists. Once nobody in it may fork, the second finds
/// nobody new; what was forked at that moment takes one more.
const ROUNDS: u32 = 100;

/// Who lives in one group.
#[derive(Debug)]
pub(crate) struct Members {
    /// Of v2, which can kill all at once.
    v2: Option<PathBuf>,
    /// None where there is no group.
    folder: Option<PathBuf>,
    pids_max: Option<PathBuf>,
    may_not_fork: AtomicBool,
}

impl Members {
    /// Of the group that has these folders.
    pub(super) fn of(places: &[Hierarchy]) -> Self {
        let v2 = places.iter().find(|place| place.version == Version::V2);
        let pids = places.iter().find(|place| place.roles.pids);
        Self {
            v2: v2.map(|place| place.folder.clone()),
            folder: pids.or(places.first()).map(|place| place.folder.clone()),
            pids_max: pids.map(|place| place.folder.join("pids.max")),
            may_not_fork: AtomicBool::new(false),
        }
    }

    /// Sends SIGKILL to all of them, at once where the kernel can (v2), else one by one: then
    /// those who fork faster than they are listed may fork no more, and the group is spoiled.
    pub(crate) fn kill(&self) {
        if self.v2.as_ref().is_some_and(|folder| file::kill_at_once(folder)) {
            return;
        }
        let Some(folder) = &self.folder else { return };
        let mut killed = HashSet::new();
        for round in 0..ROUNDS {
            if kill_listed(folder, &mut killed) == 0 {
                return;
            }
            if round == 1 {
                self.forbid_forks();
            }
        }
    }

    /// Sends a signal to all of them but the process of a pidfd; a second look finds what was
    /// forked at the first.
    pub(crate) fn signal(&self, signal: Signal, but: Option<BorrowedFd<'_>>) {
        let mut sent: HashSet<Pid> = but.and_then(pid_of).into_iter().collect();
        for folder in self.folder.iter().cycle().take(2) {
            signal_listed(folder, &mut sent, signal);
        }
    }

    fn forbid_forks(&self) {
        self.may_not_fork.store(true, Ordering::Relaxed);
        if let Some(pids_max) = &self.pids_max {
            // Without it the rounds go on as they did.
            let _ = file::write(pids_max, "0");
        }
    }

    /// Whether there are none but those that have ended, and which nobody has waited for.
    pub(super) fn have_ended(&self) -> bool {
        self.folder.as_ref().is_none_or(|folder| processes(folder).is_empty())
    }

    /// Whether the group serves nobody any more.
    pub(super) fn are_spoiled(&self) -> bool {
        self.may_not_fork.load(Ordering::Relaxed)
    }
}

/// The pid of a pidfd's process as this process sees it (proc_pid_fdinfo(5)); `None` of one that has
/// ended and was waited for, where it says -1.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> Option<Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    Pid::from_raw(number.trim().parse().ok().filter(|pid| *pid > 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, pidfd_open};
    use std::os::fd::AsFd;

    #[test]
    fn one_that_was_waited_for_has_no_pid() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert_eq!(pid_of(pidfd.as_fd()), Some(pid));
        child.wait().unwrap();
        assert_eq!(pid_of(pidfd.as_fd()), None);
    }
}
