//! Mounts: the new calls (open_tree(2), fsopen(2), fsmount(2), move_mount(2)) and the few old ones
//! that have no successor, or one that is too new: mount_setattr(2), Linux 5.12, only maps ids here.

use crate::arch::nr;
use crate::errno::{call, int};
use crate::{AT_EMPTY_PATH, AT_FDCWD, Fd, Result};
use core::ffi::CStr;

const OPEN_TREE: usize = 428;
const MOVE_MOUNT: usize = 429;
const FSOPEN: usize = 430;
const FSCONFIG: usize = 431;
const FSMOUNT: usize = 432;
const MOUNT_SETATTR: usize = 442;

/// Mount attribute: read-only.
pub const ATTR_RDONLY: u64 = 1;
/// Mount attribute: no set-user-id.
pub const ATTR_NOSUID: u64 = 2;
/// Mount attribute: no devices.
pub const ATTR_NODEV: u64 = 4;
/// Mount attribute: no programs.
pub const ATTR_NOEXEC: u64 = 8;
/// Mount attribute: ids are mapped (mount_setattr(2)).
const ATTR_IDMAP: u64 = 0x0010_0000;

/// mount(2): change a mount.
const MS_REMOUNT: u64 = 32;
/// mount(2): bind.
pub const MS_BIND: u64 = 4096;
/// mount(2): whole tree.
pub const MS_REC: u64 = 16384;
/// mount(2): private propagation.
pub const MS_PRIVATE: u64 = 1 << 18;
/// umount2(2): detach now, clean up later.
pub const MNT_DETACH: u32 = 2;

/// How far a call on a mount reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// That mount alone.
    Mount,
    /// What is mounted below it as well (`AT_RECURSIVE`).
    Tree,
}

impl Reach {
    fn flag(self) -> usize {
        const AT_RECURSIVE: usize = 0x8000;
        if self == Self::Tree { AT_RECURSIVE } else { 0 }
    }
}

/// A detached copy of the mount at `path` (open_tree(2) with `OPEN_TREE_CLONE`).
pub fn clone_tree(dir: Fd, path: &CStr, reach: Reach) -> Result<Fd> {
    let empty = if path.is_empty() { AT_EMPTY_PATH as usize } else { 0 };
    let flags = 1 | 0o2000000 | empty | reach.flag();
    // SAFETY: the path is NUL-terminated.
    unsafe { call(OPEN_TREE, [int(dir), path.as_ptr() as usize, flags]) }.map(|fd| fd as Fd)
}

/// Attaches a detached mount at `path` (move_mount(2)).
pub fn attach(tree: Fd, path: &CStr) -> Result<()> {
    let args = [int(tree), c"".as_ptr() as usize, int(AT_FDCWD), path.as_ptr() as usize, 4];
    // SAFETY: both paths are NUL-terminated.
    unsafe { call(MOVE_MOUNT, args) }.map(drop)
}

/// Attaches a detached mount at the open place `place` (move_mount(2)).
pub fn attach_at(tree: Fd, place: Fd) -> Result<()> {
    const EMPTY_PATHS: usize = 0x44;
    let empty = c"".as_ptr() as usize;
    // SAFETY: both paths are NUL-terminated.
    unsafe { call(MOVE_MOUNT, [int(tree), empty, int(place), empty, EMPTY_PATHS]) }.map(drop)
}

/// struct mount_attr of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Maps the ids of a detached mount, or tree of mounts, as `userns` does (mount_setattr(2),
/// Linux 5.12).
pub fn map_ids(tree: Fd, userns: Fd, reach: Reach) -> Result<()> {
    let attr = MountAttr { set: ATTR_IDMAP, clear: 0, propagation: 0, userns: userns as u64 };
    let size = size_of::<MountAttr>();
    let flags = AT_EMPTY_PATH as usize | reach.flag();
    let args = [int(tree), c"".as_ptr() as usize, flags, &raw const attr as usize, size];
    // SAFETY: the path is NUL-terminated and the structure valid for `size` bytes.
    unsafe { call(MOUNT_SETATTR, args) }.map(drop)
}

/// Gives the mount at `path` exactly these attributes, but leaves its access times as they are
/// (mount(2), `MS_REMOUNT | MS_BIND`). The bits are those of fsmount(2).
pub fn set_attributes(path: &CStr, attributes: u64) -> Result<()> {
    mount(c"none", path, MS_REMOUNT | MS_BIND | attributes)
}

/// Adds attributes to those that the mount at `path` has (statfs(2)).
pub fn add_attributes(path: &CStr, attributes: u64) -> Result<()> {
    const FLAGS: usize = 10;
    const KEPT: u64 = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC;
    /// `ST_NOSYMFOLLOW` of statfs(2) and `MS_NOSYMFOLLOW` of mount(2).
    const NO_LINKS: (u64, u64) = (0x2000, 256);
    // struct statfs of 64-bit machines.
    let mut stat = [0u64; 15];
    // SAFETY: the path is NUL-terminated and the structure large enough.
    unsafe { call(nr::STATFS, [path.as_ptr() as usize, stat.as_mut_ptr() as usize]) }?;
    let no_links = if stat[FLAGS] & NO_LINKS.0 == 0 { 0 } else { NO_LINKS.1 };
    set_attributes(path, stat[FLAGS] & KEPT | no_links | attributes)
}

/// Adds attributes to the mount at `path` and to all below it (mount_setattr(2), Linux 5.12).
pub fn add_attributes_to_all(path: &CStr, attributes: u64) -> Result<()> {
    let attr = MountAttr { set: attributes, clear: 0, propagation: 0, userns: 0 };
    let size = size_of::<MountAttr>();
    let flags = Reach::Tree.flag();
    let args = [int(AT_FDCWD), path.as_ptr() as usize, flags, &raw const attr as usize, size];
    // SAFETY: the path is NUL-terminated and the structure valid for `size` bytes.
    unsafe { call(MOUNT_SETATTR, args) }.map(drop)
}

/// One option of a file system that is being made.
pub struct FsOption<'a> {
    /// The option's name.
    pub key: &'a CStr,
    /// Its value; empty for a flag.
    pub value: &'a CStr,
}

/// A new file system, mounted nowhere yet: fsopen(2), fsconfig(2) for each option, fsmount(2).
pub fn new_filesystem<'a>(
    kind: &CStr,
    options: impl Iterator<Item = FsOption<'a>>,
    attributes: u64,
) -> Result<Fd> {
    // SAFETY: the name is NUL-terminated; 1 is FSOPEN_CLOEXEC.
    let context = unsafe { call(FSOPEN, [kind.as_ptr() as usize, 1]) }? as Fd;
    let made = configure(context, options, attributes);
    crate::fd::close(context);
    made
}

fn configure<'a>(
    context: Fd,
    options: impl Iterator<Item = FsOption<'a>>,
    attributes: u64,
) -> Result<Fd> {
    const SET_FLAG: usize = 0;
    const SET_STRING: usize = 1;
    const CREATE: usize = 6;
    for FsOption { key, value } in options {
        let (command, value) = match value.is_empty() {
            true => (SET_FLAG, 0),
            false => (SET_STRING, value.as_ptr() as usize),
        };
        let args = [int(context), command, key.as_ptr() as usize, value, 0];
        // SAFETY: key and value are NUL-terminated.
        unsafe { call(FSCONFIG, args) }?;
    }
    // SAFETY: no pointers.
    unsafe { call(FSCONFIG, [int(context), CREATE, 0, 0, 0]) }?;
    // SAFETY: no pointers; 1 is FSMOUNT_CLOEXEC.
    unsafe { call(FSMOUNT, [int(context), 1, attributes as usize]) }.map(|fd| fd as Fd)
}

/// move_mount(2) of what is mounted at a path, with all that is mounted in it; neither may be a link.
pub fn relocate(from: &CStr, to: &CStr) -> Result<()> {
    let args = [int(AT_FDCWD), from.as_ptr() as usize, int(AT_FDCWD), to.as_ptr() as usize, 0];
    // SAFETY: both paths are NUL-terminated.
    unsafe { call(MOVE_MOUNT, args) }.map(drop)
}

/// mount(2) without a type or data: binds, attributes, propagation.
pub fn mount(source: &CStr, target: &CStr, flags: u64) -> Result<()> {
    let args = [source.as_ptr() as usize, target.as_ptr() as usize, 0, flags as usize, 0];
    // SAFETY: both paths are NUL-terminated; type and data may be null here.
    unsafe { call(nr::MOUNT, args) }.map(drop)
}

/// umount2(2).
pub fn unmount(target: &CStr, flags: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::UMOUNT2, [target.as_ptr() as usize, flags as usize]) }.map(drop)
}

/// Makes the current directory, a mount point, the root and lets go of the old one
/// (`pivot_root(".", ".")`, pivot_root(2), then umount2(2)).
pub fn pivot_here() -> Result<()> {
    // SAFETY: both paths are NUL-terminated.
    unsafe { call(nr::PIVOT_ROOT, [c".".as_ptr() as usize, c".".as_ptr() as usize]) }?;
    unmount(c".", MNT_DETACH)?;
    crate::fd::chdir(c"/")
}

/// chroot(2) into the current directory. Only the benchmark's `classic` uses it.
pub fn chroot_here() -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::CHROOT, [c".".as_ptr() as usize]) }.map(drop)
}
