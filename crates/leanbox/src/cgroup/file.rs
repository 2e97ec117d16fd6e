//! The few operations on a resource group's files, each with its path in the error.
//!
//! In: paths and text. Out: text, descriptors. Never: retries, or creates a file: the kernel
//! alone makes these.

use crate::{Error, Result, probe};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Makes one folder; that it is there already is an error.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o755))
        .map_err(|errno| Error::syscall(format!("mkdir({path:?}, 0755)"), errno))
}

/// Opens close-on-exec.
pub(super) fn open(path: &Path, flags: OFlags) -> Result<OwnedFd> {
    open_raw(path, flags).map_err(|errno| Error::syscall(format!("open({path:?})"), errno))
}

/// As [`open`], with `None` for a file this kernel does not have.
pub(super) fn open_if_there(path: &Path, flags: OFlags) -> Result<Option<OwnedFd>> {
    match open_raw(path, flags) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Error::syscall(format!("open({path:?})"), errno)),
    }
}

/// Writes `value` in one call, as the kernel wants it.
pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    let fd = open(path, OFlags::WRONLY)?;
    write_raw(&fd, value)
        .map_err(|errno| Error::syscall(format!("write({path:?}, {value:?})"), errno))
}

/// As [`write()`], with `false` for a file this kernel does not have.
pub(super) fn write_if_there(path: &Path, value: &str) -> Result<bool> {
    match write(path, value) {
        Ok(()) => Ok(true),
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Kills everything in the v2 group at `path` and below it in one write. `false`: v1, or v2 before
/// Linux 5.14, cannot.
pub(super) fn kill_at_once(path: &Path) -> bool {
    !probe::is_off("cgroup_kill") && write_if_there(&path.join("cgroup.kill"), "1").unwrap_or(false)
}

/// One write to an open descriptor. A short write cannot happen: the kernel takes or refuses.
pub(super) fn write_raw(fd: &OwnedFd, value: &str) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes())).map(drop)
}

/// The whole text of a file; the kernel tells no size, so room for most is taken at once.
pub(super) fn read(path: &Path) -> Result<String> {
    const ROOM_BYTES: usize = 16 * 1024;
    let mut text = String::with_capacity(ROOM_BYTES);
    std::fs::File::open(path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| Error::io(format!("read({path:?})"), &error))?;
    Ok(text)
}

fn open_raw(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(rustix::fs::CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
}
