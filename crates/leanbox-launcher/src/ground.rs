//! What a keeper and its slots stand on instead of the host's mounts: a tmpfs with `/proc`, the
//! minimal `/dev`, and the folder of the template's trees.

use crate::keeper::{Outcome, at};
use crate::text::Text;
use crate::wire::{Node, Plan};
use core::ffi::CStr;
use leanbox_sys::mount::{self, FsOption, Reach};
use leanbox_sys::{AT_FDCWD, Errno, Fd, fd, process};

/// Leaves the host's mounts for a tmpfs of our own with only `/proc`, `/dev`, `/t` for the trees
/// and `/new` for a slot's root.
pub(crate) fn enter_minimal_mounts(plan: Plan) -> Outcome<()> {
    at(2, mount::mount(c"none", c"/", mount::MS_REC | mount::MS_PRIVATE))?;
    let root = at(3, mount::new_filesystem(c"tmpfs", core::iter::empty(), mount::ATTR_NOSUID))?;
    at(4, mount::attach(root, c"/"))?;
    at(4, fd::fchdir(root))?;
    for folder in [c"proc", c"dev", c"t", c"new"] {
        at(5, fd::mkdirat(root, folder, 0o755))?;
    }
    fd::close(root);
    at(6, attach_proc())?;
    attach_devices(plan)?;
    at(8, mount::pivot_here())
}

fn attach_proc() -> leanbox_sys::Result<()> {
    let attributes = mount::ATTR_NOSUID | mount::ATTR_NODEV | mount::ATTR_NOEXEC;
    let proc = mount::new_filesystem(c"proc", core::iter::empty(), attributes)?;
    mount::attach(proc, c"proc")?;
    fd::close(proc);
    Ok(())
}

/// Names, the host's paths, device numbers (the kernel's `admin-guide/devices.txt`).
const DEVICES: [(&CStr, &CStr, u32, u32); 6] = [
    (c"null", c"/dev/null", 1, 3),
    (c"zero", c"/dev/zero", 1, 5),
    (c"full", c"/dev/full", 1, 7),
    (c"random", c"/dev/random", 1, 8),
    (c"urandom", c"/dev/urandom", 1, 9),
    (c"tty", c"/dev/tty", 5, 0),
];

/// Binds the host's devices over the files of their names.
fn show_hosts_devices() -> Outcome<()> {
    for (name, path, _, _) in DEVICES {
        let node = at(7, mount::clone_tree(AT_FDCWD, path, Reach::Mount))?;
        let target = Text::new().push(c"dev/").push(name);
        at(7, mount::attach(node, target.as_cstr()))?;
        fd::close(node);
    }
    Ok(())
}

/// The minimal `/dev` all slots share read-only: the devices every program expects
/// (OCI runtime specification, "Default Devices"), and links to the standard streams.
fn attach_devices(plan: Plan) -> Outcome<()> {
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
    let mut made = true;
    for (name, _, major, minor) in DEVICES {
        match fd::mknodat(dev, name, fd::S_IFCHR | 0o666, major, minor) {
            // Not in a user namespace: the host's are shown instead.
            Err(Errno::PERM) => {
                made = false;
                let flags = fd::O_CREAT | fd::O_WRONLY | fd::O_CLOEXEC;
                fd::close(at(7, fd::openat(dev, name, flags, 0o666))?);
            }
            other => at(7, other)?,
        }
    }
    for (target, name) in LINKS {
        at(7, fd::symlinkat(target, dev, name))?;
    }
    for folder in [c"shm", c"pts", c"mqueue"] {
        at(7, fd::mkdirat(dev, folder, 0o755))?;
    }
    let nodes: &[Node] = plan.table(plan.header().nodes);
    nodes.iter().try_for_each(|node| at(7, make_node(plan, dev, node)))?;
    at(7, mount::attach(dev, c"dev"))?;
    at(7, mount::set_attributes(c"dev", attributes | mount::ATTR_RDONLY))?;
    fd::close(dev);
    if made { Ok(()) } else { show_hosts_devices() }
}

/// One that the template asked for. It belongs to the host's root, whom no slot has, so that the
/// permission bits for others are what everybody inside has.
fn make_node(plan: Plan, dev: Fd, node: &Node) -> leanbox_sys::Result<()> {
    let path = plan.text(node.path);
    match node.mode & fd::S_IFMT {
        fd::S_IFDIR => match fd::mkdirat(dev, path, node.mode & 0o777) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        },
        fd::S_IFLNK => fd::symlinkat(plan.text(node.target), dev, path),
        _ => fd::mknodat(dev, path, node.mode, node.major, node.minor),
    }
}
