//! The plan: everything decided about a template's slots, in memory that nobody can write.

#[cfg(doc)]
use super::{Kind, LAUNCHER_ID, Seating};
use core::ffi::CStr;

/// One step of making a slot, carried out by one loop in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum OpKind {
    /// Attach tree `number` at `text` (move_mount(2)), found as `inside` says.
    AttachTree = 1,
    /// chdir(2) to `text`.
    Chdir,
    /// pivot_root(2) into the current directory.
    Pivot,
    /// New file system of type `text` with options `text2` (`key\0value\0…\0\0`) and attributes
    /// `number`, attached at the text at offset `extra`, found as `inside` says.
    Filesystem,
    /// Bind `text` on `text2`, which must not be a link (move_mount(2)); with `number` 1 what
    /// does not exist is left out (mount(2)).
    Bind,
    /// Make `text` a mount of itself that is read-only and has the attributes `number`; what does
    /// not exist is left out.
    ReadOnly,
    /// `lo` up, and ports below 1024 for everybody.
    LoopbackUp,
    /// In a slot that is made cold: say so, and wait until the host wants it warm; the groups to
    /// join come with its word.
    AwaitWarming,
    /// Write `0` to every group's `tasks` file that came with the request.
    JoinGroups,
    /// unshare(2) of `number`.
    Unshare,
    /// prlimit(2): resource `number` gets `extra`.
    Rlimit,
    /// Wait until the keeper has written the id maps, then become user and group 0.
    AwaitIds,
    /// Make the empty file `text2` in the folder `text` if it is missing. Links are followed inside
    /// the root only; in what is mounted on it nothing is made unless `inside` is 1.
    EnsureFile,
    /// Make the folder `text2` in the folder `text` if it is missing, likewise.
    EnsureDir,
    /// Drop every capability but those of mask `number` from the bounding set.
    DropBounding,
    /// Become [`LAUNCHER_ID`], holding the capabilities of mask `number`.
    BecomeLauncher,
    /// Install the plan's filter with the flags `number` (seccomp(2)).
    Filter,
    /// Open `text` with the open(2) flags `number` and hand it to the host with the report.
    OpenForHost,
    /// Make a terminal in the slot's devpts (pty(7)): the host gets its master with the report, the
    /// container its slave as controlling terminal and standard streams.
    Terminal,
    /// Reach no abstract socket but those made inside (landlock(7)).
    ScopeSockets,
    /// Move what is mounted at `text`, and in it, to `text2`, which must not be a link.
    Move,
}

/// An operation with its arguments; texts are offsets of NUL-terminated strings in the plan.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Op {
    /// An [`OpKind`].
    pub kind: u32,
    /// First text.
    pub text: u32,
    /// Second text.
    pub text2: u32,
    /// 1: links of the place to mount on are followed inside the root, the last one too, and it may
    /// not be in a proc. 0: the last one is not followed.
    pub inside: u32,
    /// First number.
    pub number: u64,
    /// Second number.
    pub extra: u64,
}

/// A table in the plan.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct Table {
    /// Offset of the first entry, a multiple of 8.
    pub offset: u32,
    /// How many entries.
    pub count: u32,
}

/// How a tree is cloned for a slot.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Tree {
    /// Mount attributes (fsmount(2)), beside those that the tree came with.
    pub attributes: u64,
    /// 1: ids are mapped to the slot's block.
    pub idmap: u32,
    /// 1: a file, not a folder.
    pub file: u32,
    /// 1: with all that is mounted below it.
    pub recursive: u32,
    /// Explicit padding.
    pub unused: u32,
}

/// What the template's `/dev` has beside the devices that every program expects.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Node {
    /// Text: path below `/dev`.
    pub path: u32,
    /// Text: where a link leads.
    pub target: u32,
    /// Type and permission bits (inode(7)): a device, a folder or a link.
    pub mode: u32,
    /// Of a device.
    pub major: u32,
    /// Of a device.
    pub minor: u32,
    /// Explicit padding.
    pub unused: u32,
}

/// What the container gets by prlimit(2).
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Rlimit {
    /// Of the kernel's `RLIMIT_` numbers.
    pub resource: u64,
    /// In force.
    pub soft: u64,
    /// The most that it can become.
    pub hard: u64,
}

/// The head of a plan.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct PlanHeader {
    /// Bytes of the whole plan.
    pub length: u64,
    /// clone(2) namespaces of a slot, user and cgroup ones apart.
    pub namespaces: u64,
    /// Capabilities of the container.
    pub held: u64,
    /// [`Op`]s of a slot.
    pub slot_ops: Table,
    /// [`Op`]s of the cached namespaces of the fork mode.
    pub holder_ops: Table,
    /// [`Tree`]s.
    pub trees: Table,
    /// [`Node`]s.
    pub nodes: Table,
    /// struct sock_filter entries.
    pub filter: Table,
    /// Supplementary groups of the container, `u32`s.
    pub groups: Table,
    /// [`Rlimit`]s of the container beside its launcher's.
    pub rlimits: Table,
    /// User of the container.
    pub uid: u32,
    /// Group of the container.
    pub gid: u32,
    /// Text: host name.
    pub hostname: u32,
    /// Text: working directory.
    pub workdir: u32,
    /// Texts: what is written to a slot's uid_map and gid_map where all slots have the same ids;
    /// empty: the request's block.
    pub uid_map: u32,
    /// See there.
    pub gid_map: u32,
    /// 1: slots serve again.
    pub reuse: u32,
    /// 1: the network namespace of a slot is its place's, which the keeper made.
    pub leases_net: u32,
    /// 1: all containers are in one slot's namespaces, cloned when told to ([`Seating`]).
    pub shared: u32,
    /// 1: the launcher reports what was parked, reaps it and reports its end; 0: the container
    /// reports itself, and the kernel tells the host of its end (Linux 6.15).
    pub reports_end: u32,
    /// 1: nobody inside may change the trees' attributes, whatever capabilities there are: a slot
    /// inherits them mounted, and so locked (mount_namespaces(7)).
    pub locks_trees: u32,
    /// 1: the network namespace of a slot is given with the request for it.
    pub given_net: u32,
}

/// A plan mapped into memory. Every access is checked against its length.
#[derive(Clone, Copy)]
pub struct Plan {
    base: *const u8,
    length: usize,
}

impl Plan {
    /// Takes over a mapping of `length` bytes.
    ///
    /// # Safety
    /// The mapping must stay valid and unchanged while the plan is used, and begin with a
    /// [`PlanHeader`].
    #[must_use]
    pub const unsafe fn new(base: *const u8, length: usize) -> Self {
        Self { base, length }
    }

    /// The mapping, to unmap it.
    #[must_use]
    pub const fn mapping(&self) -> (*mut u8, usize) {
        (self.base.cast_mut(), self.length)
    }

    /// The head.
    #[must_use]
    pub fn header(&self) -> &PlanHeader {
        // SAFETY: `new` demands a header at the beginning of a valid mapping.
        unsafe { &*self.base.cast() }
    }

    /// A table's entries; empty where it does not fit.
    #[must_use]
    pub fn table<T>(&self, table: Table) -> &[T] {
        let (start, count) = (table.offset as usize, table.count as usize);
        let fits = count
            .checked_mul(size_of::<T>())
            .and_then(|bytes| bytes.checked_add(start))
            .is_some_and(|end| end <= self.length);
        if !fits || start % align_of::<T>() != 0 {
            return &[];
        }
        // SAFETY: in bounds and aligned, as just checked; the entries are plain numbers.
        unsafe { core::slice::from_raw_parts(self.base.add(start).cast(), count) }
    }

    /// The text at `offset`; empty where there is none.
    #[must_use]
    pub fn text(&self, offset: u32) -> &CStr {
        let bytes =
            self.table::<u8>(Table { offset, count: (self.length as u32).saturating_sub(offset) });
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }
}
