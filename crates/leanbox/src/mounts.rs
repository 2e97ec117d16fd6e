//! What a container has beside its root: files and folders of the host, empty file systems,
//! devices, a writable layer, a terminal. In: what a template is asked for. Out: plain values, and
//! the mistakes that can be seen in them alone. Nothing is mounted here.

use crate::template::TemplateBuilder;
use crate::{Error, Result};
use std::path::{Component, Path, PathBuf};

/// Where a [`Device`] may be.
const DEV: &str = "/dev/";
/// What is in `/dev` already, or is mounted there.
const TAKEN: [&str; 15] = [
    "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "shm",
    "pts", "mqueue", "ptmx", "console",
];
/// The least [`Tmpfs`].
const TMPFS_LEAST_BYTES: u64 = 4096;

/// A file or folder of the host shown inside, with what is mounted below it at the time when the
/// template is built (Docker's `rprivate`, mount_namespaces(7): later mounts on either side are not
/// seen on the other). Set-id bits and devices in it mean nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Inside: an absolute path, whose links are followed inside the root. Made if missing: in a
    /// writable root, or in the folder of a read-only one.
    pub target: PathBuf,
    /// Not to be written, nor anything mounted below it.
    pub read_only: bool,
    /// No programs are executed from it.
    pub no_exec: bool,
    /// Files have inside the owners that they have on the host, and what is made inside gets on the
    /// host the owner it has inside: root's, too. Else they appear as those of 65534, and permission
    /// for others decides.
    pub idmap: bool,
}

impl Bind {
    /// A writable one.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        let (source, target) = (source.into(), target.into());
        Self { source, target, read_only: false, no_exec: false, idmap: false }
    }

    /// The same, not to be written.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }
}

/// An empty file system in memory, of the slot's own (tmpfs(5)): counts as the slot's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Inside: as for [`Bind::target`].
    pub target: PathBuf,
    /// The most it holds; at least 4 KiB.
    pub size_max_bytes: u64,
    /// Permission bits of its top folder, as in 0o1777.
    pub mode: u32,
    /// Programs may be executed from it.
    pub exec: bool,
}

impl Tmpfs {
    /// One of 64 MiB for everybody, without programs.
    pub fn new(target: impl Into<PathBuf>) -> Self {
        Self { target: target.into(), size_max_bytes: 64 << 20, mode: 0o1777, exec: false }
    }
}

/// A device of the host shown below `/dev`, for every user inside. Whether it may be read and
/// written is decided by the permission bits of a node of its own, which nobody inside can change;
/// no cgroup is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its node on the host.
    pub source: PathBuf,
    /// Inside, below `/dev`.
    pub target: PathBuf,
    /// It may be read.
    pub read: bool,
    /// It may be written.
    pub write: bool,
}

impl Device {
    /// One to be read and written, under its name on the host.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        let source = source.into();
        Self { target: source.clone(), source, read: true, write: true }
    }
}

impl TemplateBuilder {
    /// Shows a file or folder of the host.
    #[must_use]
    pub fn bind(mut self, bind: Bind) -> Self {
        self.recipe.binds.push(bind);
        self
    }

    /// An empty file system of each slot's own. Not with policy `reuse`.
    #[must_use]
    pub fn tmpfs(mut self, tmpfs: Tmpfs) -> Self {
        self.recipe.tmpfs.push(tmpfs);
        self
    }

    /// Shows a device of the host.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.recipe.devices.push(device);
        self
    }

    /// Has the root take what is written, up to so many bytes and a file for each 4 KiB of them: in
    /// memory of the slot's own, thrown away with it (overlayfs, Linux 6.6). It counts as the slot's
    /// memory. Policy `once` only.
    #[must_use]
    pub fn writable(mut self, size_max_bytes: u64) -> Self {
        self.recipe.writable = Some(size_max_bytes);
        self
    }

    /// Gives each container a terminal of its own (pty(7)), made in the slot, whose master is
    /// [`Container::terminal`](crate::Container::terminal). It is the program's controlling terminal,
    /// and each of its standard streams that the command does not set. Policy `once` only.
    #[must_use]
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.recipe.terminal = terminal;
        self
    }
}

/// A path inside without what means nothing in it.
pub(crate) fn plain_target(target: &Path) -> Result<String> {
    let refuse = |why: &str| Err(Error::invalid(format!("mount target {target:?}: {why}")));
    let mut plain = String::new();
    for part in target.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => match name.to_str().filter(|name| !name.contains('\0')) {
                Some(name) => plain.extend(["/", name]),
                None => return refuse("not UTF-8"),
            },
            Component::ParentDir | Component::Prefix(_) => return refuse("it has \"..\" in it"),
        }
    }
    if !target.is_absolute() {
        return refuse("not an absolute path");
    }
    if plain.is_empty() {
        return refuse("it is the root");
    }
    if is_at_or_below(&plain, "/proc") {
        return refuse("nothing is mounted in /proc");
    }
    Ok(plain)
}

/// Whether one plain path is another or below it.
pub(crate) fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Tmpfs {
    pub(crate) fn check(&self) -> Result<()> {
        let name = self.target.display();
        if self.size_max_bytes < TMPFS_LEAST_BYTES {
            let text = format!("tmpfs {name} of {} bytes", self.size_max_bytes);
            return Err(Error::invalid(text).remedy(format!("at least {TMPFS_LEAST_BYTES} bytes")));
        }
        if self.mode > 0o7777 {
            return Err(Error::invalid(format!("tmpfs {name}: mode {:o}", self.mode))
                .remedy("permission bits go up to 7777"));
        }
        Ok(())
    }
}

impl Device {
    /// Its path below `/dev`.
    pub(crate) fn name(&self) -> Result<String> {
        let target = plain_target(&self.target)?;
        let refuse = |why: &str| Err(Error::invalid(format!("device {target}: {why}")));
        let Some(name) = target.strip_prefix(DEV) else {
            return refuse("not below /dev");
        };
        if TAKEN.contains(&name.split('/').next().unwrap_or(name)) {
            return refuse("that name is taken inside");
        }
        if !self.read && !self.write {
            return refuse("neither to be read nor written");
        }
        Ok(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute_and_stay_inside() {
        assert_eq!(plain_target(Path::new("/a//b/./c/")).unwrap(), "/a/b/c");
        for bad in ["", "a", "/", "/.", "/a/../b", "/proc", "/proc/sys"] {
            assert!(plain_target(Path::new(bad)).is_err(), "{bad}");
        }
        assert!(plain_target(Path::new("/process")).is_ok());
    }

    #[test]
    fn devices_are_below_dev_and_take_nobodys_name() {
        assert_eq!(Device::new("/dev/net/tun").name().unwrap(), "net/tun");
        for bad in ["/tmp/x", "/dev", "/dev/null", "/dev/pts/0", "/dev/../x"] {
            assert!(Device::new(bad).name().is_err(), "{bad}");
        }
        let useless = Device { read: false, write: false, ..Device::new("/dev/fuse") };
        assert!(useless.name().is_err());
    }
}
