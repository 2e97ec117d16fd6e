//! The folder that a writable root is written to: for one template at a time on the whole
//! machine, and in it for one slot at a time. What two overlays on one upper folder do is
//! undefined (the kernel's `filesystems/overlayfs.rst`, "Sharing and copying layers").

use crate::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A locked upper folder.
#[derive(Debug)]
pub(crate) struct Upper {
    path: PathBuf,
    folder: OwnedFd,
    taken: Arc<AtomicBool>,
}

/// What the one slot holds for as long as something of it may live.
#[derive(Debug)]
pub(crate) struct Turn {
    taken: Arc<AtomicBool>,
}

impl Upper {
    /// Locks the folder (flock(2)); `Busy` while another template has it.
    pub(crate) fn lock(path: &Path, dir: &OwnedFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(dir, ".", flags, Mode::empty())
            .map_err(|errno| Error::syscall(format!("open({path:?})"), errno))?;
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_path_buf(), folder, taken: Arc::default() }),
            Err(Errno::WOULDBLOCK) => {
                let text = format!("{}: another template writes to it", path.display());
                let error = Error::new(ErrorKind::Busy, text);
                Err(error.remedy("give each template an upper folder of its own"))
            }
            Err(errno) => Err(Error::syscall(format!("flock({path:?})"), errno)),
        }
    }

    /// The turn of one slot; `Busy` while another has it.
    pub(crate) fn turn(&self) -> Result<Turn> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return Err(self.is_busy());
        }
        Ok(Turn { taken: self.taken.clone() })
    }

    /// Why another slot has to wait.
    pub(crate) fn is_busy(&self) -> Error {
        let text = format!("{}: a container writes to it", self.path.display());
        let error = Error::new(ErrorKind::Busy, text);
        error.remedy("a writable root has one at a time, so wait for its end")
    }
}

impl Drop for Upper {
    /// Unlocked, not only closed: a child that was forked from this process may have it open too.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.folder, FlockOperation::Unlock);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Release);
    }
}
