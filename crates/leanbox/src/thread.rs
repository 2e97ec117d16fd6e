//! Threads of the library's own, which handle none of the host's signals; sleeping in any.

use leanbox_sys::process::set_signal_mask;
use rustix::time::Timespec;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Every signal but the two that a C library keeps for itself (nptl(7)).
const MASK: u64 = !(0b11 << 31);

/// Sleeps so long; less where the kernel has no means to wait, at which the standard library gives
/// up.
pub(crate) fn pause(time: Duration) {
    if let Ok(time) = Timespec::try_from(time) {
        let _ = rustix::thread::nanosleep(&time);
    }
}

/// Begins one. It inherits its maker's mask, so that is what is changed.
pub(crate) fn begin<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let mask = set_signal_mask(MASK).ok();
    let begun = Builder::new().name(name.into()).stack_size(stack_bytes).spawn(work);
    if let Some(mask) = mask {
        let _ = set_signal_mask(mask);
    }
    begun
}
