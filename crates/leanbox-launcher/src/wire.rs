//! What host, keeper and launcher say to each other: fixed-size messages, and the plan, a
//! read-only piece of memory that holds everything decided about a template's slots.
//!
//! The host writes plans and requests and is trusted by keeper and launcher. Reports come out
//! of a slot that hostile code may have taken over; the host treats them as hostile input.

mod entry;
mod file;
mod floor;
mod mailbox;
mod plan;

pub use entry::{ENTRY_GROUPS_MAX, Entry};
pub use file::{FILE_MESSAGE_MAX, FileAsk, FileReply, FileRequest};
pub use floor::{FLOOR_SAMPLES_MAX, FloorKind, FloorReply, FloorRequest};
pub use mailbox::{INLINE_MAX, MAILBOX_BYTES, Mailbox, Seating};
pub use plan::{Node, Op, OpKind, Plan, PlanHeader, Rlimit, Table, Tree};

/// Where the control socket of a keeper or floor lies.
pub const CONTROL_FD: i32 = 3;
/// Where the plan lies when a keeper starts.
pub const PLAN_FD: i32 = 4;
/// Where a keeper has the host's pidfd.
pub const HOST_FD: i32 = 5;
/// Where a keeper has the memory of the template's mailboxes: [`BLOCKS_MAX`] of them, by place.
pub const MAILBOXES_FD: i32 = 6;
/// The slot's socket inside a launcher.
pub const SLOT_FD: i32 = 3;
/// The launcher's own user and group inside the slot: the last of its 65,536, so that no
/// program can alter the launcher with `prlimit` or `/proc/1/oom_score_adj`.
pub const LAUNCHER_ID: u32 = 65_535;
/// Ids of one slot.
pub const IDS_PER_SLOT: u32 = 65_536;
/// The id blocks of a machine, so the most slots with ids of their own.
pub const BLOCKS_MAX: usize = 4096;
/// The most trees of one template: an upper folder, 40 layers, 20 binds.
pub const TREES_MAX: usize = 61;
/// Where a keeper and the launchers before their pivot have the trees, by index.
pub const TREES: &str = "/t/";
/// The most descriptors given to one container.
pub const START_FDS_MAX: usize = 32;

/// What the host asks a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Ask {
    /// Take over the template's trees (the descriptors), and map them once for trial.
    Trees = 1,
    /// Make a slot; descriptors: its network namespace if one is given, its socket, then the v2
    /// group to be born in, then the groups to join.
    Make,
    /// Make the cached namespaces of the fork mode; descriptor: its socket.
    Hold,
    /// Keep a process that only sleeps in the groups; descriptors: its socket, then the groups.
    Keep,
    /// Put new scratch into a slot; descriptor: its launcher's pidfd.
    Reset,
    /// From now on thaw what is in this folder of v1's freezer before the end; descriptor: it.
    Thaw,
    /// Bring a second program into a slot ([`Entry`]); descriptors: its socket, its launcher's
    /// pidfd, then as for [`Ask::Make`] the groups.
    Enter,
    /// Have files of a slot opened and made ([`FileRequest`]); descriptors: a socket for that, its
    /// launcher's pidfd.
    Files,
}

/// A request to a keeper.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Request {
    /// An [`Ask`].
    pub ask: u32,
    /// The host's number for the slot.
    pub slot: u32,
    /// Index of the id block among the machine's.
    pub block: u32,
    /// First host id of the block.
    pub id_base: u32,
    /// Number of the slot's place: no other live slot has it.
    pub place: u32,
    /// 1: a cgroup v2 folder to be born in comes along.
    pub into_group: u32,
    /// 1: [`Kind::Cold`] is as far as it gets for now.
    pub cold: u32,
    /// [`Ask::Reset`]: which scratch, as its index among the plan's tmpfs operations.
    pub scratch: u32,
    /// 1: a network namespace comes along, first of the descriptors.
    pub net: u32,
}

/// A keeper's answer. If nothing failed, a descriptor comes along: of [`Ask::Make`],
/// [`Ask::Hold`], [`Ask::Keep`], [`Ask::Enter`] and [`Ask::Files`] the new process's pidfd, of [`Ask::Reset`] the new scratch;
/// none of [`Ask::Trees`] and [`Ask::Thaw`].
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Reply {
    /// The request's slot.
    pub slot: u32,
    /// A [`Step`] that did not work, or 0.
    pub step: u32,
    /// Why.
    pub errno: i32,
    /// Process id as the keeper sees it, or 0 where no process was made.
    pub pid: i32,
}

/// Where something failed, besides the plan's operations (`Step::FIRST_OP + index`).
pub struct Step;

impl Step {
    /// Nothing failed.
    pub const NONE: u32 = 0;
    /// The keeper's own set-up; the low bits tell which line.
    pub const KEEPER: u32 = 1;
    /// Cloning or mapping a tree.
    pub const TREE: u32 = 2;
    /// The user namespace for the mapped trees.
    pub const USER_NAMESPACE: u32 = 3;
    /// clone3(2) of the launcher.
    pub const CLONE: u32 = 4;
    /// Writing the id maps.
    pub const ID_MAPS: u32 = 5;
    /// Entering a slot to reset it.
    pub const ENTER: u32 = 6;
    /// Cloning the container.
    pub const PARK: u32 = 7;
    /// The container's user and groups.
    pub const IDENTITY: u32 = 8;
    /// Receiving the start.
    pub const RECEIVE: u32 = 9;
    /// Placing a descriptor.
    pub const DESCRIPTOR: u32 = 10;
    /// The working directory.
    pub const WORKDIR: u32 = 11;
    /// execve(2).
    pub const EXEC: u32 = 12;
    /// The network namespace.
    pub const NET: u32 = 13;
    /// The terminal of a container.
    pub const TERMINAL: u32 = 15;
    /// Limits of the container's processes.
    pub const LIMITS: u32 = 16;
    /// Telling the host.
    pub const TELL: u32 = 20;
    /// First of the plan's operations.
    pub const FIRST_OP: u32 = 1000;
}

/// What comes out of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A container is parked: its own word, which the kernel sends its pidfd along with
    /// (`SO_PASSPIDFD`), or before Linux 6.15 the launcher's, with the pidfd.
    Ready = 1,
    /// What the plan has opened for the host comes along; before the first [`Ready`](Self::Ready).
    Opened,
    /// All is made but what costs memory while it waits: no group is joined (v1), no container
    /// parked. A message with the groups warms it.
    Cold,
    /// Making the slot failed.
    Failed,
    /// The container ended (the launcher's word, before Linux 6.15), or is about to end since it
    /// could not execute its program (its own word, from 6.15 on).
    Ended,
}

/// A report of a launcher, or of its container: hostile input for the host.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Report {
    /// A [`Kind`].
    pub kind: u32,
    /// The [`Step`] that failed, or 0.
    pub step: u32,
    /// Why.
    pub errno: i32,
    /// Raw wait status.
    pub status: i32,
}

/// What the host tells the parked container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Go {
    /// Execute the program in the data.
    Exec = 1,
    /// Exit at once: the original's critical path.
    Noop,
}

/// What the host tells the launcher of a slot that serves again and was found clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Park {
    /// Park the next container.
    Next = 1,
    /// Throw away what lies in the slot's socket before: descriptors of a container that was
    /// killed before it received them.
    Drained,
}

/// A start. The data in the mailbox (or in the memfd) holds, at the offsets named here, null-ended
/// tables of offsets and the strings they point to; the container turns offsets into pointers.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Start {
    /// A [`Go`].
    pub go: u32,
    /// How many descriptors go to `targets`; where there are any, or one of the two that follow,
    /// they come as a message of their own, sent before.
    pub fds: u32,
    /// 1: the data is in the message's last descriptor.
    pub data_in_memfd: u32,
    /// 1: the descriptor after those of `targets` is told `{step, errno}` if exec fails, and
    /// just closed by it otherwise.
    pub tell_exec: u32,
    /// Bytes of the data.
    pub length: u64,
    /// Offset of the table of paths to try, in order.
    pub paths: u32,
    /// Offset of argv.
    pub argv: u32,
    /// Offset of envp.
    pub envp: u32,
    /// Offset of the working directory's text, or 0 for the template's.
    pub workdir: u32,
    /// Where each descriptor goes.
    pub targets: [i32; START_FDS_MAX],
}

/// The bytes of a plain message.
#[must_use]
pub fn bytes_of<T: Copy>(message: &T) -> &[u8] {
    // SAFETY: the wire structures are plain numbers without padding.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(message).cast(), size_of::<T>()) }
}

/// A plain message out of bytes; `None` where there are too few.
#[must_use]
pub fn message_of<T: Copy + Default>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: long enough, read unaligned; every bit pattern is a number.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
