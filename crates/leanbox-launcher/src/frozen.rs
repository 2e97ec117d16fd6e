//! What the host has frozen with v1 of cgroups: it does not die before it is thawed, so the keeper
//! thaws it when it ends (the kernel's `freezer-subsystem.rst`).

use crate::wire::Step;
use core::ffi::CStr;
use leanbox_sys::{Errno, Fd, fd, process};

/// The folder of the groups that are frozen at times.
pub(crate) struct Frozen(Option<Fd>);

impl Frozen {
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    /// Keeps the folder that came along.
    pub(crate) fn take(&mut self, fds: &[Fd]) -> Result<(), (u32, Errno)> {
        let folder = *fds.first().ok_or((Step::ENTER, Errno::INVAL))?;
        self.0 = Some(fd::dup_above(folder, 0).map_err(|errno| (Step::ENTER, errno))?);
        Ok(())
    }

    /// Kills all there is in this pid namespace, so that nothing runs on, and thaws it.
    pub(crate) fn end(&self) {
        let Some(folder) = self.0 else { return };
        let _ = process::kill(-1, process::SIGKILL);
        let mut entries = [0; 1024];
        while let Ok(length @ 1..) = fd::entries(folder, &mut entries) {
            fd::names(&entries[..length]).for_each(|name| thaw(folder, name));
        }
    }
}

/// One group; what else lies in the folder is none.
fn thaw(folder: Fd, name: &CStr) {
    if name.to_bytes().starts_with(b".") {
        return;
    }
    let flags = fd::O_RDONLY | fd::O_DIRECTORY | fd::O_CLOEXEC;
    let Ok(group) = fd::openat(folder, name, flags, 0) else { return };
    if let Ok(state) = fd::openat(group, c"freezer.state", fd::O_WRONLY | fd::O_CLOEXEC, 0) {
        let _ = fd::write(state, b"THAWED");
        fd::close(state);
    }
    fd::close(group);
}
