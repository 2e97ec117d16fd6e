//! The page by which a host starts what is parked in a slot, and the message by which it has a
//! container parked in namespaces that all containers of a template share.

#[cfg(doc)]
use super::{Go, Park};
use super::{Start, Step};
use core::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of a mailbox: a page, so that a slot maps no other's.
pub const MAILBOX_BYTES: usize = 4096;
/// Bytes of a [`Start`]'s data that fit into the mailbox; more comes in a memfd.
pub const INLINE_MAX: usize = MAILBOX_BYTES - 24 - size_of::<Start>();
/// A page that host and slot have in common: the parked container sleeps until `go` is not 0. The
/// program never has it, since an exec leaves the launcher's memory.
#[repr(C)]
pub struct Mailbox {
    /// A [`Go`], written last; 0 while the container is parked.
    pub go: AtomicU32,
    /// What a slot that serves again is to do between two runs, a [`Park`]; its launcher sleeps
    /// until it is not 0, and takes it away.
    pub order: AtomicU32,
    /// 1: `begun_ns` is asked for.
    pub stamp: AtomicU32,
    /// Explicit padding.
    pub unused: u32,
    /// `CLOCK_MONOTONIC` when the container had woken: for benchmarks. Hostile input.
    pub begun_ns: AtomicU64,
    /// What to do.
    pub start: Start,
    /// Its data.
    pub data: [u8; INLINE_MAX],
}

const _: () = assert!(size_of::<Mailbox>() == MAILBOX_BYTES, "a mailbox is a page");

/// What the host tells the launcher of shared namespaces: park a container. Descriptors: the
/// container's socket, then what it writes `0` to, to join its groups.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Seating {
    /// Number of the container's mailbox: no other living one has it.
    pub place: u32,
}

impl Step {
    /// Joining the groups, of a container in shared namespaces.
    pub const JOIN: u32 = 14;
}
