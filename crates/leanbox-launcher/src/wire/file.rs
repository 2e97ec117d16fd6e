//! What a host asks of who opens and makes files in a slot for it.

/// The longest request: its head, a path, a second text, each with its NUL.
pub const FILE_MESSAGE_MAX: usize = size_of::<FileRequest>() + 2 * 4096;

/// What is to be done with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FileAsk {
    /// openat2(2) with flags and mode; the descriptor comes with the reply.
    Open = 1,
    /// mkdirat(2) with the mode.
    MakeDir,
    /// symlinkat(2) to the second text.
    Symlink,
    /// unlinkat(2).
    Remove,
    /// A folder, which no link leads to at the end, becomes its owner's, with the mode.
    Give,
}

/// The head of a request; the path follows, NUL-terminated, and the second text likewise.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct FileRequest {
    /// A [`FileAsk`].
    pub ask: u32,
    /// open(2) flags.
    pub flags: u32,
    /// Permissions of what is made.
    pub mode: u32,
    /// Whom it is to belong to, by the slot's ids; [`FileRequest::ROOT`] for root.
    pub owner: [u32; 2],
}

impl FileRequest {
    /// An owner that is not given: who makes it is root.
    pub const ROOT: [u32; 2] = [u32::MAX; 2];
}

/// The answer.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct FileReply {
    /// Why not, or 0.
    pub errno: i32,
    /// Whom what was opened belongs to, by the slot's ids.
    pub owner: [u32; 2],
}
