//! Where the memory of keeper and launchers is: beside the program, so that one page of page
//! tables serves all of it, and what only the keeper needs on pages that no launcher gets.

use core::cell::UnsafeCell;
use leanbox_sys::memory;

/// One page table maps this much (x86_64 and aarch64 with 4 KiB pages).
const TABLE_BYTES: usize = 2 << 20;
const PAGE_BYTES: usize = 4096;

/// Where the plan is mapped: up to 128 pages.
pub(crate) const PLAN: usize = 0;
/// Where the page is that counts the slots whose ids are mapped.
pub(crate) const MAPPED: usize = 128;
/// Where a launcher maps its mailbox.
pub(crate) const MAILBOX: usize = 129;

/// The address of a page behind the program.
pub(crate) fn near(page: usize) -> usize {
    static PROGRAM: u8 = 0;
    let table = (&raw const PROGRAM as usize) & !(TABLE_BYTES - 1);
    table + TABLE_BYTES / 2 + page * PAGE_BYTES
}

/// Whole pages that only the keeper uses, and no child of it has.
#[repr(C, align(4096))]
pub(crate) struct KeepersOwn<T>(UnsafeCell<T>);

// SAFETY: handed out as a pointer only, and a keeper has one thread.
unsafe impl<T> Sync for KeepersOwn<T> {}

impl<T> KeepersOwn<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Keeps it from children, and says where it is.
    pub(crate) fn keep(&'static self) -> leanbox_sys::Result<*mut T> {
        memory::keep_from_children(self.0.get() as usize, size_of::<Self>())?;
        Ok(self.0.get())
    }
}
