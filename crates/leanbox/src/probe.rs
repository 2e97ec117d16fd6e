//! What this kernel and user can do. Each call that is newer than the oldest kernel can be switched
//! off here (`LEANBOX_WITHOUT=idmap,cgroup_kill`, or `all`), so that its fallback is tested.

use crate::{Error, ErrorKind};
use std::sync::OnceLock;

/// The oldest kernel that leanbox runs on. What it takes for granted: clone3(2) with
/// `CLONE_INTO_CGROUP`, openat2(2), close_range(2), setns(2) by pidfd, fsopen(2) and its like.
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// What is newer, by the name that switches it off, with the kernel that brought it. Without it:
pub const NEWER: [(&str, (u32, u32)); 12] = [
    // ... a volume with mounts below it is refused
    ("mount_setattr", (5, 12)),
    // ... an owner-shifted copy of the root; no writable root (5.19 for that: idmapped overlays)
    ("idmap", (5, 12)),
    // ... SIGKILL to the launcher, or to each member
    ("cgroup_kill", (5, 14)),
    // ... no limit of processes without groups: all of the user's would count
    ("nproc", (5, 14)),
    // ... no peak of memory is told on v2
    ("memory_peak", (5, 19)),
    // ... a group that holds too much memory after its use is replaced
    ("memory_reclaim", (5, 19)),
    // ... memory that is executed is asked for without `MFD_EXEC`
    ("memfd_exec", (6, 3)),
    // ... the layers of an overlay in one option, so fewer of them
    ("overlay_layers", (6, 7)),
    // ... on v2 a slot that has used memory does not serve again, nor does its group
    ("peak_reset", (6, 12)),
    // ... with the host's network its abstract sockets are in reach
    ("landlock_scope", (6, 12)),
    // ... more is looked at to know whether a run left anything
    ("multigrain", (6, 13)),
    // ... the launcher reports the end, and hands over the pidfd (`SO_PASSPIDFD` is 6.5)
    ("pidfd_info", (6, 15)),
];

/// Whether a feature was switched off by `LEANBOX_WITHOUT`.
#[must_use]
pub fn is_off(feature: &str) -> bool {
    static OFF: OnceLock<String> = OnceLock::new();
    let off = OFF.get_or_init(|| std::env::var("LEANBOX_WITHOUT").unwrap_or_default());
    lists(off, feature)
}

fn lists(off: &str, feature: &str) -> bool {
    let is_newer = || NEWER.iter().any(|(name, _)| *name == feature);
    off.split(',').any(|name| name == feature || name == "all" && is_newer())
}

/// Whether a pidfd tells how its process ended (`PIDFD_INFO_EXIT`, Linux 6.15); else the launcher
/// reaps and reports it.
#[must_use]
pub fn kernel_tells_ends() -> bool {
    // By version: a living process's pidfd answers the same before 6.15, and only from 6.19 on the
    // kernel lists what it knows (`PIDFD_INFO_SUPPORTED_MASK`). To clone, reap and ask a child takes
    // 24 µs p50 and 50 to 110 the first time (Linux 6.18), on the way of every cold start.
    static TELLS: OnceLock<bool> = OnceLock::new();
    *TELLS.get_or_init(|| !is_off("pidfd_info") && kernel_version() >= (6, 15))
}

/// Whether attributes of a whole tree of mounts can be set (mount_setattr(2), Linux 5.12).
#[must_use]
pub fn sets_attributes_of_trees() -> bool {
    !is_off("mount_setattr") && kernel_version() >= (5, 12)
}

/// Whether mounts can show other owners (idmapped mounts, Linux 5.12); not on every file system.
pub(crate) fn maps_ids() -> bool {
    !is_off("idmap") && kernel_version() >= (5, 12)
}

/// Whether `RLIMIT_NPROC` counts the processes of a user in each user namespace by themselves
/// (Linux 5.14).
#[must_use]
pub fn counts_processes_by_namespace() -> bool {
    !is_off("nproc") && kernel_version() >= (5, 14)
}

/// Whether every change of a tmpfs folder that was looked at gets a time of its own (multigrain
/// timestamps, Linux 6.13).
#[must_use]
pub fn times_tell_changes() -> bool {
    static TELL: OnceLock<bool> = OnceLock::new();
    *TELL.get_or_init(|| !is_off("multigrain") && kernel_version() >= (6, 13))
}

/// Whether a slot in the network of others can be kept from their abstract sockets (landlock(7),
/// version 6, Linux 6.12). A kernel may have been built, or begun, without.
#[must_use]
pub fn scopes_sockets() -> bool {
    static SCOPES: OnceLock<bool> = OnceLock::new();
    let version = || leanbox_sys::landlock::version().unwrap_or(0);
    *SCOPES.get_or_init(|| !is_off("landlock_scope") && version() >= 6)
}

/// What failed on a kernel that is too old failed for that, whatever call met it first. Asked only
/// when something has failed.
pub(crate) fn blame_old_kernel(error: Error) -> Error {
    blame_if_old(error, kernel_version())
}

fn blame_if_old(error: Error, version: (u32, u32)) -> Error {
    if version >= OLDEST_KERNEL || error.kind() == ErrorKind::InvalidInput {
        return error;
    }
    let ((major, minor), (this_major, this_minor)) = (OLDEST_KERNEL, version);
    let text =
        format!("Linux {major}.{minor} or newer is needed: this is {this_major}.{this_minor}");
    Error::new(ErrorKind::Unsupported, text)
}

/// The running kernel's version, as uname(2) gives it.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn all_that_is_newer_can_be_switched_off_at_once_and_nothing_else() {
        assert!(NEWER.iter().all(|(name, since)| lists("all", name) && *since > OLDEST_KERNEL));
        assert!(!lists("all", "freezer") && lists("all,freezer", "freezer"));
        assert!(lists("x,idmap", "idmap") && !lists("x", "idmap") && !lists("", "idmap"));
    }

    #[test]
    fn an_old_kernel_is_blamed_for_what_it_lacks_and_a_newer_one_is_not() {
        let missing = || Error::syscall("close_range(3, ~0U, 0)", Errno::NOSYS);
        let old = blame_if_old(missing(), (5, 4));
        assert_eq!(old.to_string(), "Linux 5.10 or newer is needed: this is 5.4");
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert_eq!(blame_if_old(missing(), (5, 10)).to_string(), missing().to_string());
        let nonsense = || Error::invalid("65536:0: ids inside go up to 65534");
        assert_eq!(blame_if_old(nonsense(), (4, 19)).to_string(), nonsense().to_string());
    }
}
