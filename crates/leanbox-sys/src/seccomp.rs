//! Filters of system calls: seccomp(2).

use crate::Result;
use crate::arch::nr;
use crate::errno::call;

/// struct sock_fprog of seccomp(2).
#[repr(C)]
struct FilterProgram {
    length: u16,
    filter: *const u8,
}

/// Installs a filter program with `SECCOMP_FILTER_FLAG_*` (seccomp(2)).
///
/// # Safety
/// `filter` must hold `length` instructions of struct sock_filter.
pub unsafe fn set_filter(filter: *const u8, length: u16, flags: u64) -> Result<()> {
    let program = FilterProgram { length, filter };
    // SAFETY: the caller answers for the instructions; 1 is SECCOMP_SET_MODE_FILTER.
    unsafe { call(nr::SECCOMP, [1, flags as usize, &raw const program as usize]) }.map(drop)
}
