//! A root file system: a plain folder shown read-only, or layers under a writable upper one.
//! In: paths of the host. Out: detached mounts for the keeper. It never follows a symbolic link
//! out of the folder (openat2(2), `RESOLVE_IN_ROOT`), and changes nothing in it but missing
//! mount points.

use crate::upper::Upper;
use crate::{Error, ErrorKind, ImageConfig, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Folders a slot mounts something on.
const MOUNT_POINTS: [&str; 3] = ["proc", "dev", "tmp"];
/// The largest file read out of a root file system by the host (`/etc/passwd` and its like).
const FILE_MAX_BYTES: u64 = 4 << 20;
/// One name of a kernel option may have 255 bytes, which bounds the layers of an overlay.
const LAYERS_MAX: usize = 40;

/// A root file system, opened and checked.
#[derive(Debug)]
pub struct Rootfs {
    kind: Kind,
    config: ImageConfig,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// One folder, read-only.
    Folder { path: PathBuf, dir: OwnedFd },
    /// Lower layers, topmost first, and a folder with `diff` and `work`.
    Overlay { lower: Vec<(PathBuf, OwnedFd)>, upper: (PathBuf, OwnedFd) },
}

impl Rootfs {
    /// Opens a plain folder, with the configuration beside it if there is one.
    ///
    /// # Errors
    /// No such folder, or its mount points cannot be made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let dir = open_folder(path)?;
        check_entrance(path, &dir)?;
        for name in MOUNT_POINTS {
            ensure_mount_point(path, &dir, name)?;
        }
        let config = ImageConfig::read_beside(&absolute(path))?.unwrap_or_default();
        Ok(Self { kind: Kind::Folder { path: path.to_path_buf(), dir }, config })
    }

    /// A writable overlay (overlayfs): `lower_top_first` below `upper/diff`, with `upper/work`.
    /// Owners are as inside: the slot's ids are mapped. `upper` serves one template at a time,
    /// and that template has one slot at a time: what more do to it is undefined.
    ///
    /// # Errors
    /// A folder is missing, or there are more than 40 layers.
    pub fn overlay(lower_top_first: &[PathBuf], upper: &Path) -> Result<Self> {
        if lower_top_first.is_empty() || lower_top_first.len() > LAYERS_MAX {
            let count = lower_top_first.len();
            return Err(Error::invalid(format!("{count} layers: between 1 and {LAYERS_MAX}")));
        }
        let open = |path: &PathBuf| Ok((path.clone(), open_folder(path)?));
        let lower = lower_top_first.iter().map(open).collect::<Result<_>>()?;
        let upper = (upper.to_path_buf(), open_folder(upper)?);
        Ok(Self { kind: Kind::Overlay { lower, upper }, config: ImageConfig::default() })
    }

    /// The same root with another configuration.
    #[must_use]
    pub fn with_config(mut self, config: ImageConfig) -> Self {
        self.config = config;
        self
    }

    /// What the image says about running it.
    #[must_use]
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Locks the folder that a writable root is written to.
    pub(crate) fn lock_upper(&self) -> Result<Option<Upper>> {
        match &self.kind {
            Kind::Folder { .. } => Ok(None),
            Kind::Overlay { upper: (path, dir), .. } => Upper::lock(path, dir).map(Some),
        }
    }

    /// Makes what is missing of a mount point in the folder of a read-only root, where no slot can
    /// do so. No link leads out of it.
    pub(crate) fn ensure_inside(&self, target: &str, is_folder: bool) -> Result<()> {
        let Kind::Folder { path, dir } = &self.kind else { return Ok(()) };
        let place = format!("{}{target}", path.display());
        let refuse = |errno| {
            let error = Error::syscall(&place, errno).during("mount point");
            error.remedy("make it in the root file system, or have a writable root")
        };
        let below = |inside: &str| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            rustix::fs::openat2(dir, inside, flags, Mode::empty(), resolve)
        };
        let proc = below("/proc").and_then(|dir| file_of(&dir)).map_err(refuse)?;
        let mut parent = below("/").map_err(refuse)?;
        let ends = target.match_indices('/').map(|(at, _)| at).skip(1).chain([target.len()]);
        for end in ends {
            let inside = &target[..end];
            parent = match below(inside) {
                Err(Errno::NOENT) => {
                    let name = inside.rsplit('/').next().unwrap_or(inside);
                    let is_folder = is_folder || end < target.len();
                    make(&parent, name, is_folder).and_then(|()| below(inside)).map_err(refuse)?
                }
                found => found.map_err(refuse)?,
            };
            // Where a link leads into it: refused in the slot, and not to be littered here.
            if file_of(&parent).map_err(refuse)? == proc {
                return Err(refuse(Errno::PERM));
            }
        }
        Ok(())
    }

    /// The path to speak of in messages.
    pub(crate) fn display(&self) -> String {
        match &self.kind {
            Kind::Folder { path, .. } => path.display().to_string(),
            Kind::Overlay { upper, .. } => upper.0.display().to_string(),
        }
    }

    /// Whether `path` is an executable file, all links resolved inside.
    #[must_use]
    pub fn is_program(&self, path: &str) -> bool {
        self.stat(path).is_some_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_mode & 0o111 != 0
        })
    }

    /// Whether `path` is a file, all links resolved inside.
    #[must_use]
    pub fn is_file(&self, path: &str) -> bool {
        self.stat(path)
            .is_some_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file())
    }

    fn stat(&self, path: &str) -> Option<rustix::fs::Stat> {
        let opened = self.open_inside(path, OFlags::PATH).ok()?;
        rustix::fs::fstat(opened).ok()
    }

    /// The text of a file inside, topmost layer first; `None` where it is missing.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let opened = self.open_inside(path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
        let mut text = Vec::new();
        File::from(opened).take(FILE_MAX_BYTES).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn open_inside(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let open = |dir: &OwnedFd| {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        };
        match &self.kind {
            Kind::Folder { dir, .. } => open(dir),
            Kind::Overlay { lower, .. } => lower
                .iter()
                .map(|(_, dir)| open(dir))
                .find(Result::is_ok)
                .unwrap_or(Err(Errno::NOENT)),
        }
    }
}

/// What tells one file from another (stat(2)).
fn file_of(fd: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// A new folder, or a new empty file.
fn make(parent: &OwnedFd, name: &str, is_folder: bool) -> Result<(), Errno> {
    if is_folder {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// A detached copy of what `fd` names (open_tree(2)).
pub(crate) fn detached(fd: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(fd, "", flags).map_err(|errno| {
        let error = Error::syscall(format!("open_tree({:?}, CLONE)", path.display()), errno);
        match errno {
            Errno::PERM => error.remedy("leanbox needs root; run it with sudo"),
            _ => error,
        }
    })
}

/// The absolute form of a path, without resolving its last component's links.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let name = path.display();
        match errno {
            Errno::NOENT => Error::new(ErrorKind::NotFound, format!("{name}: no such folder")),
            Errno::NOTDIR => Error::invalid(format!("{name}: not a folder")),
            errno => {
                Error::syscall(format!("open({:?}, O_PATH|O_DIRECTORY)", name.to_string()), errno)
            }
        }
    })
}

/// The launcher is a user that owns nothing of it, as most users of an image are.
fn check_entrance(path: &Path, dir: &OwnedFd) -> Result<()> {
    let stat = rustix::fs::fstat(dir)
        .map_err(|errno| Error::syscall(format!("fstat({:?})", path.display()), errno))?;
    if stat.st_mode & 0o001 == 1 {
        return Ok(());
    }
    let mode = stat.st_mode & 0o7777;
    let text = format!("{}: only some may enter it (mode {mode:04o})", path.display());
    Err(Error::invalid(text).remedy("a root file system is for all its users: chmod 755"))
}

/// A real folder of that name, made if missing; a link there would move a mount elsewhere.
fn ensure_mount_point(path: &Path, dir: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let refuse = |errno| {
        Error::syscall(format!("{}/{name}", path.display()), errno)
            .during("mount point")
            .remedy(format!("the root file system needs a folder {name:?}"))
    };
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => {
            let mode = if name == "tmp" { 0o1777 } else { 0o755 };
            rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)).map_err(refuse)
        }
        Err(errno) => Err(refuse(errno)),
    }
}
