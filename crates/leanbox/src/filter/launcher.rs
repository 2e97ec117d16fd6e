//! What the launcher itself calls under the filter it has installed, to park a container and to
//! start its program: a profile must let that pass.
//!
//! In: a policy. Out: nothing, or an error that names what is missing. Never: widens a profile.

use super::names;
use super::policy::Policy;
use crate::{Error, Result};
use linux_raw_sys::general::*;

/// Calls with the arguments that are known before; others are 0 here. Policy `once` only: slots
/// that serve again, and shared ones, have the library's own profile.
const NEEDS: &[(u32, [u64; 6])] = &[
    (__NR_openat, [0, 0, 0, 0, 0, 0]),
    (__NR_close, [0; 6]),
    (__NR_close_range, [4, 0xffff_ffff, 0, 0, 0, 0]),
    (__NR_dup3, [0; 6]),
    (__NR_fcntl, [0, 1030, 512, 0, 0, 0]), // F_DUPFD_CLOEXEC
    (__NR_mmap, [0; 6]),
    (__NR_munmap, [0; 6]),
    (__NR_prctl, [4, 0, 0, 0, 0, 0]), // PR_SET_DUMPABLE
    (__NR_rt_sigaction, [17, 0, 0, 8, 0, 0]),
    (__NR_futex, [0; 6]),
    (__NR_clone, [CLONE_VM as u64 | 17, 0, 0, 0, 0, 0]),
    (__NR_wait4, [0xffff_ffff_ffff_ffff, 0, __WALL as u64, 0, 0, 0]),
    (__NR_clock_gettime, [CLOCK_MONOTONIC as u64, 0, 0, 0, 0, 0]),
    (__NR_sendmsg, [3, 0, 0, 0, 0, 0]),
    (__NR_recvmsg, [3, 0, 0, 0, 0, 0]),
    (__NR_write, [0; 6]),
    (__NR_setresuid, [0; 6]),
    (__NR_capset, [0; 6]),
    (__NR_chdir, [0; 6]),
    (__NR_execve, [0; 6]),
    (__NR_exit_group, [0; 6]),
];

/// An error that lists what is missing.
pub(super) fn check(policy: &Policy) -> Result<()> {
    let refused = |(nr, args): &&(u32, [u64; 6])| !policy.decide(*nr, args).allows();
    let missing: Vec<&str> =
        NEEDS.iter().filter(refused).filter_map(|(nr, _)| names::name(*nr)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("it does not allow {}, without which nothing starts", missing.join(", "));
    Err(Error::invalid(text).remedy("allow them in the profile").during("seccomp profile"))
}
