//! What a second program in a slot is told over a socket of its own: first who it is, then, when it
//! is inside and has become that, its start with the data behind it (or in a memfd).

#[cfg(doc)]
use super::Start;

/// The most supplementary groups of a second program.
pub const ENTRY_GROUPS_MAX: usize = 32;

/// Who it is inside; sent before the keeper is asked. A [`Start`] follows.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Entry {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many of `groups`.
    pub count: u32,
    /// 1: its standard input is a terminal, which is to be its controlling one.
    pub terminal: u32,
    /// Supplementary groups.
    pub groups: [u32; ENTRY_GROUPS_MAX],
}
