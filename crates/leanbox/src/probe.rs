//! What this kernel and user can do; each newer call can be switched off here
//! (`LEANBOX_WITHOUT=idmap,…`), so that its fallback is tested.

use crate::{Error, ErrorKind};
use std::sync::OnceLock;

/// The first kernel with mount_setattr(2), without which nothing here works.
const OLDEST: (u32, u32) = (5, 12);

/// Whether a feature was switched off by `LEANBOX_WITHOUT`.
#[must_use]
pub fn is_off(feature: &str) -> bool {
    static OFF: OnceLock<String> = OnceLock::new();
    let off = OFF.get_or_init(|| std::env::var("LEANBOX_WITHOUT").unwrap_or_default());
    off.split(',').any(|name| name == feature)
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

/// Whether every change of a tmpfs folder that was looked at gets a time of its own (multigrain
/// timestamps, Linux 6.13).
#[must_use]
pub fn times_tell_changes() -> bool {
    static TELL: OnceLock<bool> = OnceLock::new();
    *TELL.get_or_init(|| !is_off("multigrain") && kernel_version() >= (6, 13))
}

/// What failed on a kernel that is too old failed for that, whatever call met it first. Asked only
/// when something has failed.
pub(crate) fn blame_old_kernel(error: Error) -> Error {
    blame_if_old(error, kernel_version())
}

fn blame_if_old(error: Error, version: (u32, u32)) -> Error {
    if version >= OLDEST || error.kind() == ErrorKind::InvalidInput {
        return error;
    }
    let ((major, minor), (this_major, this_minor)) = (OLDEST, version);
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
    fn an_old_kernel_is_blamed_for_what_it_lacks_and_a_newer_one_is_not() {
        let missing = || Error::syscall("mount_setattr(\"/dev\", RDONLY)", Errno::NOSYS);
        let old = blame_if_old(missing(), (5, 4));
        assert_eq!(old.to_string(), "Linux 5.12 or newer is needed: this is 5.4");
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert_eq!(blame_if_old(missing(), (5, 12)).to_string(), missing().to_string());
        let nonsense = || Error::invalid("65536:0: ids inside go up to 65534");
        assert_eq!(blame_if_old(nonsense(), (4, 19)).to_string(), nonsense().to_string());
    }
}
