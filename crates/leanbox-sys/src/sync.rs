//! Time, and waiting on a word of shared memory.

use crate::Result;
use crate::arch::nr;
use crate::errno::call;
use core::sync::atomic::{AtomicU32, Ordering};

/// Nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)).
#[must_use]
pub fn now_ns() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: `time` is a struct timespec on 64-bit machines.
    let _ = unsafe { call(nr::CLOCK_GETTIME, [1, time.as_mut_ptr() as usize]) };
    time[0] * 1_000_000_000 + time[1]
}

/// Lets others run on this CPU first (sched_yield(2)).
pub fn yield_now() {
    // SAFETY: no arguments; it cannot fail.
    let _ = unsafe { call(nr::SCHED_YIELD, []) };
}

/// Waits until `word` is no longer `seen` (futex(2), `FUTEX_WAIT`), at most `timeout_ms`. Other
/// processes may have the word mapped too.
pub fn wait_while(word: &AtomicU32, seen: u32, timeout_ms: u64) {
    let limit = [timeout_ms / 1000, timeout_ms % 1000 * 1_000_000];
    while word.load(Ordering::Acquire) == seen {
        let args = [word.as_ptr() as usize, 0, seen as usize, limit.as_ptr() as usize];
        // SAFETY: the word lives as long as the borrow; the timeout is a struct timespec.
        let slept = unsafe { call(nr::FUTEX, args) };
        if slept == Err(crate::Errno(110)) {
            return;
        }
    }
}

/// Has the kernel clear `word`, and wake who waits on it, when the caller leaves its memory by an
/// exec or its end (set_tid_address(2)).
pub fn clear_when_gone(word: &AtomicU32) {
    // SAFETY: the word is in memory that the caller shares, or ends with; it cannot fail.
    let _ = unsafe { call(nr::SET_TID_ADDRESS, [word.as_ptr() as usize]) };
}

/// Wakes everybody who waits on `word` (futex(2), `FUTEX_WAKE`); how many that were.
pub fn wake_all(word: &AtomicU32) -> Result<usize> {
    // SAFETY: the word lives as long as the borrow.
    unsafe { call(nr::FUTEX, [word.as_ptr() as usize, 1, i32::MAX as usize]) }
}
