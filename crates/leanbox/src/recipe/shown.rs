//! What is shown inside beside the root: binds, further file systems in memory, devices, the
//! terminal's. Data only.

use super::Recipe;
use super::mounts::PLAIN;
use crate::mounts::{is_at_or_below, plain_target};
use crate::plan::{NodeWords, Operation};
use crate::rootfs::Kind;
use crate::{Bind, Error, ErrorKind, Result, Tmpfs, probe};
use leanbox_launcher::wire::{TREES_MAX, Tree};
use leanbox_sys::fd::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK};
use leanbox_sys::mount::{ATTR_NODEV, ATTR_NOEXEC, ATTR_NOSUID, ATTR_RDONLY};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The most binds of a template.
const BINDS_MAX: usize = TREES_MAX / 3;
/// The most further file systems in memory, and the most devices.
const OTHERS_MAX: usize = 64;
/// Pseudoterminals of a slot: all slots have their numbers out of the same few thousand
/// (`kernel.pty.max`).
const TERMINALS_MAX: &str = "64";
/// Files of one file system in memory, as of `/tmp`.
const INODES_MAX: &str = "65536";

/// One more mount.
enum Shown<'a> {
    /// Number among the binds.
    Bind(usize, &'a Bind),
    Tmpfs(&'a Tmpfs),
}

/// All of them with their targets, those above others first, as with Docker.
fn in_order(recipe: &Recipe) -> Result<Vec<(String, Shown<'_>)>> {
    let binds =
        recipe.binds.iter().enumerate().map(|(at, bind)| (&bind.target, Shown::Bind(at, bind)));
    let tmpfs = recipe.tmpfs.iter().map(|tmpfs| (&tmpfs.target, Shown::Tmpfs(tmpfs)));
    let mut list = binds
        .chain(tmpfs)
        .map(|(target, shown)| Ok((plain_target(target)?, shown)))
        .collect::<Result<Vec<_>>>()?;
    list.sort_by_cached_key(|(target, _)| (target.matches('/').count(), target.clone()));
    Ok(list)
}

impl Recipe {
    /// What is asked for beside the root makes sense, and its mount points are there.
    pub(crate) fn check_mounts(&self) -> Result<()> {
        let too_many = |what: &str, count: usize, most: usize| {
            (count > most).then(|| Error::invalid(format!("{count} {what}: at most {most}")))
        };
        let refused = too_many("binds", self.binds.len(), BINDS_MAX)
            .or_else(|| too_many("tmpfs", self.tmpfs.len(), OTHERS_MAX))
            .or_else(|| too_many("devices", self.devices.len(), OTHERS_MAX));
        if let Some(error) = refused {
            return Err(error);
        }
        self.tmpfs.iter().try_for_each(Tmpfs::check)?;
        // Before a mount point is made for what is not there.
        bind_list(self)?;
        nodes(self)?;
        self.check_writable()?;
        let list = in_order(self)?;
        let same = list.windows(2).find(|pair| pair[0].0 == pair[1].0);
        if let Some(pair) = same {
            return Err(Error::invalid(format!("two mounts at {}", pair[0].0)));
        }
        for (at, (target, shown)) in list.iter().enumerate() {
            if self.writable.is_none() && self.above(target, &list[..at]).is_none() {
                self.rootfs.ensure_inside(target, shown.is_folder())?;
            }
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        let Some(size) = self.writable else { return Ok(()) };
        if !matches!(self.rootfs.kind(), Kind::Folder { .. }) {
            return Err(Error::invalid("writable: the root is a writable overlay already"));
        }
        if size < WRITABLE_LEAST_BYTES {
            let text = format!("writable layer of {size} bytes");
            let remedy = format!("at least {WRITABLE_LEAST_BYTES} bytes");
            return Err(Error::invalid(text).remedy(remedy));
        }
        if probe::kernel_version() < (6, 6) {
            let text = "a writable layer in memory needs Linux 6.6 (user attributes on tmpfs)";
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        Ok(())
    }

    /// Of the mounts that a reset would not see through, the first one's target.
    pub(super) fn mount_to_reset(&self) -> Result<Option<String>> {
        let list = in_order(self)?;
        let near_scratch = |target: &str| {
            let near = |scratch| is_at_or_below(target, scratch) || is_at_or_below(scratch, target);
            ["/tmp", "/dev/shm"].into_iter().any(near)
        };
        let found = list
            .into_iter()
            .find(|(target, shown)| matches!(shown, Shown::Tmpfs(_)) || near_scratch(target));
        Ok(found.map(|(target, _)| target))
    }

    /// The mount that is next above a target: whether things can be made in it.
    fn above(&self, target: &str, list: &[(String, Shown<'_>)]) -> Option<(String, bool)> {
        let scratch = ["/tmp", "/dev/shm"].into_iter().skip(usize::from(!self.tmp));
        let scratch = scratch.map(|path| (path.to_string(), true));
        let dev = [("/dev".to_string(), false)];
        let shown = list.iter().map(|(path, one)| (path.clone(), matches!(one, Shown::Tmpfs(_))));
        let above = |(path, _): &(String, bool)| is_at_or_below(target, path);
        dev.into_iter().chain(scratch).chain(shown).filter(above).max_by_key(|(path, _)| path.len())
    }
}

/// A page for its top folder, one for a file, and some for what is copied up.
const WRITABLE_LEAST_BYTES: u64 = 64 << 10;

impl Shown<'_> {
    fn is_folder(&self) -> bool {
        match self {
            Self::Bind(_, bind) => bind.source.is_dir(),
            Self::Tmpfs(_) => true,
        }
    }
}

/// Detached copies of the binds' sources, with what is mounted below them.
pub(crate) fn bind_trees(recipe: &Recipe) -> Result<Vec<OwnedFd>> {
    let whole = probe::sets_attributes_of_trees();
    let open = |bind: &Bind| {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if whole {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        } else {
            check_single(&bind.source)?;
        }
        rustix::mount::open_tree(rustix::fs::CWD, &bind.source, flags).map_err(|errno| {
            let error = Error::syscall(format!("open_tree({:?})", bind.source.display()), errno);
            error.during("volume")
        })
    };
    recipe.binds.iter().map(open).collect()
}

/// Where the kernel can make one mount read-only, but not those below it.
fn check_single(source: &Path) -> Result<()> {
    let source = source.canonicalize().unwrap_or_else(|_| source.to_path_buf());
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    match points.find(|point| Path::new(point) != source && Path::new(point).starts_with(&source)) {
        None => Ok(()),
        Some(below) => {
            let text = format!("volume {}: {below} is mounted below it", source.display());
            Err(Error::new(ErrorKind::Unsupported, text)
                .remedy("Linux 5.12 can show both; name a folder without mounts below it"))
        }
    }
}

pub(super) fn bind_list(recipe: &Recipe) -> Result<Vec<Tree>> {
    let tree = |bind: &Bind| {
        let stat = rustix::fs::stat(&bind.source).map_err(|errno| match errno {
            Errno::NOENT => {
                let text = format!("volume {}: no such file or folder", bind.source.display());
                Error::new(ErrorKind::NotFound, text)
            }
            errno => Error::syscall(format!("stat({:?})", bind.source), errno).during("volume"),
        })?;
        let flag = |is_set: bool, attribute| if is_set { attribute } else { 0 };
        let attributes = ATTR_NOSUID
            | ATTR_NODEV
            | flag(bind.read_only, ATTR_RDONLY)
            | flag(bind.no_exec, ATTR_NOEXEC);
        let is_file = FileType::from_raw_mode(stat.st_mode) != FileType::Directory;
        let (idmap, file) = (u32::from(bind.idmap), u32::from(is_file));
        let recursive = u32::from(probe::sets_attributes_of_trees());
        Ok(Tree { attributes, idmap, file, recursive, ..PLAIN })
    };
    recipe.binds.iter().map(tree).collect()
}

/// The mounts, each with its mount point where one can be made.
pub(super) fn shown_operations(recipe: &Recipe) -> Result<Vec<Operation>> {
    let first = match recipe.rootfs.kind() {
        Kind::Folder { .. } => 1,
        Kind::Overlay { lower, .. } => lower.len() + 1,
    };
    let is_writable = recipe.writable.is_some() || first > 1;
    let list = in_order(recipe)?;
    let mut ops = Vec::new();
    for (at, (target, shown)) in list.iter().enumerate() {
        match recipe.above(target, &list[..at]) {
            Some((above, true)) => ops.extend(ensure(target, &above, shown.is_folder(), true)),
            None if is_writable => ops.extend(ensure(target, "", shown.is_folder(), false)),
            _ => {}
        }
        ops.push(match shown {
            Shown::Bind(index, _) => Operation::attach(first + index, target).inside(),
            Shown::Tmpfs(tmpfs) => tmpfs_operation(tmpfs, target),
        });
    }
    Ok(ops)
}

fn tmpfs_operation(tmpfs: &Tmpfs, target: &str) -> Operation {
    let (size, mode) = (tmpfs.size_max_bytes.to_string(), format!("{:04o}", tmpfs.mode));
    let options = [("size", size.as_str()), ("nr_inodes", INODES_MAX), ("mode", mode.as_str())];
    let no_exec = if tmpfs.exec { 0 } else { ATTR_NOEXEC };
    Operation::filesystem("tmpfs", target, &options, ATTR_NOSUID | ATTR_NODEV | no_exec).inside()
}

/// Makes what is missing of a target below `above`.
fn ensure(target: &str, above: &str, is_folder: bool, anywhere: bool) -> Vec<Operation> {
    let rest = target.strip_prefix(above).unwrap_or_default();
    let mut ops = Vec::new();
    let mut parent = above.to_string();
    let mut names = rest.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let folder = if parent.is_empty() { "/" } else { &parent };
        ops.push(match names.peek().is_some() || is_folder {
            true => Operation::ensure_dir(folder, name, anywhere),
            false => Operation::ensure_file(folder, name, anywhere),
        });
        parent = format!("{parent}/{name}");
    }
    ops
}

/// The file system of the slot's own terminals. All of them belong to the container's user, for
/// nobody inside can give them to another; 5 is the group `tty`, as with Docker.
pub(super) fn terminal_operations(recipe: &Recipe, uid: u32) -> Option<Operation> {
    let uid = uid.to_string();
    let options = [
        ("uid", uid.as_str()),
        ("gid", "5"),
        ("mode", "0620"),
        ("ptmxmode", "0666"),
        ("max", TERMINALS_MAX),
    ];
    let devpts =
        || Operation::filesystem("devpts", "/dev/pts", &options, ATTR_NOSUID | ATTR_NOEXEC);
    recipe.terminal.then(devpts)
}

/// What `/dev` has more than usual.
pub(super) fn nodes(recipe: &Recipe) -> Result<Vec<NodeWords>> {
    let mut nodes: Vec<NodeWords> = Vec::new();
    for device in &recipe.devices {
        let name = device.name()?;
        let source = device.source.display();
        let stat = rustix::fs::stat(&device.source)
            .map_err(|errno| Error::syscall(format!("stat({:?})", device.source), errno))
            .map_err(|error| error.during("device"))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => S_IFCHR,
            FileType::BlockDevice => S_IFBLK,
            _ => return Err(Error::invalid(format!("{source}: not a device"))),
        };
        for (at, _) in name.match_indices('/') {
            nodes.push(NodeWords { mode: S_IFDIR | 0o755, ..NodeWords::at(&name[..at]) });
        }
        let bits = if device.read { 0o444 } else { 0 } | if device.write { 0o222 } else { 0 };
        if nodes.iter().any(|node| node.path == name) {
            return Err(Error::invalid(format!("two devices at /dev/{name}")));
        }
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        nodes.push(NodeWords { mode: kind | bits, major, minor, ..NodeWords::at(&name) });
    }
    if recipe.terminal {
        // The first terminal of a devpts is number 0.
        for (path, target) in [("ptmx", "pts/ptmx"), ("console", "pts/0")] {
            let target = target.to_string();
            nodes.push(NodeWords { mode: S_IFLNK | 0o777, target, ..NodeWords::at(path) });
        }
    }
    Ok(nodes)
}

/// Where ids cannot be mapped, a bind that asks for it is refused.
pub(crate) fn check_unmapped(recipe: &Recipe) -> Result<()> {
    let asked = recipe.binds.iter().find(|bind| bind.idmap);
    let Some(bind) = asked else { return Ok(()) };
    let text = format!(
        "volume {}: the ids of its file system, or of the root's, cannot be mapped",
        bind.source.display()
    );
    let remedy = "leave idmap out, or use ext4, xfs, btrfs or tmpfs and what is mounted below it";
    Err(Error::new(ErrorKind::Unsupported, text).remedy(remedy))
}
