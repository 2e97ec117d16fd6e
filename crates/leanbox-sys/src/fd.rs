//! Files and descriptors: open, read, write, duplicate, close.

use crate::arch::nr;
use crate::errno::{call, int};
use crate::{AT_EMPTY_PATH, AT_FDCWD, Fd, Result};
use core::ffi::CStr;

/// Open for reading only.
pub const O_RDONLY: i32 = 0;
/// Open for writing only.
pub const O_WRONLY: i32 = 1;
/// Open for reading and writing.
pub const O_RDWR: i32 = 2;
/// Create if missing.
pub const O_CREAT: i32 = 0o100;
/// Fail if it exists.
pub const O_EXCL: i32 = 0o200;
/// Never the session's terminal.
pub const O_NOCTTY: i32 = 0o400;
/// Close on exec.
pub const O_CLOEXEC: i32 = 0o2000000;
/// Only a place in the tree.
pub const O_PATH: i32 = 0o10000000;
/// Fail unless a directory.
#[cfg(target_arch = "x86_64")]
pub const O_DIRECTORY: i32 = 0o200000;
/// Fail unless a directory.
#[cfg(target_arch = "aarch64")]
pub const O_DIRECTORY: i32 = 0o40000;
/// Of a link, the link itself, or an error.
#[cfg(target_arch = "x86_64")]
pub const O_NOFOLLOW: i32 = 0o400000;
/// Of a link, the link itself, or an error.
#[cfg(target_arch = "aarch64")]
pub const O_NOFOLLOW: i32 = 0o100000;
/// With `AT_EMPTY_PATH`: the descriptor's own file.
const EMPTY: &CStr = c"";
/// `CLOSE_RANGE_UNSHARE`-free close_range(2) number, the same on both machines.
const CLOSE_RANGE: usize = 436;
/// The bits of a mode that tell what it is (inode(7)).
pub const S_IFMT: u32 = 0o170000;
/// A folder.
pub const S_IFDIR: u32 = 0o040000;
/// A symbolic link.
pub const S_IFLNK: u32 = 0o120000;
/// A block device, for [`mknodat`].
pub const S_IFBLK: u32 = 0o060000;
/// A character device, for [`mknodat`].
pub const S_IFCHR: u32 = 0o020000;

/// openat(2).
pub fn openat(dir: Fd, path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    let args = [int(dir), path.as_ptr() as usize, int(flags), mode as usize];
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::OPENAT, args) }.map(|fd| fd as Fd)
}

/// open(2): relative to the current directory.
pub fn open(path: &CStr, flags: i32) -> Result<Fd> {
    openat(AT_FDCWD, path, flags, 0)
}

/// A place below the current directory, which no link leads out of, nor one of `/proc`'s that
/// are none: openat2(2) with `O_PATH`, `RESOLVE_IN_ROOT` and `RESOLVE_NO_MAGICLINKS`. `one_mount`:
/// nothing mounted on the way is entered either (`RESOLVE_NO_XDEV`).
pub fn open_inside(path: &CStr, one_mount: bool) -> Result<Fd> {
    const OPENAT2: usize = 437;
    const NO_XDEV: u64 = 1;
    const NO_MAGICLINKS: u64 = 2;
    const IN_ROOT: u64 = 0x10;
    /// struct open_how.
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let resolve = IN_ROOT | NO_MAGICLINKS | if one_mount { NO_XDEV } else { 0 };
    let how = OpenHow { flags: (O_PATH | O_CLOEXEC) as u64, mode: 0, resolve };
    let args =
        [int(AT_FDCWD), path.as_ptr() as usize, &raw const how as usize, size_of::<OpenHow>()];
    // SAFETY: the path is NUL-terminated and the structure as long as it says.
    unsafe { call(OPENAT2, args) }.map(|fd| fd as Fd)
}

/// Which file system a descriptor is of: `f_type` of statfs(2).
pub fn filesystem_of(fd: Fd) -> Result<u64> {
    // struct statfs has 120 bytes; the type is its first word.
    let mut stat = [0u64; 16];
    // SAFETY: the buffer is longer than the structure.
    unsafe { call(nr::FSTATFS, [int(fd), stat.as_mut_ptr() as usize]) }?;
    Ok(stat[0])
}

/// close(2). Its error says nothing that can be acted on.
pub fn close(fd: Fd) {
    // SAFETY: a number; descriptors of this process belong to its one thread.
    let _ = unsafe { call(nr::CLOSE, [int(fd)]) };
}

/// close_range(2), from `first` on.
pub fn close_from(first: Fd) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(CLOSE_RANGE, [int(first), u32::MAX as usize, 0]) }.map(drop)
}

/// The same in a table of descriptors of one's own: no other process's that shared it
/// (`CLOSE_RANGE_UNSHARE`).
pub fn unshare_from(first: Fd) -> Result<()> {
    const CLOSE_RANGE_UNSHARE: usize = 2;
    // SAFETY: numbers only.
    unsafe { call(CLOSE_RANGE, [int(first), u32::MAX as usize, CLOSE_RANGE_UNSHARE]) }.map(drop)
}

/// dup3(2); unlike it, the same number twice only sets or clears close-on-exec.
pub fn dup_to(fd: Fd, target: Fd, cloexec: bool) -> Result<()> {
    if fd == target {
        return set_cloexec(fd, cloexec);
    }
    let flags = if cloexec { O_CLOEXEC } else { 0 };
    // SAFETY: numbers only.
    unsafe { call(nr::DUP3, [int(fd), int(target), int(flags)]) }.map(drop)
}

/// fcntl(2), `F_DUPFD_CLOEXEC`: a copy at `lowest` or above. EMFILE also where fcntl has EINVAL:
/// the process may have no descriptor that high.
pub fn dup_above(fd: Fd, lowest: Fd) -> Result<Fd> {
    // SAFETY: numbers only.
    match unsafe { call(nr::FCNTL, [int(fd), 1030, int(lowest)]) } {
        Err(crate::Errno::INVAL) => Err(crate::Errno::MFILE),
        copied => copied.map(|fd| fd as Fd),
    }
}

/// fcntl(2), `F_SETFD`.
pub fn set_cloexec(fd: Fd, cloexec: bool) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::FCNTL, [int(fd), 2, usize::from(cloexec)]) }.map(drop)
}

/// read(2).
pub fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is valid for its length.
    unsafe { call(nr::READ, [int(fd), buffer.as_mut_ptr() as usize, buffer.len()]) }
}

/// Entries of a folder, as [`names`] reads them; 0 at its end (getdents64(2)).
pub fn entries(folder: Fd, buffer: &mut [u8]) -> Result<usize> {
    let args = [int(folder), buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: the buffer is valid for its length.
    unsafe { call(nr::GETDENTS64, args) }
}

/// The names in what [`entries`] gave (`struct linux_dirent64`).
pub fn names(entries: &[u8]) -> impl Iterator<Item = &CStr> {
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let mut left = entries;
    core::iter::from_fn(move || {
        let length = left.get(LENGTH..LENGTH + 2)?;
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let (entry, rest) = left.split_at_checked(length)?;
        left = rest;
        CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()
    })
}

/// pread(2).
pub fn pread(fd: Fd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    let args = [int(fd), buffer.as_mut_ptr() as usize, buffer.len(), offset as usize];
    // SAFETY: the buffer is valid for its length.
    unsafe { call(nr::PREAD64, args) }
}

/// write(2).
#[inline(always)]
pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the bytes are valid for their length.
    unsafe { call(nr::WRITE, [int(fd), bytes.as_ptr() as usize, bytes.len()]) }
}

/// Sleeps until at least one of two descriptors can be read, and says which (ppoll(2)).
pub fn wait_readable(fds: [Fd; 2]) -> Result<[bool; 2]> {
    const POLLIN: i16 = 1;
    /// struct pollfd.
    #[repr(C)]
    struct PollFd {
        fd: Fd,
        events: i16,
        revents: i16,
    }
    let mut polled = fds.map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    // SAFETY: the array is valid for its length; no time limit, no signal mask.
    unsafe { call(nr::PPOLL, [polled.as_mut_ptr() as usize, polled.len(), 0, 0, 0]) }?;
    Ok(polled.map(|fd| fd.revents != 0))
}

/// mkdirat(2).
pub fn mkdirat(dir: Fd, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::MKDIRAT, [int(dir), path.as_ptr() as usize, mode as usize]) }.map(drop)
}

/// openat2(2) below the current directory as if that were the root, through no magic link
/// (`RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`).
pub fn open_in_root(path: &CStr, flags: i32, mode: u32) -> Result<Fd> {
    const OPENAT2: usize = 437;
    /// struct open_how.
    #[repr(C)]
    struct OpenHow {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let resolve = 0x10 | 0x02;
    let how = OpenHow { flags: flags as u32 as u64, mode: u64::from(mode), resolve };
    let args = [int(AT_FDCWD), path.as_ptr() as usize, &raw const how as usize, size_of_val(&how)];
    // SAFETY: the path is NUL-terminated, the structure as long as is said.
    unsafe { call(OPENAT2, args) }.map(|fd| fd as Fd)
}

/// unlinkat(2); of a folder with `AT_REMOVEDIR`.
pub fn unlinkat(dir: Fd, path: &CStr, is_folder: bool) -> Result<()> {
    let flags = if is_folder { 0x200 } else { 0 };
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::UNLINKAT, [int(dir), path.as_ptr() as usize, flags]) }.map(drop)
}

/// mknodat(2); the device's number as the kernel takes it apart (`new_decode_dev`).
pub fn mknodat(dir: Fd, path: &CStr, mode: u32, major: u32, minor: u32) -> Result<()> {
    let device = (minor & 0xff | major << 8 | (minor & !0xff) << 12) as usize;
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::MKNODAT, [int(dir), path.as_ptr() as usize, mode as usize, device]) }
        .map(drop)
}

/// symlinkat(2).
pub fn symlinkat(target: &CStr, dir: Fd, path: &CStr) -> Result<()> {
    let args = [target.as_ptr() as usize, int(dir), path.as_ptr() as usize];
    // SAFETY: both paths are NUL-terminated.
    unsafe { call(nr::SYMLINKAT, args) }.map(drop)
}

/// What is told of a file: whose it is, and its kind with its permissions (inode(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// As [`S_IFMT`] takes it apart.
    pub mode: u32,
}

/// statx(2) of what a descriptor is of, whatever it is open for.
pub fn stat(fd: Fd) -> Result<Stat> {
    const BASIC: usize = 0x07ff;
    // struct statx has 256 bytes; its sixth and seventh word are the owner, half of its eighth the mode.
    let mut stat = [0u32; 64];
    let (path, flags) = (EMPTY.as_ptr() as usize, AT_EMPTY_PATH as usize);
    // SAFETY: the path is NUL-terminated, the buffer as long as the structure.
    unsafe { call(nr::STATX, [int(fd), path, flags, BASIC, stat.as_mut_ptr() as usize]) }?;
    Ok(Stat { uid: stat[5], gid: stat[6], mode: stat[7] & 0xffff })
}

/// fchownat(2) of what a descriptor is of, whatever it is open for. Set-id bits go.
pub fn chown(fd: Fd, user: u32, group: u32) -> Result<()> {
    let (path, flags) = (EMPTY.as_ptr() as usize, AT_EMPTY_PATH as usize);
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::FCHOWNAT, [int(fd), path, user as usize, group as usize, flags]) }.map(drop)
}

/// fchmod(2).
pub fn chmod(fd: Fd, mode: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::FCHMOD, [int(fd), mode as usize]) }.map(drop)
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: the path is NUL-terminated.
    unsafe { call(nr::CHDIR, [path.as_ptr() as usize]) }.map(drop)
}

/// fchdir(2).
pub fn fchdir(dir: Fd) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::FCHDIR, [int(dir)]) }.map(drop)
}

/// Whether the current directory lies below the root: getcwd(2) says `(unreachable)` of one that
/// does not.
// Its buffer is not to be on the stack of who does not ask.
#[inline(never)]
pub fn is_below_root() -> Result<bool> {
    let mut path = [0u8; 4096];
    // SAFETY: the buffer is valid for its length.
    unsafe { call(nr::GETCWD, [path.as_mut_ptr() as usize, path.len()]) }?;
    Ok(path[0] == b'/')
}

/// ioctl(2) with a pointer or number.
///
/// # Safety
/// `argument` must be what `request` demands.
pub unsafe fn ioctl(fd: Fd, request: usize, argument: usize) -> Result<usize> {
    // SAFETY: the caller answers for the argument.
    unsafe { call(nr::IOCTL, [int(fd), request, argument]) }
}
