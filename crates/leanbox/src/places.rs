//! The places of a template: by them keeper and host find what serves one slot after the other, its
//! network namespace and its mailbox.

use crate::{Error, Result};
use leanbox_launcher::wire::BLOCKS_MAX;
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Numbers that no two live slots of a template share, as small as can be: what the keeper keeps
/// for the next slot is found by them.
#[derive(Debug)]
pub(crate) struct Places {
    free: Mutex<Vec<u32>>,
    next: AtomicU32,
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Mutex::default(), next: AtomicU32::new(Self::FIRST + 1) }
    }
}

impl Places {
    /// Of the slot that is begun ahead.
    pub(crate) const FIRST: u32 = 0;

    pub(crate) fn take(&self) -> Result<u32> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let place = free.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        if (place as usize) < BLOCKS_MAX {
            return Ok(place);
        }
        Err(Error::syscall("places of a template", Errno::AGAIN).remedy("end some containers"))
    }

    pub(crate) fn give_back(&self, place: u32) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}
