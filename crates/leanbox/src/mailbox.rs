//! The pages that host and slots have in common: one for each place of a template, in one piece
//! of memory of which a slot maps its own page only. A start is written there; the word that
//! wakes the parked container comes last. What a slot writes is never read, but for a time that
//! benchmarks ask for.

use crate::{Error, Result};
use leanbox_launcher::wire::{BLOCKS_MAX, MAILBOX_BYTES, Mailbox, Park};
use leanbox_sys::memory::Shared;
use leanbox_sys::sync;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// The mailboxes of a template's slots.
#[derive(Debug)]
pub(crate) struct Mailboxes(Shared);

impl Mailboxes {
    /// New ones, and the memory that the keeper passes on to launchers.
    pub(crate) fn new() -> Result<(Self, OwnedFd)> {
        let length = BLOCKS_MAX * MAILBOX_BYTES;
        let wrap = |errno| Error::syscall("memfd_create(\"leanbox-mailboxes\")", errno);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = rustix::fs::memfd_create("leanbox-mailboxes", flags).map_err(wrap)?;
        rustix::fs::ftruncate(&memory, length as u64).map_err(wrap)?;
        // A shorter file would end this process when it writes.
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW;
        rustix::fs::fcntl_add_seals(&memory, seals).map_err(wrap)?;
        let shared = Shared::map(memory.as_raw_fd(), length).map_err(|errno| {
            Error::syscall("mmap(mailboxes)", Errno::from_raw_os_error(errno.0))
        })?;
        Ok((Self(shared), memory))
    }

    /// Posts a start (a [`Start`](leanbox_launcher::wire::Start) and its data) and wakes the
    /// container parked at `place`. Whether somebody slept there: one that was just about to is
    /// not counted.
    pub(crate) fn post(&self, place: u32, go: u32, message: &[u8], stamp: bool) -> Result<bool> {
        let base = base(place);
        self.0.write(base + offset_of!(Mailbox, start), message);
        if stamp {
            self.0.write(base + offset_of!(Mailbox, stamp), &1u32.to_ne_bytes());
        }
        let Some(word) = self.0.word(base + offset_of!(Mailbox, go)) else { return Ok(false) };
        word.store(go, Ordering::Release);
        wake(word).map(|woken| woken > 0)
    }

    /// Has the launcher at `place` park the next container.
    pub(crate) fn order(&self, place: u32, park: Park) {
        if let Some(word) = self.0.word(base(place) + offset_of!(Mailbox, order)) {
            word.store(park as u32, Ordering::Release);
            // One that hears nothing parks nobody, and is thrown away.
            let _ = wake(word);
        }
    }

    /// When the container had woken, where that was asked for: `CLOCK_MONOTONIC`, if it tells the
    /// truth.
    pub(crate) fn begun_ns(&self, place: u32) -> u64 {
        self.0.number(base(place) + offset_of!(Mailbox, begun_ns))
    }

    /// Leaves nothing of a start for whoever has the place next.
    pub(crate) fn clear(&self, place: u32) {
        let base = base(place);
        let used = |field: usize| {
            self.0.word(base + field).is_some_and(|word| word.load(Ordering::Relaxed) != 0)
        };
        // One that no start was posted to was never written, and has no memory yet.
        if used(offset_of!(Mailbox, go)) || used(offset_of!(Mailbox, order)) {
            self.0.clear(base, MAILBOX_BYTES);
        }
    }
}

/// Whoever is not woken sleeps on, so it is tried again where the kernel lacks memory for it.
fn wake(word: &AtomicU32) -> Result<usize> {
    let again = |_| sync::wake_all(word);
    let woken = sync::wake_all(word).or_else(again).or_else(again);
    woken.map_err(|errno| Error::syscall("futex(mailbox)", Errno::from_raw_os_error(errno.0)))
}

fn base(place: u32) -> usize {
    place as usize * MAILBOX_BYTES
}
