//! What a keeper and its slots stand on instead of the host's mounts: a tmpfs with `/proc`, the
//! minimal `/dev`, and the folder of the template's trees.

use crate::keeper::{Outcome, at};
use core::ffi::CStr;
use leanbox_sys::mount::{self, FsOption};
use leanbox_sys::{fd, process};

/// Leaves the host's mounts for a tmpfs of our own with only `/proc`, `/dev`, `/t` for the trees
/// and `/new` for a slot's root.
pub(crate) fn enter_minimal_mounts() -> Outcome<()> {
    at(2, mount::mount(c"none", c"/", mount::MS_REC | mount::MS_PRIVATE))?;
    let root = at(3, mount::new_filesystem(c"tmpfs", core::iter::empty(), mount::ATTR_NOSUID))?;
    at(4, mount::attach(root, c"/"))?;
    at(4, fd::fchdir(root))?;
    for folder in [c"proc", c"dev", c"t", c"new"] {
        at(5, fd::mkdirat(root, folder, 0o755))?;
    }
    fd::close(root);
    at(6, attach_proc())?;
    attach_devices()?;
    at(8, mount::pivot_here())
}

fn attach_proc() -> leanbox_sys::Result<()> {
    let attributes = mount::ATTR_NOSUID | mount::ATTR_NODEV | mount::ATTR_NOEXEC;
    let proc = mount::new_filesystem(c"proc", core::iter::empty(), attributes)?;
    mount::attach(proc, c"proc")?;
    fd::close(proc);
    Ok(())
}

/// The minimal `/dev` all slots share read-only: the devices every program expects
/// (OCI runtime specification, "Default Devices"), and links to the standard streams.
fn attach_devices() -> Outcome<()> {
    const DEVICES: [(&CStr, u32, u32); 6] = [
        (c"null", 1, 3),
        (c"zero", 1, 5),
        (c"full", 1, 7),
        (c"random", 1, 8),
        (c"urandom", 1, 9),
        (c"tty", 5, 0),
    ];
    const LINKS: [(&CStr, &CStr); 4] = [
        (c"/proc/self/fd", c"fd"),
        (c"/proc/self/fd/0", c"stdin"),
        (c"/proc/self/fd/1", c"stdout"),
        (c"/proc/self/fd/2", c"stderr"),
    ];
    let mode = FsOption { key: c"mode", value: c"0755" };
    let attributes = mount::ATTR_NOSUID | mount::ATTR_NOEXEC;
    let dev = at(7, mount::new_filesystem(c"tmpfs", core::iter::once(mode), attributes))?;
    process::umask(0);
    for (name, major, minor) in DEVICES {
        at(7, fd::mknodat(dev, name, fd::S_IFCHR | 0o666, major, minor))?;
    }
    for (target, name) in LINKS {
        at(7, fd::symlinkat(target, dev, name))?;
    }
    for folder in [c"shm", c"pts", c"mqueue"] {
        at(7, fd::mkdirat(dev, folder, 0o755))?;
    }
    at(7, mount::attach(dev, c"dev"))?;
    at(7, mount::set_attributes(c"dev", attributes | mount::ATTR_RDONLY))?;
    fd::close(dev);
    Ok(())
}
