//! Mounts of a test's own, which go with it whatever happens.

#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every test uses all of it")]

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use std::path::{Path, PathBuf};

/// Does this in a thread with a mount namespace of its own, out of which nothing is seen.
pub(crate) fn in_own_mounts(test: impl FnOnce() + Send) {
    let run = || {
        // SAFETY: the thread shares its folders with no other from here on, and ends with the test.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        test();
    };
    std::thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Unmounts when it is dropped.
pub(crate) struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A tmpfs there, for everybody.
pub(crate) fn mount_tmpfs(at: &Path) -> Mounted {
    mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(c"mode=0777")).unwrap();
    Mounted(at.to_path_buf())
}
