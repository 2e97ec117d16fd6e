//! What this kernel and user can do; each newer call can be switched off here
//! (`LEANBOX_WITHOUT=idmap,…`), so that its fallback is tested.

use std::sync::OnceLock;

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

/// The running kernel's version, as uname(2) gives it.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
