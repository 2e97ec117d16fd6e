//! Memory: mappings, and a piece of it that two processes share.

use crate::arch::nr;
use crate::errno::{Errno, call, int};
use crate::{Fd, Result};
use core::sync::atomic::AtomicU32;

/// Where the kernel chooses the address.
pub const ANYWHERE: usize = 0;
const READ_WRITE: usize = 3;
const READ_ONLY: usize = 1;

/// Maps `length` bytes of `fd` from `offset` on (mmap(2)), shared, readable and, if asked, writable,
/// at the address `near` if that is free.
pub fn map_shared(
    near: usize,
    fd: Fd,
    offset: usize,
    length: usize,
    writable: bool,
) -> Result<*mut u8> {
    let (protection, shared) = (if writable { READ_WRITE } else { READ_ONLY }, 1);
    // SAFETY: a new mapping that replaces none disturbs nobody.
    unsafe { call(nr::MMAP, [near, length, protection, shared, int(fd), offset]) }
        .map(|at| at as *mut u8)
}

/// Maps `length` bytes of anonymous memory (mmap(2)), which forked children share if so asked, at
/// the address `near` if that is free.
pub fn map_anonymous(near: usize, length: usize, shared: bool) -> Result<*mut u8> {
    // MAP_ANONYMOUS with MAP_SHARED or MAP_PRIVATE, the same on both machines.
    let flags = if shared { 0x21 } else { 0x22 };
    // SAFETY: as above.
    unsafe { call(nr::MMAP, [near, length, READ_WRITE, flags, int(-1), 0]) }.map(|at| at as *mut u8)
}

/// Maps `length` bytes of `fd` privately and writable (mmap(2)).
pub fn map_private(fd: Fd, length: usize) -> Result<*mut u8> {
    // SAFETY: as above.
    unsafe { call(nr::MMAP, [ANYWHERE, length, READ_WRITE, 2, int(fd), 0]) }.map(|at| at as *mut u8)
}

/// munmap(2).
///
/// # Safety
/// Nothing may use the mapping afterwards.
pub unsafe fn unmap(at: *mut u8, length: usize) {
    // SAFETY: the caller answers that nothing uses it.
    let _ = unsafe { call(nr::MUNMAP, [at as usize, length]) };
}

/// Keeps whole pages from children that get a copy of the memory (madvise(2), `MADV_DONTFORK`). That
/// some of the range is not mapped does not matter.
pub fn keep_from_children(start: usize, length: usize) -> Result<()> {
    const MADV_DONTFORK: usize = 10;
    const NOMEM: Errno = Errno(12);
    // SAFETY: this process's memory stays as it is.
    match unsafe { call(nr::MADVISE, [start, length, MADV_DONTFORK]) } {
        Ok(_) | Err(NOMEM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A file's memory that other processes map too: whoever shares it may write at any time, so what
/// is read is a number like any other.
#[derive(Debug)]
pub struct Shared {
    base: *mut u8,
    length: usize,
}

// SAFETY: plain memory; its users agree by atomics who writes when.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps `length` bytes of a file that nobody can make shorter.
    ///
    /// # Errors
    /// mmap(2) failed.
    pub fn map(fd: Fd, length: usize) -> Result<Self> {
        map_shared(ANYWHERE, fd, 0, length, true).map(|base| Self { base, length })
    }

    /// Copies `bytes` to `offset`; nothing where they do not fit.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        if offset.checked_add(bytes.len()).is_some_and(|end| end <= self.length) {
            // SAFETY: in bounds; it cannot overlap memory of this process's own.
            unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset), bytes.len());
            }
        }
    }

    /// Zeroes `length` bytes at `offset`; nothing where they do not fit.
    pub fn clear(&self, offset: usize, length: usize) {
        if offset.checked_add(length).is_some_and(|end| end <= self.length) {
            // SAFETY: in bounds.
            unsafe { core::ptr::write_bytes(self.base.add(offset), 0, length) };
        }
    }

    /// The 64 bits at `offset`; 0 where there are none.
    #[must_use]
    pub fn number(&self, offset: usize) -> u64 {
        let fits = offset.checked_add(8).is_some_and(|end| end <= self.length);
        // SAFETY: in bounds; another process may write it meanwhile.
        if fits { unsafe { self.base.add(offset).cast::<u64>().read_volatile() } } else { 0 }
    }

    /// The word at `offset`, a multiple of 4; `None` where there is none.
    #[must_use]
    pub fn word(&self, offset: usize) -> Option<&AtomicU32> {
        let fits = offset.checked_add(4).is_some_and(|end| end <= self.length);
        // SAFETY: in bounds and aligned, as just checked; mapped while `self` lives.
        (fits && offset % 4 == 0).then(|| unsafe { &*self.base.add(offset).cast::<AtomicU32>() })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: every reference into it borrows from this value.
        unsafe { unmap(self.base, self.length) };
    }
}
